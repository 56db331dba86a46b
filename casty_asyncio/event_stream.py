"""The event stream: a bus for what happens in the system, as an actor."""

from __future__ import annotations

from types import UnionType
from typing import Any

from casty_proto.actor import SAME, UNHANDLED, Behavior, Receive

from .context import ActorContext
from .events import (
    EventStreamMsg,
    EventStreamPublish,
    EventStreamSubscribe,
    EventStreamUnsubscribe,
    SystemEvent,
    Terminated,
    is_gone,
    notify,
)
from .refs import ActorRef, LocalRef, ReplyRef

type EventType = type[Any] | UnionType


class EventStream:
    """The subscriptions, and the behavior that keeps them.

    Publishing is a message to the actor like any other, so that whoever subscribes and then does something sees the
    events of that. While nobody is subscribed, and no subscription can be on its way, events are not even sent.
    """

    def __init__(self) -> None:
        self.ref: LocalRef[EventStreamMsg]
        """Set when the actor has been spawned."""
        self._subscriptions: dict[EventType, dict[ActorRef[Any], None]] = {}

    def publish(self, event: Any) -> None:
        """Send an event on its way, if anybody could want it."""
        if self._subscriptions or self.ref._cell.held:
            self.ref.tell(event)

    def behavior(self) -> Behavior[EventStreamMsg]:
        """What the actor does."""

        def receive(ctx: ActorContext[EventStreamMsg], message: object) -> Behavior[EventStreamMsg]:
            match message:
                case EventStreamSubscribe(_, handler) if handler == ctx.self:
                    return UNHANDLED
                case EventStreamSubscribe(event_type, handler):
                    self._subscriptions.setdefault(event_type, {})[handler] = None
                    if not isinstance(handler, ReplyRef):
                        ctx.watch(handler)
                case EventStreamUnsubscribe(handler, event_type):
                    self._remove(handler, event_type)
                case Terminated(ref):
                    self._remove(ref, None)
                case EventStreamPublish(event):
                    self._dispatch(event)
                case SystemEvent():
                    self._dispatch(message)
                case _:
                    return UNHANDLED
            return SAME

        return Receive(receive)

    def _remove(self, handler: ActorRef[Any], event_type: EventType | None) -> None:
        for its_type in [event_type] if event_type is not None else list(self._subscriptions):
            handlers = self._subscriptions.get(its_type, {})
            handlers.pop(handler, None)
            if not handlers:
                self._subscriptions.pop(its_type, None)

    def _dispatch(self, event: Any) -> None:
        # Somebody who subscribed to a class and to its base hears of an event once.
        told: dict[ActorRef[Any], None] = {}
        for event_type, handlers in self._subscriptions.items():
            if isinstance(event, event_type):
                told.update(handlers)
        for handler in told:
            # The notice that a subscriber has stopped may still be on its way; so may the event that says so.
            if is_gone(handler):
                self._remove(handler, None)
            else:
                notify(handler, event)
