"""A link: what two processes have in common as long as both live, whatever happens to their connections.

A link carries frames, in order, each exactly once, over one connection after the other. So a broken connection loses
nothing and repeats nothing: not a message, not the answer to an ask, not the news of an actor's end, not an element of
a stream. Only when the peer is gone for good, or stays away for too long, is the link lost; then both sides know, and
everything that was under way is reported. The rules follow; every test cites the one that it proves.

Sessions
 1. Frames are counted, in each direction from 1 on. Their numbers are not sent: a connection keeps the order.
 2. A sender keeps each frame until the peer has acknowledged it. An acknowledgement says how many frames have arrived,
    so a later one makes up for those before it.
 3. An acknowledgement is due after so many frames, so many bytes or so much time, whichever comes first. What was
    refused is not acknowledged before the refusal was written, since the sender forgets what is acknowledged.
 4. What is kept is limited, in frames and in bytes. A frame beyond the limit is not taken, and the sender is told. News
    and answers, which nobody could repeat, may go beyond it up to a second limit; who reaches that loses the link.
 5. A session has a number that the two sides agree upon, and ends with the link. Numbers are drawn at random, so that
    two sessions are not taken for each other.

Connections
 6. Whoever dialled begins with the number of the session that it knows, or 0, and how many frames it has received. A
    listener that knows the same session says how many it has received. Both go on from there.
 7. A listener that knows another session, or none, begins a new one. Whatever either side had of an old one is lost.
 8. A new connection takes the place of the one before, which is closed.
 9. When both dial at once, the connection of the one with the lower identity counts, and the other one's is told that
    the listener is busy. So is one that meets an attached connection, since it may be the older of the two. Who was
    told that, and has no connection yet, dials again and insists, and is not told it twice.
10. An attempt to dial that fails is repeated after a time that doubles, with jitter, up to a limit, as long as there
    is something to say.
11. A connection on which nothing was heard for so long, although the peer was asked for a sign, is closed.
12. A connection that nobody needs is closed after some time. Its session stays, and goes on when there is a need.

The end
13. A link that was cut off for so long is lost, and so is one whose peer refuses connections for a shorter time, since
    its process is gone then. A later connection begins anew.
14. A link is lost for good, at once, when the peer says farewell, or when another process has taken its place.
15. What a lost link had not got across is returned, oldest first. The peer may have received the first of it.

Errors
16. Whatever a peer sends about the link that cannot be is noted, and changes nothing but that its connection is
    closed. A frame of the session that cannot be ends the session too: it would only be sent again.

What the fields of events, effects and frames hold
    All numbers are `int` from 0 to 2**63 - 1. Times end in `_ns`: nanoseconds. Sizes are in bytes.

    `connection`      the driver's own name for a connection, of any type that can be a key
    `session`         the number of a session, from 1; 0 is none
    `received`        how many frames of the session have come, from its beginning
    `number`          ties a sign to the ping that asked for it
    `frame`           what is written outside of the session; `packed` makes a body of it
    `text`            why, for people; on the wire it has at most 300 bytes
"""

from .events import (
    Accepted,
    Attached,
    Broken,
    Busy,
    Closed,
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
from .frames import (
    COUNTED,
    Ack,
    Bye,
    Idle,
    LinkFrame,
    PingFrame,
    Pong,
    Resume,
    SayBusy,
    SayFresh,
    SayResumed,
    packed,
    unpacked,
)
from .machine import Link
from .options import LinkOptions
from .session import Entry, Session

__all__ = [
    "COUNTED",
    "Accepted",
    "Ack",
    "Attached",
    "Broken",
    "Busy",
    "Bye",
    "Closed",
    "Dial",
    "DialFailed",
    "Dialed",
    "Drop",
    "Entry",
    "Farewell",
    "Idle",
    "Interest",
    "Link",
    "LinkEffect",
    "LinkEvent",
    "LinkFrame",
    "LinkLost",
    "LinkOptions",
    "Ping",
    "PingFrame",
    "Pong",
    "Refreshed",
    "Resume",
    "Resumed",
    "SayBusy",
    "SayFresh",
    "SayResumed",
    "Session",
    "Superseded",
    "Wanted",
    "Write",
    "packed",
    "unpacked",
]
