"""Which loop runs at the moment, and what holds for the interpreter while a world runs.

1.  One world runs at a time in a process, in one thread.
2.  While it runs, the garbage collector is off, and runs once in `COLLECT_EVERY` events of the world: finalizers of
    what is in cycles come then, at the same moment of every run, and never at one that depends on what the process did
    before.
3.  Asynchronous generators belong to the loop that runs when they are iterated for the first time, and are closed on
    that one when they are dropped.
4.  Clocks, randomness, threads and files are those of the host (`traps`).
"""

from __future__ import annotations

import gc
import sys
import threading
from asyncio import events
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .futures import number_gatherings

if TYPE_CHECKING:
    from ..world import World
    from .loop import SimLoop

COLLECT_EVERY = 100_000

current: SimLoop | None = None
"""The loop whose callbacks run at the moment."""

_owners: dict[int, SimLoop] = {}
"""Whose asynchronous generators are, by their addresses. A later one at the same address takes the place of it."""

_world: World | None = None
_thread: int = 0


def enter(loop: SimLoop) -> None:
    """The callbacks of this loop run from now on."""
    global current
    current = loop
    events._set_running_loop(loop)


def leave() -> None:
    """They have run."""
    global current
    current = None
    events._set_running_loop(None)


def pause() -> SimLoop | None:
    """No loop runs for a while, as in a thread. Returns the one that does, for `enter`."""
    loop = current
    events._set_running_loop(None)
    return loop


@contextmanager
def outside() -> Iterator[None]:
    """What is done meanwhile is done by the simulation, and not by the program of a host."""
    global current
    loop, current = current, None
    try:
        yield
    finally:
        current = loop


def is_own_thread() -> bool:
    """Whether this is the thread in which the world runs. Also when none does."""
    return _world is None or threading.get_ident() == _thread


@contextmanager
def simulation(world: World) -> Iterator[None]:
    """For as long as a world runs (rules 1 to 4). Raises `RuntimeError` when another one does."""
    global _world, _thread
    if _world is world:
        yield
        return
    if _world is not None:
        raise RuntimeError("another simulated world is running: one at a time runs in a process")
    # Not in the middle of a run: an import that writes its bytecode takes other steps than one that finds it.
    from ..stack import stack as _  # noqa: F401
    from ..traps import trapped

    _world, _thread = world, threading.get_ident()
    number_gatherings()
    world.on_stock = _Collector()
    collects = gc.isenabled()
    gc.disable()
    # What is there already is not looked at: its finalizers have nothing to do with this world.
    gc.freeze()
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=_on_generator_begun, finalizer=_on_generator_dropped)
    try:
        with trapped():
            yield
    finally:
        sys.set_asyncgen_hooks(*hooks)
        gc.unfreeze()
        if collects:
            gc.enable()
        world.on_stock = None
        _owners.clear()
        _world = None


def _on_generator_begun(generator: AsyncGenerator[Any, Any]) -> None:
    if current is not None:
        _owners[id(generator)] = current
        current.on_generator_begun(generator)


def _on_generator_dropped(generator: AsyncGenerator[Any, Any]) -> None:
    owner = _owners.pop(id(generator), None)
    if owner is not None:
        owner.on_generator_dropped(generator)


class _Collector:
    """Runs the garbage collector now and then (rule 2)."""

    def __init__(self) -> None:
        self._next = COLLECT_EVERY

    def __call__(self, events: int) -> None:
        if events >= self._next:
            self._next = events + COLLECT_EVERY
            gc.collect()
