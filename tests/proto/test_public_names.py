"""Whoever embeds a protocol finds out from its public names alone what they mean.

The public names are those in `__all__` of the packages of `casty_proto`, those without an underscore in its plain
modules, and those of the cluster's node, which stand in modules of their own. A name's documentation stands at the
name; what many fields share, in the text of the package.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import attrs
import pytest

import casty_proto


class Public(NamedTuple):
    """A public name, and where it is public."""

    package: ModuleType
    name: str
    thing: Any

    def __str__(self) -> str:
        return f"{self.package.__name__.removeprefix('casty_proto.')}.{self.name}"


class Assigned(NamedTuple):
    """What a module or a class says of a name that it assigns to."""

    annotation: str
    doc: str


@cache
def assigned(module: ModuleType) -> dict[str, Assigned]:
    """The assignments of a module by name, and those of its classes by `Class.name`."""
    body = ast.parse(inspect.getsource(module)).body
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    found = dict(_assignments(body, ""))
    for node in classes:
        found |= dict(_assignments(node.body, f"{node.name}."))
    return found


def _assignments(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Assigned]]:
    for node, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                of = ast.unparse(annotation)
            case ast.Assign(targets=[ast.Name(id=name)]):
                of = ""
            case ast.TypeAlias(name=ast.Name(id=name)):
                of = "type"
            case _:
                continue
        match following:
            case ast.Expr(value=ast.Constant(value=str(doc))):
                yield prefix + name, Assigned(of, doc)
            case _:
                yield prefix + name, Assigned(of, "")


NODE = ("cluster.node", "cluster.events", "cluster.disk", "cluster.options")
"""What a driver of a whole node imports."""


def packages() -> list[ModuleType]:
    """The packages and plain modules of `casty_proto`."""
    names = [found.name for found in pkgutil.iter_modules(casty_proto.__path__)]
    return [importlib.import_module(f"casty_proto.{name}") for name in (*names, *NODE)]


def modules_of(package: ModuleType) -> list[ModuleType]:
    """A package and what is in it."""
    inside = pkgutil.iter_modules(getattr(package, "__path__", []), f"{package.__name__}.")
    return [package, *(importlib.import_module(found.name) for found in inside)]


def public(package: ModuleType) -> list[Public]:
    """The public names of a package."""
    names = getattr(package, "__all__", None)
    if names is None:
        own = [name for name, thing in vars(package).items() if getattr(thing, "__module__", None) == package.__name__]
        names = dict.fromkeys([*own, *[name for name in assigned(package) if "." not in name]])
    return [Public(package, name, getattr(package, name)) for name in names if not name.startswith("_")]


PUBLIC = [each for package in packages() for each in public(package)]
CLASSES = [each for each in PUBLIC if inspect.isclass(each.thing)]
VALUES = [each for each in CLASSES if attrs.has(each.thing)]
FUNCTIONS = [each for each in PUBLIC if inspect.isfunction(each.thing)]
OTHERS = [each for each in PUBLIC if not inspect.isclass(each.thing) and not inspect.isfunction(each.thing)]
OPTIONS = [each for each in VALUES if each.name.endswith(("Options", "Settings"))]
MACHINES = [each for each in CLASSES if hasattr(each.thing, "handle") and hasattr(each.thing, "deadline")]


def doc_of(thing: object) -> str:
    """The docstring of the thing itself, not one that it has inherited."""
    return (vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__) or ""


def fields_of(each: Public) -> Iterator[tuple[str, Assigned]]:
    """The fields of a value, with what is said at each."""
    for field in attrs.fields(each.thing):
        owners = [cls for cls in each.thing.__mro__ if field.name in vars(cls).get("__annotations__", {})]
        module = inspect.getmodule(owners[0])
        assert module is not None
        yield field.name, assigned(module)[f"{owners[0].__name__}.{field.name}"]


def methods_of(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods and properties that a class defines."""
    for name, thing in vars(cls).items():
        found = thing.fget if isinstance(thing, property) else getattr(thing, "__func__", thing)
        if not name.startswith("_") and inspect.isfunction(found):
            yield name, found


def test_the_names_are_found() -> None:
    names = {str(each) for each in PUBLIC}
    assert names >= {"raft.Raft", "swim.SwimOptions", "wire.frame", "machine.Wake", "timers.Deadlines", "link.COUNTED"}
    assert len(PUBLIC) > 400
    assert {str(each) for each in MACHINES} >= {
        "raft.Raft",
        "swim.Swim",
        "wire.Dialer",
        "cluster.node.Node",
        "machine.Machine",
    }
    assert len(OPTIONS) >= 6


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.__name__)
def test_a_package_says_what_it_is_and_on_what_it_rests(package: ModuleType) -> None:
    text = doc_of(package)
    assert len(text.splitlines()) > 1 or not hasattr(package, "__path__")
    if hasattr(package, "__path__"):
        assert re.search(r"^ ?\d+\. ", text, re.MULTILINE) or "has the rules" in text


