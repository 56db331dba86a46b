"""What is watched of what users are told: members, leaders, clusters and names.

1.  All who name the leader of a term name the same.
2.  Of each member, a process hears first that it is up, and last that it is gone; in between that it is unreachable and
    reachable again, by turns, and at most once in between that it leaves.
3.  From one list of seeds there comes one cluster.
4.  A name has one holder: who was told that it has a name has it until it gives it up, ends, is held to be down, or the
    name was freed. Who did not get it is told who has it, and that one has wanted it.
5.  Who has conferred knows whatever was known to anybody when it began to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from casty_proto.cluster import events
from casty_proto.cluster.checks import NodeKey
from casty_proto.cluster.outcomes import Removal, Taken
from casty_proto.machine import Rejected

from ..world import Host, Violation


class Views:
    """See the module."""

    def __init__(self, reach: Callable[[str], None]) -> None:
        self._reach = reach
        self._leaders: dict[int, NodeKey] = {}
        self._members: dict[tuple[str, int], dict[NodeKey, str]] = {}
        """What each process was told last of each member."""
        self._cluster = ""
        self._holders: dict[str, tuple[NodeKey, int, int]] = {}
        """Node, number of the actor, and the index as of which it has the name."""
        self._downs: dict[NodeKey, int] = {}
        """The latest index at which each node was held to be down, or gone."""
        self._claims: dict[tuple[str, NodeKey], None] = {}
        self._newest = 0

    # -- what is known -------------------------------------------------------------------------------------------------

    def newest(self, known: list[int]) -> int:
        """The latest index that anybody knows of, or has known, as far as was asked. `known`: by those who run."""
        self._newest = max(self._newest, *known)
        return self._newest

    def conferred(self, key: NodeKey, known: int, result: Any, knows: int) -> None:
        """What a node was told that had to know of the index `known`, and of which it `knows` then."""
        match result:
            case events.Done():
                if knows < known:
                    raise Violation("conferring", f"{key} has conferred, and knows of {knows}; {known} was known")
                self._reach("a node was as up to date as anybody")
            case events.Unknown() | Rejected():
                pass
            case _:
                raise AssertionError(f"{result} is no answer to Confer")

    # -- leaders and clusters ------------------------------------------------------------------------------------------

    def leader(self, host: Host, effect: events.LeaderChanged) -> None:
        """Rule 1."""
        if effect.leader is None:
            return
        known = self._leaders.setdefault(effect.term, effect.leader)
        if known != effect.leader:
            raise Violation(
                "one leader", f"{host.name} takes {effect.leader} for the leader of term {effect.term}; it is {known}"
            )
        if len(dict.fromkeys(self._leaders.values())) > 1:
            self._reach("another leader was elected")

    def member_of(self, host: Host, cluster: str) -> None:
        """Rule 3."""
        if not self._cluster:
            self._cluster = cluster
            self._reach("a cluster was formed")
        elif cluster != self._cluster:
            raise Violation("one cluster", f"{host.name} belongs to the cluster of {cluster}; there is {self._cluster}")

    # -- members -------------------------------------------------------------------------------------------------------

    def told(self, host: Host, effect: Any) -> None:
        """Rule 2, and what concerns names of rule 4."""
        match effect:
            case events.NameChanged(name, None, _):
                self._holders.pop(name, None)
                return
            case events.NameChanged():
                return
            case _:
                pass
        key: NodeKey = effect.member.key
        known = self._members.setdefault((host.name, host.life), {})
        before = known.get(key, "nothing")
        allowed, after = _TURNS[type(effect)]
        if before not in allowed:
            word = type(effect).__name__
            raise Violation("order of events", f"{host.name} is told {word} of {key}, after it was {before}")
        known[key] = after or before
        if after == "gone":
            self._reach("a node left" if effect.reason is Removal.LEFT else "a member was removed")
        if after in ("unreachable", "gone"):
            self._dropped(key, effect.member.since if after == "unreachable" else _FOR_EVER)

    # -- names ---------------------------------------------------------------------------------------------------------

    def claims(self, name: str, key: NodeKey) -> None:
        """A node wants a name."""
        self._claims[name, key] = None

    def releases(self, name: str, key: NodeKey, number: int) -> None:
        """It does not want it any more, whether it has it or not."""
        if self._holders.get(name, ())[:2] == (key, number):
            del self._holders[name]

    def ended(self, key: NodeKey) -> None:
        """A process has ended. Whoever comes next may have the same key."""
        self._drop(key, _FOR_EVER)

    def _dropped(self, key: NodeKey, index: int) -> None:
        """A node has lost its names at an index of the log."""
        self._downs[key] = max(index, self._downs.get(key, 0))
        self._drop(key, index)

    def _drop(self, key: NodeKey, index: int) -> None:
        for name, (holder, _, since) in list(self._holders.items()):
            if holder == key and since < index:
                del self._holders[name]

    def claimed(self, name: str, key: NodeKey, number: int, result: Any) -> bool:
        """What a node was told of the name that it wanted. Whether it has it."""
        if isinstance(result, Taken):
            winner = result.winner
            if (winner.node, winner.number) == (key, number) or (name, winner.node) not in self._claims:
                raise Violation("names", f"{key} does not get {name}, which {winner} is said to have")
            self._reach("a name was refused")
            return False
        if not isinstance(result, events.Done):
            return False
        if result.index < self._downs.get(key, 0):
            return False  # It had it, and does not know yet that it was held to be down since then.
        holder = self._holders.get(name)
        if holder is not None and holder[:2] != (key, number):
            raise Violation("names", f"{key} gets {name} at {result.index}, which {holder} has")
        self._holders[name] = (key, number, result.index)
        self._reach("a name was given")
        return True


_FOR_EVER = 2**62
_THERE = ("up", "leaving", "unreachable", "leaving, unreachable")

_TURNS: dict[type[Any], tuple[tuple[str, ...], str]] = {
    events.MemberUp: (("nothing",), "up"),
    events.MemberChanged: (_THERE, ""),
    events.MemberLeaving: (("up",), "leaving"),
    events.MemberUnreachable: (("up", "leaving"), "unreachable"),
    events.MemberReachable: (("unreachable",), "up"),
    events.MemberGone: (_THERE, "gone"),
}
