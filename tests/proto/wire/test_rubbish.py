"""Whatever comes, there is a value or one of two errors, in bounded time and memory. Rules 10, 16; K-01, K-02,
K-07 to K-13,
K-20, K-22."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from casty_proto.wire import DecodeError, Decoder, EncodeError, Malformed, Refused, Types, WireOptions
from casty_proto.wire.scan import scan
from tests.fuzz.nasty import colliding_sets

from .kit import OPTIONS, Link, Plain, Point, announced, registered
from .test_names import KIT
from .test_round_trip import SAMPLES

TAG_LIST = b"\x02"
SMALL = [value for value in SAMPLES if len(Link().encoder.encode(value)) < 300]


@contextmanager
def bounded(megabytes: float, seconds: float) -> Iterator[None]:
    """Not more than this much memory and processor time; generous, as machines differ."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * 2**20, f"{peak} bytes"
    assert time.process_time() - began < seconds


def outcome(body: bytes, options: WireOptions = OPTIONS) -> object:
    """The value, or the error."""
    try:
        return Decoder(registered(), options).decode(body)
    except (Malformed, Refused) as error:
        found = error
    assert len(str(found)) < 600
    return found


def malformed(body: bytes, options: WireOptions = OPTIONS) -> str:
    got = outcome(body, options)
    assert isinstance(got, Malformed), got
    return str(got)


def test_k_01_every_strict_prefix_of_every_value_is_malformed() -> None:
    for value in SMALL:
        body = Link().encoder.encode(value)
        for size in range(len(body)):
            malformed(body[:size])


