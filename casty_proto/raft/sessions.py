"""Sessions: what makes a retry harmless (thesis 6.3).

Rules
-----
1.  A session begins when `OpenSession` is applied and is named by that index, so no two ever have the same name. Each
    command of it has a serial number. A command whose serial was applied before is not applied again.
2.  The client need not send its commands one after the other. A session remembers `low`, below which every serial
    counts as applied, and those above it that were. `low` rises over what was applied without a gap, and to the
    `floor` that a command names: the client has the answers below it, or gave them up.
3.  A session that was not used for its time to live is over. Time is the cluster's clock, which stands in the entries,
    so that every server comes to the same conclusion. A command of a session that is over, or never was, is not
    applied: nobody can know whether it was before.
4.  A client that leaves a gap and goes on for `MAX_APART` commands has lost its session. Otherwise it would never be
    forgotten what came after the gap.
5.  What is over is forgotten when it is used, and at the latest when another session is opened, a minute after the
    last time. These moments too are the same on every server, because the application is told of each end.

The table is part of what is applied: a snapshot holds it, and `encode` gives the same bytes on every server that has
applied the same entries.
"""

from __future__ import annotations

from enum import Enum
from struct import pack, unpack

from ..machine import SECOND, Nanoseconds
from .entries import TIME_MAX, Command

MAX_APART = 4096
"""How far a client may go on past a serial that is missing."""

_NATURAL_MAX = 2**63 - 1
"""The highest serial, index and time to live that there can be."""
_SWEEP_INTERVAL: Nanoseconds = 60 * SECOND


class Verdict(Enum):
    """What becomes of a command."""

    FRESH = "to be applied"
    DUPLICATE = "applied before"
    UNKNOWN = "of no session"
    ENDED = "of a session that ends here"


FRESH, DUPLICATE, UNKNOWN, ENDED = Verdict.FRESH, Verdict.DUPLICATE, Verdict.UNKNOWN, Verdict.ENDED


class Session:
    """One client's commands."""

    __slots__ = ("applied", "low", "ttl_ns", "used_ns")

    def __init__(self, ttl_ns: Nanoseconds, used_ns: Nanoseconds, low: int = 1) -> None:
        self.ttl_ns = ttl_ns
        self.used_ns = used_ns
        self.low = low
        self.applied: dict[int, None] = {}
        """The applied serials that are not below `low`."""

    def is_over(self, time_ns: Nanoseconds) -> bool:
        """Whether the session has not been used for too long."""
        return time_ns - self.used_ns > self.ttl_ns

    def fault(self, time_ns: Nanoseconds) -> str | None:
        """Why no commands can have led here by `time_ns`, or `None` where some can."""
        if not 0 < self.ttl_ns <= _NATURAL_MAX:
            return f"lives for {self.ttl_ns}"
        if self.used_ns > time_ns:
            return "was used in the future"
        if not 0 < self.low <= _NATURAL_MAX + 1:
            return f"has no serials from {self.low} on"
        if len(self.applied) > MAX_APART:
            return "goes on without end"
        if self.applied and not self.low < min(self.applied) <= max(self.applied) <= _NATURAL_MAX:
            return "did not close up"
        return None

    def raise_to(self, floor: int) -> None:
        """Every serial below `floor` counts as applied."""
        if floor > self.low:
            self.low = floor
            self.applied = {serial: None for serial in self.applied if serial >= floor}
        self._close_up()

    def add(self, serial: int) -> bool:
        """Whether `serial` is new. It is not any more."""
        if serial < self.low or serial in self.applied:
            return False
        self.applied[serial] = None
        self._close_up()
        return True

    def _close_up(self) -> None:
        while self.low in self.applied:
            del self.applied[self.low]
            self.low += 1


