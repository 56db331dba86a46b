"""What cannot be sent is an error at the sender that says where it is. Rules 6, 10, 14, 15."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pytest

from casty_proto.wire import EncodeError, Types, WireOptions

from .kit import (
    Bare,
    Box,
    Handmade,
    Line,
    Link,
    Needs,
    One,
    Order,
    Plain,
    Point,
    Stringly,
    Text,
    Undecorated,
)


def problem(value: object, types: Types | None = None, options: WireOptions | None = None) -> str:
    link = Link(types, options or WireOptions())
    with pytest.raises(EncodeError) as caught:
        link.encoder.encode(value)
    assert link.carry([1, Plain(1)]) == [1, Plain(1)], "the encoder goes on"
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Bare(), "Bare"),
        ([1, [2, Bare()]], "list[1][1]"),
        (Order(1, [Line("a", 1), Line("b", 2), Line("c", 3), Line("d", Bare())]), "Order.lines[3].price"),
        ({"a": {"b": Bare()}}, "dict['a']['b']"),
        ({Bare: 1}, "dict key type"),
        ({(1, Bare()): 1}, "dict key tuple[1]"),
        ({1, Bare()}, "set{Bare}"),
        (Point(1, Bare()), "Point.y"),  # type: ignore[arg-type]
        (Box(lambda: 1), "Box.content"),
        (One(One(object())), "One.value.value"),
        ([len], "list[0]"),
        ([range(3)], "list[0]"),
        (iter([1]), "list_iterator"),
    ],
)
def test_rule_6_the_error_names_the_place(value: object, path: str) -> None:
    assert problem(value).startswith(f"{path}: object of type ")


def test_rule_6_the_error_names_the_type_and_says_what_to_do() -> None:
    assert problem(Order(1, [Line("a", Bare())])) == (
        "Order.lines[0].price: object of type Bare cannot be sent: "
        "it is no dataclass, attrs class, enum or named tuple of its own; make it one, or register it"
    )


def test_rule_6_subclasses_of_built_in_types_are_not_sent_as_something_else() -> None:
    for value in (Text("a"), OrderedDict(a=1), Undecorated(1)):
        assert "it is no dataclass" in problem([value])
    assert "on top of a built-in type" in problem([Stringly(1)])


def test_rule_6_a_class_that_nobody_can_find_is_not_sent() -> None:
    @dataclass
    class Local:
        n: int

    assert "it cannot be found by its name" in problem(Local(1))


def test_rule_6_a_class_that_cannot_be_made_again_is_not_sent() -> None:
    assert "its constructor needs 'step', which is no field" in problem(Needs(1, 2))
    assert "its constructor does not list its parameters" in problem(Handmade(1, 2))


def test_rule_6_a_field_that_is_not_set_is_named() -> None:
    value = Plain(1)
    del value.a
    assert problem([value]).startswith("list[0]: object of type Plain cannot be sent: a field cannot be read: Attrib")


def test_rule_6_circles_are_errors() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    assert problem(circle) == "list[1]: object of type list cannot be sent: it is part of itself"
    ring: dict[str, Any] = {}
    ring["box"] = Box([ring])
    assert problem(ring).startswith("dict['box'].content[0]: object of type dict cannot be sent: it is part of itself")


def test_rule_10_depth_is_limited_at_the_sender() -> None:
    deep: Any = 0
    for _ in range(64):
        deep = [deep]
    assert Link().carry(deep) == deep
    assert problem([deep]).endswith("nested deeper than the limit of 64")
    for _ in range(100_000):
        deep = (deep,)
    assert "nested deeper than the limit of 64" in problem(deep)[-60:]


def test_rule_10_sizes_are_limited_at_the_sender() -> None:
    assert "the limit is 100 bytes" in problem(b"x" * 100, options=WireOptions(max_length=100, max_frame=100))
    assert "the limit is 100 bytes" in problem("x" * 101, options=WireOptions(max_length=100))
    assert "the limit is 100" in problem([[0] * 50] * 2, options=WireOptions(max_items=100))


def test_rule_10_the_number_of_types_is_limited_at_the_sender() -> None:
    link = Link(options=WireOptions(max_types=1))
    assert link.carry(Plain(1)) == Plain(1)
    with pytest.raises(EncodeError, match="has announced 1 types, which is the limit"):
        link.encoder.encode(Box(1))
    assert link.carry(Plain(2)) == Plain(2)
    narrow = Link(options=WireOptions(max_fields=1))
    with pytest.raises(EncodeError, match="it has 2 fields; the limit is 1"):
        narrow.encoder.encode(Plain(1))


def test_rule_10_the_names_of_types_are_limited_at_the_sender() -> None:
    @dataclass
    class Wide:
        n: int

    types = Types()
    types.register(Wide, "w" * 255, lambda value: value.n, Wide)
    link = Link(types, WireOptions(max_announced=1024))
    with pytest.raises(EncodeError, match="as many names of fields as the limit allows"):
        link.encoder.encode(Wide(1))


def test_rule_8_a_type_whose_first_message_failed_is_announced_with_the_next() -> None:
    link = Link()
    with pytest.raises(EncodeError):
        link.encoder.encode([Plain(1), Bare()])
    assert link.carry(Plain(2)) == Plain(2)
    limited = Link(options=WireOptions(max_frame=200))
    with pytest.raises(EncodeError, match=r"takes .* bytes; the limit is 200 bytes"):
        limited.encoder.encode(Box("x" * 300))
    assert limited.carry(Box(1)) == Box(1)


def test_rule_15_a_registered_encoder_that_fails_is_named() -> None:
    types = Types()
    types.register(Bare, "bare", attrgetter("missing"), lambda plain: Bare())
    assert problem([Bare()], types).startswith(
        "list[0]: object of type Bare cannot be sent: its registered encoder raised AttributeError"
    )
    types = Types()
    types.register(Bare, "bare", lambda value: [object()], lambda plain: Bare())
    assert problem([Bare()], types).startswith("list[0][0]: object of type object cannot be sent")
