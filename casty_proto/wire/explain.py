"""Finds out where in a value the thing is that cannot be sent, and why. Slow, and only used once encoding failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time
from typing import TYPE_CHECKING, Any

from .errors import EncodeError, clipped
from .values import ATOMS

if TYPE_CHECKING:
    from .encoder import Encoder


class _Place(Exception):
    """Carries the first problem out of the search."""


def explain(encoder: Encoder, value: object, error: Exception) -> str:
    """What to tell a user whose value failed with `error`."""
    path = type(value).__name__
    try:
        _search(encoder, value, path, [])
    except _Place as place:
        return str(place)
    return f"{path}: cannot be sent: {_said(error)}"


def _search(encoder: Encoder, value: object, path: str, around: list[object]) -> None:
    """Raise `_Place` for the first thing in `value` that cannot be sent."""
    cls = type(value)
    if cls in ATOMS:
        try:
            encoder.try_atom(value)
        except Exception as error:
            raise _problem(path, cls, _said(error)) from None
        return
    if any(other is value for other in around):
        raise _problem(path, cls, "it is part of itself")
    if len(around) == encoder.options.max_depth:
        raise _problem(path, cls, f"it is nested deeper than the limit of {len(around)}")
    try:
        encoder.try_type(cls)
    except EncodeError as error:
        raise _problem(path, cls, str(error)) from None
    around.append(value)
    for step, part in _parts(encoder, value, path):
        _search(encoder, part, path + step, around)
    around.pop()


def _parts(encoder: Encoder, value: Any, path: str) -> Iterator[tuple[str, object]]:
    cls = type(value)
    match value:
        case list() | tuple() if cls in (list, tuple):
            yield from ((f"[{index}]", element) for index, element in enumerate(value))
        case set() | frozenset() if cls in (set, frozenset):
            yield from ((f"{{{_key(element)}}}", element) for element in iter(value))
        case dict() if cls is dict:
            for key, element in value.items():
                yield f" key {_key(key)}", key
                yield f"[{_key(key)}]", element
        case datetime() | time() if cls in (datetime, time):
            yield ".tzinfo", value.tzinfo
        case _:
            yield from _fields(encoder, value, path)


def _fields(encoder: Encoder, value: Any, path: str) -> Iterator[tuple[str, object]]:
    cls, types = type(value), encoder.types
    is_ref = types.ref_class is not None and isinstance(value, types.ref_class)
    try:
        schema = None if is_ref else types.schema_of(cls)
    except EncodeError:
        # A value of the standard library, whose parts are atoms, or an exception, whose parts need not be sent.
        return
    if is_ref or (schema is not None and schema.custom):
        try:
            assert schema is not None or types.ref_encode is not None
            yield "", schema.values(value)[0] if schema is not None else types.ref_encode(value)  # type: ignore[misc]
        except Exception as error:
            raise _problem(path, cls, f"its registered encoder raised {_said(error)}") from None
        return
    assert schema is not None
    try:
        values = schema.values(value)
    except Exception as error:
        raise _problem(path, cls, f"a field cannot be read: {_said(error)}") from None
    yield from ((f".{name}", part) for name, part in zip(schema.names, values, strict=True))


def _key(key: object) -> str:
    return clipped(repr(key)) if type(key) in ATOMS else type(key).__name__


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {clipped(str(error))}"


def _problem(path: str, cls: type, reason: str) -> _Place:
    return _Place(f"{path}: object of type {cls.__qualname__} cannot be sent: {reason}")
