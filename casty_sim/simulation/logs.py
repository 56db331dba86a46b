"""What simulated programs log goes into the trace of the run, and nowhere else: a campaign has a thousand of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import format_exception

from ..loop import running
from ..world import World


class TraceHandler(logging.Handler):
    """Puts log lines into the trace of a world, with the host whose program has logged them."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, where lines are kept."""
        trace, loop = self._world.trace, running.current
        if not trace.keeps:
            return
        with running.outside():
            text = f"{record.name}: {record.getMessage()}"
            if record.exc_info and record.exc_info[1] is not None:
                text += f"\n{''.join(format_exception(record.exc_info[1]))}"
        trace.logged(self._world.now, "" if loop is None else loop.host.name, record.levelname, text)


@contextmanager
def captured(world: World) -> Iterator[None]:
    """For as long as a world runs, the handlers of the root logger are replaced by one of the world."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [TraceHandler(world)]
    try:
        yield
    finally:
        root.handlers = handlers
