"""Bodies that stand for themselves."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import msgpack  # type: ignore[import-untyped]
import pytest
from attrs import frozen

from casty_proto.wire import EncodeError, ItemDecoder, ItemEncoder, Malformed, Refused, Types, WireOptions


@frozen
class One:
    """A message."""

    what: Any


@frozen
class Other:
    """Another one."""

    what: Any


def test_what_could_not_be_encoded_leaves_nothing_to_the_next_body() -> None:
    types = Types()
    encoder, decoder = ItemEncoder(types, WireOptions()), ItemDecoder(types, WireOptions())
    for value in (One(1), Other(One(2)), One((Other(3), Other(4)))):
        with pytest.raises(EncodeError, match="object"):
            encoder.encode(One(Other(object())))
        assert decoder.decode(encoder.encode(value)) == value


def test_every_body_can_be_read_alone_and_in_any_order() -> None:
    types = Types()
    encoder = ItemEncoder(types, WireOptions())
    bodies = [encoder.encode(One(Other(number))) for number in range(3)] + [encoder.encode(Other("last"))]
    decoder = ItemDecoder(types, WireOptions())
    assert decoder.decode(bodies[-1]) == Other("last")
    assert [decoder.decode(body) for body in reversed(bodies[:3])] == [One(Other(number)) for number in (2, 1, 0)]
    assert ItemDecoder(types, WireOptions()).decode(bodies[1]) == One(Other(1))


class Colour(Enum):
    """Sent by its name."""

    RED = 1


class Pair(NamedTuple):
    """Sent as an object, although it is a tuple."""

    left: Any
    right: Any


VALUES: list[Any] = [
    *(None, 1, "text", b"bytes", 1.5, (1, 2), [1], {"a": 1}, {1, 2}, 2**80),
    *(One(1), One("x"), One(None), One(2**70), One((1,)), One(One(1)), One(Other(One(3)))),
    *(Colour.RED, One(Colour.RED), Pair(1, "b"), Pair(One(1), 2), UUID(int=5), One(UUID(int=5))),
    *(ValueError("what", 1), One(ValueError("what"))),
]


def types_with_uuid() -> Types:
    types = Types()
    types.register(UUID, "uuid", lambda value: value.bytes, lambda value: UUID(bytes=value))
    return types


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("atoms", [(), ("a", 1, None)])
def test_what_is_made_of_atoms_has_the_bytes_that_it_has_in_the_ordinary_way(atoms: Any, value: Any) -> None:
    types = types_with_uuid()
    made = ItemEncoder(types, WireOptions()).encode_beside(atoms, value)
    assert made == ItemEncoder(types, WireOptions())._encode_any((*atoms, value))
    encoder, decoder = ItemEncoder(types, WireOptions()), ItemDecoder(types, WireOptions())
    for _ in range(2):
        assert encoder.encode(value) == ItemEncoder(types, WireOptions())._encode_any(value)
        if not isinstance(value, ValueError) and getattr(value, "what", None).__class__ is not ValueError:
            assert decoder.decode(encoder.encode(value)) == value
            assert decoder.decode(encoder.encode_beside(atoms, value)) == (*atoms, value)


@pytest.mark.parametrize("value", [One("\ud800"), One(object()), One(One(object())), object(), One("x" * 1000)])
def test_what_cannot_be_sent_is_refused_with_the_reason_each_time(value: Any) -> None:
    encoder = ItemEncoder(Types(), WireOptions(max_frame=500))
    reasons = []
    for _ in range(2):
        with pytest.raises(EncodeError) as raised:
            encoder.encode_beside(("a",), value)
        reasons.append(str(raised.value))
    assert reasons[0] == reasons[1]
    assert ItemDecoder(Types(), WireOptions()).decode(encoder.encode_beside(("a",), One(1))) == ("a", One(1))


def test_what_a_body_announces_besides_what_was_known_is_not_known_to_the_next() -> None:
    types = Types()
    encoder = ItemEncoder(types, WireOptions())
    good = encoder.encode(One(1))
    decoder = ItemDecoder(types, WireOptions())
    assert decoder.decode(good) == One(1)
    other = encoder.encode(Other(2))
    end = len(good) - len(msgpack.packb([32, 1]))
    with pytest.raises((Malformed, Refused)):
        decoder.decode(good[:end] + other)  # Announcements after announcements.
    with pytest.raises(Malformed):
        decoder.decode(good[:end] + msgpack.packb([33, 1]))
    for rubbish in (good[:end], good[:3], b"\xc1", good + b"\x00"):
        with pytest.raises(Malformed):
            decoder.decode(rubbish)
    assert decoder.decode(good) == One(1)
    assert decoder.decode(other) == Other(2)
