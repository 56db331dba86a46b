"""Raft, as a node has it: its log is what all members agree on, and its state machine is the control state.

Between one voter and three there are two, for a moment. A leader of two that loses the other one goes on alone
(raft/membership.py, rule 7): so a cluster that has just been founded does not end with the second node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, assert_never

from attrs import evolve

from ..machine import Instant, Nanoseconds, Note, Persist, Persisted, Reply
from ..raft import (
    Apply,
    Command,
    ConfigurationChanged,
    HeartbeatReply,
    OpenSession,
    Proposal,
    Propose,
    Raft,
    RaftEffect,
    RaftEvent,
    Recovered,
    Restore,
    RoleChanged,
    Send,
    SessionsEnded,
    SnapshotTaken,
    Start,
    TakeSnapshot,
)
from .commands import Command as ControlCommand
from .commands import decode_command, encode_command
from .core import Core
from .disk import OWN_TICKETS
from .messages import Order
from .outcomes import Outcome
from .state import ControlState, StateError

type Answer = Callable[[Any], None]


class Consensus:
    """The Raft server of a node."""

    __slots__ = (
        "_busy",
        "_core",
        "_events",
        "_on_answer",
        "_on_applied",
        "_on_restored",
        "_on_role",
        "_on_settled",
        "raft",
    )

    def __init__(self, core: Core, rng: Random, recovered: Recovered) -> None:
        self._core = core
        self._events: deque[RaftEvent] = deque()
        self._busy = False
        options = core.options.raft
        self.raft = Raft(core.key, rng, evolve(options, goes_on_alone=options.check_quorum), recovered)

    def tell(
        self,
        on_applied: Callable[[ControlCommand | None, Outcome, int], None],
        on_settled: Callable[[int], None],
        on_restored: Callable[[ControlState, int], None],
        on_role: Callable[[RoleChanged], None],
        on_answer: Callable[[], None],
    ) -> None:
        """Who is told what: each command that is applied, that all of them are up to an index, that the state was
        replaced, who leads, and that the leader is answered. Once, before anything is fed."""
        self._on_applied = on_applied
        self._on_settled = on_settled
        self._on_restored = on_restored
        self._on_role = on_role
        self._on_answer = on_answer

    # -- driving it ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the server."""
        self.feed(Start())

    def persisted(self, ticket: int) -> None:
        """A write has ended."""
        if ticket > OWN_TICKETS:
            self.feed(Persisted(ticket - OWN_TICKETS))

    def propose_all(self, proposals: Iterable[tuple[ControlCommand, Answer]]) -> None:
        """Propose several commands, which are written and sent together."""
        commands = [Proposal(answer, Command(encode_command(command))) for command, answer in proposals]
        self.feed(Propose(tuple(commands)))

    def propose(self, command: ControlCommand, answer: Answer) -> None:
        """Propose a command. `answer` is called with a result of Raft: after it was applied, if it is `Committed`."""
        self.feed(Propose((Proposal(answer, Command(encode_command(command))),)))

    def order(self, order: Order, answer: Answer) -> None:
        """Propose what a member has ordered, in its session: it is applied once."""
        command = Command(order.command, order.session, order.number, order.floor)
        self.feed(Propose((Proposal(answer, command),)))

    def open_session(self, ttl_ns: Nanoseconds, answer: Answer) -> None:
        """Open a session, which is over when it was not used for so long. Its number is the index of the result."""
        self.feed(Propose((Proposal(answer, OpenSession(ttl_ns)),)))

    def feed(self, event: RaftEvent) -> None:
        """One event, and all that follows. What is fed meanwhile comes after that."""
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        while self._events:
            for effect in self.raft.handle(self._events.popleft(), self._core.now):
                if not self._core.failure:
                    self._carry_out(effect)
        self._busy = False

    def deadline(self) -> Instant | None:
        """When it wants `Wake`."""
        return self.raft.deadline()

    def round_is_due(self) -> bool:
        """Whether this node leads, and is to send everybody a heartbeat now."""
        lead = self.raft.lead
        return lead is not None and lead.heartbeat_at <= self._core.now

    # -- effects -------------------------------------------------------------------------------------------------------

    def _carry_out(self, effect: RaftEffect) -> None:
        match effect:
            case Send(to, message):
                self._core.send(to, message)
                if type(message) is HeartbeatReply:
                    self._on_answer()
            case Persist(ticket, record):
                self._core.out.append(Persist(ticket + OWN_TICKETS, record))
            case Apply(entries):
                for entry in entries:
                    assert type(entry.payload) is Command
                    self._execute(entry.payload, entry.index)
                self._on_settled(entries[-1].index)
            case Reply(request, result):
                request(result)
            case TakeSnapshot(index):
                # As it is now; what comes later in this call changes it.
                self._events.append(SnapshotTaken(index, self._core.state.encode()))
            case Restore(index, _, data):
                self._restore(index, data)
            case RoleChanged():
                self._on_role(effect)
            case Note():
                self._core.out.append(effect)
            case SessionsEnded(sessions):
                self._core.state.end_sessions(sessions)
            case ConfigurationChanged():
                pass
            case _:
                assert_never(effect)

    def _restore(self, index: int, data: bytes) -> None:
        """Raft cannot know whether a snapshot can be read. Who cannot read it has no state to go on from."""
        core = self._core
        try:
            state = ControlState.decode(data)
        except StateError as error:
            core.failure = f"a snapshot of the control state cannot be read; run one version of the program: {error}"
            return
        if state.changed > index:
            core.failure = f"a snapshot of index {index} has a control state of index {state.changed}"
            return
        before, core.state = core.state, state
        self._on_restored(before, index)
        self._on_settled(index)

    def _execute(self, payload: Command, index: int) -> None:
        state, command = self._core.state, decode_command(payload.data)
        outcome = state.apply(payload.data, index) if command is None else state.execute(command, index)
        if payload.session:
            state.keep(payload.session, payload.serial, payload.floor, index, outcome)
        self._on_applied(command, outcome, index)
