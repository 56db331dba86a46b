"""Who is there, and who is not: SWIM with suspicion, and the extensions of Lifeguard.

One machine, `Swim`, stands for one member. It speaks the messages of `messages.py` over a network that may lose, delay,
repeat and reorder them. The rules follow; tests cite the ones that they prove. `SWIM` is the paper by Das, Gupta and
Motivala (DSN 2002), `Lifeguard` the one by Dadgar, Phillips and Currey (DSN-W 2018), `memberlist` and `foca` are
implementations that are widely used. "Ours" has no published counterpart.

How a driver uses it: `Swim(Identity("a", generation), address, payload, rng=rng, options=options)`, where `generation`
is higher than in any life before (a counter on disk, or the time at the start), and `address` is where the others reach
it; `handle(Join(seeds), now)`, then `Received(peer, message)` for each message that comes and
`Wake()` at each `deadline()`. It sends what `Send` says, to addresses that it was given in `Join` or that members gave
for themselves, and tells its users what the other effects say. Who is a member is in the effects alone: `MemberAlive`,
then any number of `MemberSuspected` and `MemberAlive` in turn, then `MemberDead` or `MemberLeft`. `examples/embedding`
has whole drivers, on sockets, and a guide.

Members
 1. A member is a node id with a generation. A higher generation replaces a lower one at once, and what is said of the
    lower one does not count any more. Ours
 2. A member says of itself that it is alive, where, and with what payload, in its incarnation. It alone raises its
    incarnation: to contradict others, and when its payload changes. SWIM 4.2
 3. Statements are ordered by generation, incarnation, and state: alive, suspect, dead, left. A suspicion does not
    bring anybody back from the dead. What is not ordered before is applied, announced once, and passed on; what is
    changes nothing. SWIM 4.2; dead is not final: memberlist
 4. No view ever goes back in this order. Only the dead are forgotten. Ours
 5. Of a stranger, that it is alive is news; that it is suspected is none. That it is dead or has left is remembered
    against older news, and not announced. SWIM 4.2, foca
 6. An identity has one address. Somebody elsewhere who goes by it is reported and not listened to, unless that
    identity has left. memberlist
 7. What others say about oneself is not believed. An accusation, or a claim beyond what one has said, is contradicted
    with a higher incarnation; what is older is answered with the present state. SWIM 4.2
 8. An incarnation that rises by more than 2**32 at once is believed of nobody but the speaker. Of one who is said to be
    alive and is not known to be there, it is asked itself. Ours
 9. Whoever is replaced by a higher generation, or has no incarnation left, is defunct. foca

Failure detection
10. One member is probed in each period, in an order in which everybody comes once; then the order changes. Newcomers
    get a random place. SWIM 4.3
11. A member that does not answer in time is probed through k others who are believed to be well. If there is no answer
    by the end of the period, it is suspected. SWIM 3.1, 4.2
12. An answer counts if it comes from the one who was asked, to the question that is open. SWIM 3.1
13. A helper passes the answer on, and says so when there is none after 80% of its probe timeout. Lifeguard IV-A
14. Probes that fail, helpers that are silent, and accusations of oneself make one less sure of oneself; probes that
    succeed make one surer. Period and timeout grow with the doubt. Lifeguard IV-A
15. Who was away does not judge what happened meanwhile: after a late `Wake`, helpers get their whole time, and suspects
    a little more. Being late is a reason for doubt. Ours
16. A member whose connection broke is probed next. Every second probe still follows the order. Ours

Suspicion
17. A suspect counts as a member. It is dead when its time is up, or when another says so. The time is between a minimum
    of `alpha * log10 n` periods and `beta` times as much. SWIM 4.2, Lifeguard IV-B
18. Each independent confirmation, by a member that is there, shortens the time, down to the minimum after K of them.
    Each is passed on. Lifeguard IV-B
19. Whoever is suspected, dead or left is told so in whatever it is sent. Lifeguard IV-C

Dissemination
20. News travels in the messages of failure detection, least told first, and each item is passed on by each member
    `lambda * ceil(log10(n + 1))` times. SWIM 4.1
21. No message exceeds `message_limit`, whatever the size of the cluster. Ours
22. While there is news, it is also sent to a few members at short intervals; to those who died not long ago, too.
    memberlist

Whole states
23. Members compare all that they know from time to time, step by step. What has died is not taught to those who did
    not know it. memberlist's push-pull, in pieces
24. The death of a member, as part of a state and not as news, is believed as far as a suspicion. memberlist
25. Those who were lost are looked for: now and then a dead member or a seed is asked, and a stranger who pings is asked
    who it is. So views become one again after any partition. Ours; foca's announcements

Beginning and end
26. Seeds are asked until one has told all that it knows. Who has no seeds but itself has joined. memberlist
27. Who leaves says so to at least as many members as news is passed on to, and in a small cluster to all; again to
    whoever does not answer, for one period; then it stops. It is never announced as dead for it. memberlist; the
    answers: ours
28. The dead and the left are remembered for `reclaim_ns`; then the name is free. memberlist
29. Rubbish is dropped whole, and noted. Ours
30. No more than `max_members` are known. For a stranger who is there, one who went long ago is forgotten before its
    time, those first who were never here. Where there is none, strangers are not taken in. Ours

What the fields of events, effects and messages hold
    All numbers are `int` from 0 to `NUMBER_MAX`. Times end in `_ns`: nanoseconds.

    `identity`        a `node_id`, which is a text of 1 to `NODE_ID_MAX` bytes, and a generation
    `incarnation`     counts what the member has said of itself; it alone raises it
    `state`           what is believed of the member
    `member`          all that is known of it
    `source`          the identity of the sender of a message
    `number`          ties an answer to its question
    `updates`         the news that a message carries, each about one member
    `peer`, `to`      addresses: texts of at most `ADDRESS_MAX` bytes that a driver can dial
    `payload`         bytes of the application, at most `PAYLOAD_MAX`; not looked into
    `request`         the driver's own token, of any type, which comes back in the `Reply`
    `reason`          a text for people
"""

