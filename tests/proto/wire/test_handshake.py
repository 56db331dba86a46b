"""The handshake. Rules 20 to 26; K-01, K-02, K-06, K-14, K-15, K-17, K-20."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import Any, cast

import msgpack  # type: ignore[import-untyped]
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.machine import SECOND, Wake
from casty_proto.wire import (
    HANDSHAKE_FRAME_MAX,
    Connected,
    ConnectionLost,
    Dialer,
    Encoder,
    Established,
    HandshakeEffect,
    HandshakeOptions,
    HandshakeRefused,
    Kind,
    Listener,
    Lost,
    Node,
    Reason,
    Received,
    Send,
    Types,
    WireOptions,
)
from casty_proto.wire.messages import Challenge, Hello, Proof, Refusal, Welcome, packed, unpacked

A, B = Node("a", 1, "10.0.0.1:7000"), Node("b", 2, "[::1]:7001")
OPEN = HandshakeOptions("shop")
SECURE = HandshakeOptions("shop", secret=b"open sesame")
_numbers = count(1)

type Change = Callable[[bytes], bytes | None]


def nonce() -> bytes:
    return next(_numbers).to_bytes(32)


def dialer(options: HandshakeOptions = OPEN, node: Node = A, kind: Kind = Kind.DATA) -> Dialer:
    return Dialer(node, kind, options, nonce())


def listener(options: HandshakeOptions = OPEN, node: Node = B) -> Listener:
    return Listener(node, options, nonce())


class Line:
    """Two ends, and what each of them said and came to."""

    def __init__(self, one: Dialer, other: Listener) -> None:
        self.ends: tuple[Dialer | Listener, Dialer | Listener] = (one, other)
        self.said: tuple[list[bytes], list[bytes]] = ([], [])
        self.ended: list[HandshakeEffect | None] = [None, None]
        self.waiting: list[tuple[int, bytes]] = []

    def feed(self, end: int, event: Connected | Received | Wake | ConnectionLost, now: int = 0) -> None:
        for effect in self.ends[end].handle(event, now):
            assert self.ended[end] is None, "nothing comes after the last effect"
            if isinstance(effect, Send):
                assert len(effect.body) <= HANDSHAKE_FRAME_MAX
                self.said[end].append(effect.body)
                self.waiting.append((1 - end, effect.body))
            else:
                self.ended[end] = effect
        self.ends[end].invariants()

    def run(self, change: dict[tuple[int, int], Change] | None = None) -> list[HandshakeEffect | None]:
        """Pass on everything; `change` alters, or with `None` loses, the message (who said it, number)."""
        passed = [0, 0]
        for end in (0, 1):
            self.feed(end, Connected())
        while self.waiting:
            end, body = self.waiting.pop(0)
            altered: bytes | None = body
            if change is not None and (alter := change.get((1 - end, passed[1 - end]))) is not None:
                altered = alter(body)
            passed[1 - end] += 1
            if altered is not None:
                self.feed(end, Received(altered))
        return self.ended


def altered(**changes: Any) -> Change:
    """Another message on the way."""
    return lambda body: packed(evolve(cast(Any, unpacked(body)), **changes))


def refused(effect: HandshakeEffect | None) -> tuple[Reason, bool]:
    assert isinstance(effect, HandshakeRefused), effect
    return effect.reason, effect.by_peer


def both_know(ended: list[HandshakeEffect | None], reason: Reason, by: int) -> str:
    """Both sides have the same reason, and one of them gave it. Returns its text."""
    assert refused(ended[by]) == (reason, False)
    assert refused(ended[1 - by]) == (reason, True)
    told, heard = ended[by], ended[1 - by]
    assert isinstance(told, HandshakeRefused)
    assert isinstance(heard, HandshakeRefused)
    text = told.text.partition("refused: ")[2]
    assert text
    assert heard.text.endswith(text)
    return text


# -- it works ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [OPEN, SECURE])
@pytest.mark.parametrize("kind", [*Kind])
def test_rule_20_four_messages_open_a_connection(options: HandshakeOptions, kind: Kind) -> None:
    line = Line(dialer(options, kind=kind), listener(options))
    secured = options.secret is not None
    assert line.run() == [Established(1, B, kind, secured), Established(1, A, kind, secured)]
    said = [[type(unpacked(body)) for body in bodies] for bodies in line.said]
    assert said == [[Hello, Proof], [Challenge, Welcome]]
    assert [end.deadline() for end in line.ends] == [None, None]


def test_rule_20_one_that_only_dials_needs_no_address() -> None:
    client = Node("client-7", 2**64 - 1)
    assert Line(dialer(node=client, kind=Kind.CLIENT), listener()).run()[1] == Established(
        1, client, Kind.CLIENT, False
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"), [((1, 1), (1, 5), 1), ((2, 4), (3, 9), 4), ((3, 3), (1, 3), 3), ((1, 9), (2, 2), 2)]
)
def test_rule_21_the_highest_version_that_both_speak_is_chosen(
    ours: tuple[int, int], theirs: tuple[int, int], agreed: int
) -> None:
    ends = [evolve(OPEN, lowest_version=low, highest_version=high) for low, high in (ours, theirs)]
    for effect in Line(dialer(ends[0]), listener(ends[1])).run():
        assert isinstance(effect, Established)
        assert effect.version == agreed


# -- it is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "theirs"), [((1, 1), (2, 3)), ((2, 3), (1, 1))])
def test_rule_21_k_14_without_a_common_version_both_sides_are_told(
    ours: tuple[int, int], theirs: tuple[int, int]
) -> None:
    ends = [evolve(OPEN, lowest_version=low, highest_version=high) for low, high in (ours, theirs)]
    text = both_know(Line(dialer(ends[0]), listener(ends[1])).run(), Reason.VERSION, by=1)
    assert f"versions {ours[0]} to {ours[1]}" in text
    assert f"the other {theirs[0]} to {theirs[1]}" in text


def test_rule_21_k_14_a_version_that_was_not_offered_is_refused() -> None:
    assert refused(Line(dialer(), listener()).run({(1, 0): altered(version=2)})[0]) == (Reason.VERSION, False)


def test_rule_22_k_15_another_system_is_refused() -> None:
    text = both_know(
        Line(dialer(HandshakeOptions("shop")), listener(HandshakeOptions("bank"))).run(), Reason.SYSTEM, by=1
    )
    assert text == "the systems 'shop' and 'bank' do not talk to each other"


def test_rule_22_k_15_a_node_does_not_talk_to_itself() -> None:
    assert "is at both ends" in both_know(Line(dialer(node=A), listener(node=A)).run(), Reason.SELF, by=1)
    later = evolve(A, generation=2)
    assert Line(dialer(node=later), listener(node=A)).run()[1] == Established(1, later, Kind.DATA, False)


def test_rule_22_a_listener_may_not_take_all_kinds() -> None:
    line = Line(dialer(kind=Kind.CLIENT), Listener(B, OPEN, nonce(), kinds=(Kind.CONTROL, Kind.DATA)))
    assert both_know(line.run(), Reason.KIND, by=1) == "no client connections are taken here"


def test_rule_22_what_the_listener_says_is_checked_as_well() -> None:
    for change, reason in (
        ({"system": "bank"}, Reason.SYSTEM),
        ({"node": A}, Reason.SELF),
        ({"secured": True}, Reason.SECRET),
    ):
        challenge = evolve(Challenge(1, "shop", B, False, nonce()), **change)
        line = Line(dialer(), listener())
        line.feed(0, Connected())
        line.feed(0, Received(packed(challenge)))
        assert refused(line.ended[0]) == (reason, False)


# -- the secret --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        (None, b"x", "a secret is needed"),
        (b"x", None, "one side has a secret and the other has none"),
        (b"open sesame", b"open sesamf", "the secrets differ"),
        (b"open sesame", b"completely different", "the secrets differ"),
    ],
)
def test_rule_24_a_wrong_secret_is_refused_and_the_reason_tells_no_more(
    ours: bytes | None, theirs: bytes | None, text: str
) -> None:
    line = Line(dialer(evolve(OPEN, secret=ours)), listener(evolve(OPEN, secret=theirs)))
    assert both_know(line.run(), Reason.SECRET, by=1) == text


def test_rule_23_the_secret_and_the_proof_of_it_are_not_in_what_a_stranger_hears() -> None:
    line = Line(dialer(HandshakeOptions("shop", secret=b"wrong")), listener(SECURE))
    line.run()
    assert [type(unpacked(body)) for body in line.said[1]] == [Challenge, Refusal], "the listener proves nothing first"
    assert b"open sesame" not in b"".join(line.said[0] + line.said[1])
    assert "sesame" not in repr(SECURE)


def test_rule_23_a_listener_that_cannot_prove_itself_is_refused() -> None:
    for digest in (b"", bytes(32)):
        line = Line(dialer(SECURE), listener(SECURE))
        assert refused(line.run({(1, 1): altered(digest=digest)})[0]) == (Reason.SECRET, False)


def test_rule_23_a_proof_sent_back_is_none() -> None:
    line = Line(dialer(SECURE), listener(SECURE))
    line.feed(0, Connected())
    hello = unpacked(line.said[0][0])
    assert isinstance(hello, Hello)
    line.feed(0, Received(packed(Challenge(1, "shop", B, True, nonce()))))
    proof = unpacked(line.said[0][1])
    assert isinstance(proof, Proof)
    line.feed(0, Received(packed(Welcome(proof.digest))))
    assert refused(line.ended[0]) == (Reason.SECRET, False)
    mirrored = Line(dialer(SECURE), listener(SECURE))
    mirrored.feed(0, Connected())
    first = unpacked(mirrored.said[0][0])
    assert isinstance(first, Hello)
    mirrored.feed(0, Received(packed(Challenge(1, "shop", B, True, first.nonce))))
    assert refused(mirrored.ended[0]) == (Reason.SELF, False)


def test_rule_23_k_17_the_proof_of_another_connection_is_none() -> None:
    old = Line(dialer(SECURE), listener(SECURE))
    old.run()
    new = listener(SECURE)
    new.handle(Connected(), 0)
    assert new.handle(Received(old.said[0][0]), 0), "the old Hello is as good as any"
    sent, ended = new.handle(Received(old.said[0][1]), 0)
    assert isinstance(sent, Send)
    assert isinstance(ended, HandshakeRefused)
    assert ended.reason is Reason.SECRET


def test_rule_23_k_17_the_answers_of_another_connection_are_none() -> None:
    old = Line(dialer(SECURE), listener(SECURE))
    old.run()
    new = dialer(SECURE)
    new.handle(Connected(), 0)
    assert new.handle(Received(old.said[1][0]), 0), "the old Challenge is as good as any"
    sent, ended = new.handle(Received(old.said[1][1]), 0)
    assert isinstance(sent, Send)
    assert refused(ended) == (Reason.SECRET, False)


@pytest.mark.parametrize("end", [0, 1])
def test_rule_26_k_17_messages_in_another_order_or_twice_are_refused(end: int) -> None:
    said = Line(dialer(SECURE), listener(SECURE))
    said.run()
    first, second = said.said[1 - end]
    for order in ((second, first), (first, first), (second, second)):
        one = (dialer(SECURE), listener(SECURE))[end]
        one.handle(Connected(), 0)
        ended = [effect for body in order for effect in one.handle(Received(body), 0) if not isinstance(effect, Send)]
        assert [refused(effect) for effect in ended] == [(Reason.MALFORMED, False)]


@pytest.mark.parametrize("which", [(0, 0), (1, 0)])
@pytest.mark.parametrize(
    "change",
    [{"node": Node("c", 1)}, {"node": Node("b", 9, "[::1]:7001")}, {"nonce": bytes(32)}],
)
def test_rule_23_whatever_is_changed_on_the_way_breaks_the_proof(
    which: tuple[int, int], change: dict[str, object]
) -> None:
    ended = Line(dialer(SECURE), listener(SECURE)).run({which: altered(**change)})
    assert not any(isinstance(effect, Established) for effect in ended)
    assert both_know(ended, Reason.SECRET, by=1) == "the secrets differ"


def test_rule_23_a_change_of_versions_or_of_the_kind_breaks_the_proof() -> None:
    changes: list[dict[str, Any]] = [{"highest": 7}, {"kind": Kind.CONTROL}]
    for change in changes:
        line = Line(dialer(SECURE), listener(SECURE))
        assert both_know(line.run({(0, 0): altered(**change)}), Reason.SECRET, by=1)


# -- time, order and rubbish -------------------------------------------------------------------------------------------


def test_rule_25_k_06_one_deadline_for_all_of_it() -> None:
    one = listener()
    assert one.deadline() is None
    assert one.handle(Connected(), 5) == ()
    assert one.deadline() == 5 + 10 * SECOND
    assert one.handle(Connected(), 6) == ()
    one.handle(Received(packed(Hello(1, 1, "shop", A, Kind.DATA, False, nonce()))), 9 * SECOND)
    assert one.deadline() == 5 + 10 * SECOND, "a message does not move it"
    assert one.handle(Wake(), 10 * SECOND) == ()
    sent, ended = one.handle(Wake(), 11 * SECOND)
    assert isinstance(sent, Send)
    assert refused(ended) == (Reason.TIMEOUT, False)
    assert "not over after 10 s" in str(ended)
    assert one.deadline() is None


def test_rule_25_a_lost_connection_ends_it() -> None:
    one = dialer()
    one.handle(Connected(), 0)
    assert one.handle(ConnectionLost(), 1) == (Lost(),)
    assert one.deadline() is None


@pytest.mark.parametrize("end", [0, 1])
def test_rule_26_after_the_end_nothing_has_an_effect(end: int) -> None:
    line = Line(dialer(), listener())
    line.run()
    for event in (Connected(), Received(b"x"), ConnectionLost(), Wake()):
        assert line.ends[end].handle(event, 100 * SECOND) == ()


HELLO = Hello(1, 1, "shop", A, Kind.DATA, False, bytes(32))
CHALLENGE = Challenge(1, "shop", B, False, bytes(32))


@pytest.mark.parametrize("message", [CHALLENGE, Proof(b""), Welcome(b"")])
def test_rule_26_k_15_a_listener_wants_hello_first(message: Challenge | Proof | Welcome) -> None:
    one = listener()
    one.handle(Connected(), 0)
    assert refused(one.handle(Received(packed(message)), 0)[1]) == (Reason.MALFORMED, False)


@pytest.mark.parametrize("message", [HELLO, Proof(b""), Welcome(b"")])
def test_rule_26_k_15_a_dialer_wants_a_challenge_first(message: Hello | Proof | Welcome) -> None:
    one = dialer()
    one.handle(Connected(), 0)
    assert refused(one.handle(Received(packed(message)), 0)[1]) == (Reason.MALFORMED, False)


def test_rule_26_k_15_nothing_is_said_twice() -> None:
    one, other = listener(), dialer()
    for end, message in ((one, HELLO), (other, CHALLENGE)):
        end.handle(Connected(), 0)
        assert len(end.handle(Received(packed(message)), 0)) == 1
        ended = end.handle(Received(packed(message)), 0)[1]
        assert "came out of turn" in str(ended)


def test_rule_26_k_15_data_before_the_handshake_is_refused() -> None:
    one = listener()
    one.handle(Connected(), 0)
    assert refused(one.handle(Received(Encoder(Types(), WireOptions()).encode(["x", 1])), 0)[1]) == (
        Reason.MALFORMED,
        False,
    )


GOOD = [packed(message) for message in (HELLO, CHALLENGE, Proof(bytes(32)), Welcome(b""), Refusal(Reason.SYSTEM, "no"))]


def answers(body: bytes) -> None:
    """Whatever it is, either end goes on, is done, or refuses once and briefly."""
    for one in (listener(), dialer(SECURE)):
        one.handle(Connected(), 0)
        effects = one.handle(Received(body), 0)
        one.invariants()
        assert 1 <= len(effects) <= 2
        assert all(not isinstance(effect, Send) or len(effect.body) < 1000 for effect in effects)
        assert all(not isinstance(effect, HandshakeRefused) or len(effect.text) < 1000 for effect in effects)


def test_rule_26_k_01_k_02_prefixes_and_flipped_bits_are_handled() -> None:
    for good in GOOD:
        for size in range(len(good)):
            answers(good[:size])
        for bit in range(len(good) * 8):
            body = bytearray(good)
            body[bit // 8] ^= 1 << bit % 8
            answers(bytes(body))


@given(st.binary(max_size=100))
def test_rule_26_k_20_random_bytes_are_handled(body: bytes) -> None:
    answers(body)


@pytest.mark.parametrize(
    "parts",
    [
        [], ["casty"], ["other", 3, b""], ["casty", 3], ["casty", 3, ""], ["casty", True, 1], ["casty", 9], ["casty",
        3, b"", 1],
        ["casty", 3, bytes(31)], ["casty", 1, 0, 1, "shop", "a", 1, "", 2, False, bytes(32)],
        ["casty", 1, 1, 1, "s/p", "a", 1, "", 2, False, bytes(32)], ["casty", 1, 1, 1, "shop", "", 1, "", 2, False,
        bytes(32)],
        ["casty", 1, 1, 1, "shop", "a", -1, "", 2, False, bytes(32)], ["casty", 1, 1, 1, "shop", "a", 1, "x", 2,
        False, bytes(32)],
        ["casty", 1, 1, 1, "shop", "a", 1, "H:1", 2, False, bytes(32)], ["casty", 1, 1, 1, "shop", "a", 1, "", 9,
        False, bytes(32)],
        ["casty", 1, 1, 1, "shop", "a", 1, "", 2, 0, bytes(32)], ["casty", 1, 1, 1, "shop", "a", 1, "", 2, False,
        bytes(31)],
        ["casty", 1, 1, 70000, "shop", "a", 1, "", 2, False, bytes(32)], ["casty", 3, bytes(4096)], ["casty", 3, [[]]],
    ],
)  # fmt: skip
def test_rule_26_k_10_messages_of_the_wrong_shape_are_refused(parts: list[object]) -> None:
    one = listener()
    one.handle(Connected(), 0)
    sent, ended = one.handle(Received(msgpack.packb(parts)), 0)
    assert isinstance(sent, Send)
    assert refused(ended) == (Reason.MALFORMED, False)


def test_rule_26_a_message_over_the_limit_is_not_read() -> None:
    one = listener()
    one.handle(Connected(), 0)
    ended = one.handle(Received(bytes(HANDSHAKE_FRAME_MAX + 1)), 0)[1]
    assert refused(ended) == (Reason.MALFORMED, False)
    assert "has 4097 bytes; the limit is 4096 bytes" in str(ended)


def test_rule_26_k_24_the_text_of_a_refusal_is_one_short_line() -> None:
    one = dialer()
    one.handle(Connected(), 0)
    (ended,) = one.handle(Received(packed(Refusal(Reason.SYSTEM, "a\nb\x1b" + "x" * 1000))), 0)
    assert isinstance(ended, HandshakeRefused)
    assert "a?b?xxx" in ended.text
    assert len(ended.text) < 400
    later = msgpack.packb(["casty", 5, 99, "a reason of a later version"])
    (ended,) = dialer().handle(Received(later), 0)
    assert isinstance(ended, HandshakeRefused)
    assert ended.by_peer


def test_rule_23_nonces_are_given_by_the_driver() -> None:
    for wrong in (b"", bytes(31), "x" * 32):
        with pytest.raises(ValueError, match="the nonce must be 32 random bytes"):
            Listener(B, OPEN, wrong)  # type: ignore[arg-type]
    rng = random.Random(1)
    assert Line(Dialer(A, Kind.DATA, SECURE, rng.randbytes(32)), Listener(B, SECURE, rng.randbytes(32))).run()[0]


@pytest.mark.parametrize(
    "options",
    [{"system": "a/b"}, {"system": ""}, {"secret": b""}, {"secret": "text"}, {"lowest_version": 2}, {"timeout_ns": 0}],
)
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        HandshakeOptions(**{"system": "shop", **options})  # type: ignore[arg-type]
