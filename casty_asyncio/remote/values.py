"""What the codec cannot know by itself: UUIDs, paths, time zones, and the codecs of the application."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from casty_proto.wire import Types

from ..errors import UsageError
from ..transport import Codec

_PATHS: dict[str, type[PurePath]] = {
    "path": type(Path()),
    "posix path": PurePosixPath,
    "windows path": PureWindowsPath,
}


def types_for(codecs: tuple[Codec[Any], ...], *, strict: bool) -> Types:
    """The classes that a system sends and takes. Raises `UsageError` for codecs that contradict each other."""
    types = Types(strict=strict)
    types.register(UUID, "uuid", _uuid_bytes, _uuid)
    types.register(ZoneInfo, "zone", _zone_key, _zone)
    for name, cls in _PATHS.items():
        types.register(cls, name, str, _maker_of(cls))
    for codec in codecs:
        try:
            types.register(codec.cls, codec.name, codec.encode, codec.decode)
        except (ValueError, TypeError) as error:
            raise UsageError(f"the codec {codec.name!r} cannot be used: {error}") from error
    return types


def _uuid_bytes(value: UUID) -> bytes:
    return value.bytes


def _uuid(value: Any) -> UUID:
    return UUID(bytes=_checked(value, bytes))


def _zone_key(zone: ZoneInfo) -> str:
    if zone.key is None:
        raise ValueError("a zone that was read from a file has no name")
    return zone.key


def _zone(value: Any) -> ZoneInfo:
    return ZoneInfo(_checked(value, str))


def _maker_of(cls: type[PurePath]) -> Callable[[Any], PurePath]:
    return lambda value: cls(_checked(value, str))


def _checked[T](value: Any, cls: type[T]) -> T:
    if type(value) is not cls:
        raise TypeError(f"expected {cls.__name__}, not {type(value).__name__}")
    return value
