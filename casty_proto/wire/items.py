"""Values that stand for themselves: each body announces all types that it uses.

A message for an entity may wait, move to another node, and be read there by somebody who has seen none before it. The
same is true of a state that is kept by a replica. So such a body relies on nothing that was said earlier, and one that
cannot be had concerns itself alone. It takes some bytes more than a body of a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .decoder import _ANNOUNCED, Decoder, _no_extension, _no_map, _objection, _unpack
from .encoder import Encoder
from .errors import EncodeError, Malformed, Refused, clipped
from .frame import HEADER, HEADER_SIZE
from .options import WireOptions
from .schema import Schema
from .types import Types
from .values import ATOMS, FIRST_TYPE, SAME_HASH_PAIRS_MAX, TUPLE, Encode

_KNOWN_MAX = 1024
"""How many announcements are remembered, so that a class is not looked for again and again."""
_ANNOUNCEMENT_MAX = 4096
"""The longest announcement that is remembered, in bytes."""


class _Flat:
    """What is known of a class whose objects may be made of atoms."""

    __slots__ = ("announced", "values")

    def __init__(self, values: Callable[[Any], Sequence[Any]], announced: bytes) -> None:
        self.values = values
        self.announced = announced
        """The beginning of a body in which it is announced, and nothing else."""


class ItemEncoder(Encoder):
    """Encodes values that stand for themselves. One will do for a whole process.

    `types` says what may be sent, and `options` how much. Most values are objects whose fields are atoms. What such a
    body announces is the same each time, and is kept; the bytes are those that all the others get in the ordinary way.
    """

    __slots__ = ("_classes", "_flat")

    def __init__(self, types: Types, options: WireOptions) -> None:
        super().__init__(types, options)
        self._classes: list[type] = []
        """Announced in the present body."""
        self._flat: dict[type, _Flat | None] = {}
        """What is known of classes whose objects may be made of atoms; `None` for those that are not sent so."""

    def encode(self, value: object) -> bytes:
        """The bytes of a value. Raises `EncodeError`, which names the place in the value."""
        return self._encode_flat(None, value) or self._encode_any(value)

    def encode_beside(self, atoms: tuple[Any, ...], value: object) -> bytes:
        """The bytes of `(*atoms, value)`. Raises `EncodeError` as well."""
        return self._encode_flat(atoms, value) or self._encode_any((*atoms, value))

    def _encode_flat(self, atoms: tuple[Any, ...] | None, value: object) -> bytes | None:
        """The same; `None` where that takes more than looking at the fields."""
        cls = type(value)
        try:
            flat = self._flat[cls]
        except KeyError:
            flat = self._flat_of(cls)
        if flat is None:
            return None
        try:
            fields = flat.values(value)
            if not ATOMS.issuperset(map(type, fields)):
                return None
            parts = [FIRST_TYPE, *fields]
            body = self._pack(parts if atoms is None else [TUPLE, *atoms, parts])
        except Exception:
            return None  # Why, is found out in the ordinary way.
        announced = flat.announced
        if len(body) > self._unscanned_max or len(announced) + len(body) > self.options.max_frame:
            return None
        return announced + body

    def _flat_of(self, cls: type) -> _Flat | None:
        if len(self._flat) >= _KNOWN_MAX:
            self._flat.clear()
        types, ref_class = self.types, self.types.ref_class
        found: _Flat | None = None
        if cls not in self._encoders and not (ref_class is not None and issubclass(cls, ref_class)):
            try:
                schema = types.schema_of(cls)
                if len(schema.names) <= self.options.max_fields:
                    self._announce(schema)
                    found = _Flat(schema.values, self._finished(cls, b""))
            except EncodeError:
                found = None
            finally:
                self._forget_announced()
        self._flat[cls] = found
        return found

    def _encode_any(self, value: object) -> bytes:
        try:
            return super().encode(value)
        finally:
            if self._classes:
                self._forget_announced()

    def _forget_announced(self) -> None:
        """The next body is not about what was announced in this one, nor, after an error, what was to be."""
        self._pending.clear()
        for cls in self._classes:
            self._encoders.pop(cls, None)
        self._classes.clear()
        self._announced = self._announced_bytes = 0

    def _announce(self, schema: Schema) -> Encode:
        self._classes.append(schema.cls)
        return super()._announce(schema)


class _Known(Decoder):
    """Has heard what the bodies announce that it is given."""

    __slots__ = ()

    def rest_of(self, body: bytes) -> Any:
        """The value of what follows the announcements. As `decode`, but one that cannot be read says nothing about the
        next one."""
        if len(body) > self._unchecked_max or body[0] == _ANNOUNCED:
            self._broken = None if body[0] != _ANNOUNCED else "a body has announcements after its announcements"
            return self.decode(body)
        self._keys.pairs_left = SAME_HASH_PAIRS_MAX
        try:
            return _unpack(body, list_hook=self._part, object_pairs_hook=_no_map, ext_hook=_no_extension, max_ext_len=0)
        except (Refused, Malformed):
            raise
        except Exception as error:
            raise Malformed(f"a body cannot be read: {type(error).__name__}: {clipped(str(error))}") from error

    def _part(self, items: list[Any]) -> object:
        tag = items[0]
        quick = self._quick.get(tag)
        if quick is None:
            # Whatever is sent beside something else is in a tuple.
            return tuple(items[1:]) if tag == TUPLE and type(tag) is int else self._made(items)
        if len(items) != quick[1] or type(tag) is not int:
            return self._made(items)
        try:
            return quick[0](*items[1:])
        except Exception as error:
            raise _objection(quick[0].__qualname__, error) from error


class ItemDecoder(Decoder):
    """Decodes what an `ItemEncoder` of this or another process has made. One will do for a whole process.

    `types` says what may come in, and `options` how much.
    """

    __slots__ = ("_known", "_last", "_last_begin")

    def __init__(self, types: Types, options: WireOptions) -> None:
        super().__init__(types, options)
        self._known: dict[bytes, _Known] = {}
        """What was announced before, byte for byte, and who has heard it: most bodies announce the same."""
        self._last_begin = b"?"
        """What was announced last. It is more likely than not that the next body begins so."""
        self._last: _Known | None = None

    def decode(self, body: bytes) -> Any:
        """The value of a body. Raises `Refused` and `Malformed`; neither says anything about the next body."""
        begin = self._last_begin
        size = len(body)
        if self._last is not None and body.startswith(begin) and len(begin) < size <= self.options.max_frame:
            return self._last.rest_of(body[len(begin) :])
        if size > _BEGIN and body[0] == _ANNOUNCED:
            end = _BEGIN + HEADER.unpack_from(body, 1)[0]
            begin = body[:end]
            known = self._known.get(begin)
            if known is None:
                return self._decode_new(body, end)
            if end < size <= self.options.max_frame:
                self._last_begin, self._last = begin, known
                return known.rest_of(body[end:])
        self._announced.clear()
        self._announced_bytes = 0
        self._quick.clear()
        self._broken = None
        return super().decode(body)

    def _decode_new(self, body: bytes, end: int) -> Any:
        """A body whose announcements were not seen before."""
        decoder = _Known(self.types, self.options)
        try:
            return decoder.decode(body)
        finally:
            if end < len(body) and end <= _ANNOUNCEMENT_MAX and decoder._broken is None:
                if len(self._known) >= _KNOWN_MAX:
                    self._known.clear()
                self._known[body[:end]] = decoder


_BEGIN = 1 + HEADER_SIZE