def test_k_02_every_flipped_bit_makes_a_value_or_an_error() -> None:
    for value in SMALL:
        body = bytearray(Link().encoder.encode(value))
        for bit in range(len(body) * 8):
            body[bit // 8] ^= 1 << bit % 8
            outcome(bytes(body))
            body[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("first", [b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"])
def test_k_07_lengths_and_counts_of_4_gib_cost_nothing(first: bytes) -> None:
    for head in (first + b"\xff" * 4, b"\x92\x02" + first + b"\xff\xff\xff\xff\x00", b"\xc1" + b"\xff" * 9):
        with bounded(1, 1):
            malformed(head)


def test_k_07_arrays_that_announce_more_than_comes_cost_nothing_however_deep() -> None:
    head = b"\xdd\x00\x00\xff\xff" * 1000
    for body in (head.ljust(65536, b"\x00"), head.ljust(2**20, b"\x02"), b"\xdc\x0f\xff" * 60 + bytes(3900)):
        with bounded(4, 1):
            malformed(body)


def test_k_07_many_small_containers_are_counted() -> None:
    with bounded(40, 10):
        assert "the limit is 262144" in malformed(b"\xdd\x00\x08\x00\x00" + b"\x91\x02" * 2**19)
        assert "map" in malformed(b"\x80")
        malformed(b"\xdd\x00\x08\x00\x00" + b"\x80" * 2**19)
        assert "limit is 20" in malformed(msgpack.packb([2, *range(20)]), WireOptions(max_items=20))


def test_k_07_texts_are_limited() -> None:
    options = WireOptions(max_length=100)
    for value in ("x" * 101, b"x" * 101, ["x" * 1000], b"x" * 70000):
        assert "the limit is 100 bytes" in malformed(msgpack.packb(value), options)
    assert outcome(msgpack.packb("x" * 90), options) == "x" * 90
    assert "the limit is 1000 bytes" in malformed(bytes(1001), WireOptions(max_frame=1000))


@pytest.mark.parametrize("depth", [64, 65, 511, 512, 1023, 1024, 1025, 10**5])
def test_k_08_nesting_is_limited(depth: int) -> None:
    body = b"\x92\x02" * (depth - 1) + b"\x91\x02"
    with bounded(4, 2):
        got = outcome(body)
    if depth > 64:
        assert "nested deeper than the limit of 64" in str(got)
    else:
        assert isinstance(got, list)
    malformed(b"\x91" * depth)


def refused(body: bytes) -> str:
    got = outcome(body)
    assert isinstance(got, Refused), got
    return str(got)


def test_k_09_keys_and_elements_that_come_twice_are_refused() -> None:
    assert "a key twice" in refused(msgpack.packb([6, "a", 1, "a", 1]))
    assert "a key twice" in refused(msgpack.packb([6, 1, 1, True, 1]))
    assert "a key without a value" in malformed(msgpack.packb([6, "a"]))
    for tag in (4, 5):
        assert "an element twice" in refused(msgpack.packb([tag, "a", "a"]))


def test_k_10_unhashable_keys_are_refused() -> None:
    for body in ([6, [2], 1], [4, [2]], [5, [6]], [6, *[x for n in range(100) for x in ([2, n], 1)]]):
        assert isinstance(outcome(msgpack.packb(body)), Refused)


@pytest.mark.parametrize(
    "value",
    [
        [], [0], [1, 2], [True], [False], [None], [2.0, 1], ["a"], [b"a"], [-1], [18], [31], [32], [2**63], [[2], 1],
        [7], [7, 1], [7, b""], [7, b"\x01"], [7, b"\x01", 1], [8, 1.0], [8, 1, 2], [9, "a"], [9], [10], [11, 2024, 1,
        "1"],
        [10, 2024, 1, 1, 0, 0, 0, 0, 0, 1], [10, 2024, 1, 1, 0, 0, 0, 0, 2, None], [10, 2024, 2, 30, 0, 0, 0, 0, 0,
        None],
        [10, True, 1, 1, 0, 0, 0, 0, 0, None], [10, 2024, 1, 1, 0, 0, 0, 0, 0, None, 1], [10, 2**62, 1, 1, 0, 0, 0, 0,
        0, None],
        [11, 0, 1, 1], [11, 2024, 1.0, 1], [12, 24, 0, 0, 0, 0, None], [13, 10**10, 0, 0], [13, 2**63, 0, 0], [13,
        1.5, 0, 0],
        [14, 2, 0, 0, None], [14, 0, 0, 0, 1], [14, 0, 0], [15, "x"], [15, 1], [15, ""], [15, "1", "2"],
        [16], [16, 1, None, ""], [16, "a", [2], ""], [16, "a", [3], 1], [16, "a", [3]], [17], [17, 1, 2],
    ],
)  # fmt: skip
def test_k_10_k_11_values_of_the_wrong_shape_are_malformed(value: object) -> None:
    malformed(msgpack.packb(value))
    malformed(msgpack.packb([2, value]))


def test_k_12_texts_that_are_not_utf_8_are_malformed() -> None:
    for raw in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80"):
        malformed(bytes([0xA0 + len(raw)]) + raw)


@pytest.mark.parametrize(
    "body",
    [
        b"\xd4\x01\x00", b"\xc7\x00\x05", b"\xd6\xff\x00\x00\x00\x00", b"\xc7\x03\xff\x00\x00\x00", b"\xd4\xff\x00",
        b"\xd7\xff" + b"\xff" * 8,
        b"\xc7\x0c\xff" + b"\xff" * 12, b"\x92\x02\xd4\x01\x00", b"\x93\x06\xd4\x01\x00\x01", b"\xc1", b"\x80",
        b"\x81\xa0\xc0", b"\x92\x02\x80",
        b"\x01\x02", b"", b"\x91\x02\x00", b"\x92\x02\xc1",
    ],
)  # fmt: skip
def test_k_13_extensions_maps_and_what_is_too_much_are_malformed(body: bytes) -> None:
    malformed(body)
    malformed(b"\xdc\x13\x89\x02" + b"\xc0" * 4999 + body)


def test_k_22_keys_made_to_collide_are_refused_in_time() -> None:
    prime = 2**61 - 1
    packed: list[Any] = [n * prime if n <= 8 else [7, (n * prime).to_bytes(12, signed=True)] for n in range(80_000)]
    with bounded(60, 10):
        assert "keys of the same hash" in refused(msgpack.packb([4, *packed]))
        pairs = [x for key in packed[:10_000] for x in (key, None)]
        assert "keys of the same hash" in refused(msgpack.packb([6, *pairs]))
        tuples = [x for key in packed[:1000] for x in ([3, key, 1], None)]
        assert "keys of the same hash" in refused(msgpack.packb([6, *tuples]))
    assert outcome(msgpack.packb([6, *range(20_000)])) == dict(
        zip(range(0, 20_000, 2), range(1, 20_000, 2), strict=True)
    )


def test_k_22_sets_of_sets_of_keys_made_to_collide_are_refused_in_time() -> None:
    with bounded(20, 2):
        assert "pairs of the same hash" in refused(msgpack.packb([4, *[colliding_sets(30, 2, n) for n in range(30)]]))
        assert "pairs of the same hash" in refused(msgpack.packb([6, colliding_sets(12, 3), None]))
        assert "pairs of the same hash" in refused(msgpack.packb([4, *[[3, colliding_sets(40, 1)]] * 30]))


def test_k_22_what_was_counted_for_one_body_does_not_count_for_the_next() -> None:
    link, points = Link(), {Point(x, y) for x in range(-60, 60) for y in (-1, -2)}
    sets = [frozenset({-1, -2, n}) for n in range(5000)]
    for _ in range(50):
        assert link.carry(points) == points
    assert link.carry(sets) == sets


def test_k_22_a_sender_does_not_make_such_keys() -> None:
    keys = {n * (2**61 - 1) for n in range(100)}
    for value in (keys, frozenset(keys), dict.fromkeys(keys)):
        with pytest.raises(EncodeError, match="keys of the same hash"):
            Link().encoder.encode([value])
    tuples = [{(n, m * (2**61 - 1)) for m in range(60)} for n in range(3)]
    with pytest.raises(EncodeError, match="pairs of the same hash"):
        Link().encoder.encode(tuples)


# -- announcements -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "announcements",
    [
        [], 1, None, "x", [[]], [1], [[32]], [[32, "a"]], [[32, "a", [], 1]], [[33, "a", []]], [[31, "a", []]],
        [[True, "a", []]], [[32, 1, []]], [[32, b"a", []]], [[32, "a", {}]], [[32, "a", "b"]], [[32, "a", [1]]],
        [[32, "a", ["x", "x"]]], [[32, "a", [[]]]], [[32, "a", []], [32, "b", []]], [[32, "a" * 256, []]],
        [[32, "a", ["b" * 256]]], [[32, "a", [f"f{n}" for n in range(257)]]], {"a": 1},
        [[32 + n, "a", []] for n in range(1025)],
    ],
)  # fmt: skip
def test_rule_8_k_10_announcements_that_are_none_are_malformed(announcements: object) -> None:
    head = msgpack.packb(announcements)
    malformed(b"\xc1" + len(head).to_bytes(4) + head + b"\x01")


def test_rule_8_announcements_are_whole_and_come_before_a_value() -> None:
    good = announced([32, 1, "b"], (f"{KIT}:Plain", ["a", "b"]))
    for size in range(len(good)):
        malformed(good[:size])
    malformed(b"\xc1\x00\x00\x00\x00\x01")
    malformed(b"\xc1\x00\x00\x00\x01\x90\xc1\x00\x00\x00\x01\x90\x01")


def test_rule_10_announcements_are_limited_over_the_whole_connection() -> None:
    one = Decoder(Types(), WireOptions(max_announced=1024))
    for number in range(32, 46):
        head = msgpack.packb([[number, "n" * 60, []]])
        assert one.decode(b"".join((b"\xc1", len(head).to_bytes(4), head, b"\x01"))) == 1
    head = msgpack.packb([[46, "n" * 200, []]])
    with pytest.raises(Malformed, match="the limit of 1024 bytes"):
        one.decode(b"".join((b"\xc1", len(head).to_bytes(4), head, b"\x01")))


def test_rule_10_narrow_limits_for_values_do_not_count_for_announcements() -> None:
    link = Link(options=WireOptions(max_depth=1, max_items=16, max_length=16))
    assert link.carry(Plain(1)) == Plain(1)
    with pytest.raises(EncodeError, match="nested deeper than the limit of 1"):
        link.carry([Plain(1)])


# -- anything ----------------------------------------------------------------------------------------------------------


def test_k_20_random_bytes_make_a_value_or_one_of_two_errors() -> None:
    rng = random.Random(20)
    types = Types()
    with bounded(50, 30):
        for _ in range(20_000):
            body = rng.randbytes(rng.randrange(40))
            one = Decoder(types, OPTIONS)
            try:
                value = one.decode(body)
            except DecodeError as error:
                assert type(error) in (Malformed, Refused)  # noqa: PT017 - a value is as good
                continue
            link = Link(types)
            again = link.encoder.encode(value)
            assert link.encoder.encode(link.decoder.decode(again)) == again or b"\xc1" in again


@given(st.sampled_from(SMALL), st.data())
def test_k_20_mutated_bodies_make_a_value_or_one_of_two_errors(value: object, data: st.DataObject) -> None:
    body = bytearray(Link().encoder.encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        match data.draw(st.sampled_from("rcid")):
            case "r":
                body[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "c":
                body[at:at] = body[data.draw(st.integers(0, len(body))) :][:20]
            case "i":
                body[at:at] = data.draw(st.sampled_from([b"\xdd\xff\xff\xff\xff", b"\x9f", b"\xc1", b"\x80", b"\x02"]))
            case _:
                del body[at : at + 3]
    outcome(bytes(body))


def slow_scan(body: bytes, options: WireOptions) -> bool:
    """Whether the body is within the limits, as obviously as it can be said."""
    try:
        value = msgpack.unpackb(body, object_pairs_hook=lambda _: 1 / 0, max_ext_len=0, unicode_errors="replace")
    except Exception:
        return False

    def walk(part: object, depth: int) -> tuple[int, bool]:
        if isinstance(part, str | bytes):
            return 1, True
        if not isinstance(part, list):
            return 1, True
        inner = [walk(element, depth + 1) for element in part]
        return 1 + sum(count for count, _ in inner), depth < options.max_depth and all(good for _, good in inner)

    count, good = walk(value, 0)
    return good and count <= options.max_items


trees = st.recursive(
    st.one_of(st.none(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=40), st.binary(max_size=40)),
    lambda inner: st.lists(inner, max_size=20),
)


@given(st.one_of(trees.map(msgpack.packb), st.binary(max_size=50)), st.integers(0, 3))
@example(b"\x92\x02" * 4 + b"\x90", 0)
def test_rule_10_the_scan_agrees_with_the_library(body: bytes, cut: int) -> None:
    options = WireOptions(max_depth=3, max_items=16)
    body = body[: len(body) - cut]
    try:
        scan(body, options)
        fine = True
    except Malformed:
        fine = False
    assert fine == slow_scan(body, options)
