"""The sending half of a connection's codec: values to bodies (rules 5 to 10 of the package).

An array is built for every value that is no atom, outermost first, and packed in one go. When anything goes wrong,
the value is looked through once more, slowly, for the place and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgpack  # type: ignore[import-untyped]

from .errors import EncodeError, Malformed, WireError
from .exceptions import encode_exception
from .explain import explain
from .frame import HEADER
from .options import WireOptions
from .scan import scan, unscanned_max
from .schema import Schema
from .types import Types
from .values import ATOMS, FIRST_TYPE, REF, SAME_HASH_PAIRS_MAX, Encode, KeyCheck, encode_big_int, encoders

ANNOUNCED = b"\xc1"
"""Begins a body that has announcements before its value. The one byte that MessagePack does not use."""


class Encoder:
    """Encodes for one peer, over one connection. A new connection has a new one.

    `types` says what may be sent, and `options` how much. Both ends should have the same `options`.
    """

    __slots__ = (
        "_announced",
        "_announced_bytes",
        "_encoders",
        "_keys",
        "_pack",
        "_pending",
        "_unscanned_max",
        "options",
        "types",
    )

    def __init__(self, types: Types, options: WireOptions) -> None:
        self.types = types
        self.options = options
        packer = msgpack.Packer(strict_types=True, default=_big_int)
        self._pack: Callable[[Any], bytes] = packer.pack
        self._keys = KeyCheck()
        self._encoders: dict[type, Encode] = encoders(self._many, self._many_unordered, self._keys, self._pack)
        self._announced = 0
        self._announced_bytes = 0
        self._pending: list[tuple[int, Schema]] = []
        """Types that the peer does not know yet."""
        self._unscanned_max = unscanned_max(options)

    def encode(self, value: object) -> bytes:
        """The body of a frame for a value.

        It must be sent, and in order: it may announce types that later ones use. Raises `EncodeError`, which names the
        place in the value, and has changed nothing that matters.
        """
        kind = type(value)
        self._keys.pairs_left = SAME_HASH_PAIRS_MAX
        try:
            body = self._pack(
                value if kind in ATOMS else (self._encoders.get(kind) or self._encoder_of(kind))(value, 1)
            )
        except Exception as error:
            raise EncodeError(explain(self, value, error)) from error
        if self._pending or len(body) > self._unscanned_max:
            body = self._finished(kind, body)
        if len(body) > self.options.max_frame:
            raise EncodeError(f"{kind.__name__} takes {len(body)} bytes; the limit is {self.options.max_frame} bytes")
        self._pending.clear()
        return body

    def encode_frame(self, value: object) -> bytes:
        """The same with the length before it: what is written to the connection."""
        body = self.encode(value)
        return HEADER.pack(len(body)) + body

    def _finished(self, kind: type, body: bytes) -> bytes:
        if len(body) > self._unscanned_max:
            try:
                scan(body, self.options)
            except Malformed as error:
                raise EncodeError(f"{kind.__name__} cannot be sent: {error}") from None
        if not self._pending:
            return body
        announcements = self._pack([[number, schema.name, [*schema.names]] for number, schema in self._pending])
        return b"".join((ANNOUNCED, HEADER.pack(len(announcements)), announcements, body))

    # -- values to arrays ----------------------------------------------------------------------------------------------

    def _many(self, values: Sequence[Any], depth: int) -> Sequence[Any]:
        if ATOMS.issuperset(map(type, values)):
            return values
        if depth > self.options.max_depth:
            raise WireError("nested too deep")
        found = self._encoders.get
        return [
            value if (kind := type(value)) in ATOMS else (found(kind) or self._encoder_of(kind))(value, depth)
            for value in values
        ]

    def _many_unordered(self, values: Sequence[Any], depth: int) -> Sequence[Any]:
        """The same for elements that come in the order of a set, which differs from process to process.

        Types that are new in it are announced in the order of their names. Which ones they are is known once all
        elements were looked at; then these are encoded once more. With one new type there is only one order.
        """
        announced, pairs_left = self._announced, self._keys.pairs_left
        encoded = self._many(values, depth)
        if self._announced - announced < 2:
            return encoded
        schemas = [schema for _, schema in self._pending[announced - self._announced :]]
        in_order = sorted(schemas, key=attrgetter("name"))
        if schemas == in_order:
            return encoded
        del self._pending[announced - self._announced :]
        self._announced, self._keys.pairs_left = announced, pairs_left
        self._announced_bytes -= sum(map(_announced_size, schemas))
        for schema in in_order:
            self._encoders[schema.cls] = self._announce(schema)
        return self._many(values, depth)

    def _encoder_of(self, cls: type) -> Encode:
        """The encoder of a class that was not sent yet. Raises `EncodeError` with the reason why there is none."""
        encode = self._find_encoder(cls)
        self._encoders[cls] = encode
        return encode

    def _find_encoder(self, cls: type) -> Encode:
        types = self.types
        if types.ref_class is not None and issubclass(cls, types.ref_class):
            ref_encode = types.ref_encode
            assert ref_encode is not None
            return lambda value, depth: [REF, *self._many((ref_encode(value),), depth + 1)]
        try:
            return self._announce(types.schema_of(cls))
        except EncodeError:
            if not issubclass(cls, BaseException):
                raise
        return lambda value, depth: encode_exception(value, lambda arguments: self._if_sendable(arguments, depth + 1))

    def _announce(self, schema: Schema) -> Encode:
        number = FIRST_TYPE + self._announced
        if self._announced == self.options.max_types:
            raise EncodeError(f"this connection has announced {self._announced} types, which is the limit")
        if len(schema.names) > self.options.max_fields:
            raise EncodeError(f"it has {len(schema.names)} fields; the limit is {self.options.max_fields}")
        size = _announced_size(schema)
        if self._announced_bytes + size > self.options.max_announced:
            raise EncodeError("this connection has announced as many names of fields as the limit allows")
        self._announced_bytes += size
        self._announced += 1
        self._pending.append((number, schema))
        values, many = schema.values, self._many

        def encode(value: object, depth: int) -> list[Any]:
            fields = values(value)
            if ATOMS.issuperset(map(type, fields)):
                return [number, *fields]
            return [number, *many(fields, depth + 1)]

        return encode

    def _if_sendable(self, values: tuple[Any, ...], depth: int) -> list[Any] | None:
        try:
            encoded = self._encoders[tuple](values, depth)
            self._pack(encoded)
        except Exception:
            return None
        return encoded

    # -- for explanations ----------------------------------------------------------------------------------------------

    def try_atom(self, value: object) -> None:
        """Raise whatever packing an atom raises."""
        self._pack(value)

    def try_type(self, cls: type) -> None:
        """Raise `EncodeError` if objects of this class cannot be sent."""
        if cls not in self._encoders:
            self._encoder_of(cls)


def _announced_size(schema: Schema) -> int:
    """From above: a length of five bytes before each name, and four bytes at most for each character."""
    return 16 + sum(5 + 4 * len(text) for text in (schema.name, *schema.names))


def _big_int(value: object) -> list[Any]:
    if type(value) is not int:
        raise TypeError(f"a {type(value).__name__} was not encoded")
    return encode_big_int(value)
