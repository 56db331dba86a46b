"""Replicated states: what an entity's owner has, its backups have too, and a new owner finds it again.

Three machines: `Primary`, for the shards that a node owns; `Backup`, for the copies that it holds for others; and
`Replica`, which is both of one node together, and what a node should use. They speak the messages of `messages.py` over
a network that may lose, double, delay and reorder them. The rules follow; every test cites the one that it proves.

What is guaranteed. `Durable(request)` of a region with `sync_count` N says that the write, or a later one of its
entity, is on the owner and on N of its backups. It survives the loss of any N nodes at once: every later owner begins
with that state or a later one. This needs three things of the node: each `Own` names as `replicas` whoever may have a
copy (all members are a safe answer); an owner whose lease has ended passes no `Durable` on; and an epoch is given to
one owner only. A write that `Failed`, or was never answered, may survive or not; once an owner has started without it,
it does not come back over a state that was written and acknowledged later.

Writes
 1. A write is durable, and its request answered, when as many backups as `sync_count` says have acknowledged it. 0: at
    once.
 2. -1 stands for all current backups. One that crashed is one of them until it is not named any more.
 3. Where there never were N backups, as many as there could have been at any time are required, and that is noted once
    for each region. Fewer backups than there were before do not make less enough.
 4. Sequences rise within an epoch; a deletion has one too, and a name that is used again goes on above it.
 5. Of a backlog the newest state is sent, and no other. Its acknowledgement answers every older write of the entity.
 6. A write that is not acknowledged in time has failed, and so has one whose shard is lost. Its outcome is unknown. So
    many writes wait at most as the options say.
 7. A state that did not change is not sent. Its request is answered when the present version is durable, so an answer
    that tells of a state is no more volatile than the state.

Sending
 8. There is at most one update of an entity under way to a backup. It is sent again, as the newest, until it is
    acknowledged; a silent node gets one message at a time, at growing intervals.
 9. An acknowledgement counts for the epoch, stage, life, entity and sequence that it names.
10. What changed since the last acknowledged state is sent where that is smaller. A backup without that base says so and
    gets the whole state. Of an entity, at most two old states are kept for each backup, and none for silent ones.
11. What is under way to a node is bounded, over all shards. Whoever is brought up to date has half of that.

Copies
12. A copy obeys the owner with the highest epoch. Others are refused, and learn that they are no owners any more.
13. A copy has, of each entity, the highest version that it was sent. What is older, or from an older stage, changes
    nothing.
14. A new backup is brought up to date with everything; then it is told that its copy is complete. That is true of the
    process that has acknowledged everything, and of no other one of its name. Where writes wait for backups it is told
    so again whenever the members change, since copies are complete as of a membership (counting.py). Copies of former
    backups are dropped when all present ones are complete, and not before.
15. What an owner has stays on its node as a copy when the shard is lost: being no owner is not a loss of state.

Recovery
16. A new owner asks all who may have a copy. Whoever has answered obeys no earlier owner any more.
17. It waits for each until that one is known to be down, and then for the rest of the grace. Who is up is asked on.
    Nobody who is down holds it up, unless more are down of those that count than may be lost at once: then what was
    acknowledged may be with them alone, and it is waited until enough are back, or gone for good. Where there were so
    few backups at a time that less was required, less may be lost.
18. It takes, for each entity, the newest version by epoch and sequence, and is ready before anything is written.
19. Everything that it took gets a version of its own epoch, and is replicated like a write. Who has the same state gets
    a few bytes.
20. Deletions are remembered until all backups have them, and no longer. What a complete copy lacks, and is not beyond
    what it is complete for, was deleted. What is not there can be deleted: while fewer copies are complete than a write
    needs, that is a write like any other.
21. Lists and states come in pages of bounded size. A replica that was started again meanwhile begins its list anew.
22. A node whose message says that it is a later owner is believed before the message is read: the shard is lost first,
    and what was here is part of the answer.
23. An epoch is owned once. Who is given one that is over, or was in use in an earlier life of the node, learns that it
    is superseded.

Nodes
24. A backup that was started again has nothing. It is found by the life that its answers name, or said by the node, and
    begins anew. A new owner hears from it since when it has been there.

Errors
25. Rubbish from a peer is dropped and noted, and changes nothing. An illegal request is rejected, and changes nothing.

Regions
26. Of a region that has ended nothing is kept. Another one of its name has higher epochs, and has nothing of it.

What the fields of events, effects and messages hold
    All numbers are `int` from 0 to 2**63 - 1. Times end in `_ns`: nanoseconds. Sizes are in bytes.

    `region`          the name of an entity type or of a singleton
    `shard`           a number in it, from 0
    `entity`          a name in the shard; `entities` are several, with their states where there are any
    `epoch`           which owner: it rises with each one of a shard, from 1
    `sequence`        which write of the epoch, from 1
    `stage`           which round of an epoch in which all copies are completed
    `life`            which process of a node: a number that each draws at random
    `index`           a place in the log of the cluster, for the membership as of there; 0 is before all of them
    `node`, `nodes`   node keys: texts. So are `backup`, `backups`, `peer` and `to`
    `state`           bytes of the application; not looked into
    `entries`         several entities with their versions, and with their states where these are sent
    `request`         the node's own token, of any type, which comes back with the answer
    `reason`          a text for people
"""

from .backup import Backup
from .events import (
    BackupEffect,
    BackupEvent,
    Backups,
    Began,
    Changed,
    Deleted,
    Disown,
    Down,
    Durable,
    Ended,
    Failed,
    Flush,
    Gone,
    Keep,
    Lost,
    Overtaken,
    Own,
    PrimaryEffect,
    PrimaryEvent,
    Received,
    Recovered,
    ReplicaEffect,
    ReplicaEvent,
    Send,
    Superseded,
    UpToDate,
)
from .machine import Replica
from .messages import (
    NEVER,
    Ack,
    Drop,
    Dropped,
    Fetch,
    InUse,
    Message,
    NeedsWhole,
    Page,
    Pull,
    Refused,
    States,
    ToCopy,
    ToOwner,
    Update,
    Version,
    Whole,
    WholeAck,
)
from .options import ALL, ReplicaOptions, ReplicaSettings
from .primary import Primary

__all__ = [
    "ALL",
    "NEVER",
    "Ack",
    "Backup",
    "BackupEffect",
    "BackupEvent",
    "Backups",
    "Began",
    "Changed",
    "Deleted",
    "Disown",
    "Down",
    "Drop",
    "Dropped",
    "Durable",
    "Ended",
    "Failed",
    "Fetch",
    "Flush",
    "Gone",
    "InUse",
    "Keep",
    "Lost",
    "Message",
    "NeedsWhole",
    "Overtaken",
    "Own",
    "Page",
    "Primary",
    "PrimaryEffect",
    "PrimaryEvent",
    "Pull",
    "Received",
    "Recovered",
    "Refused",
    "Replica",
    "ReplicaEffect",
    "ReplicaEvent",
    "ReplicaOptions",
    "ReplicaSettings",
    "Send",
    "States",
    "Superseded",
    "ToCopy",
    "ToOwner",
    "UpToDate",
    "Update",
    "Version",
    "Whole",
    "WholeAck",
]
