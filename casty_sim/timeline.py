"""What a report of a run is drawn from: who said what to whom, what stood when, and what was asked and answered.

A timeline does not know who simulates. Whoever does tells it of hosts, messages, spans, roles, marks, operations and
log lines, in any order; `casty_sim.html` makes a page of it. Nothing is kept in campaigns: `Trace.timeline` is `None`
there, and whoever would make a record asks that first. Keeping one draws no choice, and touches no digest.

How to feed it: `host` for each host in the order of the lanes, with `begin(..., DOWN)` while it is not started; `up`
and `down` when it starts and stops; `role` whenever it is something else; `begin` and `end` for whatever stands for a
while; `links` after every change of the network; `message` when one is sent, with the instants at which it will arrive;
`mark` and `log` as things happen; `operation` when one is over, or `checkers.history.record` for a whole history.
`World` does most of it for programs of the machine level, and `scenario.run` calls `broke` and `close`.

All instants are nanoseconds on the clock of the world. A lane is a row of the report: a host, or a client.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from enum import Enum

from attrs import define, field, frozen

from casty_proto.machine import Instant

DOWN = "down"
PAUSED = "paused"
CUT = "cut"
CLOGGED = "clogged"
OWNS = "owns"
"""The kinds of spans that have a look of their own. There may be others."""

LINKS = (CUT, CLOGGED)
"""Kinds that belong to the network, and outlast a crash."""


class Fate(Enum):
    """What became of a message."""

    DELIVERED = "delivered"
    LATE = "delayed"
    DOUBLED = "duplicated"
    LOST = "dropped"
    UNHEARD = "unheard"
    """It arrived where nobody was up."""


@frozen
class Message:
    """One message, from the instant at which it was sent."""

    at: Instant
    source: str
    target: str
    kind: str
    text: str
    arrivals: tuple[Instant, ...] = ()
    """When it arrives: never, once, or several times."""
    why: str = ""
    """Why it was lost, or took longer than usual; empty when nothing was unusual."""


@define
class Span:
    """Something that stood for a while."""

    host: str
    kind: str
    name: str
    """Tells spans of one kind on one host from each other: a shard, for example. Often empty."""
    began_at: Instant
    text: str
    until: Instant | None = None
    """When it ends by itself, where that is known."""
    ended_at: Instant | None = None
    """`None` while it goes on, and nothing is `None` after `close`."""


@frozen
class Mark:
    """Something that happened at one instant. `host` is empty for what concerns the whole world."""

    at: Instant
    host: str
    kind: str
    text: str


@frozen
class Role:
    """What a host is from an instant on, until its next role, or until it is down."""

    at: Instant
    host: str
    role: str
    text: str = ""


class Verdict(Enum):
    """What the check of a history says of one of its operations."""

    NOT_CHECKED = "not checked"
    LINEARIZABLE = "linearizable"
    UNKNOWN = "undecided"
    BROKEN = "no order exists"
    STUCK = "does not fit any order"


@define
class Operation:
    """What a client asked for."""

    lane: str
    client: str
    key: str
    called_at: Instant
    text: str
    returned_at: Instant | None = None
    """`None` without an answer."""
    gave_up_at: Instant | None = None
    """Without an answer: when the client did something else. The operation may have been done later all the same."""
    result: str = ""
    verdict: Verdict = Verdict.NOT_CHECKED
    place: int | None = None
    """Its place in the longest order that fits, from 1 on, where no order fits all."""


@frozen
class LogLine:
    """What a host has written into its log."""

    at: Instant
    host: str
    level: str
    text: str


@frozen
class Broken:
    """The rule that was broken, and when."""

    at: Instant
    rule: str
    text: str


@define
class Timeline:
    """Collects all of it."""

    hosts: dict[str, None] = field(factory=dict)
    """The lanes of hosts, from top to bottom."""
    clients: dict[str, None] = field(factory=dict)
    """The lanes of clients, below those of hosts."""
    messages: list[Message] = field(factory=list)
    spans: list[Span] = field(factory=list)
    marks: list[Mark] = field(factory=list)
    roles: list[Role] = field(factory=list)
    operations: list[Operation] = field(factory=list)
    logs: list[LogLine] = field(factory=list)
    broken: Broken | None = None
    ended_at: Instant = 0
    _open: dict[tuple[str, str, str], Span] = field(factory=dict)
    _role: dict[str, tuple[str, str]] = field(factory=dict)
    _focus: Instant | None = None

    # -- hosts -----------------------------------------------------------------------------------------------------

    def host(self, name: str) -> None:
        """There is a host of that name."""
        self.hosts.setdefault(name)

    def client(self, name: str) -> None:
        """There is a client of that name."""
        self.clients.setdefault(name)

    def up(self, at: Instant, host: str, text: str = "") -> None:
        """A host has started."""
        self.end(at, host, DOWN)
        self.mark(at, host, "start", text)

    def down(self, at: Instant, host: str, text: str) -> None:
        """A host is down from now on. It has no role any more, and what it owned or did is over."""
        for each in [key for key in self._open if key[0] == host and key[1] not in LINKS]:
            self.end(at, *each)
        self._role.pop(host, None)
        self.begin(at, host, DOWN, text=text)

    def role(self, at: Instant, host: str, role: str, text: str = "") -> None:
        """A host has this role from now on. `text` may say more, such as a term. A repetition is no news."""
        before = self._role.get(host)
        if before == (role, text) or (before is not None and before[0] == role and not text):
            return
        self._role[host] = (role, text)
        self.roles.append(Role(at, host, role, text))

    # -- what stands for a while -------------------------------------------------------------------------------------

    def begin(
        self, at: Instant, host: str, kind: str, name: str = "", text: str = "", until: Instant | None = None
    ) -> None:
        """Something stands from now on, at most to `until`. What had the same host, kind and name is over."""
        self.end(at, host, kind, name)
        self.host(host)
        span = self._open[host, kind, name] = Span(host, kind, name, at, text, until)
        self.spans.append(span)

    def end(self, at: Instant, host: str, kind: str, name: str = "") -> None:
        """It is over. A no-op when it does not stand."""
        span = self._open.pop((host, kind, name), None)
        if span is not None:
            span.ended_at = at if span.until is None else min(at, span.until)
            if span.began_at == at:
                self.spans.remove(span)

    def links(
        self, at: Instant, cut: Iterable[tuple[str, str]], clogged: Mapping[tuple[str, str], Instant] | None = None
    ) -> None:
        """The directions that are cut at this instant, all of them, and those that are clogged, and until when.

        To be told after every change. Each host gets a span that says whom it does not reach, and whom it does not
        hear.
        """
        sends: dict[str, list[str]] = {}
        hears: dict[str, list[str]] = {}
        for source, target in cut:
            sends.setdefault(source, []).append(target)
            hears.setdefault(target, []).append(source)
        for host in list(self.hosts):
            out, into = sends.get(host, []), hears.get(host, [])
            both = sorted(dict.fromkeys(each for each in out if each in into))
            words = [f"no link with {', '.join(both)}"] if both else []
            words += [f"cannot send to {each}" for each in sorted(out) if each not in both]
            words += [f"does not hear {each}" for each in sorted(into) if each not in both]
            self._stands(at, host, CUT, "", "; ".join(words))
        now = {way: until for way, until in (clogged or {}).items() if until > at}
        for each in [key for key in self._open if key[1] == CLOGGED and (key[0], key[2]) not in now]:
            self.end(at, *each)
        for (source, target), until in now.items():
            self._stands(at, source, CLOGGED, target, f"what is sent to {target} has to wait", until)

    def _stands(self, at: Instant, host: str, kind: str, name: str, text: str, until: Instant | None = None) -> None:
        """Whether something stands is said by its text; empty for no."""
        span = self._open.get((host, kind, name))
        if span is not None and (span.text, span.until) == (text, until):
            return
        self.end(at, host, kind, name)
        if text:
            self.begin(at, host, kind, name, text, until)

    # -- what happens ------------------------------------------------------------------------------------------------

    def mark(self, at: Instant, host: str, kind: str, text: str) -> None:
        """Something has happened."""
        self.marks.append(Mark(at, host, kind, text))

    def message(
        self,
        at: Instant,
        source: str,
        target: str,
        kind: str,
        text: str,
        arrivals: tuple[Instant, ...] = (),
        why: str = "",
    ) -> None:
        """A message was sent, and arrives then. See `Message`."""
        self.messages.append(Message(at, source, target, kind, text, arrivals, why))

    def log(self, at: Instant, host: str, level: str, text: str) -> None:
        """A host has written a line into its log."""
        self.logs.append(LogLine(at, host, level, text))

    def operation(self, operation: Operation) -> None:
        """A client has asked for something, and may have got an answer."""
        self.clients.setdefault(operation.lane)
        self.operations.append(operation)

    # -- the end -----------------------------------------------------------------------------------------------------

    def focus(self, at: Instant) -> None:
        """If the run is said to be broken, this is the moment to look at, and not the one when it was noticed."""
        self._focus = at

    def broke(self, at: Instant, rule: str, text: str) -> None:
        """A rule was broken."""
        self.broken = Broken(at if self._focus is None else self._focus, rule, text)

    def close(self, at: Instant) -> None:
        """The run is over, and with it all that still stands."""
        self.ended_at = at
        for each in list(self._open):
            self.end(at, *each)

    # -- for whoever reads it ----------------------------------------------------------------------------------------

    def fates(self) -> list[tuple[Fate, str]]:
        """For each message what became of it, and why."""
        downs: dict[str, tuple[list[Instant], list[Instant]]] = {}
        for span in sorted([each for each in self.spans if each.kind == DOWN], key=lambda each: each.began_at):
            begins, ends = downs.setdefault(span.host, ([], []))
            begins.append(span.began_at)
            ends.append(2**63 if span.ended_at is None else span.ended_at)
        return [_fate(message, downs.get(message.target)) for message in self.messages]


def _fate(message: Message, downs: tuple[list[Instant], list[Instant]] | None) -> tuple[Fate, str]:
    if not message.arrivals:
        return Fate.LOST, message.why
    if downs is not None and all(_within(downs, at) for at in message.arrivals):
        return Fate.UNHEARD, f"{message.target} is down when it arrives"
    if len(message.arrivals) > 1:
        return Fate.DOUBLED, message.why
    return (Fate.LATE if message.why else Fate.DELIVERED), message.why


def _within(downs: tuple[list[Instant], list[Instant]], at: Instant) -> bool:
    index = bisect_right(downs[0], at) - 1
    return index >= 0 and at < downs[1][index]
