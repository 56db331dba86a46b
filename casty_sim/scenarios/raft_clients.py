"""Clients of the replicated map: one operation at a time, retried until there is an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casty_proto.machine import MILLISECOND, SECOND, Instant, Rejected
from casty_proto.raft import (
    Command,
    Committed,
    Duplicate,
    NotLeader,
    OpenSession,
    Proposal,
    Propose,
    Read,
    ReadReady,
    Role,
    SessionUnknown,
)

from ..checkers.linearizability import NEVER, Operation, Write
from ..checkers.linearizability import Read as ReadOperation

if TYPE_CHECKING:
    from .raft import RaftWorld
    from .raft_program import RaftProgram

KEYS = ("x", "y")
TIMEOUT = 700 * MILLISECOND
THINK = 350 * MILLISECOND
PATIENCE = (40 * MILLISECOND, 320 * MILLISECOND)
"""The shortest and the longest pause before another attempt; it doubles from one to the other."""
HOP = 2 * MILLISECOND
"""From a client to a server, and back."""


class Client:
    """A client that never gives an operation up while it has a session.

    A write that is retried has the number of the original, so it must be executed once at most. A client whose session
    is gone cannot know what became of its write: the operation stays without an answer, and a new session begins.
    """

    def __init__(self, cluster: RaftWorld, name: str) -> None:
        self.name = name
        self.completed = 0
        self._cluster = cluster
        self._world = cluster.world
        self._stream = cluster.world.tape.stream(f"client/{name}")
        self._done: list[Operation] = []
        self._session = 0
        self._serial = 0
        self._attempt = 0
        self._target = self._leader = self._stream.pick(cluster.servers).name
        """Whom it asks now, and who took its last write."""
        self._key = ""
        self._argument: Write | ReadOperation | None = None
        self._called: Instant = 0
        self._values = 0
        self._pause = PATIENCE[0]
        self._until: Instant = 0
        """When the attempt that is going on is given up."""
        self._watched = False
        self._asking = False

    def begin(self) -> None:
        """Open a session, then work. Before the first election there is nobody to ask."""
        self._world.after(self._cluster.options.election_timeout_min_ns, self._try)

    def history(self) -> list[Operation]:
        """Everything that this client did, with what it is waiting for."""
        return [*self._done, *self._unanswered()]

    def _unanswered(self) -> list[Operation]:
        if not isinstance(self._argument, Write):
            return []
        return [Operation(self.name, self._key, self._called, NEVER, self._argument)]

    # -- one operation after the other -----------------------------------------------------------------------------

    def _next(self) -> None:
        # The plainest choice, 0.0, is the longest pause.
        self._world.after(int(2 * (1.0 - self._stream.raw()) * THINK) + 1, self._choose)

    def _choose(self) -> None:
        self._key = self._stream.pick(KEYS)
        self._called = self._world.now
        if self._stream.chance(0.5):
            self._argument = ReadOperation()
            # Reads may go to any server. Whoever has just led is the one to know something old.
            self._target = self._leader if self._stream.chance(0.5) else self._stream.pick(self._cluster.servers).name
        else:
            self._values += 1
            self._serial += 1
            self._argument = Write(f"{self.name}.{self._values}")
            self._target = self._leader
        self._try()

    def _answered(self, result: Any) -> None:
        assert self._argument is not None
        self._done.append(Operation(self.name, self._key, self._called, self._world.now, self._argument, result))
        self._argument = None
        self._pause = PATIENCE[0]
        self.completed += 1
        self._next()

    # -- one attempt after the other -------------------------------------------------------------------------------

    def _try(self) -> None:
        self._attempt += 1
        self._asking = True
        attempt = self._attempt
        server = self._world.hosts[self._target]
        if server.up:
            server.local(HOP, lambda: self._request(server.program, attempt))
        self._until = self._world.now + TIMEOUT
        if not self._watched:
            self._watched = True
            self._world.at(self._until, self._on_due)

    def _on_due(self) -> None:
        """Give up an attempt that has had no answer. There is one of these at a time, and it follows the attempts."""
        if self._world.now < self._until:
            self._world.at(self._until, self._on_due)
            return
        self._watched = False
        if self._asking:
            self._retry(None)

    def _retry(self, target: str | None) -> None:
        """Try again: at once where somebody named the leader, after a while elsewhere."""
        self._attempt += 1
        self._asking = False
        self._target = target or self._stream.pick(self._cluster.servers).name
        self._world.after(HOP if target else self._pause, self._try)
        self._pause = min(self._pause * 2, PATIENCE[1])

    def _request(self, program: Any, attempt: int) -> None:
        """On the server: hand the request to the machine."""
        promises = self._cluster.promises
        asked_at = promises.answered_up_to
        asking = True
        self._note("asks", f"{program.name}: {self._words()}")

        def answer(server: RaftProgram, result: Any) -> None:
            value = server.state.get(self._key)
            if isinstance(result, ReadReady):
                promises.read(server.name, result.index, asked_at)
                if asking and server.raft.lead is not None:
                    voters = server.raft.configurations.latest.voters
                    promises.reads_at_once(server.name, server.raft.term, voters)
            follower = server.raft.role is Role.FOLLOWER
            self._world.after(HOP, lambda: self._on_answer(attempt, result, value, follower))

        if not self._session:
            program.feed(Propose((Proposal(answer, OpenSession(60 * SECOND)),)))
        elif isinstance(self._argument, Write):
            command = Command(self._data(), self._session, self._serial, self._serial)
            program.feed(Propose((Proposal(answer, command),)))
        else:
            program.feed(Read(answer))
            asking = False

    def _data(self) -> bytes:
        assert isinstance(self._argument, Write)
        return f"{self._key}={self._argument.value}".encode()

    def _words(self) -> str:
        if not self._session:
            return "a session"
        return f"write {self._key}={self._argument.value}" if isinstance(self._argument, Write) else f"read {self._key}"

    def _note(self, kind: str, text: str) -> None:
        self._world.trace.note(self._world.now, self.name, kind, text)

    def _on_answer(self, attempt: int, result: Any, value: Any, follower: bool) -> None:
        if attempt != self._attempt:
            return
        self._attempt += 1
        self._asking = False
        if self._world.trace.keeps:
            said = f", {value!r}" if isinstance(result, ReadReady) else ""
            self._note("answer", f"{self._words()}: {result}{said}")
        match result:
            case Committed(index) if not self._session:
                self._session, self._serial = index, 0
                self._next()
            case ReadReady() if isinstance(self._argument, ReadOperation):
                if follower:
                    self._world.reach("a read was served by a follower")
                self._answered(value)
            case Committed(index):
                self._leader = self._target
                self._cluster.checker.acknowledged(index, self._data())
                self._cluster.promises.answered(index)
                self._answered(None)
            case Duplicate():
                self._world.reach("a retry was answered as a duplicate")
                self._answered(None)
            case SessionUnknown():
                self._done += self._unanswered()
                self._argument, self._session = None, 0
                self._retry(None)
            case NotLeader(leader=leader):
                self._retry(leader)
            case Rejected() | _:
                self._retry(None)
