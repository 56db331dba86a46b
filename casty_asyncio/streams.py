"""Demand-driven streams: an actor on both ends, a sink to put into, and a source to iterate.

The machines of `casty_proto.stream` decide everything, and the two actors exchange their messages. `SinkRef` and
`SourceRef` stand beside their actor in the same process and use the direct lane of its machine: an element that is put
goes straight into the buffer, and one that is iterated comes straight out of the window. Neither is ever sent anywhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from attrs import field, frozen
from attrs.validators import instance_of

from casty_proto.actor import SAME, Behavior, Lifecycle, Receive, Setup
from casty_proto.machine import nanoseconds
from casty_proto.stream import (
    CONSUMED,
    EMPTY,
    FULL,
    InputReady,
    PublisherOptions,
    SubscriberOptions,
    ToConsumer,
    ToProducer,
)

from .arguments import check_ref, check_seconds, is_ref
from .context import ActorContext
from .errors import StreamClosedError, StreamError, UsageError
from .events import Terminated
from .refs import ActorRef, LocalRef
from .stream_ends import ConsumerEnd, ProducerEnd


@frozen
class GetSink[E]:
    """Message to a producer: send its `SinkRef` to `reply_to`."""

    reply_to: ActorRef[SinkRef[E]] = field(validator=is_ref)


@frozen
class CompleteStream:
    """Message to a producer: no more input. What was accepted is still delivered."""


@frozen
class FailStream:
    """Message to a producer: fail the consumer with `exception`, after what was accepted."""

    exception: Exception = field(validator=instance_of(Exception))


@frozen
class GetSource[E]:
    """Message to a consumer: send its `SourceRef` to `reply_to`."""

    reply_to: ActorRef[SourceRef[E]] = field(validator=is_ref)


type StreamProducerMsg[E] = GetSink[E] | CompleteStream | FailStream | ToProducer | InputReady | Terminated
type StreamConsumerMsg[E] = GetSource[E] | ToConsumer[E] | Terminated


class SinkRef[E]:
    """The input of a stream, beside its producer. May be used by any number of tasks of the loop."""

    __slots__ = ("_end", "_line", "_offer", "_waiting")

    def __init__(self, end: ProducerEnd[E]) -> None:
        self._end = end
        self._offer = end.offer
        self._line = end.line
        self._waiting = end.line.waiting

    async def put(self, element: E) -> None:
        """Put one element into the buffer; wait while it is full.

        It does not yield to the loop while there is room and nobody waits for it; those who wait are served in the
        order in which they came. When it is cancelled, or raises, the element was not accepted. Raises
        `StreamClosedError` when the stream takes no more elements, `UsageError` for `None`.
        """
        outcome = self._line.offer(element) if self._waiting else self._offer(element)
        if outcome == FULL:
            outcome = await self._line.wait(element)
        if outcome:
            self._end.settle(outcome)

    async def complete(self) -> None:
        """End the stream well. What was accepted is still delivered; this does not wait for that.

        May be repeated. Raises `StreamClosedError` when the consumer has left or the stream has failed.
        """
        self._end.complete()

    async def fail(self, error: BaseException) -> None:
        """End the stream with a failure: after what was accepted, the consumer gets a `StreamFailedError` from `error`.

        Raises `StreamClosedError` when the stream was closed before, `UsageError` for what is no exception.
        """
        self._end.fail(error)

    @property
    def closed(self) -> bool:
        """Whether the stream takes no more elements."""
        return self._end.closed_reason is not None

    @property
    def producer(self) -> ActorRef[StreamProducerMsg[E]]:
        """The producer that this is the input of."""
        return self._end.ref

    def __repr__(self) -> str:
        return f"SinkRef({self._end.path}, {self._end.closed_reason or 'open'})"


class SourceRef[E]:
    """The output of a stream, beside its consumer: `async for element in source`.

    The iteration ends normally only when the producer has completed the stream. Leaving it in any other way cancels
    the stream: `break`, `return`, an exception, the cancellation of the task.
    """

    __slots__ = ("_end",)

    def __init__(self, end: ConsumerEnd[E]) -> None:
        self._end = end

    def __aiter__(self) -> AsyncIterator[E]:
        """Begin to consume. Raises `UsageError` while another iteration is under way: an element is delivered once."""
        return Iteration(self._end)

    async def aclose(self) -> None:
        """Cancel the stream, if it has not ended."""
        self._end.leave("the source was closed")

    @property
    def consumer(self) -> ActorRef[StreamConsumerMsg[E]]:
        """The consumer that this is the output of."""
        return self._end.ref

    def __repr__(self) -> str:
        return f"SourceRef({self._end.path}, {self._end.subscriber.outcome or 'open'})"


class Iteration[E]:
    """One `async for`. When it is dropped before its end, it cancels the stream."""

    __slots__ = ("_end", "_over", "_subscriber", "_take")

    def __init__(self, end: ConsumerEnd[E]) -> None:
        self._over = True
        end.begin()
        self._over = False
        self._end = end
        self._subscriber = end.subscriber
        self._take = end.subscriber.take

    def __aiter__(self) -> AsyncIterator[E]:
        return self

    async def __anext__(self) -> E:
        element = self._take()
        if element is EMPTY:
            element = await self._next()
        if self._subscriber.demand_due:
            self._end.feed(CONSUMED)
        return element

    async def _next(self) -> E:
        try:
            return await self._end.next()
        except (StopAsyncIteration, StreamError):
            # The end of the stream, in one way or another: there is nothing left to cancel.
            self._over = True
            raise
        except UsageError:
            raise
        except BaseException:
            # The task was cancelled while it waited. Its exception holds on to this iteration, who knows how long.
            self._drop()
            raise

    async def aclose(self) -> None:
        """Leave the iteration. A no-op when it is over."""
        if not self._over:
            self._over = True
            self._end.leave("the iteration was closed")

    def _drop(self) -> None:
        if not self._over:
            self._over = True
            self._end.drop()

    # `break`, `return` and exceptions drop the iterator of an `async for` at once; this is where they are noticed.
    __del__ = _drop


def stream_producer(
    buffer_size: int = 64, *, subscription_timeout: float | None = None
) -> Behavior[StreamProducerMsg[Any]]:
    """The producing end of a stream. Ask it for its sink with `GetSink`.

    `buffer_size` elements may wait to be sent; then `SinkRef.put` blocks. 0 means any number. It serves one consumer,
    and stops when the stream has ended. With a `subscription_timeout`, in seconds, it also ends when nobody subscribes.

    Raises `ValueError` or `TypeError` for a size that makes no sense, `UsageError` for such a timeout.
    """
    if subscription_timeout is not None:
        check_seconds("subscription_timeout of stream_producer", subscription_timeout)
    timeout_ns = None if subscription_timeout is None else nanoseconds(subscription_timeout)
    options = PublisherOptions(buffer_size=buffer_size, subscription_timeout_ns=timeout_ns)
    return Setup(lambda ctx: _producing(ProducerEnd(ctx, options)))


def stream_consumer[E](
    producer: ActorRef[StreamProducerMsg[E]], initial_demand: int = 16, timeout: float | None = None
) -> Behavior[StreamConsumerMsg[E]]:
    """The consuming end of a stream: subscribes to `producer` at once. Ask it for its source with `GetSource`.

    At most `initial_demand` elements are requested and not yet consumed at any time. With a `timeout`, in seconds, an
    iteration that waits for longer than that without a sign of the producer raises `StreamTimeoutError`. The actor
    stops when the iteration has ended.

    Raises `ValueError` or `TypeError` for a demand that makes no sense, `UsageError` for such a timeout, and for a
    `producer` that is no ref.
    """
    check_ref("the producer of stream_consumer", producer)
    if timeout is not None:
        check_seconds("timeout of stream_consumer", timeout)
    near = isinstance(producer, LocalRef)
    options = SubscriberOptions(
        window=initial_demand,
        # Asking early hides the time that a demand is under way. Within one process there is nothing to hide, and a
        # whole window at a time costs half the messages.
        replenish_at=initial_demand if near else None,
        inactivity_timeout_ns=None if timeout is None else nanoseconds(timeout),
        # The notice of the producer's end comes after its last message, in one process and between two.
        grace_ns=0,
    )

    def setup(ctx: ActorContext[StreamConsumerMsg[E]]) -> Behavior[StreamConsumerMsg[E]]:
        end: ConsumerEnd[E] = ConsumerEnd(ctx, producer, options)
        return _consuming(end)

    return Setup(setup)


def _producing(end: ProducerEnd[Any]) -> Behavior[StreamProducerMsg[Any]]:
    sink: SinkRef[Any] = SinkRef(end)

    def receive(
        ctx: ActorContext[StreamProducerMsg[Any]], message: StreamProducerMsg[Any]
    ) -> Behavior[StreamProducerMsg[Any]]:
        match message:
            case InputReady():
                end.feed(message)
            case GetSink(reply_to):
                end.send(reply_to, sink)
            case CompleteStream():
                _too_late(end, message, end.complete)
            case FailStream(exception):
                _too_late(end, message, end.fail, exception)
            case Terminated(ref):
                end.terminated(ref)
            case _:
                end.received(message)
        return SAME

    def stopped(ctx: ActorContext[StreamProducerMsg[Any]]) -> None:
        end.close(f"the producer {end.path} has stopped")

    def failed(ctx: ActorContext[StreamProducerMsg[Any]], error: Exception) -> None:
        end.close(f"the producer {end.path} has failed: {error!r}", error)

    return Lifecycle(Receive(receive), post_stop=stopped, pre_restart=failed)


def _too_late(end: ProducerEnd[Any], message: object, request: Callable[..., None], *args: Any) -> None:
    """Who sends a message instead of calling the sink cannot be given the exception."""
    try:
        request(*args)
    except StreamClosedError as error:
        end.warn(f"{message!r} came too late: {error}")


def _consuming[E](end: ConsumerEnd[E]) -> Behavior[StreamConsumerMsg[E]]:
    source = SourceRef(end)

    def receive(
        ctx: ActorContext[StreamConsumerMsg[E]], message: StreamConsumerMsg[E]
    ) -> Behavior[StreamConsumerMsg[E]]:
        match message:
            case GetSource(reply_to):
                end.send(reply_to, source)
            case Terminated(ref):
                end.terminated(ref)
            case _:
                end.received(message)
        return SAME

    def leave(ctx: ActorContext[StreamConsumerMsg[E]]) -> None:
        end.close()

    return Lifecycle(Receive(receive), post_stop=leave, pre_restart=leave)
