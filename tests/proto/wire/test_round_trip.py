"""What goes in comes out equal and of the same type. Rule 5; K-11, K-12, K-19."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.wire import Decoder, EncodeError, Encoder, RemoteException

from .kit import (
    OPTIONS,
    Attrs,
    Bits,
    Box,
    Checked,
    Child,
    Colour,
    Counted,
    Empty,
    Failed,
    Keywords,
    Level,
    Line,
    Link,
    Named,
    One,
    Order,
    Outer,
    Pair,
    Plain,
    Point,
    Right,
    Word,
    carried,
    registered,
    same,
    small,
)

PARIS = ZoneInfo("Europe/Paris")
NESTED: Any = Order(1, [Line("a", Decimal("1.10")), Line("b", {Colour.RED: (1, [2], {3})})])

SAMPLES: list[Any] = [
    *(None, True, False, 0, 1, -1, "", "a", b"", b"a", 1.0, -0.0, math.inf, -math.inf, math.nan),
    *(2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**300, -(10**300)),
    *("\0", "ä" * 1000, "e\u0301", "\u00e9", "x" * 2**20, b"\xff" * 70000),
    *([], (), set(), frozenset(), {}, [[]], ((),), [()], ([],), [[[[1]]]], bytearray(), bytearray(b"ab")),
    *({1, 2, "x", None, (1, 2)}, frozenset({b"", 1.5}), {frozenset({1}), frozenset()}),
    *({"a": 1}, {1: "a", (1, 2): [3], None: {}, b"": b"", Point(1, 2): 1, Colour.RED: 2, 1.5: 3}),
    {"a": {"b": {"c": []}}},
    *(1j, complex(-0.0, math.inf), Decimal("1.10"), Decimal("NaN"), Decimal("-Infinity"), Decimal("1E+50")),
    Decimal("-0"),
    *(date(2024, 2, 29), date.min, date.max, timedelta(), timedelta.min, timedelta.max, timedelta(1, 2, 3)),
    *(datetime(2024, 1, 2, 3, 4, 5, 6), datetime.min, datetime.max, datetime(2024, 10, 27, 2, 30, fold=1)),
    *(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-3, seconds=7), "odd"))),
    *(time(1, 2, 3, 4), time(1, fold=1, tzinfo=UTC), UTC, timezone(timedelta(hours=5))),
    *(Colour.RED, Colour.ROUGE, Level.HIGH, Word.YES, Right.READ, Right.READ | Right.RUN, Right(0), Bits.A | Bits.B),
    *(Point(1, 2), Pair("l", ["r"]), Plain(1), Plain(2, "c"), small(), Keywords(one=1, two=[2])),
    Child(1, "b", (2,), d=5),
    *(Box(1), Box([Box(None)]), Empty(), One([1]), Outer.Inner(3), Named(4), NESTED, Checked(3)),
    *(Attrs(1, "h", y=[2]), [Level.LOW, 1], {Level.LOW: Word.YES}),
]  # fmt: skip


@pytest.mark.parametrize("value", SAMPLES, ids=lambda value: f"{type(value).__name__}-{str(value)[:30]!a}")
def test_rule_5_a_value_comes_out_equal_and_of_the_same_type(value: Any) -> None:
    link = Link()
    for _ in range(2):
        got = link.carry(value)
        assert same(got, value), (got, value)
        assert same(link.carry([value, (value,)]), [value, (value,)])


def test_rule_5_members_of_enums_are_the_same_objects() -> None:
    assert carried([Colour.GREEN, Right.WRITE, None]) == [Colour.GREEN, Right.WRITE, None]
    assert carried(Colour.ROUGE) is Colour.RED


@pytest.mark.parametrize(
    "value",
    [
        UUID(int=7),
        PurePosixPath("/a/b"),
        datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=PARIS),
        time(3, tzinfo=PARIS),
        {UUID(int=1): [UUID(int=2)]},
    ],
)
def test_rule_5_what_a_driver_registers_goes_like_the_rest(value: object) -> None:
    assert same(carried(value, registered()), value)


def test_rule_5_a_field_that_the_constructor_does_not_take_is_set_if_it_counts() -> None:
    sent = Counted(1)
    sent.count, sent.cache = 7, object()
    got = carried(sent)
    assert (got, got.count, got.cache) == (sent, 7, None)
    odd = Attrs(1, "h")
    object.__setattr__(odd, "z", 9)
    assert carried(odd).z == 9


def test_rule_5_a_text_in_two_normal_forms_is_two_texts() -> None:
    assert list(carried({"e\u0301": 1, "\u00e9": 2})) == ["e\u0301", "\u00e9"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        KeyError("k"),
        ZeroDivisionError(),
        OSError(2, "gone"),
        FileNotFoundError(2, "x"),
        Exception(1, [2]),
    ],
)
def test_rule_18_exceptions_of_the_standard_library_are_made_again(error: Exception) -> None:
    got = carried(error)
    assert (type(got), got.args, str(got)) == (type(error), error.args, str(error))


class Odd(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_rule_18_other_exceptions_arrive_as_a_name_arguments_and_a_text() -> None:
    for _ in range(2):
        got = carried(Odd(1, 2))
        assert type(got) is RemoteException
        assert got.type_name == f"{__name__}:Odd"
        assert (got.arguments, got.text) == (("1 and 2",), "1 and 2")
        assert str(got) == f"{__name__}:Odd: 1 and 2"
        again = carried(got)
        assert (again.type_name, again.arguments, again.text) == (got.type_name, got.arguments, got.text)


def test_rule_18_arguments_that_cannot_be_sent_are_left_out() -> None:
    for argument in (object(), "\ud800", ValueError):
        got = carried(ValueError("x", argument))
        assert (type(got), got.arguments) == (RemoteException, None)
        assert carried(got).text == got.text
    assert carried(Unprintable()).text == "(str() of it raised RuntimeError)"
    assert len(carried(Odd(10**4000, 10**4000)).text) == 4096


def test_rule_18_a_name_that_is_not_the_standard_library_s_is_not_called() -> None:
    with_file = FileNotFoundError(2, "gone", "name")
    assert carried(with_file).text == str(with_file)
    assert type(carried(SystemExit(3))) is RemoteException


def test_rule_18_arguments_that_make_another_class_are_not_used() -> None:
    made_up = RemoteException("builtins:OSError", (2, "gone"), "[Errno 2] gone")
    assert type(carried(made_up)) is RemoteException
    assert type(carried(RemoteException("builtins:ValueError", ("a",), "a"))) is ValueError


def test_rule_18_exceptions_with_fields_are_ordinary_classes() -> None:
    got = carried(Failed(3))
    assert (type(got), got.code) == (Failed, 3)


# -- anything ----------------------------------------------------------------------------------------------------------

atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers(),
    st.decimals(), st.dates(), st.datetimes(), st.timedeltas(),
    st.sampled_from([*Colour, *Level, Right.READ | Right.RUN]),
    st.times(timezones=st.just(UTC)), st.datetimes(timezones=st.just(timezone(timedelta(minutes=30)))),
)  # fmt: skip
keys = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.dates(), st.sampled_from(Colour)),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3), st.builds(Point, inner, inner)),
    max_leaves=4,
)
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.builds(Box, inner),
        st.builds(Point, inner, inner),
        st.builds(Plain, inner, inner),
        st.builds(Keywords, one=inner, two=inner),
        st.builds(Attrs, inner, inner, y=inner),
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.lists(values, min_size=1, max_size=3))
def test_rule_5_rule_7_k_19_anything_comes_out_as_it_went_in_and_always_as_the_same_bytes(sent: list[Any]) -> None:
    types = registered()
    one, other = Encoder(types, OPTIONS), Encoder(types, OPTIONS)
    decoder, again, last = Decoder(types, OPTIONS), Encoder(types, OPTIONS), Decoder(types, OPTIONS)
    for value in sent:
        body = one.encode(value)
        assert other.encode(value) == body
        got = decoder.decode(body)
        assert same(got, value)
        assert same(last.decode(again.encode(got)), value)


@pytest.mark.parametrize(
    "value",
    [
        {Colour.RED, Level.LOW, Word.YES, Right.READ, Point(1), Outer.Inner(1)},
        frozenset(
            {(1, Colour.RED), (2, Level.LOW), (3, Word.YES), (4, Right.READ), (5, Point(1)), (6, Outer.Inner(1))}
        ),
        {frozenset({Colour.RED, Level.LOW, Point(1)}), frozenset({Word.YES, Right.READ, Outer.Inner(1)})},
    ],
)
def test_rule_7_the_order_of_a_set_does_not_decide_which_type_has_which_number(value: object) -> None:
    # It is an accident of the process. There are 720 orders, and one of them is that of the names.
    body = Link().encoder.encode(value)
    names = ["Colour", "Level", "Outer.Inner", "Point", "Right", "Word"]
    places = [body.index(f"kit:{name}".encode()) for name in names]
    assert places == sorted(places)
    assert same(carried(value), value)
    link = Link()
    link.carry(Level.HIGH)
    assert same(link.carry([value, value]), [value, value])


def test_k_12_a_lone_surrogate_is_an_error_at_the_sender() -> None:
    with pytest.raises(EncodeError, match=r"Plain.b: object of type str cannot be sent: UnicodeEncodeError"):
        carried(Plain(1, "\ud800"))
