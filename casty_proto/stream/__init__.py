"""The demand protocol: a producer that never sends more than was asked for, and a consumer that asks as it consumes.

Two machines, `Publisher` and `Subscriber`, speak the messages of `messages.py` over an ordered link that loses nothing
until it breaks. The rules follow; every test cites the one that it proves. `RS` is a rule of the Reactive Streams
specification 1.0.4, `A` and `F` are scenarios of stream references over a network and of faults. "Ours" has no
published counterpart.

Opening
 1. The first answer to `Subscribe` is the acceptance or a refusal, and comes before any element, so that a consumer
    knows where it stands before it gets data. RS 1.9, 2.1
 2. A producer has one consumer in its life. Every other `Subscribe`, a repeated one of the same consumer included, is
    refused, and the first stream is untouched. RS 1.10, 1.11 (unicast), A-11
 3. Demand from anybody but the consumer is refused, and cancellation by anybody else is ignored: a stream belongs to
    its two ends. RS 3.1, A-12
 4. A consumer has one producer. Another that accepts it is cancelled; a second acceptance changes nothing.
    RS 2.5, 2.12
 5. Nobody waits for ever to get together: the producer for a consumer (if so configured), the consumer for an answer.
    Once they have, a stream may idle for any length of time. A-5, A-6

Demand
 6. At every moment the elements sent are at most the elements requested. This is what the protocol is for.
    RS 1.1, 1.2, A-1
 7. A consumer that wants elements asks; without demand nothing is sent. RS 2.1
 8. Demand adds up, and stops growing at 2**63 - 1, which stands for "any number". RS 3.8, 3.17
 9. A demand that is not a positive number ends the stream with a failure that names it, at once. RS 3.9
10. A consumer never has more than its window requested or buffered. It asks again when half of the window (or what was
    configured) has been consumed: few messages, and even a window of 1 flows. Ours; RS 2.1
11. Demand may be sent at any time after the acceptance, and is answered by elements or the end at once.
    RS 3.2, 3.10, 3.11
12. Elements beyond the demand break the protocol: the consumer cancels and fails. F-6

Order
13. Elements are numbered from 0 without a gap. A gap fails the stream, because what was lost cannot be known. RS 1.3
14. An element that came before is dropped silently once a link has been resumed, and breaks the protocol otherwise.
    RS 1.3
15. One event is handled at a time, and no signal is sent from inside the handling of another: effects are returned,
    not performed, so nothing recurses. RS 1.3, 3.3
16. A call does a bounded amount of work, however large the demand, and asks to be continued: no stream starves
    another. RS 3.4, F-8

The end
17. There is exactly one end, completion or failure, with or without outstanding demand, and nothing after it.
    RS 1.2, 1.4, 1.5, 1.7, 2.9, 2.10
18. The end keeps its place in the order: accepted elements are delivered before it, at the producer and at the
    consumer. Only an illegal demand (rule 9) and a producer that is itself going away fail at once.
    RS 4.2, A-2, A-3
19. A completion carries the number of elements. One that does not match what arrived is a failure, so a stream never
    looks complete when it is not. A-9
20. A consumer answers the end with neither demand nor cancellation and forgets the stream; what comes later is dropped
    and noted. RS 2.3, 2.4, A-9
21. After its end a producer has forgotten its consumer and ignores demand and cancellation.
    RS 1.6, 3.13, A-8

Cancellation
22. A consumer that leaves cancels exactly once, and never asks for anything after that. RS 2.6, 2.7, 3.5, 3.15, A-4
23. A producer that has handled a cancellation says nothing more, not even the end, and ignores demand and further
    cancellation. RS 1.8, 3.5, 3.6, 3.7, 3.12, 3.16
24. What was on its way when a consumer left is dropped silently, up to what was requested; a cancellation and an end
    may cross. RS 2.8, A-7

Input
25. The buffer is bounded. `None` is refused, as it stands for "nothing". RS 2.13, F-3
26. An element is in the buffer or it is not: one that was turned away is nowhere, and one that was accepted is
    delivered, unless the stream does not end as complete. Ours
27. One nudge is under way at most, and none while it could not send anything. Ours
28. A completed input takes no more elements; what it has is flushed. A closed input says why. Ours

Links
29. A producer retains what it sent until it is acknowledged, if the consumer asked for that, and never more than it
    agreed to. Every demand acknowledges what was received. Ours; F-4
30. A consumer resumes over a new link from the first element that it does not have. Nothing counts that arrives between
    the loss and the producer's answer. Ours; F-2
31. A stream that cannot be resumed, or not in time, fails at the consumer and is cancelled at the producer. It never
    ends as complete. F-1, F-2
32. A producer that is lost fails its stream, after a grace for messages that are still on their way. A-10
33. A consumer that waits for longer than the inactivity timeout without a sign of the producer gives up and cancels.
    The time counts only while the user waits. Ours
34. The end of a retaining stream is acknowledged, since it may be lost with the link as well. Ours

Errors
35. Rubbish from a peer is dropped and noted, and changes nothing. RS 1.9, 2.13, F-5
36. Several elements come in one message only to those who asked for that. Ours

What the fields of events, effects and messages hold
    All numbers are `int` from 0 to 2**63 - 1. Times end in `_ns`: nanoseconds. Sizes are in elements. What has a field
    of a wrong type cannot be made: its constructor raises `TypeError`, and `ValueError` for `None` where something must
    be.

    `peer`, `to`      addresses, as `consumer` and `producer` are: the driver's own, of any type that can be a key
    `sequence`        the number of an element; the first one of the stream has 0
    `element`         the user's own, of any type but `None`
    `elements`        several, consecutive
    `message`         what is said in `messages.py`
    `attempt`         which link it is about; it comes back with the answer
    `outcome`         how the stream ended
    `cause`           the exception behind a failure, where both ends are in one process
    `request`         the driver's own token, of any type, which comes back in the `Reply`
    `reason`          a text for people
"""

