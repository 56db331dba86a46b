"""Leases: how a node knows that nobody else owns what it owns.

Theory of operation
-------------------
A node may act as an owner only while it holds a lease. There is one lease for each node, for all that it owns, and it
is pulled: the holder asks the leader again and again, and what it gets counts from the instant at which it asked. The
leader counts from a later instant, at which it gave, and somewhat longer. So when the lease is over for the leader, it
has long been over for the holder, whatever happened to the messages between them, as long as no clock runs faster than
another by more than the drift.

A leader that was replaced without knowing could give what its successor is giving away. Therefore a leader gives
nothing before it has made sure, after the question came, that it still leads (the read-index of Raft). Whoever is
elected later is elected after that question was asked; so a new leader that takes it that everybody was given a lease
at the moment of its own election waits long enough for all that its predecessors gave.

    holder                        leader
      | asks at t0                  |
      |---------------------------->| makes sure that it leads
      |                             | gives at t1 >= t0: it is over at t1 + D (1 + drift) here
      |<----------------------------|
      | it is over at t0 + D        |

Rules
-----
 1. A lease ends `duration_ns` after it was asked for. It is then over at once, and the holder says so.
 2. A lease can be used once the holder has applied what the leader had applied when it gave it: before, the holder
    could take for its own what was given away while it had none.
 3. A leader gives only after it has made sure that it leads, after it was asked.
 4. For the leader a lease ends `duration_ns`, and the drift, after it was given. A new leader takes it that every node
    was given one when it was elected.
 5. While something is being taken from a node whose lease has ended, the leader gives it no other, until that is done.
 6. A holder asks again after a quarter of the duration, or, once half of that has passed, with whatever it answers the
    leader. It asks at once when there is another leader. An answer to a question that is not the latest counts as of
    its own question.
 7. Rubbish from a peer is noted, and changes nothing.
 8. What makes sure that a node leads costs a round of messages to all. So renewals wait for each other, and for the
    next round that there is anyhow, at most a sixth of the duration: a little longer than a heartbeat, by the defaults.
    Who has no lease, or has it no longer than half of its duration, does not wait.
"""

from __future__ import annotations

from typing import Any, assert_never

from attrs import field, frozen
from attrs.validators import instance_of

from ..machine import MILLISECOND, SECOND, Instant, Nanoseconds, Note, Severity, Wake, shown
from ..values import value

DURATION_MAX: Nanoseconds = 86_400 * SECOND
_QUESTIONS_MAX = 16
"""How many questions may be open. An answer to an older one would be of no use."""


def in_range(low: int, high: int) -> Any:
    """Validator: a whole number between the two, both included."""

    def validate(_: object, attribute: Any, number: object) -> None:
        if type(number) is not int:
            raise TypeError(f"{attribute.name} must be a whole number, not {shown(number)}")
        if not low <= number <= high:
            raise ValueError(f"{attribute.name} must be from {low} to {high}, not {number}")

    return validate


@frozen
class LeaseOptions:
    """The same on all nodes of a cluster. Raises `ValueError` or `TypeError` for what makes no sense."""

    duration_ns: Nanoseconds = field(default=2 * SECOND, validator=in_range(MILLISECOND, DURATION_MAX))
    """How long a lease lasts. It bounds how long the work of a node that crashed lies idle."""
    drift_percent: int = field(default=10, validator=in_range(0, 1000))
    """By how much one node's clock may run faster than another's."""

    @property
    def margin_ns(self) -> Nanoseconds:
        """How long a leader waits for a lease to end."""
        return self.duration_ns + self.duration_ns * self.drift_percent // 100 + 1


# Messages ------------------------------------------------------------------------------------------------------------


@value
class LeaseRequest:
    """Holder to leader: let me go on. `number` counts the holder's questions."""

    number: int


@value
class LeaseGrant:
    """Leader to holder: the answer to question `number`."""

    number: int
    duration_ns: Nanoseconds
    index: int
    """What the holder must have applied to use it."""


# The holder ----------------------------------------------------------------------------------------------------------


@value
class LeaderKnown:
    """Event: this node takes `leader` for the leader; `None` when it knows of none."""

    leader: str | None


