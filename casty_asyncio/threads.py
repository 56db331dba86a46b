"""For code outside of the loop: tell and ask from other threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from .errors import SystemShutDownError, WrongThreadError
from .refs import ActorRef

if TYPE_CHECKING:
    from .runtime import Runtime


class ThreadBridge:
    """A door into the actor system for threads other than the one of its event loop.

    Messages from one thread to one actor arrive in the order sent. May be shared by any number of threads.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loop = runtime.loop
        self._thread = threading.get_ident()

    def tell[M](self, ref: ActorRef[M], message: M) -> None:
        """Send a message and go on. What a full mailbox rejects is logged.

        Raises `SystemShutDownError` when the loop has ended.
        """
        self._call(self._tell, ref, message)

    def ask[M](self, ref: ActorRef[M], message: M, timeout: float = 5.0) -> Any:
        """Send a message and block this thread, at most about `timeout` seconds, for the reply.

        Raises what `ActorRef.ask` raises; `WrongThreadError` in the thread of the loop, which would block itself.
        """
        return self._wait(lambda: ref.ask(message, timeout))

    def ask_with[M, R](self, ref: ActorRef[M], build: Callable[[ActorRef[R]], M], timeout: float = 5.0) -> R:
        """As `ask`, for messages that carry their `reply_to`: `ask_with(ref, lambda r: Get(reply_to=r))`."""
        answer: R = self._wait(lambda: self._runtime.system.ask(ref, build, timeout))
        return answer

    def _tell(self, ref: ActorRef[Any], message: Any) -> None:
        try:
            ref.tell(message)
        except Exception as error:
            self._runtime.log.warning("message from another thread: %s", error)

    def _call(self, function: Callable[..., Any], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError as error:
            raise SystemShutDownError(f"actor system {self._runtime.name!r}: its event loop has ended") from error

    def _wait(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        if threading.get_ident() == self._thread:
            raise WrongThreadError("this would block the event loop that has to answer; await ref.ask(...) here")

        async def run() -> Any:
            return await make()

        if self._loop.is_closed():
            raise SystemShutDownError(f"actor system {self._runtime.name!r}: its event loop has ended")
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()
