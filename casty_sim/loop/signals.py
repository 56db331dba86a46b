"""Signals that a simulated process is sent."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from .loop import SimLoop


class Signals:
    """The part of a loop that has handlers of signals."""

    def _begin_signals(self) -> None:
        self._signal_handlers: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}

    def add_signal_handler[*Ts](self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Have it called when the host is sent that signal. Raises `ValueError` for no signal, `RuntimeError` for one
        that cannot be caught."""
        number = _checked(sig)
        if number in (signal.SIGKILL, signal.SIGSTOP):
            raise RuntimeError(f"sig {number} cannot be caught")
        self._signal_handlers[number] = (callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Whether there was one."""
        return self._signal_handlers.pop(_checked(sig), None) is not None

    def on_signal(self, sig: int) -> bool:
        """The process is sent a signal. Whether somebody handles it."""
        found = self._signal_handlers.get(sig)
        if found is not None:
            cast("SimLoop", self).call_soon(found[0], *found[1])
        return found is not None


def _checked(sig: int) -> int:
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")
    return int(sig)