def test_every_class_and_function_says_what_it_is() -> None:
    assert not [str(each) for each in (*CLASSES, *FUNCTIONS) if len(doc_of(each.thing)) < 10]


def test_every_public_method_says_what_it_does() -> None:
    methods = [(f"{each}.{name}", method) for each in CLASSES for name, method in methods_of(each.thing)]
    assert len(methods) > 100
    assert not [name for name, method in methods if not method.__doc__]


def test_every_constant_and_type_says_what_it_is() -> None:
    said = {
        (package.__name__, name)
        for package in packages()
        for module in modules_of(package)
        for name, found in assigned(module).items()
        if found.doc
    }
    described = {each for each in OTHERS if getattr(each.thing, "__doc__", None) and each.name == "value"}
    assert not [
        str(each) for each in OTHERS if each not in described and (each.package.__name__, each.name) not in said
    ]


@pytest.mark.parametrize("each", VALUES, ids=str)
def test_every_field_is_described_at_itself_or_at_its_class_or_in_its_package(each: Public) -> None:
    texts = doc_of(each.thing) + (each.package.__doc__ or "")
    assert not [name for name, said in fields_of(each) if not said.doc and not re.search(rf"`{name}\b", texts)]


def test_a_length_of_time_has_its_unit_in_its_name() -> None:
    fields = [(f"{each}.{name}", said.annotation) for each in VALUES for name, said in fields_of(each)]
    lengths = [name for name, annotation in fields if "Nanoseconds" in annotation]
    assert len(lengths) > 20
    assert not [name for name in lengths if not name.endswith("_ns")]
    assert not [name for name, annotation in fields if name.endswith("_ns") and "Nanoseconds" not in annotation]
    assert not [
        name for name, annotation in fields if "float" in annotation and not name.endswith(("jitter", "multiplier"))
    ]


COUNTED = (
    r"bytes|entries|messages|elements|frames|members|sessions|types|fields|values|nested|writes|entities|deletions"
)


@pytest.mark.parametrize("each", OPTIONS, ids=str)
def test_every_option_says_what_it_sets_and_in_what_it_is_counted(each: Public) -> None:
    fields = dict(fields_of(each))
    assert not [name for name, said in fields.items() if not said.doc]
    limits = {
        name: f"{name} {said.doc}" for name, said in fields.items() if re.search(r"^max_|size|limit|window|page", name)
    }
    assert not [name for name, text in limits.items() if not name.endswith("_ns") and not re.search(COUNTED, text)]


def test_what_checks_its_fields_says_what_it_raises() -> None:
    checked = [each for each in VALUES if any(field.validator for field in attrs.fields(each.thing))]
    assert len(checked) > 50
    silent = []
    for each in checked:
        module = inspect.getmodule(each.thing)
        texts = (doc_of(each.thing), each.thing.__init__.__doc__, module and module.__doc__, each.package.__doc__)
        if not any(re.search(r"\braises\b", text or "", re.IGNORECASE) for text in texts):
            silent.append(str(each))
    assert not silent


RAISED = re.compile(r"^\s*raise (\w*Error)\b", re.MULTILINE)


def test_a_function_that_raises_says_so() -> None:
    silent = [
        f"{each}: {error}"
        for each in FUNCTIONS
        for error in RAISED.findall(inspect.getsource(each.thing))
        if error != "AssertionError" and error not in doc_of(each.thing)
    ]
    assert not silent


def test_an_error_says_what_was_done_or_what_to_do() -> None:
    errors = [each for each in CLASSES if issubclass(each.thing, Exception)]
    assert len(errors) >= 8
    words = re.compile(r"\b(no|nothing|not|none|close|affected|afterwards|ends)\b", re.IGNORECASE)
    assert not [str(each) for each in errors if not words.search(doc_of(each.thing))]


@pytest.mark.parametrize("each", MACHINES, ids=str)
def test_every_machine_keeps_the_contract_and_says_so(each: Public) -> None:
    handle, deadline = each.thing.handle, each.thing.deadline
    assert "casty_proto.machine" in handle.__doc__ or "AssertionError" in handle.__doc__
    assert deadline.__doc__
    assert callable(each.thing.invariants)
    assert list(inspect.signature(handle).parameters) == ["self", "event", "now"]
    assert list(inspect.signature(deadline).parameters) == ["self"]


CODECS = [
    each for each in CLASSES if each.package.__name__ == "casty_proto.wire" and re.search("code|Types", each.name)
]


@pytest.mark.parametrize("each", [each for each in MACHINES + CODECS if not attrs.has(each.thing)], ids=str)
def test_whoever_makes_one_is_told_what_each_argument_is(each: Public) -> None:
    constructor = each.thing.__init__
    texts = doc_of(each.thing) + (constructor.__doc__ or "")
    arguments = [name for name in inspect.signature(constructor).parameters if name not in ("self", "args", "kwargs")]
    assert not [name for name in arguments if not re.search(rf"`{name}\b", texts)]
