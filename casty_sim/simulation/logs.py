"""What simulated programs log goes into the trace of the run, and not to the handlers of the process: a campaign has a
thousand runs."""

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
            text = f"{record.name}: {_message(record)}"
            if record.exc_info and record.exc_info[1] is not None:
                text += f"\n{''.join(format_exception(record.exc_info[1]))}"
        trace.logged(self._world.now, "" if loop is None else loop.host.name, record.levelname, text)


def _message(record: logging.LogRecord) -> str:
    """As with any other handler, a line that cannot be put together is no error of the program that logs it."""
    try:
        return record.getMessage()
    except Exception as error:
        return f"a line that cannot be put together ({type(error).__name__}: {error}): {record.msg!r}"


@contextmanager
def captured(world: World) -> Iterator[None]:
    """For as long as a world runs, the handlers of the root logger are replaced by one of the world. Loggers that have
    handlers of their own keep them."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [TraceHandler(world)]
    try:
        yield
    finally:
        root.handlers = handlers
