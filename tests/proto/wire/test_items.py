"""Bodies that stand for themselves."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import frozen

from casty_proto.wire import EncodeError, ItemDecoder, ItemEncoder, Types, WireOptions


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
