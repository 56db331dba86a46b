"""Asks of entities: asked here, and answered by whoever owns the shard.

An ask ends with the answer, with a failure, or with its timeout; and with `OutcomeUnknownError` when its shard was
taken from an owner that may have had it. One that certainly was not handled is asked again until its time is up: that
is what a caller would do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.actor import Reason
from casty_proto.cluster.events import AcceptedLost, Done, OwnersChanged, Unknown
from casty_proto.machine import Instant

from ..asks import Ask, _Handled, check_ask_timeout, over
from ..clock import can_wait
from ..errors import AskError, AskTimeoutError, NotHandledError, NotSendableError, OutcomeUnknownError
from ..metrics import SECONDS, Histogram
from ..refs import ActorRef
from .items import DecodeError, EntityAnswer, Form, Items

if TYPE_CHECKING:
    from ..runtime import Runtime
    from .refs import EntityRef

_AGAIN_MIN, _AGAIN_MAX = 0.02, 0.25
"""How long, in seconds, a message that was not handled waits until it is sent again."""


class EntityAsk(Ask):
    """One ask of an entity."""

    __slots__ = ("_items", "is_accepted", "number", "region", "shard", "since")

    def __init__(self, runtime: Runtime, ref: EntityRef[Any], message: Any, timeout: float, items: Items) -> None:
        super().__init__(runtime, ref, message, timeout)
        self._items = items
        self.region = ref.region.name
        self.shard = -1
        """Known once it was sent."""
        self.number = 0
        """Of its handle, as others know it."""
        self.since = 0
        """Up to which index of the log the node knew everything when it was sent."""
        self.is_accepted = False
        """Whether an owner has it."""

    def resolve(self, value: Any) -> None:
        """The answer has come."""
        if type(value) is not EntityAnswer or self.future.done():
            super().resolve(value)
            return
        try:
            self.future.set_result(self._items.opened(value))
        except (DecodeError, ValueError, TypeError) as error:
            if isinstance(error, AskError):
                self.fail(error)
            else:
                self.fail(AskError(f"the answer of {self.cell.path} cannot be decoded here: {error}"))
        except Exception as error:
            self.fail(error)

    def on_due(self, now: Instant) -> None:
        """The deadline has come. How far it got tells what to look at."""
        ref: Any = self.cell
        if ref.region.settings is None:
            how = f"no {self.region!r} is known here; is that its name, and has a node spawned it?"
        elif self.is_accepted:
            how = "a node has it"
        else:
            how = "no node has said that it has it"
        self.fail(AskTimeoutError(f"{ref.path} did not answer {self.kind()} within {self.timeout:g} s: {how}"))

    def answered(self, result: Any) -> None:
        """The node says what became of the message on its way."""
        if type(result) is Done:
            self.is_accepted = True
        elif type(result) is Unknown:
            self.fail(OutcomeUnknownError(f"{self.cell.path}, {self.kind()}: {result.reason}"))
        else:
            self.fail(NotHandledError(f"{self.cell.path} did not handle {self.kind()}: {result.reason}"))


class Accepting:
    """Waits until an owner has a message, and for nothing more."""

    __slots__ = ("_future", "_what")

    def __init__(self, future: asyncio.Future[None], what: str) -> None:
        self._future = future
        self._what = what

    def answered(self, result: Any) -> None:
        """The node says what became of the message on its way."""
        if self._future.done():
            return
        if type(result) is Done:
            self._future.set_result(None)
        elif type(result) is Unknown:
            self._future.set_exception(OutcomeUnknownError(f"{self._what}: {result.reason}"))
        else:
            self._future.set_exception(NotHandledError(f"{self._what} was not handled: {result.reason}"))


class Telling:
    """Nobody waits. What is lost becomes a dead letter."""

    __slots__ = ("_message", "_ref", "_runtime", "_sender")

    def __init__(self, runtime: Runtime, ref: EntityRef[Any], message: Any, sender: ActorRef[Any] | None) -> None:
        self._runtime = runtime
        self._ref = ref
        self._message = message
        self._sender = sender

    def answered(self, result: Any) -> None:
        """The node says what became of the message on its way."""
        if type(result) is not Done:
            self._runtime.dead_letter(self._ref, self._message, Reason.UNREACHABLE, self._sender)


class EntityAsks:
    """The asks of entities that are out."""

    def __init__(self, runtime: Runtime, items: Items) -> None:
        self._runtime = runtime
        self.items = items
        self._out: dict[str, dict[EntityAsk, None]] = {}
        self.durations = Histogram(SECONDS)
        """Of those that were answered."""
        self.failed = 0

    def __len__(self) -> int:
        return sum(map(len, self._out.values()))

    async def ask(
        self, ref: EntityRef[Any], message: Any, build: Callable[[Any], Any] | None, form: Form, timeout: float
    ) -> Any:
        """Ask in either style, again and again until somebody handles it; see `ActorRef.ask`."""
        runtime = self._runtime
        runtime.check_thread()
        if not can_wait(timeout):
            check_ask_timeout(timeout, ref.path)
        loop = runtime.loop
        begun, pause = loop.time(), _AGAIN_MIN
        until = begun + timeout
        while True:
            try:
                answer = await self._ask(ref, message, build, form, timeout, max(0.0, until - loop.time()))
            except NotHandledError:
                # What lives in the exception must not outlive it.
                if loop.time() + pause >= until or runtime.system.stopping:
                    self.failed += 1
                    raise
            except Exception:
                self.failed += 1
                raise
            else:
                self.durations.add(loop.time() - begun)
                return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause, _AGAIN_MAX)

    async def _ask(
        self,
        ref: EntityRef[Any],
        message: Any,
        build: Callable[[Any], Any] | None,
        form: Form,
        timeout: float,
        left: float,
    ) -> Any:
        runtime = self._runtime
        ask = EntityAsk(runtime, ref, message, timeout, self.items)
        if build is not None:
            ask.message = build(ask.handle())
        try:
            data = self.items.message(ref, form, None, ask, ask.message)
        except NotSendableError:
            self.items.returned(ask)
            raise
        # It may lead to the handle, which leads to the ask: no circle.
        ask.message = _Handled(ask.kind())
        out = self._out.setdefault(ask.region, {})
        out[ask] = None
        ask.since = ref.region.version
        try:
            ask.shard = ref.region.tell(ref.entity_id, data, ask)
            if not ask.future.done():
                runtime.clock.expect(ask, left)
            return await ask.future
        finally:
            runtime.clock.forget(ask)
            out.pop(ask, None)
            self.items.returned(ask)
            over(ask)

    def sent(self, ask: EntityAsk, shard: int, since: int) -> None:
        """What had waited was sent."""
        ask.shard, ask.since = shard, since

    def owners_changed(self, change: OwnersChanged) -> None:
        """What an owner had accepted, and not handled, is lost when its shard was taken from it."""
        out = self._out.get(change.region)
        if not out or not change.forced:
            return
        shards = dict(change.shards)
        for ask in list(out):
            if ask.is_accepted and ask.shard in shards:
                ask.fail(OutcomeUnknownError(f"{ask.cell.path}: the node that had {ask.kind()} is gone"))

    def accepted_lost(self, effect: AcceptedLost) -> None:
        """What an owner had accepted may be lost, though its shard was not taken from it."""
        shards = dict(effect.shards)
        for ask in list(self._out.get(effect.region, ())):
            if ask.is_accepted and ask.since < shards.get(ask.shard, 0):
                ask.fail(OutcomeUnknownError(f"{ask.cell.path}: a node that had {ask.kind()} is gone"))

    def fail_all(self, reason: str) -> None:
        """This node belongs to no cluster any more."""
        for out in self._out.values():
            for ask in list(out):
                ask.fail(OutcomeUnknownError(f"{ask.cell.path}, {ask.kind()}: {reason}"))
