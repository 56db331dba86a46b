"""One life of an application on a host: its loop, its network stack, and its end.

A life ends in one of five ways.

1.  Its coroutine returns or raises. Then everything else on the loop is cancelled and awaited, as `asyncio.run` does,
    and the system closes what is left open.
2.  It is killed: nothing of it runs any more, no `finally` and no `__del__`, and the system closes what was open. What
    was written to files stays.
3.  Power is cut: nothing of it runs any more, nothing is closed, nobody is told, and what was not synced is gone.
4.  The world ends: as 3.
5.  It calls `os._exit`: as 2, but that Python leaves the step that calls it by an exception. What its `finally` write
    to files is undone.

What ran is kept alive until the world is over, so that no finalizer runs at a moment that depends on memory.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from ..loop import SimLoop, running
from ..loop.alone import LoopProgram
from ..world import Host


class ExitedAtOnce(SystemExit):
    """A program has called `os._exit`, or `os.abort`."""


class Process(LoopProgram):
    """A program of a host that runs one coroutine."""

    def __init__(
        self,
        work: Callable[[], Awaitable[object]],
        on_end: Callable[[Process], None],
        role: Callable[[], str],
        on_unhandled: Callable[[Process, dict[str, Any]], None],
    ) -> None:
        """`role` says what the program is at the moment, in a word; `on_unhandled` hears of errors that nobody has
        handled."""
        self._on_unhandled = on_unhandled
        self.is_cut_off = False
        """Whether it was ended from one step to the next."""
        self._work = work
        self._role = role
        self._on_end = on_end
        self.error: BaseException | None = None
        """What ended it, once it has ended by itself."""
        self._exit: SystemExit | None = None
        self._exited: ExitedAtOnce | None = None
        """That it has, for as long as its last step lasts."""

    def start(self, host: Host, records: list[Any]) -> None:
        """The host has started: the coroutine begins in the first turn."""
        self.loop = loop = SimLoop(host)
        loop.is_driven = True
        loop.on_unhandled = lambda context: self._on_unhandled(self, context)
        self._first = self._live()
        self._main: asyncio.Task[object] = loop.create_task(self._first, name="main")
        self._main.add_done_callback(self._on_main_done)

    def wake(self) -> None:
        """`sys.exit` ends the program, and not the simulation. From another task than the first, it cancels that."""
        try:
            super().wake()
        except SystemExit as error:
            if not self.ended and not self._main.done():
                self._exit = error
                self._main.cancel()
        if self._exited is not None:
            exited, self._exited = self._exited, None
            self.loop.disk.end_of_last_step()
            self._tell(exited)

    def exit_at_once(self, what: str, status: int) -> NoReturn:
        """It ends itself (5). Raises `ExitedAtOnce`, with which the present step ends."""
        if not self.ended:
            self._exited = ExitedAtOnce(status)
            self.kill()
            self.loop.disk.begin_of_last_step()
        raise self._exited or ExitedAtOnce(status)

    async def _live(self) -> object:
        try:
            result = await self._work()
        except BaseException:
            if running.current is not self.loop:
                # It was dropped with its world, and nobody wants to hear what its `finally` makes of that.
                return None
            await self._wind_up()
            raise
        await self._wind_up()
        return result

    async def _wind_up(self) -> None:
        """As `asyncio.run` does it."""
        loop, own = self.loop, asyncio.current_task()
        # A generator that was dropped just now gets a task that closes it, and that one its first step.
        for _ in range(2):
            await asyncio.sleep(0)
        others = [task for task in loop.tasks() if task is not own]
        for task in others:
            task.cancel()
        if others:
            await asyncio.gather(*others, return_exceptions=True)
        for task in others:
            if not task.cancelled() and (error := task.exception()) is not None:
                loop.call_exception_handler(
                    {"message": "unhandled exception at the end of the program", "exception": error, "task": task}
                )
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()

    def _on_main_done(self, main: asyncio.Task[object]) -> None:
        error = asyncio.CancelledError() if main.cancelled() else main.exception()
        self._end()
        self._tell(self._exit or error)

    def _tell(self, error: BaseException | None) -> None:
        # With status 0 it has ended well.
        self.error = None if isinstance(error, SystemExit) and not error.code else error
        self._on_end(self)

    def kill(self) -> None:
        """It is killed (2)."""
        if not self.ended:
            self.is_cut_off = True
            self._end()

    def _end(self) -> None:
        self.ended = True
        loop = self.loop
        loop.bury()
        loop.stack.end_of_program()
        with running.outside():
            loop.disk.end_of_program()

    def power_cut(self) -> None:
        """Power is cut (3)."""
        self.ended = self.is_cut_off = True
        self.loop.bury()

    def dispose(self) -> None:
        """The world is over, and nothing of it matters any more."""
        if inspect.getcoroutinestate(self._first) == inspect.CORO_CREATED:
            # It was started in the last moment. Nobody is to be warned that it has not begun.
            self._first.close()
        self.loop.dispose()

    def label(self) -> str:
        """For a timeline."""
        return "ended" if self.ended else self._role()


class TestProcess(Process):
    """The one of a test, which must not end as if all were well."""

    exit_at_once = LoopProgram.exit_at_once
