"""The receiving half of a connection's codec: bodies to values (rules 5 to 16 of the package).

MessagePack calls back for every array that it has read, innermost first, and takes what the call returns in the array's
place. So a value is complete before the value around it is made, and nothing here recurses.
"""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]

from .encoder import ANNOUNCED
from .errors import Malformed, Refused, clipped, shown
from .exceptions import decode_exception
from .frame import HEADER, HEADER_SIZE
from .options import WireOptions
from .scan import may_be_deep, scan, unscanned_max
from .schema import Make
from .types import NAME_MAX, Types
from .values import DECODERS, EXCEPTION, FIRST_TYPE, REF, SAME_HASH_PAIRS_MAX, KeyCheck, key_decoders

_unpack = msgpack.unpackb
_ANNOUNCED = ANNOUNCED[0]
_ANNOUNCEMENT_LIMITS = WireOptions(max_depth=3)
"""What is announced is limited by its own options, not by those for values."""


class _Announced:
    """A type of the peer."""

    __slots__ = ("fields", "make", "name")

    def __init__(self, name: str, fields: tuple[str, ...]) -> None:
        self.name = name
        self.fields = fields
        self.make: Make | None = None
        """Known once the class was found."""


class Decoder:
    """Decodes what one peer sent over one connection. A new connection has a new one.

    `types` says what may come in, and `options` how much. Both ends should have the same `options`.
    """

    __slots__ = (
        "_announced",
        "_announced_bytes",
        "_broken",
        "_decoders",
        "_keys",
        "_quick",
        "_unchecked_max",
        "_unscanned_max",
        "options",
        "types",
    )

    def __init__(self, types: Types, options: WireOptions) -> None:
        self.types = types
        self.options = options
        self._announced: list[_Announced] = []
        self._announced_bytes = 0
        self._quick: dict[int, tuple[type, int]] = {}
        """The classes whose constructors take exactly what is sent, and the size of the array."""
        self._keys = KeyCheck()
        self._decoders = DECODERS | key_decoders(self._keys)
        self._broken: str | None = None
        self._unscanned_max = unscanned_max(options)
        self._unchecked_max = min(self._unscanned_max, options.max_depth)

    def decode(self, body: bytes) -> Any:
        """The value of a body. Bodies are decoded in the order in which they were sent.

        Raises `Refused` where this value cannot be had, with the connection as good as before, and `Malformed` where
        the peer broke the protocol; from then on every call raises that again. Parts of the value may have been made
        before it came out that the whole cannot be.
        """
        if self._broken is not None:
            raise Malformed(self._broken)
        self._keys.pairs_left = SAME_HASH_PAIRS_MAX
        try:
            if len(body) > self.options.max_frame:
                raise Malformed(f"a body has {len(body)} bytes; the limit is {self.options.max_frame} bytes")
            if body[0] == _ANNOUNCED:
                body = self._without_announcements(body)
            if (size := len(body)) > self._unchecked_max and (
                size > self._unscanned_max or may_be_deep(body, self.options)
            ):
                scan(body, self.options)
            return _unpack(body, list_hook=self._made, object_pairs_hook=_no_map, ext_hook=_no_extension, max_ext_len=0)
        except Refused:
            raise
        except Malformed as error:
            self._broken = str(error)
            raise
        except Exception as error:
            self._broken = f"a body cannot be read: {type(error).__name__}: {clipped(str(error))}"
            raise Malformed(self._broken) from error

    # -- arrays to values ----------------------------------------------------------------------------------------------

    def _made(self, items: list[Any]) -> object:
        """What an array stands for. Its elements are values already."""
        quick = self._quick.get(items[0])
        # What is equal to a number need not be one: 32.0 is no tag.
        if quick is not None and len(items) == quick[1] and type(items[0]) is int:
            try:
                return quick[0](*items[1:])
            except Exception as error:
                raise _objection(quick[0].__qualname__, error) from error
        return self._made_slowly(items)

    def _made_slowly(self, items: list[Any]) -> object:
        tag = items[0]
        if type(tag) is not int:
            raise Malformed(f"an array begins with a {type(tag).__name__} instead of a tag")
        decode = self._decoders.get(tag)
        if decode is not None:
            return decode(items)
        if tag == EXCEPTION:
            return decode_exception(items)
        if tag == REF:
            return self._ref(items)
        place = tag - FIRST_TYPE
        if not 0 <= place < len(self._announced):
            raise Malformed(f"an array begins with {tag}, which is neither a tag nor the number of a type")
        return self._object(tag, self._announced[place], items)

    def _ref(self, items: list[Any]) -> object:
        if len(items) != 2:
            raise Malformed("a reference is not made of one value")
        if self.types.ref_decode is None:
            raise Refused("references are not known here")
        try:
            return self.types.ref_decode(items[1])
        except Exception as error:
            raise Refused(f"a reference cannot be had: {type(error).__name__}: {clipped(str(error))}") from error

    def _object(self, number: int, announced: _Announced, items: list[Any]) -> object:
        if len(items) != len(announced.fields) + 1:
            raise Malformed(
                f"a {shown(announced.name)} has {len(items) - 1} fields; {len(announced.fields)} were announced"
            )
        if announced.make is None:
            schema = self.types.resolve(announced.name)
            announced.make = schema.maker(announced.fields)
            if schema.positional and announced.fields == schema.names:
                self._quick[number] = (schema.cls, len(items))
        try:
            return announced.make(items)
        except Refused:
            raise
        except Exception as error:
            raise _objection(announced.name, error) from error

    # -- announcements -------------------------------------------------------------------------------------------------

    def _without_announcements(self, body: bytes) -> bytes:
        """The rest of a body, once all types that it announces are known."""
        start = 1 + HEADER_SIZE
        (length,) = HEADER.unpack_from(body, 1)
        end = start + length
        if end >= len(body):
            raise Malformed("a body ends within its announcements")
        self._announced_bytes += length
        if self._announced_bytes > self.options.max_announced:
            raise Malformed(f"the announcements have more than the limit of {self.options.max_announced} bytes")
        scan(body[start:end], _ANNOUNCEMENT_LIMITS)
        announcements = _unpack(body[start:end], object_pairs_hook=_no_map, ext_hook=_no_extension, max_ext_len=0)
        if type(announcements) is not list or not announcements:
            raise Malformed("a body has announcements that are none")
        for announcement in announcements:
            self._announced.append(self._read(announcement))
        return body[end:]

    def _read(self, announcement: object) -> _Announced:
        expected = FIRST_TYPE + len(self._announced)
        match announcement:
            case [int(number), str(name), list(fields)] if type(number) is int and number == expected:
                pass
            case _:
                raise Malformed(f"an announcement is not one of the type with the number {expected}")
        if len(self._announced) == self.options.max_types:
            raise Malformed(f"more than {self.options.max_types} types were announced")
        if len(fields) > self.options.max_fields:
            raise Malformed(f"a type has {len(fields)} fields; the limit is {self.options.max_fields}")
        if not all(type(field) is str and len(field) <= NAME_MAX for field in fields) or len(name) > NAME_MAX:
            raise Malformed("a name in an announcement is no text, or too long")
        if len(dict.fromkeys(fields)) != len(fields):
            raise Malformed("a type was announced with the same field twice")
        return _Announced(name, tuple([str(field) for field in fields]))


def _no_map(_pairs: object) -> object:
    raise Malformed("a body has a map; there are none in this protocol")


def _no_extension(_code: int, _data: bytes) -> object:
    # One of length 0 is within the limit of 0.
    raise Malformed("a body has an extension; there are none in this protocol")


def _objection(name: str, error: Exception) -> Refused:
    return Refused(f"{shown(name)} cannot be made: {type(error).__name__}: {clipped(str(error))}")
