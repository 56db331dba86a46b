"""What an event loop is given to call, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from casty_proto.machine import Instant

from ..world import NEVER

if TYPE_CHECKING:
    from .loop import SimLoop


_TOO_FAR = NEVER / 2e9


class SimHandle(asyncio.Handle):
    """A callback that is to run in the next turn. Cheaper to make than asyncio's own, which asks for debug modes.

    What only asyncio's own methods look at is not set: all of those that are ever called are here.
    """

    __slots__ = ()

    _callback: Any
    _args: Any
    _cancelled: bool
    _context: Context

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> None:
        self._context = copy_context() if context is None else context
        self._callback = callback
        self._args = args
        self._cancelled = False

    def cancel(self) -> None:
        """Do not call it any more."""
        # Nothing is dropped here but the marks: what a callback holds may have finalizers, whose time is not now.
        self._cancelled = True
        self._callback = self._args = None

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled

    def get_context(self) -> Context:
        """The context in which it is called."""
        return self._context

    def __repr__(self) -> str:
        state = " cancelled" if self._cancelled else ""
        return f"<{type(self).__name__}{state} {name_of(self._callback)}>"


class SimTimer(SimHandle, asyncio.TimerHandle):
    """A callback that is to run at an instant."""

    __slots__ = ()

    _when: float
    _scheduled: bool

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: SimLoop,
        context: Context | None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._when = when
        self._scheduled = True

    def cancel(self) -> None:
        """Do not call it any more."""
        if not self._cancelled:
            self._cancelled = True
            self._callback = self._args = None
            if self._scheduled:
                self._loop.forget_timer()

    def when(self) -> float:
        """The instant, in seconds of the loop's clock."""
        return self._when


def due_ns(when: float) -> Instant:
    """The first nanosecond at which the clock, in seconds, has come to `when`; `NEVER` where that is too far off.
    Raises `ValueError` for what is no number."""
    if when >= _TOO_FAR:
        return NEVER
    at = int(when * 1e9)
    return at if at / 1e9 >= when else at + 1


def name_of(callback: Any) -> str:
    """A callback in a word, the same in every process."""
    while hasattr(callback, "func"):
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    get_name = getattr(owner, "get_name", None)
    name = getattr(callback, "__qualname__", None) or type(callback).__name__
    return f"{name} of {get_name()}" if get_name is not None else str(name)
