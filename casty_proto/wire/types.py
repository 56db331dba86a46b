"""Which classes may travel, and under which names (rules 11 to 15 of the package).

A name from the wire is looked up, never acted on. A chosen name is in a table. A qualified name `module:Outer.Inner` is
followed through the dictionaries of a module that is loaded and of classes in it: no import, no attribute access that a
module or a metaclass could answer with code of its own, no call. What is found must be a class of that very name and of
a kind that is made to be sent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, overload

from .errors import EncodeError, Refused, shown
from .schema import Schema, custom_schema, enum_schema, is_sendable_kind, own_attributes, record_schema
from .values import BUILTIN_TYPES

NAME_MAX = 255
MAIN = "__main__"

_MODULE_DICTIONARY: Any = vars(ModuleType)["__dict__"]
"""Reads the dictionary of a module, which a module with a class of its own cannot hide."""
_NAMED: dict[str, type] = {}
"""The classes that were decorated with `message`. A class may be defined again, by a reload, under its old name."""
_NAME_OF: dict[type, str] = {}


@overload
def message[C: type](cls: C, /) -> C: ...
@overload
def message[C: type](*, name: str | None = None) -> Callable[[C], C]: ...
def message[C: type](cls: C | None = None, /, *, name: str | None = None) -> C | Callable[[C], C]:
    """Class decorator: the class may be sent in `strict` systems, and under `name`, if given, wherever it is defined.

    It stands above `@dataclass` and the like, which may make a new class. Raises `TypeError` where it does not, and
    `ValueError` for a name that another class has, or that is none: 1 to 255 characters without `:`, which is for
    qualified names.
    """

    def decorate(decorated: C) -> C:
        if not is_sendable_kind(decorated):
            raise TypeError(
                f"{decorated.__qualname__} is no dataclass, attrs class, enum or named tuple; "
                "make it one, with @message as the first decorator above it"
            )
        chosen = qualified_name(decorated) if name is None else check_name(name)
        other = _NAMED.get(chosen)
        if other is not None and qualified_name(other) != qualified_name(decorated):
            raise ValueError(f"the name {chosen!r} is taken by {qualified_name(other)}; choose another")
        _NAMED[chosen] = decorated
        _NAME_OF[decorated] = chosen
        return decorated

    return decorate if cls is None else decorate(cls)


def check_name(name: str) -> str:
    """The name, if it can be chosen for a class. Raises `ValueError`."""
    if type(name) is not str or not 0 < len(name) <= NAME_MAX or ":" in name or not name.isprintable():
        raise ValueError(f"the name {shown(name)} is none; expected 1 to {NAME_MAX} printable characters without ':'")
    return name


def qualified_name(cls: type) -> str:
    """`module:Outer.Inner`. A module that is run as the program goes by its own name, under which others import it."""
    module = (_main_name() or MAIN) if cls.__module__ == MAIN else cls.__module__
    return f"{module}:{type.__dict__['__qualname__'].__get__(cls)}"


def _main_name() -> str | None:
    """What the program's module would be called if it were imported: `python -m shop.server` runs `shop.server`."""
    main = sys.modules.get(MAIN)
    return None if main is None or main.__spec__ is None else main.__spec__.name


