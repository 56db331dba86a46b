"""Which names lead to classes, and what two versions of a class make of each other. Rules 8, 9, 11 to 16; K-10,
K-21."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from enum import Flag
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import msgpack  # type: ignore[import-untyped]
import pytest

import casty_proto.wire
from casty_proto.wire import DecodeError, Decoder, EncodeError, Malformed, Refused, Types, message, schema

from .kit import (
    OPTIONS,
    Bare,
    Checked,
    Colour,
    Keywords,
    Level,
    Link,
    Marked,
    Named,
    Outer,
    Plain,
    Point,
    Right,
    announced,
    carried,
)

KIT = "tests.proto.wire.kit"


def decoder(types: Types | None = None) -> Decoder:
    return Decoder(types or Types(), OPTIONS)


def refused(body: bytes, types: Types | None = None) -> str:
    """Why a value is refused; and what comes after it is not."""
    one = decoder(types)
    with pytest.raises(Refused) as caught:
        one.decode(body)
    assert one.decode(b"\x07") == 7
    return str(caught.value)


def malformed(body: bytes) -> str:
    one = decoder()
    with pytest.raises(Malformed) as caught:
        one.decode(body)
    with pytest.raises(Malformed) as again:
        one.decode(b"\x07")
    assert str(again.value) == str(caught.value), "there is no way back"
    return str(caught.value)


# -- announcements -----------------------------------------------------------------------------------------------------


def test_rule_8_a_type_is_announced_once_and_is_a_number_from_then_on() -> None:
    link = Link()
    bodies = [link.encoder.encode(value) for value in (Plain(1), Plain(2), [Plain(3), Named(4)], Named(5))]
    assert [body.count(b":Plain") for body in bodies] == [1, 0, 0, 0]
    assert [body.count(b"kit.named") for body in bodies] == [0, 0, 1, 0]
    assert bodies[1] == b"\x93\x20\x02\xa1b"
    assert [link.decoder.decode(body) for body in bodies][1::2] == [Plain(2), Named(5)]


def test_rule_8_k_17_a_frame_that_comes_again_announces_the_wrong_number() -> None:
    body = Link().encoder.encode(Plain(1))
    one = decoder()
    assert one.decode(body) == Plain(1)
    with pytest.raises(Malformed, match="not one of the type with the number 33"):
        one.decode(body)


def test_k_17_what_comes_again_or_in_another_order_is_what_it_was_once_its_types_are_known() -> None:
    # The codec numbers types, not bodies: that one was lost or comes twice is seen by those who number them.
    link, one = Link(), decoder()
    first, second, third = [link.encoder.encode(value) for value in (Plain(1), Plain(2), [Plain(3)])]
    assert [one.decode(body) for body in (first, third, second, second)] == [Plain(1), [Plain(3)], Plain(2), Plain(2)]


def test_rule_8_k_17_bodies_of_another_connection_are_not_taken_for_those_of_this_one() -> None:
    theirs, ours, one = Link(), Link(), decoder()
    theirs.encoder.encode(Named(1))
    late = theirs.encoder.encode(Plain(1))
    one.decode(ours.encoder.encode(1))
    with pytest.raises(Malformed, match="not one of the type with the number 32"):
        one.decode(late)


def test_rule_8_k_17_a_number_that_was_not_announced_is_malformed() -> None:
    link = Link()
    link.encoder.encode(Plain(1))
    assert "neither a tag nor the number of a type" in malformed(link.encoder.encode(Plain(2)))


# -- versions ----------------------------------------------------------------------------------------------------------


def test_rule_9_k_10_unknown_fields_are_ignored() -> None:
    assert decoder().decode(announced([32, 9, [3], 1, "x"], (f"{KIT}:Plain", ["z", "y", "a", "b"]))) == Plain(1, "x")


def test_rule_9_fields_in_another_order_find_their_places() -> None:
    assert decoder().decode(announced([32, "x", 1], (f"{KIT}:Plain", ["b", "a"]))) == Plain(1, "x")


@pytest.mark.parametrize(
    ("name", "fields", "values", "expected"),
    [
        ("Plain", ["a"], [1], Plain(1)),
        ("Keywords", ["one"], [1], Keywords(one=1)),
        ("Point", ["x"], [1], Point(1)),
        ("Child", ["d", "a"], [8, 1], None),
    ],
)
def test_rule_9_fields_that_are_missing_take_their_defaults(
    name: str, fields: list[str], values: list[Any], expected: object
) -> None:
    got = decoder().decode(announced([32, *values], (f"{KIT}:{name}", fields)))
    assert got == expected if expected else (got.a, got.b, got.c, got.d) == (1, "b", (), 8)


def test_rule_9_k_10_a_missing_field_without_a_default_is_refused_by_name() -> None:
    assert refused(announced([32, "x"], (f"{KIT}:Plain", ["b"]))) == "Plain.a was not sent and has no default"
    assert "Point.x was not sent" in refused(announced([32], (f"{KIT}:Point", [])))


def test_rule_9_old_and_new_versions_talk_in_both_directions() -> None:
    old = make_dataclass("Old", [("a", int), ("gone", str, "g")])
    new = make_dataclass("New", [("added", int, 5), ("a", int, 0)])
    ours, theirs = Types(), Types()
    for types, cls in ((ours, old), (theirs, new)):
        cls.__module__ = "tests.version"
        cls.__qualname__ = "Thing"
        types._by_class[cls] = casty_proto.wire.types._schema(cls, "thing")  # type: ignore[assignment]
        types._registered["thing"] = types._by_class[cls]
    forth = decoder(theirs).decode(Link(ours).encoder.encode(old(1, "x")))
    back = decoder(ours).decode(Link(theirs).encoder.encode(new(2, 3)))
    assert (forth, back) == (new(5, 1), old(3, "g"))


def test_k_10_other_numbers_of_fields_than_announced_are_malformed() -> None:
    for items in ([32], [32, 1], [32, 1, 2, 3]):
        assert "fields; 2 were announced" in malformed(announced(items, (f"{KIT}:Plain", ["a", "b"])))
        assert "fields; 2 were announced" in malformed(announced([2, [32, 1, 2], items], (f"{KIT}:Plain", ["a", "b"])))


def test_k_10_values_that_a_class_objects_to_are_refused() -> None:
    name = f"{KIT}:Checked"
    assert refused(announced([32, -1], (name, ["n"]))).startswith(f"'{name}' cannot be made: ValueError")
    assert refused(announced([32, "x" * 500], (name, ["n"]))).startswith(f"'{name}' cannot be made: TypeError")
    assert carried(Checked(1)) == Checked(1)


def test_k_10_k_11_members_and_bits_that_do_not_exist_are_refused() -> None:
    assert refused(announced([32, "PINK"], (f"{KIT}:Colour", ["member"]))) == "Colour has no member 'PINK'"
    for member in (1, None, [3, 1], True):
        assert "has no member" in refused(announced([32, member], (f"{KIT}:Level", ["member"])))
    for bits in (8, -1, 2**62, True, "1"):
        assert "has no such bits" in refused(announced([32, bits], (f"{KIT}:Right", ["bits"])))
    assert "has no such bits" in refused(announced([32, 2], (f"{KIT}:Bits", ["bits"])))
    assert "another kind of class" in refused(announced([32, 1], (f"{KIT}:Right", ["value"])))
    assert (carried(Colour.RED), carried(Level.LOW), carried(Right.RUN)) == (Colour.RED, Level.LOW, Right.RUN)


def test_rule_13_combinations_of_flags_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    members: dict[str, int] = {f"s{n}": 1 << n for n in range(12)}
    switches: Any = Flag("Switches", members, module=__name__)  # type: ignore[misc]
    monkeypatch.setitem(globals(), "Switches", switches)
    monkeypatch.setattr(schema, "FLAGS_KEPT_MAX", 100)
    one = decoder()
    one.decode(announced([32, 1], (f"{__name__}:Switches", ["bits"])))
    outcomes: list[Any] = []
    for bits in range(4096):
        try:
            outcomes.append(one.decode(msgpack.packb([32, bits])))
        except Refused as error:
            outcomes.append(str(error))
    assert len(switches._value2member_map_) == 100
    assert outcomes[4095] == "Switches has 100 known combinations of flags; no more are taken"
    assert outcomes[:64] == [switches(bits) for bits in range(64)]
    assert one.decode(msgpack.packb([32, 2048])) == switches(2048)


# -- names -------------------------------------------------------------------------------------------------------------


def _dictionary(_cls: type) -> Any:
    return {"Inner": Plain, "__module__": __name__, "__qualname__": "Trick.Inner"}


# A class of a class that answers whatever it is asked for.
Meta: Any = type("Meta", (type,), {"__getattr__": lambda cls, name: Plain, "__dict__": property(_dictionary)})
Trick: Any = Meta("Trick", (), {"__module__": __name__, "value": property(lambda self: Plain)})


class Sub(Plain):
    def __init__(self) -> None:
        raise AssertionError("was called")


Alias = Plain
instance = Plain(1)

HOSTILE = [
    "subprocess:Popen", "os:system", "posix:system", "builtins:eval", "builtins:exec", "builtins:type",
    "builtins:object",
    "builtins:int", "builtins:dict", "builtins:__import__", "sys:exit", "importlib:import_module", "functools:partial",
    "subprocess:CompletedProcess", "threading:Thread", "types:FunctionType", "operator:attrgetter",
    "logging:FileHandler",
    "pickle:loads", "no.such.module:Thing", "antigravity:x", "this:s", "os.path:join", "socket:socket",
    f"{__name__}:Alias", f"{__name__}:Plain", f"{__name__}:instance", f"{__name__}:Sub", f"{__name__}:Trick",
    f"{__name__}:Trick.Inner", f"{__name__}:Trick.value", f"{__name__}:Trick.anything", f"{__name__}:Plain.__class__",
    f"{__name__}:Sub.__init__", f"{__name__}:Sub.__base__", f"{__name__}:refused.__globals__",
    f"{KIT}:Outer.Inner.__class__", f"{KIT}:Outer", f"{KIT}:Outer..Inner", f"{KIT}:", ":Plain", ":", "", ".", "Plain",
    f"{KIT}.Plain", f"{KIT}:Plain ", f"{KIT}:plain", f"{KIT}:Bare", f"{KIT}:Renamed", f"{KIT}:Outer.Inner.Inner",
    f"{KIT}:carried", f"{KIT}:carried.<locals>.x",
    f"{KIT}:OPTIONS", f"{KIT}:attrs.frozen", f"{KIT}:Stringly", f"{KIT}:Needs", "kit.nobody", "\0", "x" * 255,
    "typing:NamedTuple", "enum:Enum", "collections:namedtuple", "dataclasses:dataclass", "attr:Factory",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("strict", [False, True])
def test_rule_12_rule_13_k_10_hostile_and_unknown_names_are_refused_with_a_reason(name: str, strict: bool) -> None:
    loaded = list(sys.modules)
    for fields, values in (([], []), (["args"], ["id"]), (["a", "b"], [1, 2]), (["value"], ["x"])):
        text = refused(announced([32, *values], (name, fields)), Types(strict=strict))
        assert text.startswith(("the type ", "Enum is another kind")), text
    assert list(sys.modules) == loaded


def test_rule_12_a_module_that_makes_up_its_contents_is_not_asked() -> None:
    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise AssertionError("was asked")

    there = make_dataclass("There", ["n"], module="tests.lazy")
    for module in (Lazy("tests.lazy"), ModuleType("tests.lazy")):
        vars(module).update({"__getattr__": lambda name: Plain, "There": there})
        sys.modules["tests.lazy"] = module
        try:
            assert "is refused" in refused(announced([32, 1], ("tests.lazy:Plain", ["a"])))
            assert decoder().decode(announced([32, 1], ("tests.lazy:There", ["n"]))) == there(1)
        finally:
            del sys.modules["tests.lazy"]


def test_rule_12_what_stands_for_a_module_and_is_none_is_not_asked() -> None:
    class Stand:
        Plain = Plain

    sys.modules["tests.stand"] = Stand  # type: ignore[assignment]
    try:
        assert "its module is not loaded here" in refused(announced([32, 1], ("tests.stand:Plain", ["a"])))
    finally:
        del sys.modules["tests.stand"]


def test_rule_12_a_class_is_found_once_its_module_is_loaded() -> None:
    one = decoder()
    with pytest.raises(Refused, match="its module is not loaded here"):
        one.decode(announced([32, 1], ("tests.late:Late", ["n"])))
    late = attrs.make_class("Late", ["n"])
    late.__module__ = "tests.late"
    module = ModuleType("tests.late")
    module.__dict__["Late"] = late
    sys.modules["tests.late"] = module
    try:
        assert one.decode(b"\x92\x20\x01") == late(1)
    finally:
        del sys.modules["tests.late"]


def test_rule_12_nested_classes_are_found() -> None:
    assert carried(Outer.Inner(1)) == Outer.Inner(1)


def test_rule_11_a_chosen_name_is_what_travels() -> None:
    assert b"kit.named" in Link().encoder.encode(Named(1))
    assert decoder(Types(strict=True)).decode(announced([32, 1], ("kit.named", ["n"]))) == Named(1)


def test_rule_11_a_chosen_name_belongs_to_one_class() -> None:
    with pytest.raises(ValueError, match=r"'kit\.named' is taken by tests\.proto\.wire\.kit:Named"):
        message(name="kit.named")(dataclass(make_dataclass("Thief", ["n"])))
    for name in ("", "a:b", "x" * 256, "a\n"):
        with pytest.raises(ValueError, match="expected 1 to 255 printable characters"):
            message(name=name)(Plain)
    with pytest.raises(TypeError, match="Bare is no dataclass"):
        message(name="bare")(Bare)


def test_rule_11_a_class_that_is_defined_again_takes_its_name_over() -> None:
    def define() -> Any:
        return message(name="again")(make_dataclass("Again", ["n"], module=__name__))

    old, new = define(), define()
    assert type(carried(new(1))) is new
    with pytest.raises(EncodeError, match="its name 'again' was given to a newer class"):
        carried(old(1))


def test_rule_14_strict_sends_and_takes_only_what_was_decorated_or_registered() -> None:
    types = Types(strict=True)
    types.register(Bare, "bare", lambda value: 1, lambda plain: Bare())
    link = Link(types)
    assert link.carry([Marked(1), Named(2)]) == [Marked(1), Named(2)]
    assert type(link.carry(Bare())) is Bare
    with pytest.raises(EncodeError, match="strict allows only classes with @message and registered ones"):
        link.carry(Plain(1))
    assert "strict allows no others" in refused(announced([32, 1, "b"], (f"{KIT}:Plain", ["a", "b"])), types)


# -- registered classes ------------------------------------------------------------------------------------------------


def test_rule_15_a_class_and_a_name_are_registered_once() -> None:
    types = Types()
    plain: Callable[[Any], Any] = str
    types.register(Bare, "bare", plain, plain)
    for cls, name, why in (
        (Bare, "other", "is registered already"),
        (Plain, "bare", "is taken"),
        (Plain, "kit.named", "is taken"),
        (int, "int", "is sent as it is"),
        (Plain, "a:b", "printable characters without ':'"),
    ):
        with pytest.raises(ValueError, match=why):
            types.register(cls, name, plain, plain)


def test_rule_15_a_registered_decoder_that_fails_refuses_the_value() -> None:
    types = Types()
    types.register(Bare, "bare", str, lambda plain: plain["x"])
    assert refused(announced([32, 1], ("bare", ["value"])), types).startswith("'bare' cannot be made: TypeError")


class Ref:
    def __init__(self, place: str) -> None:
        self.place = place


class LocalRef(Ref):
    pass


def test_rule_19_references_and_their_subclasses_are_bound_to_the_receiver() -> None:
    types = Types()
    types.use_refs(Ref, lambda ref: ref.place, lambda plain: Ref(f"there: {plain}"))
    got = carried([LocalRef("a"), {"to": Ref("b")}], types)
    assert (type(got[0]), got[0].place, got[1]["to"].place) == (Ref, "there: a", "there: b")
    assert "references are not known here" in refused(b"\x92\x11\x01")
    with pytest.raises(
        EncodeError, match=r"list\[0\]: object of type Ref cannot be sent: its registered encoder raised"
    ):
        Link(types).encoder.encode([Ref.__new__(Ref)])


# -- the source --------------------------------------------------------------------------------------------------------


def test_rule_13_k_21_nothing_in_the_package_imports_by_name_or_evaluates() -> None:
    forbidden = {"pickle", "marshal", "shelve", "yaml", "importlib", "eval", "exec", "compile", "__import__", "getattr"}
    for path in sorted(Path(casty_proto.wire.__path__[0]).glob("*.py")):
        tree = ast.parse(path.read_text())
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not forbidden & set(names), path


def test_k_24_errors_quote_no_more_than_a_line_of_what_a_peer_sent() -> None:
    long = "A" * 200
    bodies = [
        announced([32], (f"{KIT}:{long}", [])),
        announced([32, long], (f"{KIT}:Colour", ["member"])),
        announced([32, long * 9], (f"{KIT}:Checked", ["n"])),
        announced([32], ("A" * 250, [])),
    ]
    for body in bodies:
        with pytest.raises(DecodeError) as caught:
            decoder().decode(body)
        assert str(caught.value).count("A") <= 100
