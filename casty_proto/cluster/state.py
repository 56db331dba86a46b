"""The control state: what Raft applies. The rules stand in `cluster/__init__.py`.

Theory of operation
-------------------
Three tables, members, regions and names, and two indexes: of the last command that changed anything, and of the last
one that changed members or regions, the version of the topology. Beside them are kept the outcomes of the commands that
members have ordered, which are asked for again when an answer is lost (`answered.py`). `apply` takes the bytes of a
command as they stand in the log, and the index at which they stand. It looks at nothing else, so all servers come to
the same state, and to the same outcomes. What has changed is in the outcome; whoever tells users of it does not compare
states.

Who owns a shard need not be a member. The owner's lease may last longer than its membership, so it stays the owner in
name until an `Assign` says otherwise; `former_owners` are those who are owners in this sense only.

Who votes is not in the state. Raft's own configuration says that, and is part of Raft's snapshots.
"""

from __future__ import annotations

from enum import IntEnum
from struct import pack, unpack
from typing import Any, assert_never

import msgpack  # type: ignore[import-untyped]

from ..machine import shown
from .answered import Answer, Answers
from .checks import NUMBER_MAX, PATH_MAX, NodeKey, split_key
from .commands import (
    Assign,
    Command,
    DropNames,
    Forget,
    Join,
    Leave,
    Left,
    MarkDown,
    MarkUp,
    RegisterName,
    RegisterRegion,
    RemoveRegion,
    UnregisterName,
    Update,
    decode_command,
    node_of,
    node_row,
    settings_of,
    settings_row,
)
from .members import Members
from .names import Names
from .outcomes import AlreadySo, Applied, Change, MemberDown, MemberRemoved, Outcome, Refused
from .records import MemberInfo, NameEntry, RegionKind, Status
from .regions import Region, Regions

STATE_VERSION = 1
_ROW_MAX = 32
"""No list in a snapshot is longer, however much it holds: every row is a list of its own."""


class _Row(IntEnum):
    """What a row of a snapshot says. They come in this order."""

    HEADER = 0
    MEMBER = 1
    GRAVE = 2
    OWNER = 3
    REGION = 4
    NAME = 5
    HOST = 6
    ANSWER = 7


class StateError(ValueError):
    """A snapshot that no commands can have led to, or that is none. Says what is wrong with it.

    No state was made, and none was changed.
    """


