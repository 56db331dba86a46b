"""The two ends of a stream as drivers: a machine, the actor that speaks for it, and whoever waits for it.

An end is driven from two sides, both in the thread of the loop: by the messages that its actor handles, and by the task
that puts or iterates. Nothing here suspends while the machine is at work, so the two sides never meet inside of it.

An end lives as long as one incarnation of its actor. A restart makes a new end, with a new machine; the old one is
closed, and can no longer stop the actor.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, assert_never

from casty_proto.actor import READY, Stop
from casty_proto.actor.mailbox import UNBOUNDED
from casty_proto.machine import Instant, Machine, Note, Rejected, Reply, Severity, Wake
from casty_proto.stream import (
    CLOSED,
    EMPTY,
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
    ConsumerAccepted,
    ConsumerLost,
    Continue,
    Ended,
    Fail,
    Failed,
    InputClosed,
    LinkLost,
    Open,
    ProducerLost,
    Publisher,
    PublisherEffect,
    PublisherEvent,
    PublisherOptions,
    Received,
    Room,
    Send,
    StreamCompleted,
    StreamElement,
    StreamElements,
    StreamFailed,
    StreamRefused,
    Subscribe,
    Subscriber,
    SubscriberEffect,
    SubscriberEvent,
    SubscriberOptions,
    TimedOut,
)

from .errors import (
    MailboxFullError,
    NotSendableError,
    StreamClosedError,
    StreamError,
    StreamFailedError,
    StreamTimeoutError,
    UsageError,
)
from .refs import ActorRef
from .stream_line import Line

if TYPE_CHECKING:
    from .context import ActorContext

_LINK_LOST = LinkLost()


class StreamEnd[V, F](ABC):
    """What both ends share: feeding the machine, its deadline, and the end of the actor."""

    def __init__(self, ctx: ActorContext[Any], machine: Machine[V | LinkLost | Wake, F]) -> None:
        self.ref: ActorRef[Any] = ctx.self
        self.path = ctx.path
        self.runtime = ctx._body.runtime
        self._ctx = ctx
        self._cell = ctx._body.cell
        self._machine = machine
        self._armed: Instant | None = None
        self._partner: ActorRef[Any] | None = None
        self._unsent: object = None
        self._unsendable: NotSendableError | None = None
        self._closed = False

    def feed(self, event: V | LinkLost | Wake) -> None:
        """Give one event to the machine and carry out its effects."""
        for effect in self._machine.handle(event, self.runtime.clock.now()):
            self._carry_out(effect)
        deadline = self._machine.deadline()
        if deadline != self._armed:
            self._arm(deadline)
        if self._unsent is not None:
            self._on_unsent()

    @abstractmethod
    def _carry_out(self, effect: F) -> None: ...

    def on_due(self, now: Instant) -> None:
        """The machine's deadline has come."""
        self._armed = None
        self.feed(Wake())

    def _arm(self, deadline: Instant | None) -> None:
        self._armed = deadline
        if deadline is None:
            self.runtime.clock.cancel(self)
        else:
            self.runtime.clock.set_at(self, deadline)

    def send(self, to: object, message: object) -> bool:
        """Tell an actor something, and go on if its mailbox refuses it. False when it did."""
        if not isinstance(to, ActorRef):
            self.warn(f"{to!r} is no actor that could be sent {message!r}")
            return True
        try:
            taken = to._offer(message, self.ref)
        except MailboxFullError as error:
            self.warn(str(error))
            return False
        except NotSendableError as error:
            self.warn(str(error))
            self._unsendable = error
            return False
        if not taken:
            self.warn(f"too much waits for the process of {to!r}: {type(message).__name__} was not sent")
        return taken

    def _send(self, effect: Send) -> None:
        if not self.send(effect.to, effect.message):
            self._unsent = effect.to

    def _on_unsent(self) -> None:
        """A mailbox has refused a message of the stream, of which none may be missing: this is what a lost link is."""
        to, self._unsent = self._unsent, None
        error, self._unsendable = self._unsendable, None
        if to == self._partner:
            self._on_lost_message(error)

    def _on_lost_message(self, error: NotSendableError | None) -> None:
        self.feed(_LINK_LOST)

    def _note(self, note: Note) -> None:
        self.runtime.log.log(note.severity, "%s: %s", self.path, note.text)

    def warn(self, text: str) -> None:
        """Log what somebody should look into."""
        self._note(Note(Severity.WARNING, text))

    def _stop(self) -> None:
        """The stream is over at this end, and so is its actor."""
        if not self._closed:
            self.runtime.feed(Stop(self._cell))


