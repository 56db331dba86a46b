"""What goes wrong in a program where nobody hears of it: in a task that nobody awaits, or in a callback.

1.  As asyncio has it, a callback that raises is reported to the exception handler of its loop at once, and a task or a
    future that has failed when it is finalised, if nobody has asked for its exception until then. So is a task that is
    finalised before its end. A program that has set a handler of its own has handled all of these.
2.  A task that has failed, and is still kept by somebody, is never finalised. Those are looked for at the end of the
    run, among the tasks of programs that run then, or have ended by themselves. Whoever waits for one, and would have
    been told in the next turn, counts as told.
3.  A program that was killed, or whose power was cut, might have awaited later what it had. Of that nothing is told.

Finalizers run at the same moment of every run (`loop.running`), and what is found at the end is told in the order of
the nodes and of the making of their tasks. So every run of a seed tells the same.
"""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from casty_proto.machine import Instant

from ..boundary import NotSimulatedError
from ..loop import SimLoop, running
from ..loop.handles import SimHandle
from ..scenario import Unhandled
from .node import describe

if TYPE_CHECKING:
    from .process import Process

type Policy = Literal["assertions", "fail", "log"]
"""What fails the test: assertions that do not hold, and what is not simulated; everything; or nothing."""

POLICIES: tuple[Policy, ...] = ("assertions", "fail", "log")

KEPT = "Task exception was not retrieved until the end of the run"
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
ASYNCIO = str(Path(asyncio.__file__).parent)


class UnhandledError(RuntimeError):
    """Something that nobody has handled, and that is no exception itself."""


class Collected:
    """What nobody has handled in one run, each kind of each host once."""

    def __init__(self, policy: Policy, now: Callable[[], Instant]) -> None:
        self._policy = policy
        self._now = now
        self._found: dict[tuple[str, str], Unhandled] = {}

    def __iter__(self) -> Iterator[Unhandled]:
        """In the order in which they first came."""
        return iter(self._found.values())

    def __len__(self) -> int:
        """How many kinds there are."""
        return len(self._found)

    def add(self, host: str, context: dict[str, Any]) -> Unhandled:
        """Take in what was reported to the exception handler of a loop."""
        with running.outside():
            error, task = context.get("exception"), context.get("task") or context.get("future")
            what = ADDRESS.sub("", str(context.get("message") or "Unhandled exception in event loop"))
            # asyncio says it by the name of the class.
            what = what.removeprefix("Sim")
            place = "" if error is None else _place(error)
            kind = what if error is None else f"{what}: {type(error).__name__}{place}"
            name = f" ({task.get_name()})" if isinstance(task, asyncio.Task) else ""
            text = f"{what}{name}" if error is None else f"{what}{name}: {_described(error)}{place}"
        found = self._found.setdefault((host, kind), Unhandled(host, kind, text, self._now()))
        found.times += 1
        return found

    def fails(self, context: dict[str, Any]) -> bool:
        """Whether the test is to fail by it."""
        error = context.get("exception")
        if self._policy != "assertions" or isinstance(error, asyncio.CancelledError):
            return self._policy == "fail"
        # What pytest fails a test with, or skips it, is no `Exception`.
        return isinstance(error, AssertionError | NotSimulatedError) or not isinstance(error, Exception | None)


def kept(lives: Iterable[Process]) -> list[tuple[Process, dict[str, Any]]]:
    """The tasks that have failed, and of which nobody has heard (rules 2 and 3), as exception handlers are told."""
    numbers: dict[Any, tuple[int, Process]] = {
        process.loop: (number, process) for number, process in enumerate(lives) if not process.is_cut_off
    }
    awaited = {id(each) for loop in numbers for each in _to_be_told(loop)}
    found = []
    # Those of the run: all that was there before is frozen, and not among these. They are many, and few are tasks.
    classes = frozenset(_and_below(asyncio.Task))
    tasks: list[Any] = [each for each in gc.get_objects() if type(each) in classes]
    for each in tasks:
        if _has_failed_unheard(each) and id(each) not in awaited:
            number, process = numbers.get(each.get_loop(), (-1, None))
            if process is not None and process.loop.get_exception_handler() is None:
                context = {"message": KEPT, "exception": each._exception, "task": each}
                found.append((number, getattr(each, "number", 0), process, context))
    found.sort(key=lambda entry: entry[:2])
    return [(process, context) for _, _, process, context in found]


def _and_below(cls: type) -> Iterator[type]:
    """A class, and all that are made of it."""
    yield cls
    for each in cls.__subclasses__():
        yield from _and_below(each)


def _has_failed_unheard(task: asyncio.Task[Any]) -> bool:
    # Asking for the exception would count as hearing of it.
    if not (task.done() and task._log_traceback):
        return False
    # That one has ended the program, or will.
    return not isinstance(task._exception, SystemExit)


def _to_be_told(loop: SimLoop) -> Iterator[object]:
    """What is handed to callbacks that were to run in the next turn."""
    waiting: list[Any] = [*loop._ready]
    for each in loop._buried:
        waiting += each if isinstance(each, list) else [each]
    for each in waiting:
        if isinstance(each, SimHandle) and each._args:
            yield from each._args


def _described(error: BaseException) -> str:
    try:
        return describe(error)
    except Exception as problem:
        return f"{type(error).__name__}, which cannot be shown ({type(problem).__name__})"


def _place(error: BaseException) -> str:
    """Where it was raised: the last line that is none of asyncio."""
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not place or not code.co_filename.startswith(ASYNCIO):
            place = f", {Path(code.co_filename).name}:{trace.tb_lineno} in {code.co_qualname}"
        trace = trace.tb_next
    return place
