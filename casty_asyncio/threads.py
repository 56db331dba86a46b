"""For code outside of the loop: tell and ask from other threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from .arguments import check_ref, check_seconds
from .errors import AskTimeoutError, SystemShutDownError, WrongThreadError
from .generic import Answer, Asked, Plain
from .refs import ActorRef

if TYPE_CHECKING:
    from .runtime import Runtime

_LOOK_SECONDS = 0.2
"""How often a waiting thread looks whether the loop is still there."""
_GRACE_SECONDS = 1.0
"""How long after its timeout an ask may still wait for a busy loop to say so."""


class ThreadBridge:
    """A door into the actor system for threads other than the one of its event loop.

    Messages from one thread to one actor arrive in the order sent. May be shared by any number of threads.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loop = runtime.loop

    def tell[M](self, ref: ActorRef[M], message: M | Plain) -> None:
        """Send a message and go on. What a full mailbox rejects is logged.

        Raises `SystemShutDownError` when the loop has ended; the message was not sent then.
        """
        check_ref("tell of another thread: the receiver", ref)
        try:
            self._loop.call_soon_threadsafe(self._tell, ref, message)
        except RuntimeError as error:
            raise self._over() from error

    def ask[M](self, ref: ActorRef[M], message: M | Plain, timeout: float = 5.0) -> Any:
        """Send a message and block this thread, at most about `timeout` seconds, for the reply.

        Raises what `ActorRef.ask` raises; `WrongThreadError` in the thread of the loop, which would block itself;
        `SystemShutDownError` when the loop has ended.
        """
        check_ref("ask of another thread: the receiver", ref)
        receiver: ActorRef[Any] = ref
        return self._wait(lambda: receiver.ask(message, timeout), ref, timeout)

    def ask_with(
        self, ref: ActorRef[Asked], build: Callable[[ActorRef[Answer]], Asked], timeout: float = 5.0
    ) -> Answer:
        """As `ask`, for messages that carry their `reply_to`: `ask_with(ref, lambda r: Get(reply_to=r))`."""
        check_ref("ask_with of another thread: the receiver", ref)
        answer: Answer = self._wait(lambda: self._runtime.system.ask(ref, build, timeout), ref, timeout)
        return answer

    def request_shutdown(self) -> None:
        """Begin the shutdown of the system, and do not wait for its end.

        Raises `SystemShutDownError` when the loop has ended.
        """
        try:
            self._loop.call_soon_threadsafe(self._runtime.system.request_shutdown)
        except RuntimeError as error:
            raise self._over() from error

    def _tell(self, ref: ActorRef[Any], message: Any) -> None:
        try:
            ref.tell(message)
        except Exception as error:
            self._runtime.log.warning("message from another thread: %s", error)

    def _wait(self, make: Callable[[], Coroutine[Any, Any, Any]], ref: ActorRef[Any], timeout: float) -> Any:
        check_seconds("the timeout of an ask", timeout)
        if self._runtime.in_thread():
            raise WrongThreadError("this would block the event loop that has to answer; await ref.ask(...) here")
        reply: Future[Any] = Future()
        try:
            self._loop.call_soon_threadsafe(self._begin, make, reply)
        except RuntimeError as error:
            raise self._over() from error
        return self._outcome(reply, ref, timeout)

    def _begin(self, make: Callable[[], Coroutine[Any, Any, Any]], reply: Future[Any]) -> None:
        """In the loop: ask, and hand the outcome over to the thread that waits for it."""

        def hand_over(task: asyncio.Task[Any]) -> None:
            if not reply.set_running_or_notify_cancel():
                return
            if task.cancelled():
                reply.set_exception(self._over())
            elif (error := task.exception()) is not None:
                reply.set_exception(error)
            else:
                reply.set_result(task.result())

        try:
            task = self._loop.create_task(make(), name="casty-ask", context=self._runtime.pool.base.copy())
        except Exception as error:
            reply.set_exception(error)
        else:
            task.add_done_callback(hand_over)

    def _outcome(self, reply: Future[Any], ref: ActorRef[Any], timeout: float) -> Any:
        """Wait, but not for a loop that has ended, nor for ever for one that is blocked."""
        ends = time.monotonic() + timeout + _GRACE_SECONDS
        while True:
            try:
                return reply.result(_LOOK_SECONDS)
            except TimeoutError:
                if reply.done():
                    raise
            if self._loop.is_closed():
                raise self._over()
            if time.monotonic() > ends and reply.cancel():
                raise AskTimeoutError(
                    f"{ref.path} did not answer within {timeout:g} s, and its event loop is busy or stands still"
                )

    def _over(self) -> SystemShutDownError:
        return SystemShutDownError(f"actor system {self._runtime.name!r}: its event loop has ended")