class Types:
    """The classes that a system sends and takes. One for all of its connections.

    With `strict`, only classes that were named with `message`, `register` or `allow` (rule 14).
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        """Whether a class must have been decorated with `message`, or registered."""
        self._by_class: dict[type, Schema] = {}
        self._registered: dict[str, Schema] = {}
        self.ref_class: type | None = None
        self.ref_encode: Callable[[Any], Any] | None = None
        self.ref_decode: Callable[[Any], Any] | None = None

    def register[T](self, cls: type[T], name: str, encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
        """Send objects of exactly this class as what `encode` returns, and make them again with `decode`.

        `decode` is given whatever a peer sends, so it must check it and raise; it must not trust it. Raises
        `ValueError` for a name or a class that is taken, and for built-in types. Applies to connections made later.
        """
        check_name(name)
        if cls in BUILTIN_TYPES:
            raise ValueError(f"{cls.__qualname__} is sent as it is; it cannot be registered")
        if name in self._registered or name in _NAMED:
            raise ValueError(f"the name {name!r} is taken; choose another")
        if any(schema.cls is cls for schema in self._registered.values()):
            raise ValueError(f"{qualified_name(cls)} is registered already")
        self._registered[name] = self._by_class[cls] = custom_schema(cls, name, encode, decode)

    def allow(self, cls: type, name: str) -> None:
        """Send objects of this class, field by field, under `name`, also where `strict` allows no others.

        Raises `ValueError` for a name or a class that is taken, and `EncodeError` for a class that is no dataclass,
        attrs class, enum or named tuple. Applies to connections made later.
        """
        check_name(name)
        if name in self._registered or name in _NAMED:
            raise ValueError(f"the name {name!r} is taken; choose another")
        schema = _schema(cls, name)
        if schema is None:
            raise EncodeError(f"{qualified_name(cls)} is no dataclass, attrs class, enum or named tuple")
        if any(known.cls is cls for known in self._registered.values()):
            raise ValueError(f"{qualified_name(cls)} is registered already")
        self._registered[name] = self._by_class[cls] = schema

    def use_refs[T](self, cls: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
        """Send references, objects of this class and of its subclasses, as what `encode` returns. See `register`."""
        self.ref_class, self.ref_encode, self.ref_decode = cls, encode, decode

    def schema_of(self, cls: type) -> Schema:
        """How to send objects of this class. Raises `EncodeError` with the reason why they cannot be sent."""
        found = self._by_class.get(cls)
        if found is None:
            found = self._by_class[cls] = self._describe(cls)
        return found

    def _describe(self, cls: type) -> Schema:
        chosen = _NAME_OF.get(cls)
        if chosen is not None and _NAMED[chosen] is not cls:
            raise EncodeError(f"its name {chosen!r} was given to a newer class")
        name = qualified_name(cls) if chosen is None else chosen
        schema = _schema(cls, name)
        if schema is None:
            raise EncodeError(
                "it is no dataclass, attrs class, enum or named tuple of its own; make it one, or register it"
            )
        if chosen is None and self.strict:
            raise EncodeError("strict allows only classes with @message and registered ones")
        if chosen is None and not _is_found(cls, name):
            raise EncodeError(
                "it cannot be found by its name; define it at the top of a module, or use @message(name=...)"
            )
        return schema

    def resolve(self, name: str) -> Schema:
        """The class of a name that a peer announced. Raises `Refused` with the reason why there is none."""
        found = self._registered.get(name)
        if found is not None:
            return found
        named = _NAMED.get(name)
        if named is None and self.strict:
            raise Refused(f"the type {shown(name)} is not known, and strict allows no others")
        cls = _walk(name) if named is None else named
        if cls in self._by_class:
            return self._by_class[cls]
        try:
            schema = _schema(cls, name)
        except EncodeError as error:
            raise _refused(name, str(error)) from None
        if schema is None:
            raise _refused(name, "it is no dataclass, attrs class, enum or named tuple")
        return schema


def _schema(cls: type, name: str) -> Schema | None:
    if len(name) > NAME_MAX:
        raise EncodeError(f"its name has more than {NAME_MAX} characters; use @message(name=...)")
    return enum_schema(cls, name) or record_schema(cls, name)


def _is_found(cls: type, name: str) -> bool:
    try:
        return _walk(name) is cls
    except Refused:
        return False


def _walk(name: str) -> type:
    """The class of a qualified name. Raises `Refused`."""
    module_name, colon, path = name.partition(":")
    if not colon:
        raise _refused(name, "no class has that name here")
    module = sys.modules.get(module_name)
    if module is None and module_name == _main_name():
        module_name, module = MAIN, sys.modules.get(MAIN)
    if not issubclass(type(module), ModuleType):
        raise _refused(name, "its module is not loaded here; import it, or use @message(name=...) in both processes")
    scope = _MODULE_DICTIONARY.__get__(module)
    found: Any = None
    for part in path.split("."):
        found = scope.get(part)
        if not issubclass(type(found), type):
            raise _refused(name, "there is no class of that name in its module")
        scope = own_attributes(found)
    if scope.get("__module__") != module_name or type.__dict__["__qualname__"].__get__(found) != path:
        raise _refused(name, "the class there has another name")
    assert isinstance(found, type)
    return found


def _refused(name: str, reason: str) -> Refused:
    return Refused(f"the type {shown(name)} is refused: {reason}")
