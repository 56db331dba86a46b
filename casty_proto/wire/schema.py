"""What there is to know about a class whose objects are sent: its name, its fields, and how an object is made of them.

Fields are what the constructor takes, and besides that fields of the class that the constructor does not take
(`init=False`) and that count in comparisons; these are set after the constructor. What the constructor takes and is
no field (an `InitVar`) must have a default, since the object does not remember it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from enum import Enum, Flag
from functools import reduce
from operator import attrgetter, or_
from types import FunctionType
from typing import Any

import attrs
from attrs import frozen

from .errors import EncodeError, Refused, shown

type Make = Callable[[list[Any]], object]
"""Makes an object of an array, whose element 0 is the number of the type."""

_BUILTIN = (list, dict, set, frozenset, str, bytes, bytearray, int, float, complex, tuple)
_VARIADIC = 0x04 | 0x08
FLAGS_KEPT_MAX = 2**16
"""How many combinations of one class of flags there may be before those from peers are refused that are new."""


@frozen
class Field:
    """One field of a class."""

    name: str
    argument: str | None
    """What the constructor calls it; `None` where it is set afterwards."""
    required: bool


@frozen
class Schema:
    """A class that can be sent."""

    cls: type
    name: str
    names: tuple[str, ...]
    """Of the fields, as they are announced."""
    values: Callable[[Any], Sequence[Any]]
    """Of the fields of an object."""
    maker: Callable[[tuple[str, ...]], Make]
    """The constructor for somebody who announced these fields. Raises `Refused` where they are not enough."""
    positional: bool = False
    """Whether, for somebody who has the same fields, it is `cls(*values)`."""
    custom: bool = False
    """Whether the one field is what a registered encoder returns."""


# -- classes with fields -----------------------------------------------------------------------------------------------


def record_schema(cls: type, name: str) -> Schema | None:
    """The schema of a dataclass, an attrs class or a named tuple; `None` for other classes. Raises `EncodeError`."""
    own = own_attributes(cls)
    if "__dataclass_fields__" in own:
        declared = [(f.name, f.name if f.init else None, bool(f.compare)) for f in dataclasses.fields(cls)]
        constructor = _attribute(cls, "__init__")
    elif "__attrs_attrs__" in own:
        declared = [(a.name, a.alias if a.init else None, bool(a.eq)) for a in attrs.fields(cls)]
        constructor = _attribute(cls, "__init__")
    elif is_named_tuple(cls):
        declared = [(field_name, field_name, True) for field_name in _attribute(cls, "_fields")]
        constructor = _attribute(cls, "__new__")
    else:
        return None
    if issubclass(cls, _BUILTIN) and not is_named_tuple(cls):
        raise EncodeError("it is a class with fields on top of a built-in type; register it")
    fields, in_order = _fields(declared, constructor)
    names = tuple(field.name for field in fields)
    return Schema(cls, name, names, _reader(names), _RecordMaker(cls, fields, in_order), in_order)


def is_sendable_kind(cls: type) -> bool:
    """Whether the class itself, not one above it, is of a kind that is sent without being registered."""
    own = own_attributes(cls)
    return "__dataclass_fields__" in own or "__attrs_attrs__" in own or issubclass(cls, Enum) or is_named_tuple(cls)


def is_named_tuple(cls: type) -> bool:
    """Whether the class was made by `NamedTuple` or `namedtuple`, or is a subclass of one that adds no fields."""
    return issubclass(cls, tuple) and isinstance(_attribute(cls, "_fields"), tuple)


def own_attributes(cls: type) -> Any:
    """The dictionary of a class, which its own class cannot hide."""
    return type.__dict__["__dict__"].__get__(cls)


def _attribute(cls: type, name: str) -> Any:
    """What an object of the class would find, without asking the class of the class."""
    for base in type.__dict__["__mro__"].__get__(cls):
        if name in (own := own_attributes(base)):
            found = own[name]
            return found.__func__ if isinstance(found, staticmethod) else found
    return None


def _fields(declared: list[tuple[str, str | None, bool]], constructor: object) -> tuple[list[Field], bool]:
    """The fields, and whether the constructor takes exactly them in that order."""
    if not isinstance(constructor, FunctionType) or constructor.__code__.co_flags & _VARIADIC:
        raise EncodeError("its constructor does not list its parameters; register it")
    code = constructor.__code__
    positional = code.co_varnames[1 : code.co_argcount]
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    optional = [
        *positional[len(positional) - len(constructor.__defaults__ or ()) :],
        *(constructor.__kwdefaults__ or ()),
    ]
    fields = []
    for name, argument, compared in declared:
        if argument is None:
            if compared:
                fields.append(Field(name, None, required=False))
        elif argument in positional or argument in keywords:
            fields.append(Field(name, argument, required=argument not in optional))
        else:
            raise EncodeError(f"its constructor has no parameter for the field {name!r}; register it")
    arguments = [field.argument for field in fields]
    for parameter in (*positional, *keywords):
        if parameter not in arguments and parameter not in optional:
            raise EncodeError(
                f"its constructor needs {parameter!r}, which is no field; give it a default, or register it"
            )
    return fields, arguments == [*positional[: len(fields)]]


def _reader(names: tuple[str, ...]) -> Callable[[Any], Sequence[Any]]:
    if not names:
        return lambda _: ()
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda value: (get(value),)


class _RecordMaker:
    """Makes objects of a class with fields for peers that know other fields of it than we do."""

    __slots__ = ("_cls", "_fields", "_in_order")

    def __init__(self, cls: type, fields: list[Field], in_order: bool) -> None:
        self._cls = cls
        self._fields = fields
        self._in_order = in_order

    def __call__(self, announced: tuple[str, ...]) -> Make:
        cls, places = self._cls, {name: place for place, name in enumerate(announced, 1)}
        if self._in_order and announced == tuple(field.name for field in self._fields):
            return lambda items: cls(*items[1:])
        for field in self._fields:
            if field.required and field.name not in places:
                raise Refused(f"{cls.__qualname__}.{field.name} was not sent and has no default")
        known = [(field, places[field.name]) for field in self._fields if field.name in places]
        given = [(field.argument, place) for field, place in known if field.argument is not None]
        after = [(field.name, place) for field, place in known if field.argument is None]

        def make(items: list[Any]) -> object:
            made = cls(**{argument: items[place] for argument, place in given})
            for name, place in after:
                object.__setattr__(made, name, items[place])
            return made

        return make


# -- enums -------------------------------------------------------------------------------------------------------------


def enum_schema(cls: type, name: str) -> Schema | None:
    """The schema of an enum, whose members go by their names, and flags by their bits; `None` for other classes."""
    if not issubclass(cls, Enum):
        return None
    if issubclass(cls, Flag):
        return Schema(cls, name, ("bits",), lambda member: (member.value,), _flag_maker(cls))
    return Schema(cls, name, ("member",), lambda member: (member.name,), _member_maker(cls))


def _member_maker(cls: type[Enum]) -> Callable[[tuple[str, ...]], Make]:
    members = dict(cls.__members__)

    def make(items: list[Any]) -> object:
        if type(items[1]) is not str or items[1] not in members:
            raise Refused(f"{cls.__qualname__} has no member {shown(items[1])}")
        return members[items[1]]

    return _only(cls, "member", make)


def _flag_maker(cls: type[Flag]) -> Callable[[tuple[str, ...]], Make]:
    # Python keeps every combination it has seen for ever, so a peer must not be able to make up bits, nor go through
    # all combinations of those that there are.
    mask = reduce(or_, [member.value for member in cls.__members__.values()], 0)

    def make(items: list[Any]) -> object:
        if type(items[1]) is not int or not 0 <= items[1] <= mask or items[1] & ~mask:
            raise Refused(f"{cls.__qualname__} has no such bits: {shown(items[1])}")
        known = cls._value2member_map_
        if items[1] not in known and len(known) >= FLAGS_KEPT_MAX:
            raise Refused(f"{cls.__qualname__} has {len(known)} known combinations of flags; no more are taken")
        return cls(items[1])

    return _only(cls, "bits", make)


# -- registered classes ------------------------------------------------------------------------------------------------


def custom_schema(cls: type, name: str, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> Schema:
    """The schema of a class that its user turns into something else and back."""
    maker = _only(cls, "value", lambda items: decode(items[1]))
    return Schema(cls, name, ("value",), lambda value: (encode(value),), maker, custom=True)


def _only(cls: type, field: str, make: Make) -> Callable[[tuple[str, ...]], Make]:
    """A maker that takes one field only, of this name."""

    def maker(announced: tuple[str, ...]) -> Make:
        if announced != (field,):
            raise Refused(f"{cls.__qualname__} is another kind of class at the peer")
        return make

    return maker
