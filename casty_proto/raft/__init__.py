"""Raft: one log on several servers, which goes on as long as a majority of them can talk to each other.

`Raft` is the machine of one server. It follows Ongaro and Ousterhout, "In Search of an Understandable Consensus
Algorithm" (2014, "paper"), and Ongaro, "Consensus: Bridging Theory and Practice" (2014, "thesis"); `machine.py` says
where to find what. The rules follow.

Safety (paper, Figure 3)
 1. Election safety: at most one leader in a term.
 2. Leader append-only: a leader never overwrites or removes what is in its log.
 3. Log matching: logs that have the same term at an index are equal up to there.
 4. Leader completeness: what is committed is in the log of every later leader.
 5. State machine safety: no two servers apply different entries at one index.

Durability
 6. Nothing is promised before it would survive a power cut: a vote, a term, an acknowledgement, a leader's own count of
    itself. Whatever depends on a write waits for its `Persisted`; nothing else does (paper, Figure 2; thesis 10.2.1).
 7. What a server knows after a restart follows from its records alone (`recover`), whatever was lost at their end.

Elections
 8. Randomized timeouts (paper 5.2), a pre-vote (thesis 9.6), no votes while a leader is heard (thesis 4.2.3), and a
    leader that steps down without a majority (thesis 6.2).

Replication
 9. Entries are sent in batches, ahead of their acknowledgement, within a window per follower (thesis 10.2). A follower
    that lost its way is found again in one exchange per term (paper 5.3), one that is too far behind gets a snapshot in
    chunks (thesis 5).
10. Only an entry of the leader's own term is committed by counting, and all before it are with it (paper 5.4.2).

Clients
11. A command of a session is applied at most once, however often it is proposed (thesis 6.3).
12. A read sees everything that was answered before it was asked for, at whichever server (thesis 6.4). It takes a round
    of heartbeats, or, where clocks may be trusted, a lease (thesis 6.4.1; off by default).
13. What was asked of a leader is answered: when it is applied, or when this server cannot know any more.

Members
14. One voter at a time, not before a commit in the leader's term, effective when appended, undone when truncated
    (thesis 4; raft-dev, 10 July 2015). New voters catch up first. Learners have no say.
15. A leader can hand over without an interruption (thesis 3.10).

Driving it
    A founder's disk gets `bootstrap(Configuration(("a", "b", "c")))` before its first start; a server that joins has no
    records, and is added by the leader (`ChangeMembership`). `rng` is a `random.Random` of the server's own. Then:

        raft = Raft("a", rng, RaftOptions(), recover(records))
        perform(raft.handle(Start(), now))
        ...
        perform(raft.handle(Propose((Proposal(request, Command(data)),)), now))

        def perform(effects):
            for effect in effects:
                match effect:
                    case Send(to, message): ...             # `Received(sender, message)` there
                    case Persist(ticket, record): ...       # append the record, sync, then `Persisted(ticket)`
                    case Apply(entries): ...                # execute each entry's `payload.data`
                    case Reply(request, result): ...        # `request` is whatever was given with the proposal or read
                    case TakeSnapshot(index): ...           # `SnapshotTaken(index, data)`, at once or later
                    case Restore(index, term, data): ...    # replace the application's state
                    case RoleChanged(role, term, leader): ...   # who leads; `NotLeader` says so to who asked in vain
                    case _: ...                             # the others are for those whom they concern

    A follower does not pass proposals on. `examples/embedding` has whole drivers, on sockets and
    with a file, and a guide; `casty_sim/scenarios/raft_program.py` is one on a simulated network.

    `Persist` effects go to the disk in order, and come back as `Persisted`; several may be synced at once. `Send` goes
    to a peer, and `Received` comes from one; neither order nor delivery is needed. One alarm is kept at `deadline()`,
    for `Wake`. The effects of one call are carried out in order, and those of one call before those of the next.
    `checkpoint` shrinks what is on disk. A name stands for one disk: who lost its records joins under another.

What the application owes
    Its state begins empty at every start; it is not kept on disk but by snapshots and the log. `Restore` replaces it,
    `Apply` changes it, and `TakeSnapshot` asks for it. It must follow from the entries alone. For sessions it keeps, as
    a part of the state, the answer to each command by session and serial, so that a client whose command turns out
    to be a `Duplicate` gets the answer of the first time; it forgets those below a command's `floor`, and those of the
    sessions that `SessionsEnded` names. A client opens a session with `OpenSession`, numbers its commands from 1, and
    proposes a command again, with the same number and anywhere, until it learns what became of it.

What the fields of events, effects, messages and records hold
    All numbers are `int` from 0 to 2**63 - 1; names are texts that are not empty. Times end in `_ns`: nanoseconds.

    `term`            which attempt to lead, from 1; 0 is before the first. In a message, that of its sender
    `index`           a place in the log, from 1; 0 is before the first entry
    `session`         the index at which a session was opened
    `serial`          the number of a command in its session, from 1
    `configuration`   the names of those who vote and of those who learn
    `entries`         consecutive in their `index`
    `payload`         what an entry is about
    `data`            bytes of the application, or a part of a snapshot; not looked into
    `sessions`        their numbers; in a snapshot, all that is known of them, as bytes
    `request`         the driver's own token, of any type, which comes back with the answer
    `reason`          a text for people
"""

