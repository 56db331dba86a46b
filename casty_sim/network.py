"""The simulated network: for each packet a verdict, which is the instants at which it arrives.

Rules, in the order in which they are asked. The first two lose the packet; the others add up.

1.  A cut link (`cut`, `partition`, `isolate`) loses the packet. A cut has a direction.
2.  Loss, by the chance of the link.
3.  A clogged link keeps the packet until the clog is over, then delivers as if it had been sent then.
4.  Delivery after the delay of the link: a least delay, a uniform part, and now and then a long tail. With a bandwidth,
    packets queue for the wire.
5.  Duplication: the same again after another delay.

On an ordered network (connections) nothing overtakes, so there is no reordering and no duplication, and a loss stands
for what a broken connection loses. On an unordered one (datagrams) every packet has a delay of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from attrs import evolve, field, frozen
from attrs.validators import ge, le

from casty_proto.machine import MILLISECOND, SECOND, Instant, Nanoseconds

from .tape import Stream, Tape

type Name = Hashable


@frozen
class Link:
    """How one direction between two hosts behaves. Probabilities from 0 to 1; delays in nanoseconds."""

    delay_ns: Nanoseconds = field(default=MILLISECOND // 2, validator=ge(0))
    spread_ns: Nanoseconds = field(default=MILLISECOND // 2, validator=ge(0))
    """Up to so much is added, uniformly."""
    tail: float = field(default=0.0, validator=[ge(0.0), le(1.0)])
    """How often a packet takes up to `tail_ns` more."""
    tail_ns: Nanoseconds = field(default=200 * MILLISECOND, validator=ge(0))
    loss: float = field(default=0.0, validator=[ge(0.0), le(1.0)])
    duplicate: float = field(default=0.0, validator=[ge(0.0), le(1.0)])
    bytes_per_second: int = field(default=0, validator=ge(0))
    """0: the wire takes no time."""


class Network:
    """All links of a world. Choices are drawn per sender."""

    def __init__(self, tape: Tape, *, ordered: bool, link: Link | None = None) -> None:
        self.ordered = ordered
        self.default = link or Link()
        self.sent = self.delivered = self.lost = self.duplicated = 0
        self._tape = tape
        self._streams: dict[Name, Stream] = {}
        self._links: dict[tuple[Name, Name], Link] = {}
        self._cut: dict[tuple[Name, Name], int] = {}
        """How many cuts are on a direction: partitions may overlap, and each is healed by itself."""
        self._clogged: dict[tuple[Name, Name], Instant] = {}
        self.on_change: Callable[[], None] | None = None
        """Who is told whenever links were cut, mended, clogged or shaped."""
        self._last: dict[tuple[Name, Name], Instant] = {}
        self._wire_free: dict[tuple[Name, Name], Instant] = {}

    # -- the verdict -----------------------------------------------------------------------------------------------

    def verdict(self, source: Name, target: Name, size: int, now: Instant) -> tuple[Instant, ...]:
        """When a packet of `size` bytes arrives: never, once, or more than once."""
        self.sent += 1
        way = (source, target)
        if way in self._cut:
            self.lost += 1
            return ()
        link = self._links.get(way, self.default) if self._links else self.default
        stream = self._streams.get(source)
        if stream is None:
            stream = self._streams[source] = self._tape.stream(f"net/{source}")
        if link.loss and stream.chance(link.loss):
            self.lost += 1
            return ()
        if self._clogged:
            now = max(now, self._clogged.get(way, now))
        if link.bytes_per_second:
            now = self._wire_free[way] = (
                max(now, self._wire_free.get(way, now)) + size * SECOND // link.bytes_per_second
            )
        at = now + self._delay(link, stream)
        self.delivered += 1
        if self.ordered:
            at = self._last[way] = max(at, self._last.get(way, 0))
            return (at,)
        if not link.duplicate or not stream.chance(link.duplicate):
            return (at,)
        self.duplicated += 1
        return (at, now + self._delay(link, stream))

    def _delay(self, link: Link, stream: Stream) -> Nanoseconds:
        delay = link.delay_ns
        if link.spread_ns:
            delay += int(stream.raw() * link.spread_ns)
        if link.tail and stream.chance(link.tail):
            # Squared: most of the late ones are a little late, a few are very late.
            delay += int(stream.raw() ** 2 * link.tail_ns)
        return delay

    # -- shaping ---------------------------------------------------------------------------------------------------

    def shape(self, source: Name, target: Name, link: Link | None) -> None:
        """Give one direction a behavior of its own, or with `None` the default again."""
        if link is None:
            self._links.pop((source, target), None)
        else:
            self._links[source, target] = link
        self._changed()

    def change(self, **changes: Any) -> None:
        """Change the default behavior, for example `change(loss=0.1)`."""
        self.default = evolve(self.default, **changes)

    def clog(self, source: Name, target: Name, until: Instant) -> None:
        """Keep what is sent in this direction until `until`."""
        self._clogged[source, target] = max(until, self._clogged.get((source, target), until))
        self._changed()

    def cut(self, source: Name, target: Name) -> None:
        """Lose everything in this direction, until it is mended as often as it was cut."""
        self._cut[source, target] = self._cut.get((source, target), 0) + 1
        self._changed()

    def mend(self, source: Name, target: Name) -> None:
        """Undo one `cut`."""
        left = self._cut.pop((source, target), 0) - 1
        if left > 0:
            self._cut[source, target] = left
        self._changed()

    def partition(
        self, one: Iterable[Name], other: Iterable[Name], *, one_way: bool = False
    ) -> list[tuple[Name, Name]]:
        """Cut every link between two groups, from the first to the second only with `one_way`. Returns what was cut."""
        ways = [(a, b) for a in one for b in other if a != b]
        if not one_way:
            ways += [(b, a) for a, b in ways]
        for source, target in ways:
            self.cut(source, target)
        return ways

    def heal(self) -> None:
        """End all cuts and clogs, and every special behavior of links; the default stays."""
        self._cut.clear()
        self._clogged.clear()
        self._links.clear()
        self._changed()

    def is_cut(self, source: Name, target: Name) -> bool:
        """Whether packets in this direction are lost."""
        return (source, target) in self._cut

    # -- for people --------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()

    def cuts(self) -> list[tuple[Name, Name]]:
        """The directions in which nothing arrives."""
        dead = [way for way, link in self._links.items() if link.loss >= 1.0 and way not in self._cut]
        return [*self._cut, *dead]

    def clogs(self) -> dict[tuple[Name, Name], Instant]:
        """The directions that keep what is sent, and until when. Those that are over may be among them."""
        return dict(self._clogged)

    def explain(self, source: Name, target: Name, arrivals: tuple[Instant, ...], now: Instant) -> str:
        """Why a verdict that was just given was no ordinary one; empty for one that was."""
        way = (source, target)
        if not arrivals:
            return "the link is cut" if way in self.cuts() else "lost by chance"
        if self._clogged.get(way, 0) > now:
            return "the link is clogged"
        link = self._links.get(way, self.default)
        return "it takes long" if arrivals[0] - now > 2 * (link.delay_ns + link.spread_ns) else ""
