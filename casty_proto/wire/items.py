"""Values that stand for themselves: each body announces all types that it uses.

A message for an entity may wait, move to another node, and be read there by somebody who has seen none before it. The
same is true of a state that is kept by a replica. So such a body relies on nothing that was said earlier, and one that
cannot be had concerns itself alone. It takes some bytes more than a body of a connection.
"""

from __future__ import annotations

from typing import Any

from .decoder import Decoder, _Announced
from .encoder import Encoder
from .frame import HEADER, HEADER_SIZE
from .options import WireOptions
from .schema import Schema
from .types import Types
from .values import Encode

_KNOWN_MAX = 1024
"""How many announcements are remembered, so that a class is not looked for again and again."""
_ANNOUNCEMENT_MAX = 4096
"""The longest announcement that is remembered, in bytes."""


class ItemEncoder(Encoder):
    """Encodes values that stand for themselves. One will do for a whole process.

    `types` says what may be sent, and `options` how much.
    """

    __slots__ = ("_classes",)

    def __init__(self, types: Types, options: WireOptions) -> None:
        super().__init__(types, options)
        self._classes: list[type] = []
        """Announced in the present body."""

    def encode(self, value: object) -> bytes:
        """The bytes of a value. Raises `EncodeError`, which names the place in the value."""
        try:
            return super().encode(value)
        finally:
            if self._classes:
                # After an error it still has what was to be announced, and the next body is not about that.
                self._pending.clear()
                for cls in self._classes:
                    self._encoders.pop(cls, None)
                self._classes.clear()
                self._announced = self._announced_bytes = 0

    def _announce(self, schema: Schema) -> Encode:
        self._classes.append(schema.cls)
        return super()._announce(schema)


class ItemDecoder(Decoder):
    """Decodes what an `ItemEncoder` of this or another process has made. One will do for a whole process.

    `types` says what may come in, and `options` how much.
    """

    __slots__ = ("_known",)

    def __init__(self, types: Types, options: WireOptions) -> None:
        super().__init__(types, options)
        self._known: dict[bytes, tuple[_Announced, ...]] = {}

    def decode(self, body: bytes) -> Any:
        """The value of a body. Raises `Refused` and `Malformed`; neither says anything about the next body."""
        if self._announced:
            self._announced.clear()
            self._announced_bytes = 0
            self._quick.clear()
        self._broken = None
        return super().decode(body)

    def _without_announcements(self, body: bytes) -> bytes:
        """Most bodies announce what others have announced before them, byte for byte."""
        end = _BEGIN + HEADER.unpack_from(body, 1)[0]
        said = body[_BEGIN:end]
        known = self._known.get(said)
        if known is not None and end < len(body):
            self._announced.extend(known)
            return body[end:]
        rest = super()._without_announcements(body)
        if len(said) <= _ANNOUNCEMENT_MAX:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[said] = tuple(self._announced)
        return rest


_BEGIN = 1 + HEADER_SIZE
