"""What happens in an actor system, as messages: for the event stream, and for watchers."""

from __future__ import annotations

import logging
from types import UnionType
from typing import Any

from attrs import field, frozen

from casty_proto.actor import Reason

from .arguments import is_event_type, is_ref
from .errors import MailboxFullError, NotSendableError
from .refs import ActorRef, LocalRef


@frozen
class Terminated:
    """Message to a watcher: the actor `ref` has stopped, and its name is free again."""

    ref: ActorRef[Any]


@frozen
class SystemEvent:
    """The base of what the system itself publishes on the event stream."""


@frozen
class ActorStarted(SystemEvent):
    """An actor's start hook ran; it handles messages."""

    ref: ActorRef[Any]


@frozen
class ActorStopped(SystemEvent):
    """An actor has stopped, after its last hook."""

    ref: ActorRef[Any]


@frozen
class ActorRestarted(SystemEvent):
    """A new incarnation of an actor has taken over, because `exception` ended the one before."""

    ref: ActorRef[Any]
    exception: Exception


@frozen
class DeadLetter(SystemEvent):
    """A message that was not delivered to `ref`, and why. `sender` is who sent it, where that was said."""

    message: Any
    ref: ActorRef[Any]
    reason: Reason
    sender: ActorRef[Any] | None = None


@frozen
class UnhandledMessage(SystemEvent):
    """A message that was delivered, and that the handler did not understand."""

    message: Any
    ref: ActorRef[Any]
    reason: str = "the handler returned Behaviors.unhandled()"


@frozen
class EventStreamRequest:
    """The base of what the event stream can be told."""


@frozen
class EventStreamSubscribe[E](EventStreamRequest):
    """Send every event of `event_type`, or of a class derived from it, to `handler`, until it stops.

    `event_type` may also be a union of classes. Subscribing twice is the same as subscribing once, and an event for
    which a handler has several subscriptions comes once. Raises `UsageError` for what is no class or no ref.
    """

    event_type: type[E] | UnionType = field(validator=is_event_type)
    handler: ActorRef[E] = field(validator=is_ref)


@frozen
class EventStreamUnsubscribe(EventStreamRequest):
    """Undo one subscription, or with `event_type=None` all those of `handler`."""

    handler: ActorRef[Any] = field(validator=is_ref)
    event_type: type[Any] | UnionType | None = None


@frozen
class EventStreamPublish(EventStreamRequest):
    """Publish an event of the application's own."""

    event: Any


type EventStreamMsg = EventStreamRequest | SystemEvent | Terminated


def notify(subscriber: ActorRef[Any], message: Any) -> None:
    """Tell a subscriber. What it cannot be told is a dead letter: whoever caused the news is not to blame."""
    try:
        subscriber.tell(message)
    except MailboxFullError:
        if isinstance(subscriber, LocalRef):
            subscriber._runtime.dead_letter(subscriber, message, Reason.REJECTED)
    except NotSendableError as error:
        # News that cannot be told of must not become news again.
        logging.getLogger("casty").warning("%s is not told of an event: %s", subscriber, error)


def is_gone(ref: ActorRef[Any]) -> bool:
    """Whether nothing that is told to `ref` can arrive any more."""
    return ref._is_gone()
