"""Discovery: actors listed under keys, looked up at once or followed as the list changes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import and_, instance_of, min_len

from casty_proto.actor import SAME, Behavior, Phase, Receive
from casty_proto.address import NodeAddress

from .refs import ActorRef, LocalRef

if TYPE_CHECKING:
    from .body import Body


@frozen
class ServiceKey[M]:
    """A name for a service, typed by the messages that it understands. Keys of the same name are equal."""

    name: str = field(validator=and_(instance_of(str), min_len(1)))

    def _invariant(self, message: M) -> M:
        """Keeps `ServiceKey[A]` and `ServiceKey[B]` apart for type checkers; never called."""
        return message


@frozen
class ServiceInstance[M]:
    """One actor that offers a service, and the node that it lives on; `None` where there is no cluster."""

    ref: ActorRef[M]
    node: NodeAddress | None = None


@frozen
class Listing[M]:
    """Who offers a service, in the order in which they were registered. False when nobody does.

    It is a snapshot. It may be awaited, which gives it back, so that code for a cluster runs on one process too.
    """

    key: ServiceKey[M]
    instances: tuple[ServiceInstance[M], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.instances)

    def __len__(self) -> int:
        return len(self.instances)

    def __iter__(self) -> Iterator[ServiceInstance[M]]:
        return iter(self.instances)

    def __await__(self) -> Generator[Any, Any, Listing[M]]:
        return self._answer().__await__()

    async def _answer(self) -> Listing[M]:
        return self


@frozen
class Register[M]:
    """Message to the receptionist: list `ref` under `key` until it stops."""

    key: ServiceKey[M]
    ref: ActorRef[M]


@frozen
class Deregister[M]:
    """Message to the receptionist: take `ref` off the list of `key`."""

    key: ServiceKey[M]
    ref: ActorRef[M]


@frozen
class Find[M]:
    """Message to the receptionist: send the `Listing` of `key` to `reply_to`."""

    key: ServiceKey[M]
    reply_to: ActorRef[Listing[M]]


@frozen
class SubscribeListing[M]:
    """Message to the receptionist: send the `Listing` of `key` to `reply_to`, now and at every change."""

    key: ServiceKey[M]
    reply_to: ActorRef[Listing[M]]


type ReceptionistMsg = Register[Any] | Deregister[Any] | Find[Any] | SubscribeListing[Any]


class Registry:
    """The lists of one system. `/_receptionist` is the actor in front of it."""

    def __init__(self) -> None:
        self._services: dict[ServiceKey[Any], dict[ActorRef[Any], ServiceInstance[Any]]] = {}
        self._subscribers: dict[ServiceKey[Any], dict[ActorRef[Any], None]] = {}

    def listing[M](self, key: ServiceKey[M]) -> Listing[M]:
        """Who offers `key` at this moment."""
        return Listing(key, tuple(self._services.get(key, {}).values()))

    def announce(self, key: ServiceKey[Any], body: Body) -> None:
        """List an actor of this process until it stops."""
        self.register(key, body.ref)

    def register(self, key: ServiceKey[Any], ref: ActorRef[Any]) -> None:
        """List `ref` under `key`. A no-op when it is listed there already, or has stopped."""
        services = self._services.setdefault(key, {})
        if ref not in services and _at_end(ref, lambda: self.deregister(key, ref)):
            services[ref] = ServiceInstance(ref)
            self._changed(key)
        elif not services:
            del self._services[key]

    def deregister(self, key: ServiceKey[Any], ref: ActorRef[Any]) -> None:
        """Take `ref` off the list."""
        services = self._services.get(key, {})
        if services.pop(ref, None) is None:
            return
        if not services:
            del self._services[key]
        self._changed(key)

    def subscribe(self, key: ServiceKey[Any], subscriber: ActorRef[Any]) -> None:
        """Send the listing now and at every change, until the subscriber stops."""
        subscribers = self._subscribers.setdefault(key, {})
        if subscriber not in subscribers and _at_end(subscriber, lambda: self._unsubscribe(key, subscriber)):
            subscribers[subscriber] = None
        subscriber.tell(self.listing(key))

    def _unsubscribe(self, key: ServiceKey[Any], subscriber: ActorRef[Any]) -> None:
        subscribers = self._subscribers.get(key, {})
        subscribers.pop(subscriber, None)
        if not subscribers:
            self._subscribers.pop(key, None)

    def _changed(self, key: ServiceKey[Any]) -> None:
        listing = self.listing(key)
        for subscriber in list(self._subscribers.get(key, ())):
            subscriber.tell(listing)


def _at_end(ref: ActorRef[Any], callback: Any) -> bool:
    """Call back when the actor has stopped. False when it has stopped already."""
    if not isinstance(ref, LocalRef):
        return True
    if ref._cell.phase == Phase.STOPPED:
        return False
    body: Body = ref._cell.body
    body.call_at_end(callback)
    return True


def receptionist(registry: Registry) -> Behavior[ReceptionistMsg]:
    """The actor `/_receptionist`."""

    def receive(_: Any, message: ReceptionistMsg) -> Behavior[ReceptionistMsg]:
        match message:
            case Register(key, ref):
                registry.register(key, ref)
            case Deregister(key, ref):
                registry.deregister(key, ref)
            case Find(key, reply_to):
                reply_to.tell(registry.listing(key))
            case SubscribeListing(key, reply_to):
                registry.subscribe(key, reply_to)
        return SAME

    return Receive(receive)