from .events import (
    ACCEPTED,
    CLOSED,
    CONSUMED,
    EMPTY,
    FULL,
    ILLEGAL,
    INPUT_READY,
    NUDGE,
    WAITING,
    Available,
    Begin,
    Cancel,
    Cancelled,
    Complete,
    Completed,
    Consumed,
    ConsumerAccepted,
    ConsumerLost,
    Continue,
    Empty,
    Ended,
    Fail,
    Failed,
    InputClosed,
    InputReady,
    LinkLost,
    LinkRestored,
    Open,
    Outcome,
    ProducerLost,
    PublisherEffect,
    PublisherEvent,
    Received,
    Room,
    Send,
    SubscriberEffect,
    SubscriberEvent,
    TimedOut,
    Waiting,
)
from .messages import (
    MAX_DEMAND,
    Address,
    StreamCancel,
    StreamCompleted,
    StreamDemand,
    StreamElement,
    StreamElements,
    StreamFailed,
    StreamRefused,
    StreamReleased,
    StreamResume,
    StreamResumed,
    StreamSubscribed,
    Subscribe,
    ToConsumer,
    ToProducer,
)
from .options import PublisherOptions, SubscriberOptions
from .publisher import Publisher
from .subscriber import Subscriber

__all__ = [
    "ACCEPTED",
    "CLOSED",
    "CONSUMED",
    "EMPTY",
    "FULL",
    "ILLEGAL",
    "INPUT_READY",
    "MAX_DEMAND",
    "NUDGE",
    "WAITING",
    "Address",
    "Available",
    "Begin",
    "Cancel",
    "Cancelled",
    "Complete",
    "Completed",
    "Consumed",
    "ConsumerAccepted",
    "ConsumerLost",
    "Continue",
    "Empty",
    "Ended",
    "Fail",
    "Failed",
    "InputClosed",
    "InputReady",
    "LinkLost",
    "LinkRestored",
    "Open",
    "Outcome",
    "ProducerLost",
    "Publisher",
    "PublisherEffect",
    "PublisherEvent",
    "PublisherOptions",
    "Received",
    "Room",
    "Send",
    "StreamCancel",
    "StreamCompleted",
    "StreamDemand",
    "StreamElement",
    "StreamElements",
    "StreamFailed",
    "StreamRefused",
    "StreamReleased",
    "StreamResume",
    "StreamResumed",
    "StreamSubscribed",
    "Subscribe",
    "Subscriber",
    "SubscriberEffect",
    "SubscriberEvent",
    "SubscriberOptions",
    "TimedOut",
    "ToConsumer",
    "ToProducer",
    "Waiting",
]