class ProducerEnd[E](StreamEnd[PublisherEvent, PublisherEffect]):
    """Drives a `Publisher`, and lets those wait in line who want to put into a full buffer."""

    def __init__(self, ctx: ActorContext[Any], options: PublisherOptions) -> None:
        self._publisher: Publisher[E] = Publisher(ctx.self, options)
        super().__init__(ctx, self._publisher)
        self.offer = self._publisher.offer
        self.line: Line[E] = Line(self.runtime.loop, self.offer)
        self._answer: Any = None
        self.feed(Open())

    @property
    def closed_reason(self) -> str | None:
        """Why the stream takes no more elements, or `None` while it does."""
        return self._publisher.closed_reason

    # -- messages --------------------------------------------------------------------------------------------------

    def received(self, message: object) -> None:
        """A message of the protocol has come."""
        if isinstance(message, Subscribe) and self._partner is None and not self._can_serve(message.consumer):
            return
        self.feed(Received(self._ctx.sender, message))

    def _can_serve(self, consumer: object) -> bool:
        """Whether the consumer is an actor whose end would be noticed; it is watched from here on."""
        try:
            self._ctx.watch(consumer)  # type: ignore[arg-type]
        except UsageError as error:
            self.send(consumer, StreamRefused(f"{self.path}: {error}"))
            return False
        return True

    def terminated(self, ref: ActorRef[Any]) -> None:
        """Somebody that was watched has stopped."""
        if ref == self._partner:
            self.feed(ConsumerLost(f"the consumer {ref.path} has stopped"))

    def close(self, reason: str, cause: BaseException | None = None) -> None:
        """The incarnation goes: nobody will be there to send what is in the buffer."""
        self._closed = True
        self.feed(Fail(reason, cause, flush=False))

    def _on_lost_message(self, error: NotSendableError | None) -> None:
        if error is None:
            super()._on_lost_message(error)
        else:
            # The link is as good as before: the consumer can be told why.
            self.feed(Fail(str(error), flush=False))

    # -- the input -------------------------------------------------------------------------------------------------

    def settle(self, outcome: int) -> None:
        """Do what is left to be done about an offer that had another outcome than `ACCEPTED`."""
        if outcome == NUDGE:
            self._nudge()
        elif outcome == CLOSED:
            raise StreamClosedError(f"{self.path} takes no more elements: {self.closed_reason}")
        else:
            assert outcome == ILLEGAL
            raise UsageError(f"{self.path}: None cannot be an element of a stream, it stands for nothing")

    def _nudge(self) -> None:
        """Have the actor send what is in the buffer, in its turn."""
        if self._cell.limit == UNBOUNDED:
            self.ref.tell(INPUT_READY)
        elif self.runtime.machine.notify(self._cell, INPUT_READY) is READY:
            # A mailbox of limited size takes a notice too, and whoever put an element did not send a message.
            self.runtime.make_ready(self._cell)

    def complete(self) -> None:
        """No more input. Raises `StreamClosedError` when the stream was closed otherwise."""
        self._request(Complete())

    def fail(self, error: BaseException) -> None:
        """Fail the consumer. Raises `StreamClosedError` when the stream was closed before."""
        if not isinstance(error, BaseException):
            raise UsageError(f"{self.path} can only be failed with an exception, not with {error!r}")
        self._request(Fail(f"{type(error).__name__}: {error}", error))

    def _request(self, event: Complete | Fail) -> None:
        self._answer = None
        self.feed(event)
        if isinstance(self._answer, Rejected):
            raise StreamClosedError(f"{self.path} is closed already: {self._answer.reason}")

    # -- effects ---------------------------------------------------------------------------------------------------

    def _carry_out(self, effect: PublisherEffect) -> None:
        match effect:
            case Send():
                self._send(effect)
            case Continue():
                self._nudge()
            case Room(count):
                self.line.admit(count)
            case ConsumerAccepted(consumer):
                assert isinstance(consumer, ActorRef)
                self._partner = consumer
            case InputClosed():
                self.line.admit(len(self.line.waiting))
            case Ended():
                self._stop()
            case Reply(_, result):
                self._answer = result
            case Note():
                self._note(effect)
            case _:
                assert_never(effect)


