"""The link to one peer: which connection carries it, when to dial, and when to give up.

Theory of operation
-------------------
    DETACHED --Dial--> dialling --Dialed--> asking --Resumed, Refreshed--> ATTACHED
        ^  \\                                  ^ Busy, Closed: back to DETACHED   |
        |   \\------- Accepted (the peer dialled) -----------------------------> |
        +-------------------------------- Closed --------------------------------+

The link is named after the peer's identity, so a driver dials an address first and looks for the link of whom it finds
there. `session` is the direct lane: frames are pushed into it and taken from it without an event.

While it is detached and there is something to say, the link dials, and the time until it is lost runs. While it is
attached, one deadline looks after the connection: it asks for signs when there is something to lose, and closes the
connection when there was no need of it for long.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import assert_never

from ..machine import Instant, Nanoseconds, Note, Severity, Wake
from ..timers import Deadlines
from ..wire import Node
from .events import (
    Accepted,
    Attached,
    Broken,
    Busy,
    Closed,
    Connection,
    Dial,
    Dialed,
    DialFailed,
    Drop,
    Farewell,
    Interest,
    LinkEffect,
    LinkEvent,
    LinkLost,
    Ping,
    Refreshed,
    Resumed,
    Superseded,
    Wanted,
    Write,
)
from .frames import NUMBER_MAX, Ack, Idle, Resume, SayBusy, SayFresh, SayResumed
from .options import LinkOptions
from .session import Session

type _Effects = tuple[LinkEffect, ...]


class _Deadline(Enum):
    DIAL = "dial"
    ASK = "ask"
    LOST = "lost"
    LIVE = "live"
    ACK = "ack"


class Link:
    """One side of a link, between the node `own` and the node `peer`.

    `options` say how long to wait for what, and `rng` draws the numbers of sessions and the jitter of pauses.
    `can_dial` is off where the peer listens nowhere. `keeps` is on where the peer cannot dial: who is the only one to
    dial keeps the connection, whether it needs it or not.
    """

    def __init__(
        self, own: Node, peer: Node, options: LinkOptions, rng: Random, *, can_dial: bool = True, keeps: bool = False
    ) -> None:
        self.peer = peer
        self.session = Session(options)
        """The direct lane. Replaced when the session is lost."""
        self.gone: str | None = None
        """Why the peer is gone for good, or `None` while it is not."""
        self._goes_first = (own.node_id, own.generation) < (peer.node_id, peer.generation)
        self._options = options
        self._rng = rng
        self._can_dial = can_dial
        self._keeps = keeps
        self._interest = False
        self._untold_bytes = 0
        """How much of the session has come since the last acknowledgement."""
        self._attached: Connection | None = None
        self._asking: Connection | None = None
        """The connection on which our `Resume` is not answered yet."""
        self._dialing = False
        self._attempt = 0
        self._refused_since: Instant | None = None
        self._heard_at: Instant = 0
        self._used_at: Instant = 0
        self._pings = 0
        self._pinged_at: Instant | None = None
        """When the first question for a sign went out that is not answered yet."""
        self._insists = False
        """Whether the peer was asked to let its own connection go, after it had said that it is busy with it."""
        self._trouble = "nobody has connected yet"
        """What went wrong last, for the text of the end."""
        self._deadlines: Deadlines[_Deadline] = Deadlines()

    # -- the contract --------------------------------------------------------------------------------------------------

    def handle(self, event: LinkEvent, now: Instant) -> _Effects:
        """Apply one event; see `casty_proto.machine`."""
        match event:
            case Wanted():
                return self._dial_if_needed(now)
            case Interest(wanted):
                return self._on_interest(wanted, now)
            case Dialed(connection):
                return self._on_dialed(connection, now)
            case DialFailed(text, refused):
                return self._on_dial_failed(text, refused, now)
            case Accepted():
                return self._on_accepted(event, now)
            case Resumed(connection, session, received):
                return self._on_resumed(connection, session, received, now)
            case Refreshed(connection, session):
                return self._on_refreshed(connection, session, now)
            case Busy(connection):
                return self._on_busy(connection, now)
            case Closed(connection, text, idle):
                return self._on_closed(connection, text, idle, now)
            case Farewell(connection, text):
                return self._on_farewell(connection, text, now)
            case Superseded(text):
                return self._on_superseded(text)
            case Broken(text):
                return self._on_broken(text, now)
            case Wake():
                return self._on_wake(now)
            case _:
                assert_never(event)

    def deadline(self) -> Instant | None:
        """When the link wants `Wake`, or `None`."""
        return self._deadlines.earliest()

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        self._deadlines.invariants()
        self.session.invariants()
        assert self._attached is None or self._asking is None, "attached, and still asking"
        assert (_Deadline.LIVE in self._deadlines) == (self._attached is not None), "a connection that nobody watches"
        assert not (self._attached is not None and _Deadline.LOST in self._deadlines), "attached, and being given up"
        assert (_Deadline.ASK in self._deadlines) == (self._asking is not None), "a question that nobody watches"
        assert self._attached is not None or _Deadline.ACK not in self._deadlines, "nowhere to acknowledge"
        assert self.session.number or self._attached is None, "attached without a session"
        if self.gone is not None:
            assert not len(self._deadlines), "gone, and waiting"
            assert not len(self.session), "gone, and keeping frames"

    # -- the direct lane -----------------------------------------------------------------------------------------------

    @property
    def attached(self) -> Connection | None:
        """The connection that carries the session, or `None`."""
        return self._attached

    @property
    def is_promising(self) -> bool:
        """Whether what is pushed now may soon be on its way: there is a connection, or no attempt at one has failed."""
        return self._attached is not None or (self.gone is None and self._can_dial and not self._attempt)

    @property
    def is_used(self) -> bool:
        """Whether there is something to lose: frames under way, or interest in the peer's end."""
        return self._interest or self._keeps or len(self.session) > 0

    def heard(self, now: Instant, frames: int, size: int) -> Ack | None:
        """Something has come on one of the peer's connections, `frames` of the session among it, counted already.

        `size` is how many bytes it was, give or take what is not of the session. Returns an acknowledgement that is due
        at once (rule 3). There is none when the connection was given up because of what came with them; the next
        connection begins with it.
        """
        # A peer that has nothing to lose asks for no signs. So whatever comes says that it needs the connection.
        self._heard_at = self._used_at = now
        self._pinged_at = None
        if not frames or self._attached is None:
            return None
        session, options = self.session, self._options
        self._untold_bytes += size
        enough = session.received - session.told >= options.ack_every or self._untold_bytes >= options.ack_bytes
        due = self.acknowledgement() if enough else None
        self._acknowledge_later(now)
        return due

    def _acknowledge_later(self, now: Instant) -> None:
        if self.session.told < self.session.received and _Deadline.ACK not in self._deadlines:
            self._deadlines.set(_Deadline.ACK, now + self._options.ack_after_ns)

    def acknowledgement(self) -> Ack | None:
        """The acknowledgement for all that has come, or `None` if the peer knows of it or is not attached.

        What was refused is not acknowledged until the refusal is written.
        """
        self._deadlines.cancel(_Deadline.ACK)
        session = self.session
        if self._attached is None or session.told == session.received or (settled := session.settled) <= session.told:
            return None
        session.told = settled
        self._untold_bytes = 0
        return Ack(settled)

    # -- dialling ------------------------------------------------------------------------------------------------------

    def _on_interest(self, wanted: bool, now: Instant) -> _Effects:
        self._interest = wanted
        if not self.is_used:
            # Nothing can be lost. Time in which nobody tried to reach the peer must not count later on.
            self._deadlines.cancel(_Deadline.LOST)
            self._refused_since = None
        return self._dial_if_needed(now)

    def _dial_if_needed(self, now: Instant) -> _Effects:
        if self.gone is not None or self._attached is not None or not self.is_used:
            return ()
        if _Deadline.LOST not in self._deadlines:
            self._deadlines.set(_Deadline.LOST, now + self._options.lost_after_ns)
        if not self._can_dial or self._dialing or self._asking is not None or _Deadline.DIAL in self._deadlines:
            return ()
        self._dialing = True
        return (Dial(),)

    def _on_dialed(self, connection: Connection, now: Instant) -> _Effects:
        self._dialing = False
        if self.gone is not None or self._attached is not None or self._asking is not None:
            return (Drop(connection, "it is not needed any more"),)
        self._asking = connection
        self._deadlines.set(_Deadline.ASK, now + self._options.mute_after_ns)
        return (Write(connection, Resume(self.session.number, self.session.received, self._insists)),)

    def _on_dial_failed(self, text: str, refused: bool, now: Instant) -> _Effects:
        self._dialing = False
        if self.gone is not None or self._attached is not None:
            return ()
        self._trouble = text
        if not refused:
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = now
        elif now - self._refused_since >= self._options.refused_after_ns:
            return self._on_refused(f"{text}, for {(now - self._refused_since) / 1e9:.3g} s", now)
        self._set_back(now)
        return ()

    def _on_refused(self, text: str, now: Instant) -> _Effects:
        """Rule 13. Who keeps the connection tries again."""
        asking = self._stop_asking(text)
        lost = self._lose(text, for_good=False)
        self._set_back(now)
        return (*lost, *asking)

    def _set_back(self, now: Instant) -> None:
        """Try again later (rule 10)."""
        if self.is_used and self._can_dial:
            self._deadlines.set(_Deadline.DIAL, now + self._pause())

    def _pause(self) -> Nanoseconds:
        """Rule 10. Half of it is left to chance, so that those who were cut off together do not return together."""
        options = self._options
        longest = min(options.backoff_min_ns << min(self._attempt, 40), options.backoff_max_ns)
        self._attempt += 1
        return longest - self._rng.randrange(longest // 2 + 1)

    # -- connections ---------------------------------------------------------------------------------------------------

    def _on_accepted(self, event: Accepted, now: Instant) -> _Effects:
        connection, session, received = event.connection, event.session, event.received
        if self.gone is not None:
            return (Drop(connection, f"the peer is gone: {self.gone}"),)
        ours = self.session
        if session and session == ours.number and not ours.can_rewind(received):
            return self._rubbish(connection, f"it has received {received} frames, which cannot be", now)
        # Rule 9. What meets another connection may be older than that one, and on its way to be closed. If it is not,
        # the peer comes again, and insists.
        if not event.insists and (self._attached is not None or (self._asking is not None and self._goes_first)):
            return (Write(connection, SayBusy()), Drop(connection, "there is another connection"))
        before: _Effects = tuple(
            [
                Drop(old, "another connection took its place")
                for old in (self._asking, self._attached)
                if old is not None
            ]
        )
        self._asking = None
        self._detach()
        if session != ours.number or not session:
            return (*before, *self._begin_anew(connection, now))
        ours.rewind(received)
        ours.told = ours.received
        answer = Write(connection, SayResumed(ours.number, ours.received))
        return (*before, answer, *self._attach(connection, now))

    def _begin_anew(self, connection: Connection, now: Instant) -> _Effects:
        """Rule 7, at the listener."""
        lost: _Effects = ()
        if self.session.number:
            lost = self._lose("the peer has begun anew, and its log should say why", for_good=False)
        number = self.session.number = 1 + self._rng.randrange(NUMBER_MAX)
        return (*lost, Write(connection, SayFresh(number)), *self._attach(connection, now))

    def _on_resumed(self, connection: Connection, session: int, received: int, now: Instant) -> _Effects:
        if connection != self._asking:
            return self._rubbish(connection, "it answers a question that was not asked", now)
        ours = self.session
        if session != ours.number or not session or not ours.rewind(received):
            return self._rubbish(connection, f"it resumes {session} after {received} frames, which cannot be", now)
        self._asking = None
        ours.told = ours.received
        return self._attach(connection, now)

    def _on_refreshed(self, connection: Connection, session: int, now: Instant) -> _Effects:
        if connection != self._asking:
            return self._rubbish(connection, "it answers a question that was not asked", now)
        self._asking = None
        lost: _Effects = ()
        if self.session.number:
            lost = self._lose("the peer has begun anew, and its log should say why", for_good=False)
        self.session.number = session
        return (*lost, *self._attach(connection, now))

    def _on_busy(self, connection: Connection, now: Instant) -> _Effects:
        if connection != self._asking:
            return self._rubbish(connection, "it answers a question that was not asked", now)
        asking = self._stop_asking("the peer is busy with another connection")
        self._insists = True
        self._trouble = "the peer was busy with another connection"
        self._set_back(now)
        return asking

    def _attach(self, connection: Connection, now: Instant) -> _Effects:
        assert self.session.number
        self._attached = connection
        self._attempt = self._untold_bytes = 0
        self._insists = False
        self._refused_since = self._pinged_at = None
        self._heard_at = self._used_at = now
        for key in (_Deadline.DIAL, _Deadline.ASK, _Deadline.LOST, _Deadline.ACK):
            self._deadlines.cancel(key)
        self._deadlines.set(_Deadline.LIVE, now + self._options.ping_after_ns)
        return (Attached(connection),)

    def _detach(self) -> None:
        self._attached = None
        self._deadlines.cancel(_Deadline.LIVE)
        self._deadlines.cancel(_Deadline.ACK)

    def _on_closed(self, connection: Connection, text: str, idle: bool, now: Instant) -> _Effects:
        if self.gone is not None:
            return ()
        if connection == self._asking:
            self._asking = None
            self._deadlines.cancel(_Deadline.ASK)
            self._trouble = text
            self._set_back(now)
            return ()
        if connection != self._attached:
            return ()
        self._detach()
        self._trouble = text
        return self._dial_if_needed(now) if not idle or self.is_used else ()

    def _rubbish(self, connection: Connection, what: str, now: Instant) -> _Effects:
        """Rule 16."""
        note = Note(Severity.WARNING, f"{self.peer}: {what}; its connection is closed")
        return (note, Drop(connection, what), *self._on_closed(connection, what, idle=False, now=now))

    # -- the end -------------------------------------------------------------------------------------------------------

    def _on_farewell(self, connection: Connection, text: str, now: Instant) -> _Effects:
        if self.gone is not None:
            return ()
        if connection not in (self._attached, self._asking):
            return self._rubbish(connection, "it says farewell without having been met", now)
        return (*self._lose(f"it has ended: {text}", for_good=True), Drop(connection, "the peer has ended"))

    def _on_superseded(self, text: str) -> _Effects:
        if self.gone is not None:
            return ()
        open_ones = tuple([c for c in (self._attached, self._asking) if c is not None])
        return (*self._lose(text, for_good=True), *[Drop(connection, text) for connection in open_ones])

    def _on_broken(self, text: str, now: Instant) -> _Effects:
        """Rules 4 and 16."""
        if self.gone is not None:
            return ()
        attached: _Effects = () if self._attached is None else (Drop(self._attached, text),)
        self._detach()
        asking = self._stop_asking(text)
        return (*self._lose(text, for_good=False), *attached, *asking, *self._dial_if_needed(now))

    def _stop_asking(self, text: str) -> _Effects:
        """The answer is there, or would be of no use, since the session that was asked for is lost."""
        asking, self._asking = self._asking, None
        self._deadlines.cancel(_Deadline.ASK)
        return () if asking is None else (Drop(asking, text),)

    def _lose(self, text: str, *, for_good: bool) -> _Effects:
        """The session is over (rules 13 to 15)."""
        left = self.session.left()
        self.session = Session(self._options)
        for key in (_Deadline.DIAL, _Deadline.LOST, _Deadline.ACK):
            self._deadlines.cancel(key)
        self._refused_since = None
        self._attempt = 0
        self._interest = self._insists = False
        if for_good:
            self.gone = text
            self._asking = None
            self._deadlines.cancel(_Deadline.ASK)
            self._detach()
        return (LinkLost(text, for_good, left),)

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def _on_wake(self, now: Instant) -> _Effects:
        effects: _Effects = ()
        for key in self._deadlines.due(now):
            match key:
                case _Deadline.DIAL:
                    effects += self._dial_if_needed(now)
                case _Deadline.ASK:
                    effects += self._on_ask_due(now)
                case _Deadline.LOST:
                    effects += self._on_lost_due(now)
                case _Deadline.LIVE:
                    effects += self._on_live_due(now)
                case _Deadline.ACK:
                    effects += self._on_ack_due(now)
        return effects

    def _on_ask_due(self, now: Instant) -> _Effects:
        connection, text = self._asking, "it did not answer on its connection"
        return (Drop(connection, text), *self._on_closed(connection, text, idle=False, now=now))

    def _on_lost_due(self, now: Instant) -> _Effects:
        text = f"it was out of reach for {self._options.lost_after_ns / 1e9:.3g} s: {self._trouble}"
        asking = self._stop_asking(text)
        return (*self._lose(text, for_good=False), *asking, *self._dial_if_needed(now))

    def _on_ack_due(self, now: Instant) -> _Effects:
        acknowledgement = self.acknowledgement()
        self._acknowledge_later(now)
        return () if acknowledgement is None else (Write(self._attached, acknowledgement),)

    def _on_live_due(self, now: Instant) -> _Effects:
        """Rules 11 and 12."""
        options, connection = self._options, self._attached
        silent = now - self._heard_at
        if self.is_used:
            self._used_at = now
            # It must have been asked, and not only have had nothing to say.
            asked = self._pinged_at
            if asked is not None and now - asked >= options.mute_after_ns - options.ping_after_ns:
                self._detach()
                self._trouble = f"nothing was heard for {silent / 1e9:.3g} s"
                return (Drop(connection, self._trouble), *self._dial_if_needed(now))
            if silent >= options.ping_after_ns:
                self._pinged_at = now if asked is None else asked
                self._pings += 1
                self._deadlines.set(_Deadline.LIVE, now + options.ping_after_ns)
                return (Ping(self._pings),)
            self._deadlines.set(_Deadline.LIVE, self._heard_at + options.ping_after_ns)
            return ()
        if now - self._used_at < options.idle_after_ns:
            self._deadlines.set(_Deadline.LIVE, now + options.ping_after_ns)
            return ()
        self._detach()
        return (Write(connection, Idle()), Drop(connection, "nobody needs it"))
