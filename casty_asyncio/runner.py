"""Running a program on the best event loop there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's factory where uvloop is installed, otherwise `None`: asyncio's own default."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run[T](main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine as a program, like `asyncio.run`, on uvloop where it is installed."""
    with asyncio.Runner(debug=debug, loop_factory=loop_factory()) as runner:
        return runner.run(main)
