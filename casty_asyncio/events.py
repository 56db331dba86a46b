"""What happens in an actor system, as messages: for the event stream, and for watchers."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from casty_proto.actor import Reason

from .refs import ActorRef


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
class EventStreamSubscribe:
    """Send every event of `event_type`, or of a class derived from it, to `handler`, until it stops.

    Subscribing twice is the same as subscribing once.
    """

    event_type: type[Any]
    handler: ActorRef[Any]


@frozen
class EventStreamUnsubscribe:
    """Undo one subscription, or with `event_type=None` all those of `handler`."""

    handler: ActorRef[Any]
    event_type: type[Any] | None = None


@frozen
class EventStreamPublish:
    """Publish an event of the application's own."""

    event: Any


type EventStreamMsg = EventStreamSubscribe | EventStreamUnsubscribe | EventStreamPublish | SystemEvent | Terminated