from .configuration import (
    AddLearner,
    AddVoter,
    Change,
    Configuration,
    ConfigurationError,
    NodeId,
    Remove,
)
from .entries import (
    CloseSession,
    Command,
    Entry,
    NoOp,
    OpenSession,
    Payload,
    Proposable,
    RenewSession,
)
from .events import (
    Apply,
    Changed,
    ChangeMembership,
    Committed,
    ConfigurationChanged,
    Duplicate,
    Forwarded,
    NotLeader,
    Proposal,
    Propose,
    RaftEffect,
    RaftEvent,
    Read,
    ReadReady,
    Received,
    Restore,
    Result,
    Role,
    RoleChanged,
    Send,
    SessionsEnded,
    SessionUnknown,
    SnapshotTaken,
    Start,
    SteppedDown,
    TakeSnapshot,
    TransferLeadership,
    Unknown,
    Unreachable,
)
from .machine import Raft
from .messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    ReadReply,
    ReadRequest,
    RequestTransfer,
    RequestVote,
    SnapshotReply,
    Stale,
    TimeoutNow,
    Vote,
)
from .options import RaftOptions
from .records import (
    Append,
    Ballot,
    Base,
    Record,
    Recovered,
    RecoveryError,
    SaveSnapshot,
    bootstrap,
    checkpoint,
    recover,
)
from .snapshot import Snapshot

__all__ = [
    "AddLearner",
    "AddVoter",
    "Append",
    "AppendAccepted",
    "AppendEntries",
    "AppendRejected",
    "Apply",
    "Ballot",
    "Base",
    "Change",
    "ChangeMembership",
    "Changed",
    "CloseSession",
    "Command",
    "Committed",
    "Configuration",
    "ConfigurationChanged",
    "ConfigurationError",
    "Duplicate",
    "Entry",
    "Forwarded",
    "Heartbeat",
    "HeartbeatReply",
    "InstallSnapshot",
    "Message",
    "NoOp",
    "NodeId",
    "NotLeader",
    "OpenSession",
    "Payload",
    "Proposable",
    "Proposal",
    "Propose",
    "Raft",
    "RaftEffect",
    "RaftEvent",
    "RaftOptions",
    "Read",
    "ReadReady",
    "ReadReply",
    "ReadRequest",
    "Received",
    "Record",
    "Recovered",
    "RecoveryError",
    "Remove",
    "RenewSession",
    "RequestTransfer",
    "RequestVote",
    "Restore",
    "Result",
    "Role",
    "RoleChanged",
    "SaveSnapshot",
    "Send",
    "SessionUnknown",
    "SessionsEnded",
    "Snapshot",
    "SnapshotReply",
    "SnapshotTaken",
    "Stale",
    "Start",
    "SteppedDown",
    "TakeSnapshot",
    "TimeoutNow",
    "TransferLeadership",
    "Unknown",
    "Unreachable",
    "Vote",
    "bootstrap",
    "checkpoint",
    "recover",
]