from .events import (
    ConnectionLost,
    Defunct,
    Departed,
    Join,
    Joined,
    Leave,
    Member,
    MemberAlive,
    MemberConflict,
    MemberDead,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    Received,
    Send,
    SwimEffect,
    SwimEvent,
    UpdatePayload,
)
from .machine import Swim
from .maths import retransmit_limit
from .messages import (
    ADDRESS_MAX,
    NODE_ID_MAX,
    NUMBER_MAX,
    PAYLOAD_MAX,
    Ack,
    Digest,
    Gossip,
    Identity,
    IndirectAck,
    Message,
    Nack,
    Ping,
    PingRequest,
    Records,
    State,
    SyncReply,
    SyncRequest,
    Update,
)
from .options import SwimOptions
from .sizes import MESSAGE_MIN, message_size

__all__ = [
    "ADDRESS_MAX",
    "MESSAGE_MIN",
    "NODE_ID_MAX",
    "NUMBER_MAX",
    "PAYLOAD_MAX",
    "Ack",
    "ConnectionLost",
    "Defunct",
    "Departed",
    "Digest",
    "Gossip",
    "Identity",
    "IndirectAck",
    "Join",
    "Joined",
    "Leave",
    "Member",
    "MemberAlive",
    "MemberConflict",
    "MemberDead",
    "MemberLeft",
    "MemberSuspected",
    "MemberUpdated",
    "Message",
    "Nack",
    "Ping",
    "PingRequest",
    "Received",
    "Records",
    "Send",
    "State",
    "Swim",
    "SwimEffect",
    "SwimEvent",
    "SwimOptions",
    "SyncReply",
    "SyncRequest",
    "Update",
    "UpdatePayload",
    "message_size",
    "retransmit_limit",
]
