"""What runs on a server of the Raft scenario: the machine, its driver, and an application, a map of keys to values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.machine import MILLISECOND, Instant, Note, Persist, Persisted, Reply, Wake
from casty_proto.raft import (
    Append,
    Apply,
    Command,
    Configuration,
    ConfigurationChanged,
    Raft,
    RaftEffect,
    RaftEvent,
    Received,
    Restore,
    Role,
    RoleChanged,
    Send,
    SessionsEnded,
    SnapshotTaken,
    Start,
    TakeSnapshot,
    checkpoint,
    recover,
)
from casty_proto.raft.messages import AppendEntries, InstallSnapshot, Message

from ..checkers.raft_promises import PROMISING
from ..world import Host, Program

if TYPE_CHECKING:
    from .raft import RaftWorld

CHECKPOINT_RECORDS = 64
"""A restart that finds more records than this rewrites them."""
SMALL = 60
"""About how many bytes most messages take."""
LARGE = frozenset((AppendEntries, InstallSnapshot))
"""Those that may take more."""
SNAPSHOT_NS = 20 * MILLISECOND
"""How long the application takes to write its state out."""


def encoded(state: dict[str, str]) -> bytes:
    """The state of the application as a snapshot has it."""
    return "\n".join([f"{key}={value}" for key, value in state.items()]).encode()


def decoded(data: bytes) -> dict[str, str]:
    """The state that a snapshot has."""
    return {key: value for key, _, value in (line.partition("=") for line in data.decode().splitlines())}


def execute(state: dict[str, str], command: Command) -> None:
    """What the application does with a command."""
    key, _, value = command.data.decode().partition("=")
    state[key] = value


def _applied(effect: Apply) -> str:
    """What is applied, for people."""
    words = [
        entry.payload.data.decode() if isinstance(entry.payload, Command) else type(entry.payload).__name__
        for entry in effect.entries
    ]
    return f"{effect.entries[0].index} to {effect.entries[-1].index}: {', '.join(words)}"


def _size(message: Message) -> int:
    """About how many bytes a message takes."""
    match message:
        case AppendEntries():
            return SMALL + 80 * len(message.entries)
        case InstallSnapshot():
            return SMALL + len(message.data)
        case _:
            return SMALL


class RaftProgram(Program):
    """One life of one server."""

    def __init__(self, cluster: RaftWorld) -> None:
        self.cluster = cluster
        self.state: dict[str, str] = {}
        self._configured = 0
        self._voters: tuple[str, ...] = ()

    def start(self, host: Host, records: list[Any]) -> None:
        self.host = host
        self.name = host.name
        self.checker = self.cluster.checker
        recovered = recover(records)
        if len(records) > CHECKPOINT_RECORDS:
            host.disk.compact(list(checkpoint(recovered)))
        self.raft: Raft = self.cluster.machine(
            host.name, host.world.tape.random(f"raft/{host.name}"), self.cluster.options, recovered
        )
        self.promises = self.cluster.promises
        self.promises.started(host.name, recovered)
        self.checker.started(host.name, recovered)
        self._writes: dict[int, Any] = {}
        # Asked after every event, so without a call in between.
        self.deadline = self.raft.deadline  # type: ignore[method-assign]
        self.feed(Start())

    def feed(self, event: RaftEvent) -> None:
        """One event to the machine, and all of its effects."""
        host = self.host
        now = host.now()
        raft = self.raft
        if raft.lead is not None:
            self._voters = raft.configurations.latest.voters
        for effect in raft.handle(event, now):
            if type(effect) is Send:
                message = effect.message
                kind = type(message)
                if kind in PROMISING:
                    self.promises.sent(self.name, effect.to, message, now)
                size = _size(message) if kind in LARGE else SMALL
                host.send(effect.to, message, size)
            else:
                self.carry_out(effect)

    def receive(self, peer: Host, message: Any) -> None:
        if self.raft.options.lease_reads:
            self.promises.received(self.name, peer.name, message, self.host.now())
        self.feed(Received(peer.name, message))

    def persisted(self, ticket: int) -> None:
        self.promises.written(self.name, self._writes.pop(ticket))
        self.feed(Persisted(ticket))

    def wake(self) -> None:
        self.feed(Wake())

    def deadline(self) -> Instant | None:
        return self.raft.deadline()

    def invariants(self) -> None:
        self.raft.invariants()

    def fingerprint(self) -> Any:
        raft = self.raft
        return (
            raft.term,
            raft.vote,
            raft.role.value,
            raft.leader,
            raft.commit,
            raft.log.last_index,
            raft.log.last_term,
        )

    def label(self) -> str:
        return self.raft.role.value

    # -- effects -----------------------------------------------------------------------------------------------------

    def carry_out(self, effect: RaftEffect) -> None:
        """Everything but messages, which are sent at once."""
        match effect:
            case Persist(ticket, record):
                self.checker.persisted(self.name, record)
                if isinstance(record, Append) and record.entries[0].index in self.checker.applied:
                    self.cluster.world.reach("an applied index was written again")
                self._writes[ticket] = record
                self.promises.began_to_write(self.name, record)
                self.host.persist(ticket, record)
                self.host.moment()
            case Apply(entries):
                self._note("applies", lambda: _applied(effect))
                self.checker.apply(self.name, effect, self.raft.term)
                self.host.moment()
                if self.raft.role is Role.LEADER:
                    self._check_commit()
                for entry in entries:
                    if isinstance(entry.payload, Command):
                        execute(self.state, entry.payload)
            case Reply(request, result):
                request(self, result)
            case TakeSnapshot(index):
                data = encoded(self.state)
                self.host.local(SNAPSHOT_NS, lambda: self.feed(SnapshotTaken(index, data)))
            case Restore(_, _, data):
                self.checker.restored(self.name, effect)
                self.state = decoded(data)
                self.checker.same_state(self.name, self.state)
                self.cluster.world.reach("a snapshot was restored")
            case ConfigurationChanged(index, configuration, committed):
                self._configuration_changed(index, configuration, committed=committed)
            case RoleChanged():
                self._role_changed(effect)
            case Note(severity, text):
                if (timeline := self.cluster.world.trace.timeline) is not None:
                    timeline.log(self.cluster.world.now, self.name, severity.name.lower(), text)
            case Send() | SessionsEnded():
                pass

    def _note(self, kind: str, text: Callable[[], str]) -> None:
        world = self.cluster.world
        world.trace.note(world.now, self.name, kind, text)

    def _check_commit(self) -> None:
        raft = self.raft
        index = raft.commit
        # What was committed may have made way for a change that was appended in the same moment.
        electorates = (raft.configurations.latest.voters, self._voters)
        self.promises.counts_as_committed(self.name, index, raft.log.term(index), raft.term, electorates)

    def _configuration_changed(self, index: int, configuration: Configuration, *, committed: bool) -> None:
        if committed and configuration.voters:
            self.checker.configuration_committed(index, configuration)
        elif self.raft.lead is not None:
            self.promises.changes(self.name, self.raft.term, self.raft.configurations.before_latest.voters)
        if index < self._configured and self.raft.configurations.latest_index == index:
            self.cluster.world.reach("a configuration was rolled back")
        self._configured = self.raft.configurations.latest_index

    def _role_changed(self, effect: RoleChanged) -> None:
        world = self.cluster.world
        world.trace.note(world.now, self.name, "role", f"{effect.role.value} in term {effect.term}")
        if world.trace.timeline is not None:
            world.trace.timeline.role(world.now, self.name, effect.role.value, f"term {effect.term}")
        self.checker.role_changed(self.name, effect)
        self.host.moment()
        if effect.role is Role.LEADER:
            self.promises.leads(self.name, effect.term, self.raft.configurations.latest.voters)
            self.cluster.operator.elected(self.host)
            world.reach("a leader was elected")
            if len(self.checker.leaders) > 1:
                world.reach("another leader was elected")
            log = self.raft.log
            self.checker.leader_has(self.name, effect.term, log.term, log.base_index + 1)
        elif effect.role is Role.CANDIDATE:
            world.reach("somebody was a candidate")