_LEFT = "the iteration was left"
_UNMISSED = (StreamElement, StreamElements, StreamCompleted, StreamFailed)


class ConsumerEnd[E](StreamEnd[SubscriberEvent, SubscriberEffect]):
    """Drives a `Subscriber`, and lets the iteration wait that has nothing to take."""

    def __init__(self, ctx: ActorContext[Any], producer: ActorRef[Any], options: SubscriberOptions) -> None:
        self.subscriber: Subscriber[E] = Subscriber(ctx.self, producer, options)
        super().__init__(ctx, self.subscriber)
        self._waiter: asyncio.Future[None] | None = None
        self._iterating = False
        self._left: str | None = None
        self._told = False
        self._dropped = False
        self._partner = producer
        ctx.watch(producer)
        # What was on its way when the consumer left is dropped silently (stream rule 24).
        ctx._body.unmissed = _UNMISSED
        self.feed(Open())

    # -- messages --------------------------------------------------------------------------------------------------

    def received(self, message: object) -> None:
        """A message of the protocol has come."""
        self.feed(Received(self._ctx.sender, message))

    def terminated(self, ref: ActorRef[Any]) -> None:
        """Somebody that was watched has stopped."""
        if ref == self._partner:
            self.feed(ProducerLost(f"the producer {ref.path} has stopped"))

    def close(self) -> None:
        """The incarnation goes: nobody will be there to ask for more. What is left of an ended stream can be taken."""
        self._closed = True
        if self.subscriber.outcome is None:
            self.feed(Cancel(f"the consumer {self.path} has stopped"))

    # -- the iteration ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin an iteration: open the window. Raises `UsageError` while there is another, which changes nothing."""
        if self._dropped:
            self.leave(_LEFT)
        if self._iterating:
            raise UsageError(f"{self.path} is being iterated already; a stream has one consumer")
        self._iterating = True
        self.feed(Begin())

    async def next(self) -> E:
        """Wait for an element. Raises `StopAsyncIteration` at the end, or a `StreamError`.

        Raises `UsageError` when another task waits already, which changes nothing.
        """
        if self._waiter is not None:
            raise UsageError(f"another task waits for the next element of {self.path} already")
        subscriber = self.subscriber
        while (element := subscriber.take()) is EMPTY:
            if subscriber.outcome is not None:
                raise self._end_of_iteration()
            self._waiter = self.runtime.loop.create_future()
            self.feed(WAITING)
            try:
                await self._waiter
            finally:
                self._waiter = None
        return element

    def _end_of_iteration(self) -> StopAsyncIteration | StreamError:
        """What the user is told; after that the actor has nothing left to do."""
        self._iterating = False
        self._stop()
        text = f"stream to {self.path}"
        if self._left is not None:
            return StreamClosedError(f"{text}: {self._left}")
        self._told = True
        match self.subscriber.outcome:
            case Completed():
                return StopAsyncIteration()
            case Failed(reason, cause):
                failure = StreamFailedError(f"{text}: {reason}")
                failure.__cause__ = cause if isinstance(cause, BaseException) else None
                return failure
            case TimedOut(reason):
                return StreamTimeoutError(f"{text}: {reason}")
            case Cancelled(reason):
                return StreamFailedError(f"{text}: {reason}")
            case None:
                raise AssertionError("an end without an outcome")
            case outcome:
                assert_never(outcome)

    def leave(self, reason: str) -> None:
        """The user is leaving: cancel, unless the stream has ended, and stop."""
        self._iterating = False
        if not self._told:
            self._left = reason
        self.feed(Cancel(reason))
        self._stop()

    def drop(self) -> None:
        """The user has left, and the collector noticed: in any thread, and in the middle of anything.

        The machines of this end, and of the actors, may be at work at this very moment, and are left alone until the
        next turn of the loop.
        """
        self._dropped = True
        self.runtime.call_in_loop(self.leave, _LEFT)

    # -- effects ---------------------------------------------------------------------------------------------------

    def _carry_out(self, effect: SubscriberEffect) -> None:
        match effect:
            case Send():
                self._send(effect)
            case Available():
                if self._waiter is not None and not self._waiter.done():
                    self._waiter.set_result(None)
            case Ended():
                # The actor stays until the user has heard of it: a source may yet be asked for.
                pass
            case Note():
                self._note(effect)
            case _:
                assert_never(effect)
