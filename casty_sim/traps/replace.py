"""Standing in for functions of the standard library, wherever they have been imported."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from attrs import frozen

from ..loop import running

type Original = Callable[..., Any]


class StandIn:
    """Calls `inside` with the loop of the host that runs, or the original where none does.

    No function, because a function that is an attribute of a class becomes a method, and a built-in one does not.
    """

    __slots__ = ("__name__", "__wrapped__", "_inside", "_original")

    def __init__(self, name: str, original: Original, inside: Callable[..., Any]) -> None:
        self.__name__ = name
        self.__wrapped__ = original
        self._original = original
        self._inside = inside

    def __call__(self, *args: Any, **named: Any) -> Any:
        loop = running.current
        if loop is None or not running.is_own_thread():
            return self._original(*args, **named)
        return self._inside(loop, *args, **named)

    def __reduce__(self) -> tuple[Any, ...]:
        # By name, as functions are.
        return _named, (self._original.__module__, self.__name__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __repr__(self) -> str:
        return repr(self._original)


def _named(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


@frozen
class Place:
    """One function, and what stands in for it: `inside` is called with the loop, and the arguments."""

    module: Any
    name: str
    inside: Callable[..., Any]


def replace_everywhere(places: Sequence[Place]) -> None:
    """Put stand-ins into the modules of the functions, and into every module that has imported them by name."""
    stand_ins: dict[int, StandIn] = {}
    kept = []
    for place in places:
        original = getattr(place.module, place.name, None)
        if original is None or isinstance(original, StandIn):
            continue
        # By address: that is what it means to be the same function. Kept, so that the address stays taken.
        stand_ins[id(original)] = StandIn(place.name, original, place.inside)
        kept.append(original)
    for name, module in list(sys.modules.items()):
        # What imports modules takes its functions from there, and writes what it has compiled when a host is the first
        # to import something.
        if name in ("posix", "nt") or name.startswith(f"{__package__}."):
            continue
        content = getattr(module, "__dict__", None)
        if isinstance(content, dict):
            for attribute, value in list(content.items()):
                found = stand_ins.get(id(value))
                if found is not None:
                    content[attribute] = found


type Method = tuple[type[Any], str, Any]
"""A class, the name of an attribute, and what it is to be."""


@contextmanager
def replaced_methods(methods: Sequence[Method]) -> Iterator[None]:
    """Replace attributes of classes, also of built-in ones, and put them back."""
    before = [(cls, name, cls.__dict__.get(name)) for cls, name, _ in methods]
    try:
        for cls, name, value in methods:
            _put(cls, name, value)
        yield
    finally:
        for cls, name, value in before:
            _put(cls, name, value)


def _put(cls: type[Any], name: str, value: Any) -> None:
    """Set an attribute of a class. Those of built-in ones can be set by nobody but the interpreter, so this reaches for
    the dictionary that their proxy shows, and says that it has changed."""
    try:
        if value is None:
            delattr(cls, name)
        else:
            setattr(cls, name, value)
    except TypeError:
        content = gc.get_referents(cls.__dict__)[0]
        if value is None:
            content.pop(name, None)
        else:
            content[name] = value
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))


def method(cls: type[Any], name: str, inside: Callable[..., Any]) -> Method:
    """A method that calls `inside` with the loop, the object and the arguments where a host runs."""
    original = cls.__dict__[name]

    def stand_in(self: Any, *args: Any, **named: Any) -> Any:
        loop = running.current
        if loop is None or not running.is_own_thread():
            return original(self, *args, **named)
        return inside(loop, original, self, *args, **named)

    stand_in.__name__, stand_in.__doc__ = name, original.__doc__
    return cls, name, stand_in


def class_method(cls: type[Any], name: str, inside: Callable[..., Any]) -> Method:
    """A class method that calls `inside` with the loop, the class and the arguments where a host runs."""
    original = cls.__dict__[name]

    def stand_in(kind: Any, *args: Any, **named: Any) -> Any:
        loop = running.current
        if loop is None or not running.is_own_thread():
            return original.__get__(None, kind)(*args, **named)
        return inside(loop, kind, *args, **named)

    stand_in.__name__, stand_in.__doc__ = name, original.__doc__
    return cls, name, classmethod(stand_in)