class ControlState:
    """The members, the regions with their owners, and the names."""

    __slots__ = ("_answers", "_members", "_names", "_regions", "changed", "version")

    def __init__(self) -> None:
        self._members = Members()
        self._regions = Regions()
        self._names = Names()
        self._answers = Answers()
        self.changed = 0
        """The index of the last command that changed anything."""
        self.version = 0
        """The index of the last command that changed members or regions."""

    # -- what is applied -----------------------------------------------------------------------------------------------

    def apply(self, data: bytes, index: int) -> Outcome:
        """Apply the command at `index` of the log, which is beyond all before. Never raises because of `data`."""
        command = decode_command(data)
        if command is None:
            return Refused("these bytes are no command that this version of the program knows; run one version of it")
        return self.execute(command, index)

    def execute(self, command: Command, index: int) -> Outcome:
        """Apply a command that was decoded."""
        assert self.changed < index <= NUMBER_MAX, f"index {index} comes after {self.changed}"
        match command:
            case Join() | Update() | Leave() | Left() | MarkDown() | MarkUp() | Forget():
                owned = self._regions.owned(command.node) if type(command) is Left else 0
                outcome = self._with_names(self._members.apply(command, index, owned))
                self._regions.look_at(self._members, index)
                return self._changed(outcome, index, True)
            case RegisterRegion() | RemoveRegion() | Assign():
                return self._changed(self._regions.apply(command, index, self._members), index, True)
            case DropNames(node, before):
                return self._restarted(node, before, index)
            case RegisterName() | UnregisterName():
                return self._changed(self._names.apply(command, index, self._members), index, False)
            case _:
                assert_never(command)

    def keep(self, session: int, number: int, floor: int, index: int, outcome: Outcome) -> None:
        """The command `number` of a session was applied at `index`: its outcome is kept for whoever asks again."""
        self._answers.keep(session, number, floor, Answer(index, outcome))

    def end_sessions(self, sessions: tuple[int, ...]) -> None:
        """These sessions are over. Nobody asks what became of their commands."""
        self._answers.end(sessions)

    def answer(self, session: int, number: int) -> Answer | None:
        """What became of a command of a session; `None` where that is not known, or not any more."""
        return self._answers.of(session, number)

    def _restarted(self, node: NodeKey, before: int, index: int) -> Outcome:
        """A process has started again: what it had registered before, it has to register again.

        That the one before wanted to leave does not concern it.
        """
        members = self._members.restarted(node, before, index)
        hosts = self._regions.drop_hosts(node, before)
        changes: tuple[Change, ...] = (*members, *self._names.drop(node, before), *hosts)
        self._regions.look_at(self._members, index)
        return self._changed(Applied(changes) if changes else AlreadySo(), index, bool(hosts or members))

    def _with_names(self, outcome: Outcome) -> Outcome:
        """Whoever is not there has no names."""
        if type(outcome) is not Applied:
            return outcome
        changes: list[Change] = []
        for change in outcome.changes:
            changes.append(change)
            if isinstance(change, MemberDown | MemberRemoved):
                changes += self._names.drop(change.member.key)
            if type(change) is MemberRemoved:
                changes += self._regions.drop_hosts(change.member.key)
        return Applied(tuple(changes))

    def _changed(self, outcome: Outcome, index: int, is_topology: bool) -> Outcome:
        if type(outcome) is Applied:
            self.changed = index
            if is_topology:
                self.version = index
        return outcome

    # -- members -------------------------------------------------------------------------------------------------------

    def member(self, node: NodeKey) -> MemberInfo | None:
        """The member of this key."""
        return self._members.get(node)

    def members(self) -> tuple[MemberInfo, ...]:
        """All members, in the order of their keys."""
        return self._members.all()

    def key_of(self, node_id: str) -> NodeKey | None:
        """The key of the member with this node id."""
        return self._members.key_of(node_id)

    def up_members(self, role: str | None = None) -> tuple[NodeKey, ...]:
        """The members that are up, and have the role: who can be given something. In order; cheap to ask again."""
        return self._members.up(role)

    def counting_members(self, role: str | None = None) -> tuple[NodeKey, ...]:
        """The members with the role that count for durability: up, or down and not forgotten. In order; cheap."""
        return self._members.counting(role)

    def is_removed(self, node: NodeKey) -> bool:
        """Whether this life of a node cannot be a member any more: it left, was forgotten, or was replaced."""
        return self._members.is_removed(*split_key(node))

    # -- regions -------------------------------------------------------------------------------------------------------

    def region(self, name: str) -> Region | None:
        """The entity type or singleton of this name. For reading."""
        return self._regions.by_name.get(name)

    def regions(self) -> tuple[Region, ...]:
        """All regions, in the order of their names."""
        by_name = self._regions.by_name
        return tuple([by_name[name] for name in sorted(by_name)])

    def owner_of(self, region: str, shard: int) -> NodeKey | None:
        """Who owns a shard, if there is such a region. Raises `IndexError` for no such shard of it."""
        found = self._regions.by_name.get(region)
        return None if found is None else found.owner(shard)

    def epoch_of(self, region: str, shard: int) -> int:
        """The epoch of a shard; 0 where there is no such region. Raises `IndexError` for no such shard of it."""
        found = self._regions.by_name.get(region)
        return 0 if found is None else found.epoch(shard)

    def singleton_owner(self, name: str) -> NodeKey | None:
        """Who owns a singleton. `None` too where it is none."""
        found = self._regions.by_name.get(name)
        return found.owner(0) if found is not None and found.kind is RegionKind.SINGLETON else None

    def shards_of(self, node: NodeKey) -> tuple[tuple[str, int], ...]:
        """All that a node owns: regions, in order, and shards."""
        return tuple([(region.name, shard) for region in self.regions() for shard in region.shards_of(node)])

    def owned_count(self, node: NodeKey) -> int:
        """How many shards a node owns."""
        return self._regions.owned(node)

    def former_owners(self) -> tuple[NodeKey, ...]:
        """Who owns something in name, and is no member any more. In order."""
        return tuple([node for node in self._regions.owning() if self._members.get(node) is None])

    # -- names ---------------------------------------------------------------------------------------------------------

    def name(self, name: str) -> NameEntry | None:
        """Who has a name."""
        return self._names.entries.get(name)

    def names(self) -> tuple[tuple[str, NameEntry], ...]:
        """All names, in order, and who has them."""
        return tuple(sorted(self._names.entries.items(), key=lambda item: item[0]))

    def names_of(self, node: NodeKey) -> tuple[str, ...]:
        """The names of a node's actors, in order."""
        return self._names.of(node)

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """The state as bytes: the same for equal states, whatever came when."""
        rows: list[list[Any]] = [
            [_Row.MEMBER, node_row(one.node), int(one.status), one.joined, one.since, one.started]
            for one in self.members()
        ]
        rows += [[_Row.GRAVE, node_id, *grave] for node_id, grave in sorted(self._members.graves.items())]
        owning = self._regions.owning()
        rows += [[_Row.OWNER, node] for node in owning]
        numbers: dict[NodeKey | None, int] = {None: 0} | {node: number for number, node in enumerate(owning, 1)}
        rows += [_region_row(region, numbers) for region in self.regions()]
        for name, entry in self.names():
            rows.append([_Row.NAME, name, entry.node, entry.number, entry.path, entry.since])
        for region in self.regions():
            rows += [[_Row.HOST, region.name, node, index] for node, index in sorted(region.hosts.items())]
        rows += [[_Row.ANSWER, *row] for row in self._answers.rows()]
        # How many rows there are is said first: otherwise what is cut off after one of them would be a state, too.
        header = [_Row.HEADER, STATE_VERSION, self.changed, self.version, len(rows)]
        return b"".join([msgpack.packb(row) for row in [header, *rows]])

    @classmethod
    def decode(cls, data: bytes) -> ControlState:
        """The state that was encoded. Raises `StateError` for bytes that `encode` never returns."""
        state = cls()
        try:
            rows = msgpack.Unpacker(
                max_buffer_size=len(data) + 1,
                max_array_len=_ROW_MAX,
                max_map_len=0,
                max_ext_len=0,
                max_bin_len=len(data),
                max_str_len=PATH_MAX,
            )
            rows.feed(data)
            owners: list[NodeKey | None] = [None]
            for row in rows:
                state._take(row, owners)
            fault = state._fault()
        except Exception as error:
            raise StateError(f"a control state cannot be read: {type(error).__name__}: {error}") from error
        if fault is not None:
            raise StateError(f"a control state contradicts itself: {fault}")
        if state.encode() != data:
            raise StateError("a control state is not written in the one way in which it can be")
        return state

    def _take(self, row: Any, owners: list[NodeKey | None]) -> None:
        """Add what a row says. What stands twice, in another place, or in another way, is found when all is read."""
        match row:
            case [_Row.HEADER, form, changed, version, _] if form == STATE_VERSION:
                self.changed, self.version = _number(changed), _number(version)
            case [_Row.MEMBER, node, status, joined, since, started]:
                self._members.put(MemberInfo(node_of(node), Status(status), joined, since, started))
            case [_Row.GRAVE, node_id, generation, index]:
                self._members.graves[node_id] = (_number(generation), _number(index))
            case [_Row.OWNER, node]:
                owners.append(node)
            case [_Row.REGION, name, kind, settings, by, recipe, registered, bool(closing), peak, owned, epochs, rises]:
                command = RegisterRegion(name, RegionKind(kind), settings_of(settings), by, recipe)
                region = Region(command, _number(registered))
                numbers = unpack(f">{region.num_shards}I", owned)
                epochs = unpack(f">{region.num_shards}Q", epochs)
                rises = unpack(f">{len(rises) // 8}Q", rises)
                region.restore([owners[number] for number in numbers], epochs, closing, _number(peak), rises)
                self._regions.put(region)
            case [_Row.NAME, name, node, number, path, since]:
                self._names.entries[name] = NameEntry(node, number, path, since)
            case [_Row.HOST, name, node, index]:
                self._regions.by_name[name].hosts[node] = _number(index)
            case [_Row.ANSWER, *answer]:
                self._answers.put(answer)
            case _:
                raise ValueError("a row is none that this version of the program knows")

    def _fault(self) -> str | None:
        """Why no commands can have led here, or `None` where some can."""
        if not 0 <= self.version <= self.changed <= NUMBER_MAX:
            return f"the version is {self.version}, and the last change was at {self.changed}"
        return (
            self._members.fault(self.version)
            or self._regions.fault(self.version, self._members)
            or self._names.fault(self.changed, self._members)
            or self._answers.fault()
        )

    def invariants(self) -> None:
        """Assert what must hold between two commands."""
        fault = self._fault()
        assert fault is None, fault


def _number(thing: Any) -> int:
    if type(thing) is not int:
        raise TypeError(f"{shown(thing)} is no number")
    return thing


def _region_row(region: Region, numbers: dict[NodeKey | None, int]) -> list[Any]:
    count = region.num_shards
    return [
        _Row.REGION,
        region.name,
        int(region.kind),
        settings_row(region.settings),
        region.by,
        region.recipe,
        region.registered,
        region.closing,
        region.peak,
        pack(f">{count}I", *[numbers[owner] for owner in region.owners]),
        pack(f">{count}Q", *region.epochs),
        pack(f">{len(region.rises)}Q", *region.rises),
    ]
