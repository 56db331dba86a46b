"""Checks of what an application hands over: at once, in its own call, in words that say what to hand over instead."""

from __future__ import annotations

import asyncio
import inspect
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR, getattr_static
from types import FunctionType
from typing import Any

from casty_proto.actor import Behavior

from .clock import MAX_SECONDS, can_wait
from .errors import UsageError
from .refs import ActorRef


def check_ref(what: str, value: Any) -> None:
    """Raises `UsageError` unless `value` is a ref."""
    if not isinstance(value, ActorRef):
        raise UsageError(f"{what} must be an ActorRef, not {value!r}{_hint(value)}")


def check_seconds(what: str, value: Any, *, above_zero: bool = False) -> None:
    """Raises `UsageError` unless `value` is a length of time in seconds that an event loop can wait for."""
    if not can_wait(value) or (above_zero and value == 0):
        least = "more than 0" if above_zero else "0 or more"
        raise UsageError(f"{what} must be a number of seconds, {least} and at most {MAX_SECONDS:g}, not {value!r}")


def check_behavior(what: str, value: Any) -> None:
    """Raises `UsageError` unless `value` is a behavior."""
    if not isinstance(value, Behavior):
        hint = "; call the function that makes it" if inspect.isfunction(value) else ""
        raise UsageError(f"{what} wants a behavior, such as Behaviors.receive(...) makes, not {value!r}{hint}")


def check_function(what: str, value: Any) -> None:
    """Raises `UsageError` unless `value` is something to call that is not a class."""
    if isinstance(value, type) or not callable(value):
        hint = "; an Actor class is spawned as it is" if isinstance(value, type) else ""
        raise UsageError(f"{what} must be a function, not {value!r}{hint}")


def check_callable(what: str, value: Any) -> None:
    """Raises `UsageError` unless `value` is something to call, or `None`."""
    if value is not None and not callable(value):
        raise UsageError(f"{what} must be something to call, or None, not {value!r}{_hint(value)}")


def check_awaitable(what: str, value: Any) -> None:
    """Raises `UsageError` unless `value` can be awaited."""
    if not inspect.isawaitable(value):
        hint = f"; call it: {getattr(value, '__name__', '...')}()" if callable(value) else ""
        raise UsageError(f"{what} must be awaitable, and {value!r} is not{hint}")


def check_key(what: str, value: Any) -> None:
    """Raises `UsageError` unless `value` can be a key."""
    try:
        hash(value)
    except TypeError:
        raise UsageError(f"{what} must be a key, such as a string, and {value!r} cannot be hashed") from None


_METHODS = {
    "receive": ("msg", "ctx"),
    "on_start": (),
    "on_stop": (),
    "pre_restart": ("exc", "msg"),
    "post_restart": ("exc",),
    "on_child_failure": ("child", "exc"),
}
"""What an actor class may define, and the arguments that it will be called with."""


_SPAWNS_OWN = ("actor", "name", "mailbox", "supervision")
"""Arguments of `spawn` that never reach `__init__`."""


def class_problem(cls: type[Any]) -> str | None:
    """Why an actor class could not run: a method that cannot be called, or not with what it expects."""
    if "_casty_checked" in cls.__dict__:
        return None
    for name, arguments in _METHODS.items():
        method = getattr_static(cls, name)
        called = f"{cls.__name__}.{name}({', '.join(('self', *arguments))})"
        if isinstance(method, FunctionType):
            signature = inspect.signature(method, follow_wrapped=False)
            try:
                signature.bind(None, *arguments)
            except TypeError:
                return f"{called} cannot be called like that: it is defined as {signature}"
            if name == "receive" and list(signature.parameters)[1:2] == ["ctx"]:
                return f"{called} is given the message first, but is defined as {signature}"
            if method.__code__.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR):
                return f"{called} has a yield, and its body would never run"
        elif not callable(getattr(cls, name)):
            return f"{called} is not a method but {method!r}"
    init = getattr_static(cls, "__init__")
    if isinstance(init, FunctionType):
        for parameter in inspect.signature(init, follow_wrapped=False).parameters.values():
            if parameter.name in _SPAWNS_OWN and parameter.default is parameter.empty:
                return (
                    f"{cls.__name__}.__init__ wants an argument called {parameter.name!r}, which spawn keeps for "
                    "itself; give the parameter another name"
                )
    cls._casty_checked = True
    return None


# -- the same as validators of attrs classes ---------------------------------------------------------------------------


def is_ref(owner: Any, attribute: Any, value: Any) -> None:
    """Validator: the attribute is a ref."""
    check_ref(f"{type(owner).__name__}.{attribute.name}", value)


def is_ref_or_none(owner: Any, attribute: Any, value: Any) -> None:
    """Validator: the attribute is a ref, or `None`."""
    if value is not None:
        is_ref(owner, attribute, value)


def is_delay(owner: Any, attribute: Any, value: Any) -> None:
    """Validator: the attribute is a number of seconds, 0 or more."""
    check_seconds(f"{type(owner).__name__}.{attribute.name}", value)


def is_interval(owner: Any, attribute: Any, value: Any) -> None:
    """Validator: the attribute is a number of seconds, more than 0."""
    check_seconds(f"{type(owner).__name__}.{attribute.name}", value, above_zero=True)


def is_key(owner: Any, attribute: Any, value: Any) -> None:
    """Validator: the attribute can be a key."""
    check_key(f"{type(owner).__name__}.{attribute.name}", value)


def is_coroutine(owner: Any, attribute: Any, value: Any) -> None:
    """Validator: the attribute is a coroutine."""
    if not asyncio.iscoroutine(value):
        hint = f"; call it: {getattr(value, '__name__', '...')}()" if callable(value) else ""
        where = f"{type(owner).__name__}.{attribute.name}"
        raise UsageError(f"{where} must be a coroutine, as calling an `async def` gives it, not {value!r}{hint}")


def is_event_type(owner: Any, attribute: Any, value: Any) -> None:
    """Validator: the attribute is something that events can be instances of."""
    try:
        isinstance(None, value)
        hash(value)
    except TypeError:
        where = f"{type(owner).__name__}.{attribute.name}"
        raise UsageError(f"{where} must be a class, such as ActorStarted, not {value!r}") from None


def _hint(value: Any) -> str:
    if inspect.iscoroutine(value):
        return "; await it first"
    if isinstance(value, type | Behavior):
        return "; spawn it first"
    if hasattr(value, "ref"):
        return "; use its .ref, which is None when nobody is there"
    return ""
