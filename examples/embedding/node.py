"""What the drivers of this folder drive: SWIM and Raft side by side, and a small application, as one machine.

There is no I/O here, no clock and no thread. A machine made of machines is a machine too: it passes each event to the
part that it is for, and says in effects of its own what the driver is to do. So a driver knows five events and four
effects, whatever protocols there are behind them; and it can drive any machine that has these.

    events     Start   Received(peer, message)   Lost(peer)   Persisted(ticket)   Wake
    effects    Send(to, message)   Persist(ticket, record)   Said(kind, text)   Stopped

A peer goes by the address at which it listens, "host:port". That is its address for SWIM, and its name for Raft.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Any

from attrs import frozen

from casty_proto import raft, swim
from casty_proto.machine import MILLISECOND, Instant, Note, Persist, Persisted, Reply, Severity, Wake, shown
from casty_proto.raft import Committed, NotLeader, Proposal, Propose, Raft, RaftOptions, Record
from casty_proto.swim import Swim, SwimOptions
from casty_proto.wire import Types, WireOptions


@frozen
class Start:
    """Event: the first one, once the driver can send and receive."""


@frozen
class Received:
    """Event: a whole message came from `peer`. It is looked at by the machine; what makes no sense is dropped."""

    peer: str
    message: object


@frozen
class Lost:
    """Event: a connection to or from `peer` broke. A hint, which makes both protocols faster and is never needed."""

    peer: str


@frozen
class Send:
    """Effect: send `message` to the address `to`. It may be lost, late, repeated and overtaken."""

    to: str
    message: tuple[str, object]


@frozen
class Said:
    """Effect: something for people and for the application."""

    kind: str
    text: str


@frozen
class Stopped:
    """Effect: the node has left, and the driver ends."""


type Event = Start | Received | Lost | Persisted | Wake
type Effect = Send | Persist | Said | Stopped

OPTIONS = WireOptions(max_frame=2**20)
"""No message of a node is longer than 1 MiB: Raft's options say that the longest has 256 KiB of entries."""
SWIM = SwimOptions.local(
    probe_interval_ns=300 * MILLISECOND, probe_timeout_ns=100 * MILLISECOND, sync_interval_ns=1000 * MILLISECOND
)
RAFT = RaftOptions(
    heartbeat_interval_ns=60 * MILLISECOND,
    election_timeout_min_ns=300 * MILLISECOND,
    election_timeout_max_ns=600 * MILLISECOND,
)
"""Short times, so that the show is short. The defaults of both are right where nobody waits for an election."""

_MESSAGES: tuple[type, ...] = (
    *(swim.Ping, swim.Ack, swim.PingRequest, swim.IndirectAck, swim.Nack, swim.Gossip, swim.SyncRequest, swim.Records),
    *(swim.SyncReply, swim.Identity, swim.Update, swim.Digest, swim.State),
    *(raft.RequestVote, raft.Vote, raft.TimeoutNow, raft.RequestTransfer, raft.AppendEntries, raft.AppendAccepted),
    *(raft.AppendRejected, raft.Heartbeat, raft.HeartbeatReply, raft.Stale, raft.InstallSnapshot, raft.SnapshotReply),
    *(raft.ReadRequest, raft.ReadReply, raft.Entry, raft.NoOp, raft.Command, raft.Configuration),
    *(raft.OpenSession, raft.RenewSession, raft.CloseSession),
)


def wire_types() -> Types:
    """What may come over a connection, each class under its name, and nothing else."""
    types = Types(strict=True)
    for cls in _MESSAGES:
        types.allow(cls, cls.__name__)
    return types


