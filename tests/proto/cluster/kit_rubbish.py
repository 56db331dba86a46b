"""Every message that a node can get: an example of each, and the same with one field that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from casty_proto.cluster import AlreadySo, NodeInfo
from casty_proto.cluster.doors import _CHANNEL, _DOORS
from casty_proto.cluster.messages import Routed
from casty_proto.shard.channel import Hello
from casty_proto.swim import Identity

KINDS: tuple[type[Any], ...] = (*_DOORS, *_CHANNEL)
"""The types of all messages; those of channels travel in a `Routed`."""

_GOOD: dict[str, Any] = {
    "int": 1,
    "int | None": 1,
    "bool": True,
    "str": "b.1",
    "NodeKey": "b.1",
    "NodeId": "b.1",
    "str | None": "b.1",
    "NodeKey | None": "b.1",
    "bytes": b"x",
    "bytes | None": b"x",
    "Nanoseconds": 1,
    "Version": (1, 1),
    "Version | None": None,
    "Identity": Identity("b", 1),
    "NodeInfo": NodeInfo("b", 1, "b"),
    "Outcome": AlreadySo(),
    "tuple[str, ...]": ("b",),
    "tuple[Any, ...]": (b"x",),
    "tuple[tuple[int, int], ...]": ((1, 1),),
    "Post | Hello | Accepted | Welcome | Moved": Hello(1, 1, 1),
}
"""A good value for each annotation; where none is named, an empty tuple."""
_TEXTS = ("str", "str | None", "NodeId")

_LISTS: tuple[Any, ...] = ([], (None,), (1.5,), (b"x", 1), ((1, "1"),), ((),), ("x",) * 1025)
_BAD: tuple[Any, ...] = (None, True, -1, 1.5, "", "x" * 5000, b"\xff", {}, object, NodeInfo, *_LISTS)


def field_names(kind: type[Any]) -> list[str]:
    return [one.name for one in attrs.fields(kind)]


def example(kind: type[Any]) -> Any:
    """A message of this type that is one."""
    return kind(**{one.name: _GOOD.get(str(one.type), ()) for one in attrs.fields(kind)})


def broken(kind: type[Any]) -> Iterator[Any]:
    """Messages of this type in which one field is of a wrong type or out of all bounds."""
    for one in attrs.fields(kind):
        for bad in _BAD:
            if not _may_be(str(one.type), bad):
                try:
                    yield attrs.evolve(example(kind), **{one.name: bad})
                except (TypeError, ValueError):
                    continue  # Nobody can make such a message.


def _may_be(annotation: str, thing: Any) -> bool:
    """Whether a field of that annotation may be this thing, as far as its form is concerned."""
    if thing is None:
        return "None" in annotation
    if type(thing) is str:
        return annotation in _TEXTS
    if type(thing) is bytes:
        return "bytes" in annotation or annotation == "Any"
    if type(thing) is tuple:
        return annotation == "tuple[str, ...]" and thing == ("x",) * 1025
    return type(thing) is bool and annotation == "bool"


def routed(body: Any) -> Any:
    """A body as it travels."""
    return Routed("r", 0, body) if type(body) in _CHANNEL else body
