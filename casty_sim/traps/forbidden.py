"""What a simulated program cannot have: threads, processes, and signals of the process that runs the simulation."""

from __future__ import annotations

import multiprocessing.process
import os
import signal
import subprocess
import threading
from typing import Any

from ..boundary import refuse
from .replace import Method, Place, method


def _refuses(what: str) -> Any:
    return lambda *_, **__: refuse(what)


def places() -> list[Place]:
    """Functions."""
    return [
        Place(os, "fork", _refuses("os.fork")),
        Place(os, "system", _refuses("subprocess.Popen")),
        Place(signal, "signal", _refuses("signal.signal")),
        Place(signal, "setitimer", _refuses("signal.signal")),
        Place(signal, "alarm", _refuses("signal.signal")),
    ]


def methods() -> list[Method]:
    """Methods."""
    return [
        method(threading.Thread, "start", _refuses("threading.Thread.start")),
        method(subprocess.Popen, "__init__", _refuses("subprocess.Popen")),
        method(multiprocessing.process.BaseProcess, "start", _refuses("multiprocessing")),
    ]
