"""Two links and a network between them that can do what networks do, with no clock but its own.

A side does what a driver does: it carries out effects, writes what waits, counts what has come, and wakes the link.
What was pushed and what was delivered is kept beside it, and compared whenever a frame comes and a session ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from heapq import heappop, heappush
from random import Random

from casty_proto.link import (
    COUNTED,
    Accepted,
    Ack,
    Attached,
    Broken,
    Busy,
    Closed,
    Dial,
    Dialed,
    DialFailed,
    Drop,
    Entry,
    Idle,
    Interest,
    Link,
    LinkEffect,
    LinkEvent,
    LinkFrame,
    LinkLost,
    LinkOptions,
    Ping,
    PingFrame,
    Pong,
    Refreshed,
    Resume,
    Resumed,
    SayBusy,
    SayFresh,
    SayResumed,
    Wanted,
    Write,
    packed,
    unpacked,
)
from casty_proto.machine import MILLISECOND, SECOND, Instant, Nanoseconds, Note, Wake
from casty_proto.wire import Node

NODES = (Node("a", 1, "127.0.0.1:1"), Node("b", 1, "127.0.0.1:2"))


class Dialling(Enum):
    """What becomes of a dial."""

    WORKS = "works"
    FAILS = "fails"
    REFUSED = "refused"


class Connection:
    """One connection, which side `dialler` has dialled. Each side has an end of its own; so it may be half open."""

    def __init__(self, pair: Pair, name: int, dialler: int) -> None:
        self.pair = pair
        self.name = name
        self.dialler = dialler
        self.is_open = [True, True]
        self.passes = [True, True]
        """Whether what this side writes gets through. A side whose writes do not is not told."""
        self.delay_ns = [pair.delay_ns, pair.delay_ns]
        self._last: list[Instant] = [0, 0]

    def __repr__(self) -> str:
        return f"connection {self.name} of {'ab'[self.dialler]}"

    def write(self, side: int, bodies: list[bytes]) -> None:
        """Carry frames to the other side, in one piece."""
        if self.is_open[side] and self.passes[side]:
            self._later(side, lambda: self.pair.sides[1 - side].received(self, bodies))

    def close(self, side: int, *, aborted: bool = False) -> None:
        """This side lets go of it."""
        if not self.is_open[side]:
            return
        self.is_open[side] = False
        if self.passes[side]:
            self._later(side, lambda: self.pair.sides[1 - side].closed(self, "closed by the peer"))
        if aborted:
            self.pair.sides[side].forget_connection(self, "reset")

    def _later(self, side: int, arrival: Callable[[], None]) -> None:
        """Never before what was sent earlier, and never when the end there is closed or the way was cut meanwhile."""
        at = self._last[side] = max(self._last[side], self.pair.now + self.delay_ns[side])

        def arrive() -> None:
            if self.is_open[1 - side] and self.passes[side]:
                arrival()

        self.pair.at(at, arrive)


class Side:
    """A driver of one link."""

    def __init__(self, pair: Pair, which: int) -> None:
        self.pair = pair
        self.which = which
        self.lives = 0
        self.interest = False
        self.dialling = Dialling.WORKS
        self.stalled = False
        self.notes: list[Note] = []
        self.losses: list[LinkLost] = []
        self.attachments = 0
        self.dials = 0
        self.epoch = -1
        self._effects: deque[LinkEffect] = deque()
        self._performing = False
        self.begin()

    @property
    def peer(self) -> Side:
        return self.pair.sides[1 - self.which]

    def begin(self) -> None:
        """A process that knows nothing."""
        self.lives += 1
        self.link = Link(
            NODES[self.which],
            NODES[1 - self.which],
            self.pair.options,
            Random(f"{self.pair.seed} {self.which} {self.lives}"),
            can_dial=self.pair.can_dial[self.which],
            keeps=not self.pair.can_dial[1 - self.which],
        )
        self._effects.clear()
        self._begin_session()

    def _begin_session(self) -> None:
        self.epoch += 1
        self.pushed: list[bytes] = []
        self.delivered: list[bytes] = []

    # -- the machine -------------------------------------------------------------------------------------------------

    def feed(self, event: LinkEvent) -> None:
        """One event, and all that follows from it."""
        now, link = self.pair.now, self.link
        at = link.deadline()
        if at is None or at > now:
            assert link.handle(Wake(), now) == ()
            assert link.deadline() == at, "an early Wake changed something"
        self._effects.extend(link.handle(event, now))
        link.invariants()
        if isinstance(event, Wake):
            at = link.deadline()
            assert at is None or at > now, f"woken, and still due at {at}"
        if self._performing:
            return
        self._performing = True
        while self._effects:
            self._carry_out(self._effects.popleft())
        self._performing = False
        self._check()

    def _check(self) -> None:
        """Who has something to say is either attached or will be woken, and does not keep more than it may."""
        link, options = self.link, self.pair.options
        if link.is_used and link.gone is None:
            assert link.attached is not None or link.deadline() is not None, "something to say, and nothing to wait for"
        assert len(link.session) <= options.reserve * options.max_frames
        assert link.session.bytes_kept <= options.reserve * options.max_bytes

    def _carry_out(self, effect: LinkEffect) -> None:
        match effect:
            case Dial():
                self._dial()
            case Write(connection, frame):
                self.say(connection, frame)
            case Attached():
                self.attachments += 1
                self.flush()
            case Drop(connection, _):
                assert isinstance(connection, Connection)
                connection.close(self.which)
            case Ping(number):
                self.say(self.link.attached, PingFrame(number))
            case LinkLost():
                self._on_lost(effect)
            case Note():
                self.notes.append(effect)

    def say(self, connection: object, frame: LinkFrame) -> None:
        assert isinstance(connection, Connection)
        connection.write(self.which, [packed(frame)])

    def _dial(self) -> None:
        self.dials += 1
        life = self.lives

        def outcome() -> None:
            if self.lives != life:
                return
            if self.dialling is Dialling.WORKS:
                self.feed(Dialed(self.pair.connect(self.which)))
            else:
                self.feed(DialFailed(self.dialling.value, refused=self.dialling is Dialling.REFUSED))

        self.pair.at(self.pair.now + self.pair.delay_ns, outcome)

    def _on_lost(self, lost: LinkLost) -> None:
        """Rule 15: nothing is returned that was not pushed, and all that is not returned has been delivered."""
        self.losses.append(lost)
        left = [entry[0] for entry in lost.left]
        assert left == self.pushed[len(self.pushed) - len(left) :]
        for body in self.pushed[: len(self.pushed) - len(left)]:
            assert body in self.pair.delivered, f"{body!r} was neither delivered nor returned"
        self._begin_session()
        if self.interest:
            self.feed(Interest(True))

    # -- connections -------------------------------------------------------------------------------------------------

    def received(self, connection: Connection, bodies: list[bytes]) -> None:
        link, counted = self.link, 0
        for body in bodies:
            if body[0] < COUNTED:
                self._on_frame(connection, unpacked(body))
                link = self.link
            elif not connection.is_open[self.which]:
                return
            else:
                assert connection is link.attached, "a frame of the session came where it cannot be"
                link.session.received += 1
                counted += 1
                self._deliver(body)
        if link.attached is not None and link.session.has_waiting:
            self.flush()
        ack = link.heard(self.pair.now, counted, sum(map(len, bodies)))
        link.invariants()
        if ack is not None:
            self.say(connection, ack)

    def _deliver(self, body: bytes) -> None:
        """It is the next of those that the peer pushed in one of its sessions, and never came before."""
        assert body not in self.pair.delivered, f"{body!r} was delivered twice"
        self.pair.delivered[body] = None
        self.delivered.append(body)
        epoch, number = self.delivered[0].split()[1], len(self.delivered)
        _, *place, refused = body.split()
        assert place == [epoch, b"%d" % (number - 1)], f"out of order: {self.delivered}"
        assert self.link.session.received == number
        if refused != b"-":
            entry = self.link.session.sent(int(refused))
            assert entry is not None, "a refusal came of what was forgotten"
            assert entry[0] == self.pushed[int(refused) - 1]
        elif self.pair.refuses and number % 3 == 0:
            if self._push_one(b"%d" % number, ahead=True):
                self.link.session.refuse(number)
            else:
                self.feed(Broken("too much news waits"))

    def _on_frame(self, connection: Connection, frame: LinkFrame) -> None:
        match frame:
            case Resume(session, received, insists):
                self.feed(Accepted(connection, session, received, insists))
            case SayResumed(session, received):
                self.feed(Resumed(connection, session, received))
            case SayFresh(session):
                self.feed(Refreshed(connection, session))
            case SayBusy():
                self.feed(Busy(connection))
            case Ack(received):
                assert connection is self.link.attached
                assert self.link.session.acknowledge(received), "an acknowledgement that cannot be"
            case PingFrame(number):
                self.say(connection, Pong(number))
            case Pong():
                pass
            case Idle():
                connection.close(self.which)
                self.feed(Closed(connection, "idle", idle=True))

    def closed(self, connection: Connection, text: str) -> None:
        """The other side let go of it."""
        connection.is_open[self.which] = False
        self.feed(Closed(connection, text))

    def forget_connection(self, connection: Connection, text: str) -> None:
        self.feed(Closed(connection, text))

    # -- what there is to say ----------------------------------------------------------------------------------------

    def push(self, count: int = 1, *, ahead: bool = False) -> int:
        """Push frames, each with its place in the session; how many were taken."""
        taken = 0
        while taken < count and self._push_one(b"-", ahead=ahead):
            taken += 1
        if ahead and taken < count:
            self.feed(Broken("too much news waits"))
        elif taken:
            self.flush()
        return taken

    def _push_one(self, refused: bytes, *, ahead: bool) -> bool:
        """Each frame says where it belongs, and which frame of the peer it refuses, if any."""
        letter = b"ab"[self.which : self.which + 1]
        entry: Entry = (b"%c%s %d %d %s" % (COUNTED, letter, self.epoch, len(self.pushed), refused), None, None)
        session = self.link.session
        taken = session.push_ahead(entry) if ahead else session.push(entry)
        if taken:
            self.pushed.append(entry[0])
        return taken

    def flush(self) -> None:
        """Write what waits: all of it, or a single frame where the connection has no room."""
        connection = self.link.attached
        if connection is None:
            self.feed(Wanted())
            return
        assert isinstance(connection, Connection)
        bodies = self.link.session.take(1 if self.stalled else 2**20)
        if bodies:
            connection.write(self.which, bodies)

    def set_interest(self, wanted: bool) -> None:
        self.interest = wanted
        self.feed(Interest(wanted))

    def unstall(self) -> None:
        self.stalled = False
        if self.link.attached is not None:
            self.flush()


class Pair:
    """Both sides, and the time."""

    def __init__(
        self,
        options: LinkOptions | None = None,
        *,
        seed: int = 0,
        refuses: bool = False,
        can_dial: tuple[bool, bool] = (True, True),
        delay_ns: Nanoseconds = MILLISECOND,
    ) -> None:
        self.options = LinkOptions() if options is None else options
        self.seed = seed
        self.refuses = refuses
        """Whether every third frame is refused, by a frame that says so."""
        self.can_dial = can_dial
        self.delay_ns = delay_ns
        self.now: Instant = 1_000 * SECOND
        self.connections: list[Connection] = []
        self.delivered: dict[bytes, None] = {}
        self._later: list[tuple[Instant, int, Callable[[], None]]] = []
        self._sequence = 0
        self.sides: tuple[Side, Side] = (Side(self, 0), Side(self, 1))

    @property
    def a(self) -> Side:
        return self.sides[0]

    @property
    def b(self) -> Side:
        return self.sides[1]

    def at(self, instant: Instant, action: Callable[[], None]) -> None:
        self._sequence += 1
        heappush(self._later, (instant, self._sequence, action))

    def connect(self, dialler: int) -> Connection:
        connection = Connection(self, len(self.connections), dialler)
        self.connections.append(connection)
        return connection

    def advance(self, duration_ns: Nanoseconds) -> None:
        """Let time pass, with all that is due meanwhile, in order."""
        end = self.now + duration_ns
        for _ in range(100_000):
            sides = [(at, side) for side in self.sides if (at := side.link.deadline()) is not None]
            at, side = min(sides, key=lambda due: due[0], default=(end + 1, self.a))
            if self._later and self._later[0][0] <= min(at, end):
                self.now, _, action = heappop(self._later)
                action()
            elif at <= end:
                self.now = max(self.now, at)
                side.feed(Wake())
            else:
                self.now = end
                return
        raise AssertionError("it goes on without end")

    # -- accidents ---------------------------------------------------------------------------------------------------

    def cut(self, connection: Connection, *, a_hears: bool = False, b_hears: bool = False) -> None:
        """Nothing passes any more. Those who do not hear of it believe that the connection is open."""
        connection.passes = [False, False]
        for side, hears in zip(self.sides, (a_hears, b_hears), strict=True):
            if hears and connection.is_open[side.which]:
                side.closed(connection, "cut")

    def forget(self, which: int, *, peer_hears: bool) -> None:
        """This side knows nothing of what was, under the same name."""
        for connection in self.connections:
            if connection.is_open[which]:
                if not peer_hears:
                    connection.passes[which] = False
                connection.close(which)
        self.sides[which].begin()
        if self.sides[which].interest:
            self.sides[which].feed(Interest(True))

    def heal(self) -> None:
        """New connections can be made, and are quick."""
        self.delay_ns = MILLISECOND
        for connection in self.connections:
            connection.delay_ns = [MILLISECOND, MILLISECOND]
        for side in self.sides:
            side.dialling = Dialling.WORKS
            side.unstall()

    def check_settled(self) -> None:
        """Both sides are attached to the same connection, in the same session, and nothing is under way."""
        a, b = self.a, self.b
        assert a.link.attached is b.link.attached is not None, f"{a.link.attached} and {b.link.attached}"
        assert a.link.session.number == b.link.session.number != 0
        for side in self.sides:
            assert len(side.link.session) == 0, f"{'ab'[side.which]} still keeps {side.link.session.left()}"
            assert side.peer.delivered == side.pushed
