"""Bytes that must not change as long as the version of the protocol is 1. Rules 1, 5, 8, 20."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from casty_proto.wire import Connected, HandshakeOptions, Kind, Listener, Node, Received, Send
from casty_proto.wire.messages import Challenge, Hello, Proof, packed

from .kit import Colour, Link, Named, same

VECTORS: list[tuple[Any, str]] = [
    (None, "c0"),
    (True, "c3"),
    (1, "01"),
    (-0.0, "cb 8000000000000000"),
    ("ä", "a2 c3a4"),
    (b"a", "c4 01 61"),
    ([1, "a"], "93 02 01 a161"),
    ((1,), "92 03 01"),
    ({2, 1}, "93 04 01 02"),
    (frozenset("a"), "92 05 a161"),
    (frozenset("edcba"), "96 05 a161 a162 a163 a164 a165"),
    ({"k": [None]}, "93 06 a16b 92 02 c0"),
    (2**64, "92 07 c4 09 010000000000000000"),
    (1j, "93 08 cb0000000000000000 cb3ff0000000000000"),
    (bytearray(b"a"), "92 09 c4 01 61"),
    (datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "9a 0a cd07e8 01 02 03 04 05 06 00 95 0e 00 00 00 c0"),
    (date(2024, 1, 2), "94 0b cd07e8 01 02"),
    (timedelta(1, 2, 3), "94 0d 01 02 03"),
    (Decimal("1.10"), "92 0f a4 312e3130"),
    (Named(7), "c1 00000010 91 93 20 a9 6b69742e6e616d6564 91 a16e 92 20 07"),
    (ValueError("x"), "94 10 b3 6275696c74696e733a56616c75654572726f72 92 03 a178 a178"),
]


@pytest.mark.parametrize(("value", "expected"), VECTORS, ids=lambda value: str(value)[:20])
def test_rule_5_the_bytes_of_a_value(value: Any, expected: str) -> None:
    body = bytes.fromhex(expected)
    link = Link()
    assert link.encoder.encode(value).hex(" ") == body.hex(" ")
    got = link.decoder.decode(body)
    assert same(got, value) or (type(got), got.args) == (type(value), value.args)


def test_rule_8_the_second_object_of_a_type_is_its_number_and_its_fields() -> None:
    link = Link()
    link.encoder.encode(Colour.RED)
    assert link.encoder.encode([Colour.GREEN]) == bytes.fromhex("92 02 92 20 a5 475245454e")


def test_rule_20_the_bytes_of_a_handshake() -> None:
    a, b = Node("a", 1, "10.0.0.1:7000"), Node("b", 2)
    options = HandshakeOptions("s", secret=b"secret")
    one = Listener(b, options, b"B" * 32)
    one.handle(Connected(), 0)
    hello = packed(Hello(1, 1, "s", a, Kind.DATA, True, b"A" * 32))
    assert (
        hello.hex()
        == "9b" + b"\xa5casty".hex() + "010101a173a16101ad" + b"10.0.0.1:7000".hex() + "02c3c420" + "41" * 32
    )
    challenge = packed(Challenge(1, "s", b, True, b"B" * 32))
    assert challenge.hex() == "99" + b"\xa5casty".hex() + "0201a173a16202a0c3c420" + "42" * 32
    assert one.handle(Received(hello), 0) == (Send(challenge),)
    proof = bytes.fromhex(PROOF)
    sent = one.handle(Received(packed(Proof(proof))), 0)[0]
    assert sent == Send(bytes.fromhex("93 a5 6361737479 04 c4 20" + WELCOME))


# HMAC-SHA256 with the secret of "casty handshake 1 " + role + NUL + SHA-256(Hello) + SHA-256(Challenge).
PROOF = "d7244900dda20b487f7c9555f14e1dde5f9074d0423654c33a6a082a44612880"
WELCOME = "7bce786b430b495e1c0c6cb204e31712d941456146b0b85a4231621dfa1750d5"
