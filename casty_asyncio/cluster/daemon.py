"""An executor of one thread that nobody waits for at the end of the program."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any

type _Work = tuple[Future[Any], Callable[[], Any]]


class DaemonThread(Executor):
    """Runs functions in one thread, in the order in which they were submitted.

    Those of the standard library hold up the end of the interpreter until their last function has run, which a disk
    that hangs would do for ever. The thread begins with the first function.
    """

    _max_workers = 1

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._begun = False
        self._shutdown = False

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it in the thread. Raises `RuntimeError` after `shutdown`."""
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[T] = Future()
        self._queue.put((future, lambda: fn(*args, **kwargs)))
        if not self._begun:
            self._begun = True
            self._thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more. What was submitted still runs; with `wait`, this returns when it has."""
        self._shutdown = True
        if self._begun:
            self._queue.put(None)
            if wait:
                self._thread.join()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            future, function = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            # The last result is not kept until the next one.
            del work, future, function
