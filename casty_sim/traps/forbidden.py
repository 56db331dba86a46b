"""What a simulated program cannot have: threads, processes, and signals of the process that runs the simulation."""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import multiprocessing.process
import os
import signal
import subprocess
import threading
from asyncio.selector_events import BaseSelectorEventLoop
from typing import TYPE_CHECKING, Any, cast

from ..boundary import refuse
from .replace import Method, Place, method

if TYPE_CHECKING:
    from ..loop import SimLoop
    from ..loop.alone import LoopProgram


def _refuses(what: str) -> Any:
    return lambda *_, **__: refuse(what)


def _wait(loop: SimLoop, original: Any, condition: threading.Condition, timeout: float | None = None) -> bool:
    """What an executor runs can wait in vain, which takes the time that it takes. Nobody can end the wait."""
    if timeout is None or loop.slept_ns is None:
        refuse("threading.Condition.wait")
    loop.sleep_in_thread(timeout)
    return False


def _run(loop: SimLoop, original: Any, *args: Any, **named: Any) -> Any:
    # In a callback asyncio says by itself that a loop runs already.
    if loop.slept_ns is not None:
        refuse("asyncio.run")
    return original(*args, **named)


def _exit(loop: SimLoop, status: int) -> None:
    cast("LoopProgram", loop.host.program).exit_at_once("os._exit", status)


def _abort(loop: SimLoop) -> None:
    cast("LoopProgram", loop.host.program).exit_at_once("os.abort", 128 + signal.SIGABRT)


def _make_loop(loop: SimLoop, original: Any, another: Any, *_: Any) -> None:
    # It is finalised as one that was closed, and not as one that was forgotten.
    another._closed = True
    refuse("asyncio.run")


def places() -> list[Place]:
    """Functions."""
    return [
        Place(os, "fork", _refuses("os.fork")),
        Place(os, "forkpty", _refuses("os.fork")),
        Place(os, "posix_spawn", _refuses("subprocess.Popen")),
        Place(os, "posix_spawnp", _refuses("subprocess.Popen")),
        Place(os, "system", _refuses("subprocess.Popen")),
        Place(os, "execv", _refuses("os.exec")),
        Place(os, "execve", _refuses("os.exec")),
        Place(os, "_exit", _exit),
        Place(os, "abort", _abort),
        Place(os, "kill", _refuses("os.kill")),
        Place(os, "killpg", _refuses("os.kill")),
        Place(signal, "raise_signal", _refuses("signal.raise_signal")),
        Place(signal, "pthread_kill", _refuses("signal.raise_signal")),
        Place(signal, "pidfd_send_signal", _refuses("os.kill")),
        Place(_thread, "interrupt_main", _refuses("signal.raise_signal")),
        Place(signal, "signal", _refuses("signal.signal")),
        Place(signal, "setitimer", _refuses("signal.signal")),
        Place(signal, "alarm", _refuses("signal.signal")),
    ]


def methods() -> list[Method]:
    """Methods."""
    return [
        method(BaseSelectorEventLoop, "__init__", _make_loop),
        method(asyncio.Runner, "_lazy_init", _run),
        method(concurrent.futures.ProcessPoolExecutor, "submit", _refuses("concurrent.futures.Executor.submit")),
        method(concurrent.futures.ThreadPoolExecutor, "submit", _refuses("concurrent.futures.Executor.submit")),
        method(multiprocessing.process.BaseProcess, "start", _refuses("multiprocessing")),
        method(subprocess.Popen, "__init__", _refuses("subprocess.Popen")),
        method(threading.Condition, "wait", _wait),
        method(threading.Thread, "start", _refuses("threading.Thread.start")),
    ]
