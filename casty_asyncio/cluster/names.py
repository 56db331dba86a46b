"""What the actor of an entity is called. An id may be any text; the name of an actor may not."""

from __future__ import annotations

import re

from casty_proto.address import NAME_MAX, actor_name_problem

_NO_NAME = re.compile(r"^\$|[\s\x00-\x1f\x7f-\x9f\ud800-\udfff/#%]")
_CUT = "..."
SINGLETON_ID = "$singleton"
"""What the one entity of a singleton is called."""


def name_of(entity_id: str) -> str:
    """The id, with `%2F` and the like for what no name has, and cut off where it is too long for one."""
    if actor_name_problem(entity_id) is None and entity_id.isprintable() and "%" not in entity_id:
        return entity_id
    name = "".join([char if char.isprintable() else _escaped(char) for char in _NO_NAME.sub(_replaced, entity_id)])
    return name if len(name) <= NAME_MAX else name[: NAME_MAX - len(_CUT)] + _CUT


def _replaced(match: re.Match[str]) -> str:
    return _escaped(match.group())


def _escaped(char: str) -> str:
    return "".join([f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass")])