class Sessions:
    """The open sessions, after the last entry that was applied."""

    __slots__ = ("_open", "_sweep_ns", "time_ns")

    def __init__(self) -> None:
        self._open: dict[int, Session] = {}
        self._sweep_ns = 0
        self.time_ns: Nanoseconds = 0
        """The cluster's clock at the last entry that had to do with sessions."""

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, session: int) -> bool:
        return session in self._open

    def is_full(self, limit: int, time_ns: Nanoseconds) -> bool:
        """Whether no more than these should be open. Never when the next one that is opened finds out what is over."""
        return len(self._open) >= limit and time_ns < self._sweep_ns

    def admit(self, command: Command, time_ns: Nanoseconds) -> Verdict:
        """What becomes of a command that is committed now. `ENDED` where it is the end of its session."""
        self.time_ns = time_ns
        session = self._open.get(command.session)
        if session is None:
            return UNKNOWN
        if session.is_over(time_ns):
            del self._open[command.session]
            return ENDED
        session.used_ns = time_ns
        session.raise_to(command.floor)
        if not session.add(command.serial):
            return DUPLICATE
        if len(session.applied) > MAX_APART:
            del self._open[command.session]
            return ENDED
        return FRESH

    def open(self, index: int, ttl_ns: Nanoseconds, time_ns: Nanoseconds) -> tuple[int, ...]:
        """Begin the session `index`. Returns those that are found to be over."""
        self.time_ns = time_ns
        over: tuple[int, ...] = ()
        if time_ns >= self._sweep_ns:
            self._sweep_ns = time_ns + _SWEEP_INTERVAL
            over = tuple([number for number, session in self._open.items() if session.is_over(time_ns)])
            for number in over:
                del self._open[number]
        self._open[index] = Session(ttl_ns, time_ns)
        return over

    def renew(self, number: int, time_ns: Nanoseconds) -> Verdict:
        """Use a session without a command."""
        self.time_ns = time_ns
        session = self._open.get(number)
        if session is None:
            return UNKNOWN
        if session.is_over(time_ns):
            del self._open[number]
            return ENDED
        session.used_ns = time_ns
        return FRESH

    def close(self, number: int, time_ns: Nanoseconds) -> Verdict:
        """End a session."""
        self.time_ns = time_ns
        return UNKNOWN if self._open.pop(number, None) is None else ENDED

    # ----------------------------------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """The table as bytes, the same on every server that has applied the same entries."""
        numbers = [self.time_ns, self._sweep_ns]
        for number, session in self._open.items():
            numbers += (number, session.ttl_ns, session.used_ns, session.low, len(session.applied))
            numbers += sorted(session.applied)
        return pack(f">{len(numbers)}Q", *numbers)

    @classmethod
    def decode(cls, data: bytes, highest: int = _NATURAL_MAX) -> Sessions:
        """The table that was encoded. Raises `ValueError` for bytes that are none.

        `highest`: the index up to which entries were applied, and so the highest number that a session can have.
        """
        count, rest = divmod(len(data), 8)
        numbers = iter(unpack(f">{count}Q", data) if not rest else ())
        table = cls()
        try:
            table.time_ns = next(numbers)
            table._sweep_ns = next(numbers)
            if table.time_ns > TIME_MAX or table._sweep_ns > table.time_ns + _SWEEP_INTERVAL:
                raise ValueError(f"the clock of the table stands at {table.time_ns}, its sweep at {table._sweep_ns}")
            for number in numbers:
                if not 0 < number <= highest or number in table._open:
                    raise ValueError(f"a session {number} cannot be in the table, or only once")
                session = Session(next(numbers), next(numbers), next(numbers))
                applied = next(numbers)
                if applied > MAX_APART:
                    raise ValueError(f"session {number} has {applied} serials after a gap")
                serials = [next(numbers) for _ in range(applied)]
                session.applied = dict.fromkeys(serials)
                if serials != sorted(session.applied):
                    raise ValueError(f"the serials of session {number} are not in order")
                if (fault := session.fault(table.time_ns)) is not None:
                    raise ValueError(f"session {number} of the table {fault}")
                table._open[number] = session
        except StopIteration:
            raise ValueError(f"{len(data)} bytes are no table of sessions") from None
        return table

    def invariants(self) -> None:
        """What holds of every session."""
        assert self._sweep_ns <= self.time_ns + _SWEEP_INTERVAL, f"{self._sweep_ns} is long after {self.time_ns}"
        for number, session in self._open.items():
            fault = session.fault(self.time_ns)
            assert fault is None, f"session {number} {fault}"