@value
class GrantReceived:
    """Event: `peer` gave something."""

    peer: str = field(validator=instance_of(str))
    message: object


@value
class Answering:
    """Event: this node says something to the leader now. A question costs no message of its own."""


@value
class Applied:
    """Event: the control state is applied up to `index`."""

    index: int = field(validator=instance_of(int))


@value
class Relinquish:
    """Event: this node ends. It asks no more, and what it had is over."""


type HolderEvent = LeaderKnown | GrantReceived | Answering | Applied | Relinquish | Wake


@value
class SendRequest:
    """Effect: send `message` to the leader `to`. It may be lost."""

    to: str
    message: LeaseRequest


@value
class LeaseBegun:
    """Effect: this node may act as an owner from now on."""


@value
class LeaseOver:
    """Effect: it may not, from now on (rule 1)."""

    reason: str


type HolderEffect = SendRequest | LeaseBegun | LeaseOver | Note


class LeaseHolder:
    """A node's own lease."""

    __slots__ = ("_applied", "_ask_at", "_ended", "_leader", "_number", "_options", "_pending", "_questions", "_until")

    def __init__(self, options: LeaseOptions) -> None:
        self._options = options
        self._leader: str | None = None
        self._applied = 0
        self._number = 0
        self._questions: dict[int, tuple[str, Instant]] = {}
        """Whom each open question was asked, and when."""
        self._until: Instant | None = None
        """When the lease ends, while there is one."""
        self._pending: dict[int, Instant] = {}
        """Until when leases last that cannot be used yet, by the index that they need (rule 2)."""
        self._ask_at: Instant | None = None
        self._ended = False

    # -- the contract --------------------------------------------------------------------------------------------------

    def handle(self, event: HolderEvent, now: Instant) -> tuple[HolderEffect, ...]:
        """Apply one event; see `casty_proto.machine`."""
        # Whatever has happened: a lease that is over must not be acted upon any more.
        over = self._expire(now)
        match event:
            case LeaderKnown(leader):
                return over + self._on_leader_known(leader, now)
            case GrantReceived(peer, message):
                return over + self._on_grant(peer, message, now)
            case Answering():
                if self._ask_at is not None and now >= self._ask_at - self._options.duration_ns // 8:
                    return over + self._ask(now)
                return over
            case Applied(index):
                return over + self._on_applied(index, now)
            case Relinquish():
                return over + self._on_relinquish()
            case Wake():
                if self._ask_at is not None and now >= self._ask_at:
                    return over + self._ask(now)
                return over
            case _:
                assert_never(event)

    def deadline(self) -> Instant | None:
        """When the lease ends, or the next question is due."""
        if self._until is None:
            return self._ask_at
        return self._until if self._ask_at is None else min(self._until, self._ask_at)

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        assert len(self._questions) <= _QUESTIONS_MAX, "too many open questions"
        assert all(index > self._applied for index in self._pending), "a lease waits for what was applied"
        assert len(self._pending) <= _QUESTIONS_MAX, "too many leases wait"
        assert not self._ended or (self._until is None and self._ask_at is None), "it has ended, and goes on"

    # -- the direct lane -----------------------------------------------------------------------------------------------

    def holds(self, now: Instant) -> bool:
        """Whether this node may act as an owner at this instant. To be asked right before it does."""
        return self._until is not None and now < self._until

    @property
    def until(self) -> Instant | None:
        """When the lease ends, as it stands."""
        return self._until

    # -- events --------------------------------------------------------------------------------------------------------

    def _on_leader_known(self, leader: str | None, now: Instant) -> tuple[HolderEffect, ...]:
        if self._ended or leader == self._leader:
            return ()
        self._leader = leader
        # What the old leader was asked counts as it was: it may still answer (rule 6).
        return self._ask(now)

    def _ask(self, now: Instant) -> tuple[HolderEffect, ...]:
        if self._leader is None:
            self._ask_at = None
            return ()
        self._ask_at = now + max(1, self._options.duration_ns // 4)
        self._number += 1
        self._questions[self._number] = (self._leader, now)
        if len(self._questions) > _QUESTIONS_MAX:
            del self._questions[next(iter(self._questions))]
        return (SendRequest(self._leader, LeaseRequest(self._number)),)

    def _on_grant(self, peer: str, message: object, now: Instant) -> tuple[HolderEffect, ...]:
        if self._ended:
            return ()
        if type(message) is not LeaseGrant or not _naturals(message.number, message.duration_ns, message.index):
            return (Note(Severity.WARNING, f"{peer}: {shown(message)} is no lease; dropped"),)
        asked, asked_at = self._questions.get(message.number, (None, 0))
        if asked != peer:
            return ()
        del self._questions[message.number]
        if message.duration_ns > self._options.duration_ns:
            return (Note(Severity.WARNING, f"{peer} gave a lease of {message.duration_ns} ns; are the options equal?"),)
        until = asked_at + message.duration_ns
        if until <= now:
            return ()
        if message.index > self._applied:
            self._pending[message.index] = max(until, self._pending.get(message.index, 0))
            if len(self._pending) > _QUESTIONS_MAX:
                del self._pending[next(iter(self._pending))]
            return ()
        return self._extend(until)

    def _on_applied(self, index: int, now: Instant) -> tuple[HolderEffect, ...]:
        self._applied = max(self._applied, index)
        usable = [needed for needed in self._pending if needed <= self._applied]
        until = max([self._pending.pop(needed) for needed in usable], default=0)
        return self._extend(until) if until > now else ()

    def _extend(self, until: Instant) -> tuple[HolderEffect, ...]:
        begins = self._until is None
        self._until = until if begins else max(until, self._until or 0)
        return (LeaseBegun(),) if begins else ()

    def _expire(self, now: Instant) -> tuple[HolderEffect, ...]:
        if self._until is None or now < self._until:
            return ()
        self._until = None
        return (LeaseOver("nobody has renewed it in time"),)

    def _on_relinquish(self) -> tuple[HolderEffect, ...]:
        held = self._until is not None
        self._ended = True
        self._until = self._ask_at = None
        self._questions.clear()
        self._pending.clear()
        return (LeaseOver("this node ends"),) if held else ()


# The giver -----------------------------------------------------------------------------------------------------------


@value
class Elected:
    """Event: this node leads from now on, and has applied all that was committed before."""


@value
class Deposed:
    """Event: it does not any more."""


@value
class RequestReceived:
    """Event: `peer`, the node that sent it, asks for a lease."""

    peer: str = field(validator=instance_of(str))
    message: object


@value
class Confirmed:
    """Event: the answer to `Confirm(ticket)`: this node led after that was asked, and has applied up to `index`.

    `index` is `None` where it could not make sure.
    """

    ticket: int
    index: int | None


@value
class Taking:
    """Event: something is about to be taken from `node`, whose lease has ended; or, with `done`, that is settled."""

    node: str
    done: bool = False


@value
class Round:
    """Event: a round of messages is about to go out that could make sure of it (rule 8)."""


type GiverEvent = Elected | Deposed | RequestReceived | Confirmed | Taking | Round | Wake


@value
class Confirm:
    """Effect: make sure that this node leads (rule 3), and answer with `Confirmed(ticket)`."""

    ticket: int


@value
class SendGrant:
    """Effect: send `message` to `to`. It may be lost."""

    to: str
    message: LeaseGrant


type GiverEffect = Confirm | SendGrant | Note


class LeaseGiver:
    """The leases that this node gives while it leads."""

    __slots__ = ("_asking", "_confirm_at", "_ends", "_floor", "_options", "_taking", "_ticket", "_waiting")

    def __init__(self, options: LeaseOptions) -> None:
        self._options = options
        self._floor: Instant | None = None
        """When all leases have ended that others may have given (rule 4). `None` while this node does not lead."""
        self._ends: dict[str, Instant] = {}
        self._waiting: dict[str, int] = {}
        """The latest question of each node that is to be put into the next ticket."""
        self._asking: tuple[int, dict[str, int]] | None = None
        """The ticket that is open, and the questions that it is for."""
        self._ticket = 0
        self._confirm_at: Instant = 0
        """Before that, renewals wait for each other (rule 8)."""
        self._taking: dict[str, int] = {}

    def handle(self, event: GiverEvent, now: Instant) -> tuple[GiverEffect, ...]:
        """Apply one event; see `casty_proto.machine`."""
        match event:
            case Elected():
                self._forget()
                self._floor = now + self._options.margin_ns
                return ()
            case Deposed():
                self._forget()
                return ()
            case RequestReceived(peer, message):
                return self._on_request(peer, message, now)
            case Confirmed(ticket, index):
                return self._on_confirmed(ticket, index, now)
            case Taking(node, done):
                self._on_taking(node, done)
                return ()
            case Round():
                return self._confirm(now, is_shared=True)
            case Wake():
                return self._confirm(now)
            case _:
                assert_never(event)

    def deadline(self) -> Instant | None:
        """When those who wait have waited long enough. Whether a lease has ended is asked by whoever wants to know."""
        return self._confirm_at if self._waiting and self._asking is None else None

    def ended_at(self, node: str) -> Instant | None:
        """When whatever `node` may have been given is over everywhere; `None` while this node does not lead."""
        return None if self._floor is None else max(self._floor, self._ends.get(node, 0))

    def has_ended(self, node: str, now: Instant) -> bool:
        """Whether `node` can hold no lease. What it owns may be given to another; see `Taking`."""
        end = self.ended_at(node)
        return end is not None and now >= end

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        if self._floor is None:
            given = [*self._ends, *self._waiting, *self._taking]
            assert not given, "it does not lead, and gives"
            assert self._asking is None, "it does not lead, and asks whether it does"
        assert all(count > 0 for count in self._taking.values()), "nothing is being taken"

    def _forget(self) -> None:
        self._floor = None
        self._ends.clear()
        self._waiting.clear()
        self._taking.clear()
        self._asking = None

    def _on_request(self, peer: str, message: object, now: Instant) -> tuple[GiverEffect, ...]:
        if type(message) is not LeaseRequest or not _naturals(message.number):
            return (Note(Severity.WARNING, f"{peer}: {shown(message)} asks for no lease; dropped"),)
        if self._floor is None:
            return ()
        # What answers a question must have been asked for after the question came: one that is under way is too old.
        self._waiting[peer] = max(message.number, self._waiting.get(peer, 0))
        return self._confirm(now)

    def _confirm(self, now: Instant, *, is_shared: bool = False) -> tuple[GiverEffect, ...]:
        """Rules 3 and 8."""
        if self._asking is not None or not self._waiting:
            return ()
        if now < self._confirm_at and not is_shared and not any(self._is_urgent(node, now) for node in self._waiting):
            return ()
        self._confirm_at = now + self._options.duration_ns // 6
        self._ticket += 1
        self._asking = (self._ticket, self._waiting)
        self._waiting = {}
        return (Confirm(self._ticket),)

    def _is_urgent(self, node: str, now: Instant) -> bool:
        return self._ends.get(node, 0) - now < self._options.margin_ns - self._options.duration_ns // 2

    def _on_confirmed(self, ticket: int, index: int | None, now: Instant) -> tuple[GiverEffect, ...]:
        if self._asking is None or self._asking[0] != ticket:
            return ()
        questions = self._asking[1]
        self._asking = None
        if index is None:
            return self._confirm(now)
        duration = self._options.duration_ns
        grants: list[GiverEffect] = []
        for node, number in questions.items():
            if node in self._taking:
                continue  # Rule 5. It asks again soon.
            self._ends[node] = now + self._options.margin_ns
            grants.append(SendGrant(node, LeaseGrant(number, duration, index)))
        return (*grants, *self._confirm(now))

    def _on_taking(self, node: str, done: bool) -> None:
        count = self._taking.get(node, 0) + (-1 if done else 1)
        if self._floor is None or count <= 0:
            self._taking.pop(node, None)
        else:
            self._taking[node] = count


def _naturals(*numbers: object) -> bool:
    return all(type(number) is int and 0 <= number < 2**63 for number in numbers)
