"""One link, driven by hand. Its pauses are drawn from a seed, so a test that needs one asks for the deadline."""

from __future__ import annotations

from random import Random
from typing import Any

from casty_proto.link import Accepted, Attached, Dial, Dialed, Entry, Interest, Link, LinkOptions, Resumed, Write
from casty_proto.link.events import LinkEffect, LinkEvent
from casty_proto.machine import SECOND, Instant, Nanoseconds, Wake
from casty_proto.wire import Node

LOW = Node("a", 1, "127.0.0.1:1")
HIGH = Node("b", 1, "127.0.0.1:2")
START: Instant = 1_000 * SECOND


def entry(size: int = 3, mark: Any = None) -> Entry:
    """A frame of the session."""
    return (b" " * size, mark, None)


class Bench:
    """A link and its clock. `goes_first` is whether its identity is the lower one."""

    def __init__(
        self,
        options: LinkOptions | None = None,
        *,
        goes_first: bool = True,
        can_dial: bool = True,
        keeps: bool = False,
    ) -> None:
        own, peer = (LOW, HIGH) if goes_first else (HIGH, LOW)
        self.options = LinkOptions() if options is None else options
        self.link = Link(own, peer, self.options, Random(1), can_dial=can_dial, keeps=keeps)
        self.now = START

    def feed(self, event: LinkEvent) -> tuple[LinkEffect, ...]:
        effects = self.link.handle(event, self.now)
        self.link.invariants()
        return effects

    def wait(self, duration_ns: Nanoseconds) -> tuple[LinkEffect, ...]:
        """Let time pass, waking the link whenever it is due; all that it wants meanwhile."""
        end = self.now + duration_ns
        effects: tuple[LinkEffect, ...] = ()
        while (at := self.link.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            effects += self.feed(Wake())
            after = self.link.deadline()
            assert after is None or after > self.now
        self.now = end
        return effects

    def ring(self) -> tuple[LinkEffect, ...]:
        """Go on to the next deadline."""
        at = self.link.deadline()
        assert at is not None
        return self.wait(at - self.now)

    def heard(self, frames: int = 0, size: int = 0) -> object:
        """Something has come."""
        self.link.session.received += frames
        ack = self.link.heard(self.now, frames, size)
        self.link.invariants()
        return ack

    def push(self, *marks: Any) -> None:
        for mark in marks:
            assert self.link.session.push(entry(mark=mark))

    def attach(self, connection: str = "c") -> Bench:
        """Have the peer dial, and go on with whatever session there is, or a new one."""
        number = self.link.session.number
        effects = self.feed(Accepted(connection, number, self.link.session._acked if number else 0, insists=True))
        assert effects[-1] == Attached(connection)
        return self

    def ask(self, connection: str = "d") -> Bench:
        """Have it dial."""
        assert self.feed(Interest(True)) == (Dial(),)
        assert isinstance(self.feed(Dialed(connection))[0], Write)
        return self

    def resume(self, connection: str, received: int = 0) -> tuple[LinkEffect, ...]:
        return self.feed(Resumed(connection, self.link.session.number, received))
