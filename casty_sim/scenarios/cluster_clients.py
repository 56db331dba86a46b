"""Who asks entities for something in the cluster scenario. Each host has a client or two.

A client wants a few things at once, waits until all of them have ended, and goes on. An ask ends with a result, with
"retry" (it was not handled, and will not be: the client wants it again, which makes it another operation), or with
"unknown": it may have been handled, or may yet be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from casty_proto.cluster.events import AcceptedLost, Done, Entry, OwnersChanged, Tells, Unknown
from casty_proto.machine import MILLISECOND, SECOND, Instant, Rejected

from .. import timeline as kept
from ..checkers.linearizability import NEVER, CompareAndSet, Operation, Read, Write
from ..tape import Stream
from ..timeline import Timeline
from .cluster_ops import (
    BOSS,
    COUNTERS,
    DONE,
    NAMES,
    PLAIN,
    REGISTERS,
    RETRY,
    UNKNOWN,
    Answer,
    Kind,
    Op,
    Spot,
    number_of,
    packed,
)

if TYPE_CHECKING:
    from .cluster_host import ClusterProgram

REGIONS = (COUNTERS, COUNTERS, REGISTERS, REGISTERS, PLAIN, BOSS)
BURST = 3
"""At most so many asks of a client are out at a time."""
PAUSE = 100 * MILLISECOND
"""How long a client waits at least before it wants again what it has to want again."""
RECENT = 8
"""What registers may have: how many of the latest values are expected by those who swap."""


class Ask:
    """One ask that is out."""

    __slots__ = ("accepted", "argument", "asked_at", "client", "op", "since", "spot")

    def __init__(self, client: Client | None, spot: Spot, op: Op, asked_at: Instant, since: int) -> None:
        self.client = client
        self.spot = spot
        self.op = op
        self.asked_at = asked_at
        self.since = since
        """Up to which index of the log the node knew everything then."""
        self.accepted = False
        """Whether an owner has it, as far as is known here."""


class Asks:
    """The asks of one life of a host."""

    def __init__(self, program: ClusterProgram) -> None:
        self._program = program
        self._cluster = program.cluster
        self._host = program.host
        self._serial = 0
        self._out: dict[int, Ask] = {}
        self._posts: dict[Spot, list[Entry]] = {}
        """What was asked in the present event."""
        self.told: dict[int, Instant] = {}
        """What was told to the node, and since when, until it says what became of it."""

    def ask(self, client: Client, region: str, entity: str, kind: Kind, expected: int | None) -> int:
        """Ask an entity for something. The client hears of it. Returns the number of the operation."""
        program, now = self._program, self._cluster.world.now
        self._serial += 1
        number = number_of(self._host.number, self._host.starts, self._serial)
        op = Op(number, entity, kind, expected, self._host.name)
        spot = (region, program.node.shard_of(region, entity))
        self._out[number] = Ask(client, spot, op, now, program.node.state.changed)
        self.told[number] = now
        self._program.later(self._cluster.ask_timeout_ns, lambda: self._end(number, UNKNOWN))
        if not self._posts:
            program.soon(self._post)
        self._posts.setdefault(spot, []).append((packed(op), lambda result: self._on_told(number, result), True))
        return number

    def _post(self) -> None:
        """What is asked at once of entities of one shard travels together."""
        posts, self._posts = self._posts, {}
        for spot, entries in posts.items():
            self._program.feed(Tells(*spot, tuple(entries)))

    def answered(self, answer: Answer) -> None:
        """The packet with the answer has come."""
        self._end(answer.number, answer.verdict, answer.result)

    def owners_changed(self, change: OwnersChanged) -> None:
        """What an owner had accepted, and not handled, is lost."""
        if not change.forced:
            return
        shards = dict(change.shards)
        for number, ask in list(self._out.items()):
            if ask.accepted and ask.spot[0] == change.region and ask.spot[1] in shards:
                self._end(number, UNKNOWN)

    def accepted_lost(self, effect: AcceptedLost) -> None:
        """The same, though nothing was taken by force."""
        shards = dict(effect.shards)
        for number, ask in list(self._out.items()):
            if ask.accepted and ask.spot[0] == effect.region and ask.since < shards.get(ask.spot[1], 0):
                self._end(number, UNKNOWN)

    def abandoned(self) -> list[Ask]:
        """What is out, or was when the host lost power."""
        return list(self._out.values())

    @property
    def idle(self) -> bool:
        """Whether nothing is out."""
        return not self._out

    def _on_told(self, number: int, result: Any) -> None:
        self.told.pop(number, None)
        match result:
            case Done():
                ask = self._out.get(number)
                if ask is not None:
                    ask.accepted = True
            case Rejected():
                self._cluster.writes.refused(number)
                self._end(number, RETRY)
            case Unknown():
                self._end(number, UNKNOWN)
            case _:
                raise AssertionError(f"{result} is no answer to a Tell")

    def _end(self, number: int, verdict: str, result: Any = None) -> None:
        ask = self._out.pop(number, None)
        if ask is not None:
            self._cluster.ended(ask, verdict, result, self._program.name)
            assert ask.client is not None
            ask.client.ended(ask, verdict, result)


class Wishes:
    """What one client wants, and when: drawn from its stream, at the level of machines as at that of applications."""

    def __init__(self, stream: Stream, think_ns: int, keys: Callable[[str], Sequence[str]] = NAMES.__getitem__) -> None:
        """`keys` are the entities of a region that it asks."""
        self._stream = stream
        self._think_ns = think_ns
        self._keys = keys
        self._recent: list[int] = []

    def wait_ns(self) -> int:
        """How long it waits until it wants something."""
        # The plainest choice, 0.0, is the longest wait.
        return int(2 * (1.0 - self._stream.raw()) * self._think_ns) + 1

    def pause_ns(self) -> int:
        """How long it waits until it wants again what was not handled."""
        return PAUSE + int(self._stream.raw() * PAUSE)

    def count(self) -> int:
        """How many things it wants at once. To be followed by `burst`."""
        return self._stream.between(1, BURST)

    def burst(self, count: int) -> Iterator[tuple[str, str, Kind, int | None]]:
        """So many wishes: region, entity, what, and what is expected there."""
        region, entity, all_of_one = "", "", self._stream.chance(0.3)
        for _ in range(count):
            if not (entity and all_of_one):
                region = self._stream.pick(REGIONS)
                entity = self._stream.pick(self._keys(region))
            yield region, entity, *self._wish(region)

    def asked(self, region: str, kind: Kind, number: int) -> None:
        """One of the wishes was asked for, as the operation of this number."""
        if region == REGISTERS and kind is Kind.WRITE:
            self._recent = [*self._recent[1 - RECENT :], number]

    def _wish(self, region: str) -> tuple[Kind, int | None]:
        if region != REGISTERS:
            return Kind.ADD, None
        kind = self._stream.pick((Kind.READ, Kind.WRITE, Kind.READ, Kind.WRITE, Kind.SWAP, Kind.DELETE))
        if kind is Kind.SWAP:
            return kind, self._stream.pick(self._recent) if self._recent else None
        return kind, None


class Client:
    """One client of a host, in one life."""

    def __init__(self, program: ClusterProgram, number: int, think_ns: int) -> None:
        self._program = program
        self._cluster = program.cluster
        self._host = program.host
        self.name = f"client {number}/{program.host.name}"
        keys = program.cluster.keys_of(self.name)
        self._wishes = Wishes(program.host.stream(f"client {number}"), think_ns, keys)
        self.out = 0
        """How many of its asks have not ended."""
        self.left = program.cluster.quota
        """How many more things it will want; `None` for no end."""

    def begin(self) -> None:
        """Want something after a while, again and again."""
        self._program.later(self._wishes.wait_ns(), self._ask)

    def ended(self, ask: Ask, verdict: str, result: Any) -> None:
        """One ask has ended."""
        if verdict == RETRY and not self._cluster.quiet:
            self._program.later(self._wishes.pause_ns(), lambda: self._again(ask))
            return
        if verdict == DONE or self._cluster.cannot_be_done(ask):
            self._cluster.completed[self._host.name] = self._cluster.completed.get(self._host.name, 0) + 1
        self.out -= 1
        if not self.out:
            self.begin()

    def _again(self, ask: Ask) -> None:
        op = ask.op
        self._program.asks.ask(self, ask.spot[0], op.entity, op.kind, op.expected)

    def _ask(self) -> None:
        if self._cluster.quiet or self._program.pausing or self.left == 0:
            return
        count = self._wishes.count()
        if self.left is not None:
            count = min(count, self.left)
            self.left -= count
        self.out += count
        for region, entity, kind, expected in self._wishes.burst(count):
            number = self._program.asks.ask(self, region, entity, kind, expected)
            self._wishes.asked(region, kind, number)


def operation(ask: Ask, verdict: str, result: Any, client: str, now: Instant) -> Operation | None:
    """An ask of a register as part of a history; `None` for what says nothing."""
    op, answered = ask.op, verdict == DONE
    if ask.spot[0] != REGISTERS or verdict == RETRY or (op.kind is Kind.READ and not answered):
        return None
    wants: dict[Kind, Callable[[], Any]] = {
        Kind.READ: Read,
        Kind.WRITE: lambda: Write(op.number),
        Kind.DELETE: lambda: Write(None),
        Kind.SWAP: lambda: CompareAndSet(op.expected, op.number),
    }
    said = None if op.kind in (Kind.WRITE, Kind.DELETE) else result
    who = f"{client}.{op.number & 0xFFFFF}"
    return Operation(who, op.entity, ask.asked_at, now if answered else NEVER, wants[op.kind](), said)


def keep_ask(timeline: Timeline | None, ask: Ask, verdict: str, result: Any, client: str, now: Instant | None) -> None:
    """An ask for a report, where there is one. `now` is `None` for one that is still out."""
    if timeline is None:
        return
    op = ask.op
    text = f"{op.kind.name.lower()} {ask.spot[0]}/{op.entity}"
    text += f" if it is {op.expected}" if op.kind is Kind.SWAP else ""
    text += f" (number {op.number})"
    answered = now is not None and verdict != UNKNOWN
    timeline.operation(
        kept.Operation(
            f"clients of {op.reply_to}",
            f"{client}.{op.number & 0xFFFFF}",
            op.entity,
            ask.asked_at,
            text,
            now if answered else None,
            None if answered else now,
            f"{verdict} {result if op.kind else ''}".strip() if answered else verdict,
        )
    )


LONGEST_ASK = 3 * SECOND
"""How long a client waits for an answer at most."""
