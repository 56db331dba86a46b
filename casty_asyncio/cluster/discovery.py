"""Discovery across nodes: the lists of this node go to the others, and theirs into the receptionist here.

Each node tells the others which of its actors are listed under which key (`casty_proto/cluster/registry.py`). An entry
is the key, the number of the actor, and a text: the generation of its process and its path, `1700000000000000/worker`.
A ref is bound to the process, since another process at the same address does not have the actor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casty_proto.address import AddressError, NodeAddress
from casty_proto.cluster.checks import split_key
from casty_proto.cluster.registry import Deregister, Register
from casty_proto.wire import Node

from ..receptionist import ServiceInstance, ServiceKey
from ..refs import ActorRef, LocalRef
from ..remote.refs import RemoteRef

if TYPE_CHECKING:
    from ..receptionist import Registry
    from ..remote.remoting import Remoting
    from .member import Member


class Discovery:
    """Connects the receptionist of one system with those of the others."""

    def __init__(self, registry: Registry, remoting: Remoting, member: Member) -> None:
        self._registry = registry
        self._remoting = remoting
        self._member = member
        registry.connect(self)

    def listed(self, key: ServiceKey[Any], ref: ActorRef[Any]) -> None:
        """An actor of this process is listed."""
        if isinstance(ref, LocalRef):
            number = self._remoting.exports.number_of(ref)
            text = f"{self._remoting.own.generation}{ref.path}"
            self._member.feed(Register(key.name, number, text))

    def unlisted(self, key: ServiceKey[Any], ref: ActorRef[Any]) -> None:
        """It is not any more."""
        if isinstance(ref, LocalRef):
            self._member.feed(Deregister(self._remoting.exports.number_of(ref), key.name))

    def changed(self, name: str) -> None:
        """The list of a key is another one."""
        self._registry.set_elsewhere(ServiceKey(name), self.elsewhere(name))

    def elsewhere(self, name: str) -> tuple[ServiceInstance[Any], ...]:
        """Who offers a service on other nodes."""
        node, own = self._member.node, self._member.node.key
        found = []
        for key, number, text in node.listing(name):
            if key == own:
                continue
            member = node.state.member(key)
            if member is None:
                continue
            instance = instance_of(self._remoting, key, member.node.address, number, text)
            if instance is not None:
                found.append(instance)
        return tuple(found)

    def own_address(self) -> NodeAddress | None:
        """Where this node can be dialled."""
        return self._remoting.address


def instance_of(remoting: Remoting, key: str, address: str, number: int, text: str) -> ServiceInstance[Any] | None:
    """Whom an entry means, of the node `key` at `address`; `None` for an entry that makes no sense."""
    generation, slash, path = text.partition("/")
    if not slash or not generation.isdecimal():
        return None
    try:
        where = NodeAddress.parse(address)
    except AddressError:
        return None
    process = Node(split_key(key)[0], int(generation), address)
    return ServiceInstance(RemoteRef(remoting, process, slash + path, number), where)
