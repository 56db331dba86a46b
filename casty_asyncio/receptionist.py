"""Discovery: actors listed under keys, looked up at once or followed as the list changes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

from casty_proto.actor import SAME, UNHANDLED, Behavior, Phase, Receive
from casty_proto.address import NodeAddress

from .arguments import is_ref
from .errors import UsageError
from .events import is_gone, notify
from .refs import ActorRef

if TYPE_CHECKING:
    from .body import Body


def _is_name(_: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise UsageError(f"ServiceKey.{attribute.name} must be a string that is not empty, not {value!r}")


def is_service_key(owner: Any, attribute: Any, value: Any) -> None:
    """Validator: the attribute is a service key."""
    if not isinstance(value, ServiceKey):
        raise UsageError(f"{type(owner).__name__}.{attribute.name} must be a ServiceKey, not {value!r}")


@frozen
class ServiceKey[M]:
    """A name for a service, typed by the messages that it understands. Keys of the same name are equal."""

    name: str = field(validator=_is_name)

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
class ReceptionistMsg:
    """The base of what the receptionist understands.

    Not a union of `Register[Any]` and so on: the `Any` would keep a type checker from looking whether key and ref fit.
    """


@frozen
class Register[M](ReceptionistMsg):
    """Message to the receptionist: list `ref` under `key` until it stops."""

    key: ServiceKey[M] = field(validator=is_service_key)
    ref: ActorRef[M] = field(validator=is_ref)


@frozen
class Deregister[M](ReceptionistMsg):
    """Message to the receptionist: take `ref` off the list of `key`."""

    key: ServiceKey[M] = field(validator=is_service_key)
    ref: ActorRef[M] = field(validator=is_ref)


@frozen
class Find[M](ReceptionistMsg):
    """Message to the receptionist: send the `Listing` of `key` to `reply_to`."""

    key: ServiceKey[M] = field(validator=is_service_key)
    reply_to: ActorRef[Listing[M]] = field(validator=is_ref)


@frozen
class SubscribeListing[M](ReceptionistMsg):
    """Message to the receptionist: send the `Listing` of `key` to `reply_to`, now and at every change."""

    key: ServiceKey[M] = field(validator=is_service_key)
    reply_to: ActorRef[Listing[M]] = field(validator=is_ref)


class Elsewhere(Protocol):
    """What connects the lists of one system with those of others."""

    def listed(self, key: ServiceKey[Any], ref: ActorRef[Any]) -> None:
        """An actor is listed here."""
        ...

    def unlisted(self, key: ServiceKey[Any], ref: ActorRef[Any]) -> None:
        """It is not any more."""
        ...

    def own_address(self) -> NodeAddress | None:
        """Where this system can be dialled."""
        ...


class Registry:
    """The lists of one system. `/_receptionist` is the actor in front of it.

    In a cluster they are those of all nodes: who is here comes first, and then the others, node by node.
    """

    def __init__(self) -> None:
        self._elsewhere: Elsewhere | None = None
        self._others: dict[ServiceKey[Any], tuple[ServiceInstance[Any], ...]] = {}
        self._services: dict[ServiceKey[Any], dict[ActorRef[Any], ServiceInstance[Any]]] = {}
        self._subscribers: dict[ServiceKey[Any], dict[ActorRef[Any], None]] = {}
        self._keys: dict[ActorRef[Any], dict[ServiceKey[Any], None]] = {}
        """What to look through when an actor stops: the keys that it ever had to do with."""

    def listing[M](self, key: ServiceKey[M]) -> Listing[M]:
        """Who offers `key` at this moment."""
        return Listing(key, (*self._services.get(key, {}).values(), *self._others.get(key, ())))

    def connect(self, elsewhere: Elsewhere) -> None:
        """Tell somebody what is listed here, now and later."""
        self._elsewhere = elsewhere
        address = elsewhere.own_address()
        for key, services in self._services.items():
            for ref in services:
                services[ref] = ServiceInstance(ref, address)
                elsewhere.listed(key, ref)

    def set_elsewhere(self, key: ServiceKey[Any], instances: tuple[ServiceInstance[Any], ...]) -> None:
        """Others offer a service on other nodes than before."""
        if instances == self._others.get(key, ()):
            return
        if instances:
            self._others[key] = instances
        else:
            self._others.pop(key, None)
        self._changed(key)

    def all_keys(self) -> tuple[ServiceKey[Any], ...]:
        """All keys under which anything is listed, in the order of their names."""
        return tuple(sorted({**self._services, **self._others}, key=lambda key: key.name))

    def announce(self, key: ServiceKey[Any], body: Body) -> None:
        """List an actor of this process until it stops."""
        self.register(key, body.ref)

    def register(self, key: ServiceKey[Any], ref: ActorRef[Any]) -> None:
        """List `ref` under `key`. A no-op when it is listed there already, or has stopped."""
        if ref in self._services.get(key, {}) or not self._follow(ref, key):
            return
        elsewhere = self._elsewhere
        address = None if elsewhere is None else elsewhere.own_address()
        self._services.setdefault(key, {})[ref] = ServiceInstance(ref, address)
        if elsewhere is not None:
            elsewhere.listed(key, ref)
        self._changed(key)

    def deregister(self, key: ServiceKey[Any], ref: ActorRef[Any]) -> None:
        """Take `ref` off the list."""
        services = self._services.get(key, {})
        if services.pop(ref, None) is None:
            return
        if not services:
            del self._services[key]
        if self._elsewhere is not None:
            self._elsewhere.unlisted(key, ref)
        self._changed(key)

    def subscribe(self, key: ServiceKey[Any], subscriber: ActorRef[Any]) -> None:
        """Send the listing now and at every change, until the subscriber stops."""
        if self._follow(subscriber, key):
            self._subscribers.setdefault(key, {})[subscriber] = None
        notify(subscriber, self.listing(key))

    def _changed(self, key: ServiceKey[Any]) -> None:
        listing = self.listing(key)
        for subscriber in list(self._subscribers.get(key, ())):
            if not is_gone(subscriber):
                notify(subscriber, listing)

    def _follow(self, ref: ActorRef[Any], key: ServiceKey[Any]) -> bool:
        """See to it that nothing is left of an actor when it stops. False when it has stopped.

        The handle of an ask gets one answer and no more, so it is not followed either.
        """
        cell = ref._watchable()
        if cell is None or cell.phase == Phase.STOPPED:
            return False
        keys = self._keys.get(ref)
        if keys is None:
            keys = self._keys[ref] = {}
            cell.body.call_at_end(lambda: self._forget(ref))
        keys[key] = None
        return True

    def _forget(self, ref: ActorRef[Any]) -> None:
        for key in self._keys.pop(ref, {}):
            subscribers = self._subscribers.get(key, {})
            if ref in subscribers:
                del subscribers[ref]
                if not subscribers:
                    del self._subscribers[key]
            self.deregister(key, ref)


def receptionist(registry: Registry) -> Behavior[ReceptionistMsg]:
    """The actor `/_receptionist`."""

    def receive(_: Any, message: object) -> Behavior[ReceptionistMsg]:
        match message:
            case Register(key, ref):
                registry.register(key, ref)
            case Deregister(key, ref):
                registry.deregister(key, ref)
            case Find(key, reply_to):
                notify(reply_to, registry.listing(key))
            case SubscribeListing(key, reply_to):
                registry.subscribe(key, reply_to)
            case _:
                return UNHANDLED
        return SAME

    return Receive(receive)