class Node:
    """One node. `records` is what its journal has; `generation` is higher than in every life before."""

    def __init__(
        self, me: str, members: tuple[str, ...], records: Iterable[Record], generation: int, rng: Random
    ) -> None:
        self.me = me
        self.members = members
        self.state: dict[str, str] = {}
        # Each part has a source of randomness of its own, so that one more draw here changes nothing there.
        self.raft = Raft(me, Random(rng.getrandbits(64)), RAFT, raft.recover(records))
        self.swim = Swim(swim.Identity(me, generation), me, rng=Random(rng.getrandbits(64)), options=SWIM)
        self._turns: deque[tuple[Raft | Swim, Any]] = deque()
        """What is still to be fed to the parts. One event may lead to another; their effects must not be mixed."""

    def handle(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        """Apply one event and return all of its effects, in order."""
        out: list[Effect] = []
        match event:
            case Start():
                seeds = tuple(member for member in self.members if member != self.me) or (self.me,)
                self._turns.extend([(self.raft, raft.Start()), (self.swim, swim.Join(seeds))])
            case Received(peer, message):
                self._on_received(peer, message, out)
            case Lost(peer):
                self._turns.extend([(self.raft, raft.Unreachable(peer)), (self.swim, swim.ConnectionLost(peer))])
            case Persisted():
                self._turns.append((self.raft, event))
            case Wake():
                self._turns.extend([(self.raft, event), (self.swim, event)])
        while self._turns:
            part, next_event = self._turns.popleft()
            for effect in part.handle(next_event, now):
                self._pass_on(effect, out)
        return tuple(out)

    def deadline(self) -> Instant | None:
        """The earlier one of the two. A `Wake` that is too early for one of them does nothing there."""
        return min((at for at in (self.raft.deadline(), self.swim.deadline()) if at is not None), default=None)

    def invariants(self) -> None:
        """Assert what must hold between two events."""
        self.raft.invariants()
        self.swim.invariants()
        assert not self._turns

    def _on_received(self, peer: str, message: object, out: list[Effect]) -> None:
        match message:
            case ("raft", said):
                self._turns.append((self.raft, raft.Received(peer, said)))
            case ("swim", said):
                self._turns.append((self.swim, swim.Received(peer, said)))
            case ("set", str(text)):
                self._turns.append((self.raft, Propose((Proposal(text, raft.Command(text.encode())),))))
            case ("leave",):
                self._turns.append((self.swim, swim.Leave()))
            case _:
                out.append(Said("note", f"dropped a message of {peer}, which is none: {shown(message)}"))

    def _pass_on(self, effect: raft.RaftEffect | swim.SwimEffect, out: list[Effect]) -> None:
        match effect:
            case raft.Send(to, message):
                out.append(Send(to, ("raft", message)))
            case swim.Send(to, gossip):
                out.append(Send(to, ("swim", gossip)))
            case Persist():
                out.append(effect)
            case raft.Apply(entries):
                out += [Said("applied", self._execute(entry.payload)) for entry in entries]
            case raft.TakeSnapshot(index):
                self._turns.append((self.raft, raft.SnapshotTaken(index, json.dumps(self.state).encode())))
            case raft.Restore(_, _, data):
                self.state = json.loads(data)
            case raft.RoleChanged(role, term, leader):
                out.append(Said("role", f"{role.value} in term {term} under {leader or 'nobody'}"))
            case swim.MemberAlive(member) | swim.MemberSuspected(member) | swim.MemberDead(member, False):
                out.append(Said("member", f"{member.state.name.lower()} {member.address}"))
            case swim.MemberLeft(member):
                out.append(Said("member", f"left {member.address}"))
            case swim.Departed():
                out.append(Stopped())
            case Reply(str(request), Committed(index)):
                out.append(Said("answer", f"{request} committed at {index}"))
            case Reply(str(request), NotLeader(_, leader)):
                out.append(Said("answer", f"{request} refused: the leader is {leader}"))
            case Reply(str(request), result):
                out.append(Said("answer", f"{request} unknown: {result}"))
            case Note(severity, text) if severity >= Severity.WARNING:
                out.append(Said("note", text))
            case _:
                pass

    def _execute(self, command: object) -> str:
        assert isinstance(command, raft.Command)
        text = command.data.decode()
        key, _, value = text.partition("=")
        self.state[key] = value
        return text
