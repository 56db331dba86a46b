"""The codec: what is read is a value or one of two errors, and a value that was read can be sent and read again.

The bytes are one body, and the bodies of one connection where they are a stream of frames. Each goes to decoders of
all sorts: strict and not, with wide limits and with narrow ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, time, timezone
from enum import Enum
from itertools import chain
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from casty_proto.wire import (
    Decoder,
    EncodeError,
    Encoder,
    FrameDecoder,
    FrameError,
    Malformed,
    Refused,
    RemoteException,
    Types,
    WireOptions,
)
from casty_proto.wire.schema import record_schema
from tests.proto.wire import kit

WIDE = WireOptions()
NARROW = WireOptions(max_frame=4096, max_depth=3, max_items=32, max_length=32, max_types=2, max_fields=3)
TEXT_MAX = 700
SETS_COMPARED_MAX = 64
"""Longer sets are compared by their bytes only."""
OUR_MODULES = ("builtins", "datetime", "decimal", "uuid", "zoneinfo", kit.__name__, RemoteException.__module__)


class Ref:
    """What a driver calls a reference."""

    def __init__(self, place: object) -> None:
        self.place = place


def fuzz_codec(data: bytes) -> None:
    """Raise for a bug: another exception than the documented ones, a module that was loaded, a value that changes."""
    for bodies in _bodies(data):
        for strict in (False, True):
            for options in (WIDE, NARROW):
                _connection(bodies, types(strict), options)


def types(strict: bool) -> Types:
    """What a driver registers."""
    found = Types(strict=strict)
    found.register(UUID, "uuid", lambda value: value.bytes, lambda plain: UUID(bytes=plain))
    found.register(PurePosixPath, "path", str, PurePosixPath)
    found.register(ZoneInfo, "zone", lambda value: value.key, ZoneInfo)
    found.use_refs(Ref, lambda ref: ref.place, Ref)
    return found


def _bodies(data: bytes) -> list[list[bytes]]:
    """What the bytes are: one body, and the frames in them."""
    try:
        frames = FrameDecoder(WIDE.max_frame).feed(data)
    except FrameError as error:
        frames = error.frames
    return [found for found in ([data], frames) if found]


def _connection(bodies: Iterable[bytes], types: Types, options: WireOptions) -> None:
    decoder = Decoder(types, options)
    for body in bodies:
        loaded = len(sys.modules)
        try:
            value = decoder.decode(body)
        except Malformed as error:
            _is_an_error(error, Malformed)
            _is_broken(decoder, str(error))
            return
        except Refused as error:
            _is_an_error(error, Refused)
            continue
        finally:
            assert len(sys.modules) == loaded, "a peer has loaded a module"
        _goes_on(value, types, options)
    assert decoder.decode(b"\x07") == 7, "the connection is not as good as before"


def _is_an_error(error: Exception, kind: type) -> None:
    assert type(error) is kind
    assert 0 < len(str(error)) < TEXT_MAX


def _is_broken(decoder: Decoder, text: str) -> None:
    said = None
    try:
        decoder.decode(b"\x07")
    except Malformed as error:
        said = str(error)
    assert said == text, "a connection was found again after it was broken"


# -- values ------------------------------------------------------------------------------------------------------------


def _goes_on(value: Any, types: Types, options: WireOptions) -> None:
    """A value that came is sent, comes again, and is the same. Those of classes we do not know may object."""
    encoder, decoder = Encoder(types, options), Decoder(types, options)
    is_ours = all(map(_is_ours, _parts(value)))
    try:
        body = encoder.encode(value)
    except EncodeError as error:
        # Defaults of missing fields, and numbers in another spelling, may take more room than what came.
        if is_ours and "limit" not in str(error):
            raise AssertionError("it came and cannot be sent") from error
        return
    try:
        again = decoder.decode(body)
    except Refused:
        assert not is_ours, "it came, and is refused when it comes again"
        return
    if is_ours:
        assert same(again, value), f"{value!r} came again as {again!r}"
        assert Encoder(types, options).encode(again) == body, "equal values have other bytes"
        assert same(decoder.decode(encoder.encode(value)), value), "it differs once its types are known"


def _is_ours(value: object) -> bool:
    cls = type(value)
    return cls is Ref or cls.__module__ in OUR_MODULES or cls.__module__.partition(".")[0] == "pathlib"


def _parts(value: Any) -> Iterator[Any]:
    """The value and all that is in it."""
    waiting = [value]
    while waiting:
        yield (part := waiting.pop())
        waiting += _inner(part)


def _inner(part: Any) -> Iterable[Any]:
    match part:
        case Enum():
            return ()
        case dict():
            return chain.from_iterable(part.items())
        case list() | tuple() | set() | frozenset():
            return iter(part)
        case datetime() | time():
            return (part.tzinfo,)
        case Ref():
            return (part.place,)
        case RemoteException():
            return part.arguments or ()
    schema = None if isinstance(part, type) else _fields(part)
    if schema is not None:
        return schema
    return part.args if isinstance(part, BaseException) else ()


def _fields(part: Any) -> list[Any] | None:
    """The fields of an object that are sent; `None` if it is no such object."""
    try:
        schema = record_schema(type(part), "")
        return None if schema is None else [*schema.values(part)]
    except (EncodeError, AttributeError):
        return None


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, all the way down, as far as values that came can tell."""
    if isinstance(one, RemoteException) or (_fields(one) is None and isinstance(one, BaseException)):
        # One that somebody made up may have been of a class that its arguments do not lead to again.
        return isinstance(other, BaseException) and _told(one) == _told(other)
    if type(one) is not type(other):
        return False
    match one:
        case Enum():
            return one is other or bool(one == other)
        case dict():
            return same([*chain.from_iterable(one.items())], [*chain.from_iterable(other.items())])
        case list() | tuple():
            return len(one) == len(other) and all(map(same, one, other))
        case set() | frozenset():
            return len(one) == len(other) and (
                len(one) > SETS_COMPARED_MAX or all(any(same(a, b) for b in other) for a in one)
            )
        case timezone():
            return repr(one) == repr(other)
        case Ref():
            return same(one.place, other.place)
    inner = _fields(one)
    return same(inner, _fields(other)) if inner is not None else kit.same(one, other)


def _told(error: BaseException) -> tuple[str, str]:
    """What is left of every exception."""
    if isinstance(error, RemoteException):
        return error.type_name, error.text
    cls = type(error)
    return f"{cls.__module__}:{cls.__qualname__}", str(error)
