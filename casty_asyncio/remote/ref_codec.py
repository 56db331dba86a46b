"""Refs on the wire: what they become when they are sent, and what they are bound to when they arrive.

A ref is sent as the process, the path and the number of what it means: `(node_id, generation, address, path, number)`.
The handle of the very ask that it is sent with is `None`: whoever has the message has the handle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from casty_proto.actor import Reason
from casty_proto.address import INCARNATION_MAX, ActorAddress
from casty_proto.wire import Node

from ..asks import Ask
from ..lookup import MissingRef
from ..refs import ActorRef, LocalRef, ReplyRef
from .exports import is_handle
from .refs import RemoteRef

if TYPE_CHECKING:
    from .remoting import Remoting

_PATH_MAX = 4096
_NODES_MAX = 1024


class Placeless(Protocol):
    """Refs that mean the same wherever they are, such as those of entities. They are sent with the number 0."""

    def parts_of(self, ref: ActorRef[Any]) -> tuple[str, str, str] | None:
        """What is sent of a ref; `None` for one of another kind. Raises `ValueError` for one of another system."""
        ...

    def ref_of(self, kind: str, name: str, entity: str) -> ActorRef[Any]:
        """The ref. Raises `ValueError` for what is none."""
        ...


class Answerable(Protocol):
    """What a message is read for, when it may have the handle of its own ask in it."""

    def handle(self) -> ActorRef[Any]:
        """The handle."""
        ...


class RefCodec:
    """Encodes and decodes refs for one system."""

    def __init__(self, remoting: Remoting) -> None:
        self.asking: Ask | None = None
        """The ask whose message is being encoded."""
        self.answering: Answerable | None = None
        """The ask whose message is being decoded."""
        self.placeless: Placeless | None = None
        """What knows refs that have no place, where there is a cluster."""
        self._remoting = remoting
        self._nodes: dict[tuple[str, int, str], Node] = {}
        self._origins: dict[str, Node] = {}
        self._own_origin = ""

    def encode(self, ref: ActorRef[Any]) -> tuple[str, int, str, str, int] | None:
        """What is sent. Raises `ValueError` for a ref that means nothing elsewhere."""
        if type(ref) is RemoteRef:
            node, number = ref.node, ref.number
            return node.node_id, node.generation, node.address, ref.remote_path, number
        exports, own = self._remoting.exports, self._remoting.own
        if type(ref) is LocalRef:
            if ref._runtime is not self._remoting.runtime:
                raise ValueError(f"{ref!r} belongs to another actor system of this process")
            number = exports.number_of(ref)
        elif type(ref) is ReplyRef:
            if ref._ask is self.asking:
                return None
            number = exports.number_of_handle(ref)
        elif type(ref) is MissingRef and ref.incarnation is not None:
            number = ref.incarnation
        else:
            parts = None if self.placeless is None else self.placeless.parts_of(ref)
            if parts is None:
                raise ValueError(f"{ref!r} is nobody's ref")
            return parts[0], 0, parts[1], parts[2], 0
        return own.node_id, own.generation, own.address, ref.path, number

    def decode(self, sent: Any) -> ActorRef[Any]:
        """The ref, bound to this system. Raises `ValueError` or `TypeError` for what is none."""
        if sent is None:
            if self.answering is None:
                raise ValueError("the handle of an ask came without one")
            return self.answering.handle()
        if type(sent) is not tuple or [type(part) for part in sent] != [str, int, str, str, int]:
            raise TypeError("a ref is not made of a node, a path and a number")
        node_id, generation, address, path, number = sent
        if number == 0 and self.placeless is not None:
            return self.placeless.ref_of(node_id, address, path)
        if not (path.startswith("/") and len(path) <= _PATH_MAX and path.isprintable()):
            raise ValueError("a ref has a path that is none")
        if not 0 < number <= INCARNATION_MAX:
            raise ValueError("a ref has a number that is none")
        own = self._remoting.own
        if node_id == own.node_id and generation == own.generation:
            return self._remoting.exports.find(number) or self._missing(path, number)
        return RemoteRef(self._remoting, self._node(node_id, generation, address), path, number)

    # -- handles by themselves -----------------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """This process, in one text: with the number of a handle, all that it takes to answer."""
        if not self._own_origin:
            own = self._remoting.own
            self._own_origin = f"{own.generation} {own.address} {own.node_id}"
        return self._own_origin

    def lend(self, ref: ReplyRef[Any]) -> int:
        """The number of a handle, until it is taken back."""
        return self._remoting.exports.lend(ref)

    def take_back(self, number: int) -> None:
        """The handle can be told nothing any more."""
        self._remoting.exports.take_back(number)

    def handle(self, origin: Any, number: Any) -> ActorRef[Any]:
        """The handle of that number in that process. Raises `ValueError` or `TypeError` for what is none."""
        if type(origin) is not str or type(number) is not int:
            raise TypeError("a handle is not made of an origin and a number")
        if not is_handle(number) or number > INCARNATION_MAX:
            raise ValueError("a handle has a number that is none")
        node = self._origins.get(origin)
        if node is None:
            generation, address, node_id = origin.split(" ", 2)
            node = self._node(node_id, int(generation), address)
            if len(self._origins) >= _NODES_MAX:
                self._origins.clear()
            self._origins[origin] = node
        own = self._remoting.own
        if node.generation == own.generation and node.node_id == own.node_id:
            return self._remoting.exports.find(number) or self._missing("/$ask", number)
        return RemoteRef(self._remoting, node, "/$ask", number)

    def _node(self, node_id: str, generation: int, address: str) -> Node:
        """Nodes are few and refs are many."""
        key = (node_id, generation, address)
        found = self._nodes.get(key)
        if found is None:
            if len(self._nodes) >= _NODES_MAX:
                self._nodes.clear()
            found = self._nodes[key] = Node(*key)
        return found

    def _missing(self, path: str, number: int) -> MissingRef:
        runtime = self._remoting.runtime
        reason = Reason.ASK_OVER if is_handle(number) else Reason.STOPPED
        return MissingRef(runtime, ActorAddress(runtime.name, self._remoting.address, path, number), reason)
