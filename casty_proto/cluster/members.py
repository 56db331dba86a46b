"""The members, and those who were. Rules 1 to 6 of `cluster/__init__.py`.

                Join              Leave               Left, owning nothing
    (unknown) -------> UP ----------------> LEAVING ------------------------> (removed)
                       |  ^                    |
              MarkDown |  | MarkUp             | MarkDown
                       v  |                    |
                       DOWN <------------------+
                       |   Forget
                       +--------> (removed)            Join of a newer generation removes it from anywhere

What was removed is remembered by its generation: a `Join` that comes late does not bring it back, and a process that
was away while it was removed can be told.
"""

from __future__ import annotations

from typing import assert_never

from attrs import evolve

from .checks import GRAVES_MAX, MEMBERS_MAX, NODE_ID_MAX, NUMBER_MAX, NodeKey, node_key, split_key
from .commands import Forget, Join, Leave, Left, MarkDown, MarkUp, MemberCommand, Update
from .outcomes import (
    AlreadySo,
    Applied,
    MemberChange,
    MemberDown,
    MemberJoined,
    MemberLeaving,
    MemberRemoved,
    MemberRestarted,
    MemberReturned,
    MemberUpdated,
    Outcome,
    Outdated,
    Refused,
    Removal,
)
from .records import MemberInfo, NodeInfo, Status

type _Turned = type[MemberUpdated | MemberLeaving | MemberDown | MemberReturned]

_COUNTING = (Status.UP, Status.DOWN)


class Members:
    """The members by key, and the graves of those who were removed."""

    __slots__ = ("_by_key", "_current", "_views", "graves")

    def __init__(self) -> None:
        self._by_key: dict[NodeKey, MemberInfo] = {}
        self._current: dict[str, NodeKey] = {}
        """By node id."""
        self._views: dict[tuple[bool, str | None], tuple[NodeKey, ...]] = {}
        """Answers that were given since the last change."""
        self.graves: dict[str, tuple[int, int]] = {}
        """Node ids that have no member: the highest generation that was removed, and at which index."""

    # -- queries: none depends on the order in which members came ------------------------------------------------------

    def get(self, key: NodeKey) -> MemberInfo | None:
        """The member of this key."""
        return self._by_key.get(key)

    def key_of(self, node_id: str) -> NodeKey | None:
        """The key of the member with this node id."""
        return self._current.get(node_id)

    def all(self) -> tuple[MemberInfo, ...]:
        """All members, in the order of their keys."""
        return tuple([self._by_key[key] for key in sorted(self._by_key)])

    def up(self, role: str | None) -> tuple[NodeKey, ...]:
        """The members that are up and have the role, in order."""
        return self._view(False, role)

    def counting(self, role: str | None) -> tuple[NodeKey, ...]:
        """The members with the role that count for durability, in order."""
        return self._view(True, role)

    def _view(self, down_too: bool, role: str | None) -> tuple[NodeKey, ...]:
        found = self._views.get((down_too, role))
        if found is None:
            wanted = _COUNTING if down_too else (Status.UP,)
            found = tuple([one.key for one in self.all() if one.status in wanted and one.has_role(role)])
            self._views[down_too, role] = found
        return found

    def is_removed(self, node_id: str, generation: int) -> bool:
        """Whether this life of the node was a member, or could have been, and cannot become one any more."""
        current = self._current.get(node_id)
        if current is not None:
            return generation < self._by_key[current].node.generation
        return generation <= self.graves.get(node_id, (-1, 0))[0]

    # -- commands ------------------------------------------------------------------------------------------------------

    def apply(self, command: MemberCommand, index: int, owned: int) -> Outcome:
        """Apply a command about a member, which owns `owned` shards."""
        match command:
            case Join(node):
                return self._join(node, index)
            case Update(node, since):
                return self._update(node, since, index)
            case Forget(node_id, since):
                return self._forget(node_id, since, index)
            case Left(key, since):
                return self._left(key, since, index, owned)
            case Leave() | MarkDown() | MarkUp():
                return self._turn(command, index)
            case _:
                assert_never(command)

    def _join(self, node: NodeInfo, index: int) -> Outcome:
        current = self._current.get(node.node_id)
        old = None if current is None else self._by_key[current]
        if old is not None and old.node.generation == node.generation:
            if old.node == node:
                return AlreadySo()
            return Refused(f"{node.key} is a member already, and says other things of itself; propose an update")
        if self.is_removed(node.node_id, node.generation):
            return self._late(node)
        if old is None and len(self._by_key) >= MEMBERS_MAX:
            return Refused(
                f"{node.key} cannot join: there are {MEMBERS_MAX} members; let one leave, or forget one that is down"
            )
        new = MemberInfo(node, Status.UP, index, index)
        if old is None:
            self.graves.pop(node.node_id, None)
            self.put(new)
            return Applied((MemberJoined(new),))
        del self._by_key[old.key]
        self.put(new)
        return Applied((MemberRemoved(old, Removal.REPLACED), MemberJoined(new)))

    def _late(self, node: NodeInfo) -> Refused:
        current = self._current.get(node.node_id)
        if current is not None:
            return Refused(
                f"{node.key} cannot join: {current} has taken its place; if both run, give one another node id"
            )
        generation, removed_at = self.graves[node.node_id]
        return Refused(
            f"{node.key} cannot join: {node_key(node.node_id, generation)} was removed from the cluster at index "
            f"{removed_at}; start it again as a newer generation, without its old disk"
        )

    def _update(self, node: NodeInfo, since: int | None, index: int) -> Outcome:
        member = self._by_key.get(node.key)
        if member is None:
            return self._missing(node.key)
        if member.node == node:
            return AlreadySo()
        if since is not None and since != member.since:
            return _outdated(member, since)
        return self._becomes(evolve(member, node=node, since=index), MemberUpdated)

    def _turn(self, command: Leave | MarkDown | MarkUp, index: int) -> Outcome:
        """Leave, down, or up again."""
        member = self._by_key.get(command.node)
        if member is None:
            return self._missing(command.node)
        change: _Turned
        match command:
            case Leave():
                status, change, is_so = Status.LEAVING, MemberLeaving, member.status is Status.LEAVING
            case MarkDown():
                status, change, is_so = Status.DOWN, MemberDown, member.status is Status.DOWN
            case MarkUp():
                # Who is leaving is there.
                status, change, is_so = Status.UP, MemberReturned, member.status is not Status.DOWN
            case _:
                assert_never(command)
        if is_so:
            return AlreadySo()
        if command.since is not None and command.since != member.since:
            return _outdated(member, command.since)
        if status is Status.LEAVING and member.status is Status.DOWN:
            return Refused(f"{member.key} cannot leave: it is held to be down; ask again when it is up, or forget it")
        return self._becomes(evolve(member, status=status, since=index), change)

    def _left(self, key: NodeKey, since: int | None, index: int, owned: int) -> Outcome:
        member = self._by_key.get(key)
        if member is None:
            return AlreadySo()
        if since is not None and since != member.since:
            return _outdated(member, since)
        if member.status is not Status.LEAVING:
            return Refused(f"{key} has not left: it is {member.status.name}; it must ask to leave first")
        if owned:
            return Refused(f"{key} has not left: it owns {owned} shards; give them to others first")
        return self._remove(member, Removal.LEFT, index)

    def _forget(self, node_id: str, since: int | None, index: int) -> Outcome:
        key = self._current.get(node_id)
        if key is None:
            return AlreadySo()
        member = self._by_key[key]
        if since is not None and since != member.since:
            return _outdated(member, since)
        if member.status is not Status.DOWN:
            return Refused(f"{key} cannot be forgotten: it is {member.status.name}; let it leave, or stop it first")
        return self._remove(member, Removal.FORGOTTEN, index)

    def restarted(self, key: NodeKey, before: int, index: int) -> tuple[MemberChange, ...]:
        """A process has started again. If the one before wanted to leave: it was gone, and is back."""
        member = self._by_key.get(key)
        if member is None or member.started >= before:
            return ()
        was_leaving = member.status is Status.LEAVING and member.since < before
        back = evolve(member, status=Status.UP if was_leaving else member.status, since=index, started=index)
        self.put(back)
        if was_leaving:
            return (MemberDown(evolve(member, status=Status.DOWN)), MemberReturned(back))
        return (MemberRestarted(back),)

    def _missing(self, key: NodeKey) -> Outcome:
        node_id, generation = split_key(key)
        if self.is_removed(node_id, generation):
            return Refused(f"{key} is no member any more; it was removed, and can come back as a newer generation")
        return Refused(f"{key} is no member; it must join first")

    # -- the table -----------------------------------------------------------------------------------------------------

    def put(self, member: MemberInfo) -> None:
        """Make this the member of its node id."""
        self._by_key[member.key] = member
        self._current[member.node.node_id] = member.key
        self._views.clear()

    def _becomes(self, member: MemberInfo, change: _Turned) -> Applied:
        self.put(member)
        return Applied((change(member),))

    def _remove(self, member: MemberInfo, reason: Removal, index: int) -> Applied:
        del self._by_key[member.key], self._current[member.node.node_id]
        self._views.clear()
        self.graves[member.node.node_id] = (member.node.generation, index)
        if len(self.graves) > GRAVES_MAX:
            # No two were removed at one index, so it is the same one on every server.
            del self.graves[min(self.graves, key=lambda node_id: self.graves[node_id][1])]
        return Applied((MemberRemoved(member, reason),))

    def fault(self, version: int) -> str | None:
        """Why no commands can have led here by the index `version`, or `None` where some can."""
        if len(self._by_key) > MEMBERS_MAX or len(self.graves) > GRAVES_MAX:
            return f"there are {len(self._by_key)} members and {len(self.graves)} graves"
        if len(self._current) != len(self._by_key):
            return "two members have one node id"
        for key, member in self._by_key.items():
            if member.key != key or self._current.get(member.node.node_id) != key:
                return f"{key} is not listed as itself"
            if not member.joined <= member.since <= version:
                return f"{key} joined at {member.joined} and changed at {member.since}, and the version is {version}"
        joins = dict.fromkeys([member.joined for member in self._by_key.values()])
        removals = dict.fromkeys([index for _, index in self.graves.values()])
        if len(joins) < len(self._by_key) or len(removals) < len(self.graves):
            return "two members came or went at one index"
        for node_id, (generation, index) in self.graves.items():
            if not 0 < len(node_id.encode()) <= NODE_ID_MAX or not 0 <= generation <= NUMBER_MAX:
                return f"{node_id!r} of generation {generation} cannot have been a member"
            if node_id in self._current or not 0 < index <= version:
                return f"{node_id!r} was removed at {index}, and the version is {version}"
        return None


def _outdated(member: MemberInfo, since: int) -> Outdated:
    return Outdated(f"{member.key} has changed at index {member.since}, after {since}; look at it again")
