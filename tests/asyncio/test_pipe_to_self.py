"""Work beside the handler: `ctx.pipe_to_self` and `ctx.run_blocking`, whose results come back as messages."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorSystem,
    AskTimeoutError,
    Behavior,
    Behaviors,
    Context,
    HandlerCancelledError,
    Mailbox,
    MailboxOverflowStrategy,
    OneForOneStrategy,
    UsageError,
)

from .probe import Probe, within


def doing(probe: Probe) -> Behavior[Any]:
    """Calls functions with its context, and passes all other messages on."""

    async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        match message:
            case "fail":
                raise ValueError("as asked")
            case "stop":
                return Behaviors.stopped()
            case function if callable(function):
                after = function(ctx)
                return after if isinstance(after, Behavior) else Behaviors.same()
            case _:
                probe.ref.tell(message)
                return Behaviors.same()

    return Behaviors.supervise(Behaviors.receive(receive), OneForOneStrategy())


async def give(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def fail(error: BaseException) -> Any:
    raise error


@contextmanager
def no_complaints() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(each.message) for each in caught] == []


# -- results -----------------------------------------------------------------------------------------------------------


async def test_the_result_is_the_message_and_a_mapper_makes_another_one_of_it() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        ref.tell(lambda ctx: ctx.pipe_to_self(give(1)))
        assert await probe.next() == 1
        ref.tell(lambda ctx: ctx.pipe_to_self(give(2), lambda number: ("got", number)))
        assert await probe.next() == ("got", 2)
        ref.tell(lambda ctx: ctx.pipe_to_self(give(None)))
        assert await probe.next() is None


async def test_the_handler_goes_on_at_once_and_messages_are_handled_meanwhile() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        gate = asyncio.Event()
        ref.tell(lambda ctx: ctx.pipe_to_self(gate.wait()))
        ref.tell("meanwhile")
        assert await probe.next() == "meanwhile"
        gate.set()
        assert await probe.next() is True


async def test_a_future_and_the_ask_of_another_actor_can_be_piped() -> None:
    class Adder(Actor[int]):
        async def receive(self, msg: int, ctx: Context) -> None:
            ctx.reply(msg + 1)

    async with ActorSystem() as system:
        probe = Probe(system)
        adder = await system.spawn(Adder)
        ref = system.spawn(doing(probe))
        future = asyncio.get_running_loop().create_future()
        ref.tell(lambda ctx: ctx.pipe_to_self(future))
        ref.tell(lambda ctx: ctx.pipe_to_self(adder.ask(1)))
        assert await probe.next() == 2
        future.set_result("set")
        assert await probe.next() == "set"


async def test_an_actor_may_pipe_an_ask_of_itself() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        ref.tell(lambda ctx: ctx.pipe_to_self(ctx.self.ask(lambda own: own.reply("answered")), lambda got: ("me", got)))
        assert await probe.next() == ("me", "answered")


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_a_failure_becomes_the_message_that_on_failure_makes_of_it() -> None:
    error = KeyError("lost")
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        ref.tell(lambda ctx: ctx.pipe_to_self(fail(error), on_failure=lambda exc: ("failed", exc)))
        assert await probe.next() == ("failed", error)


async def test_a_mapper_that_raises_is_a_failure_too() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        ref.tell(lambda ctx: ctx.pipe_to_self(give(0), lambda n: 1 / n, lambda exc: ("failed", type(exc))))
        assert await probe.next() == ("failed", ZeroDivisionError)


async def test_an_ask_that_runs_out_of_time_is_a_failure_as_any_other() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        ref.tell(lambda ctx: ctx.pipe_to_self(probe.ref.ask("never answered", 0.001), on_failure=lambda exc: exc))
        assert await probe.next() == "never answered"
        assert isinstance(await probe.next(), AskTimeoutError)


@pytest.mark.parametrize("how", ["no on_failure", "on_failure raises", "the mailbox rejects"])
async def test_a_failure_that_cannot_become_a_message_is_logged_with_the_actor(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe), "worker", mailbox=Mailbox(1, MailboxOverflowStrategy.reject))
        ended = asyncio.Event()

        async def work() -> Any:
            ended.set()
            if how == "the mailbox rejects":
                ref.tell("fills it")
                return "result"
            raise OSError("down")

        pipe: dict[str, Any] = {"on_failure": lambda exc: 1 / 0} if how == "on_failure raises" else {}
        ref.tell(lambda ctx: ctx.pipe_to_self(work(), **pipe))
        await within(ended.wait())
        assert how != "the mailbox rejects" or await probe.next() == "fills it"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "/worker" in record.getMessage()
    assert record.exc_info is not None


async def test_work_that_somebody_else_cancels_is_a_failure_and_not_silence() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe), "worker")
        future = asyncio.get_running_loop().create_future()
        ref.tell(lambda ctx: ctx.pipe_to_self(future, on_failure=lambda exc: exc))
        ref.tell("piped")
        await probe.next()
        future.cancel()
        error = await probe.next()
        assert isinstance(error, HandlerCancelledError)
        assert str(error) == "what /worker piped to itself was cancelled by somebody else"


# -- the end of the actor ----------------------------------------------------------------------------------------------


async def test_the_work_is_cancelled_when_the_actor_stops() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        ref.tell(lambda ctx: ctx.pipe_to_self(work(), on_failure=lambda exc: exc))
        ref.tell("begun")
        await probe.next()
        await probe.all()
        system.stop(ref)
        await system.wait_stopped(ref)
        await within(cancelled.wait())
        assert await probe.all() == []
        assert system.dead_letters == 0


@pytest.mark.parametrize("make", [lambda: give(1), lambda: asyncio.get_running_loop().create_future()])
async def test_work_that_is_piped_in_the_last_message_is_never_begun_and_leaves_nothing_behind(
    make: Callable[[], Any],
) -> None:
    work = make()
    with no_complaints():
        async with ActorSystem() as system:

            def last(ctx: ActorContext[Any]) -> Behavior[Any]:
                ctx.pipe_to_self(work)
                return Behaviors.stopped()

            ref = system.spawn(doing(Probe(system)))
            ref.tell(last)
            await system.wait_stopped(ref)
    if isinstance(work, asyncio.Future):
        assert work.cancelled()
    else:
        assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


async def test_the_work_goes_on_over_a_restart() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        gate = asyncio.Event()
        ref.tell(lambda ctx: ctx.pipe_to_self(gate.wait(), lambda _: "result"))
        ref.tell("fail")
        ref.tell("restarted")
        assert await probe.next() == "restarted"
        gate.set()
        assert await probe.next() == "result"


async def test_work_in_a_last_hook_is_cancelled_and_after_the_stop_it_is_refused() -> None:
    contexts: list[ActorContext[Any]] = []

    async def post_stop(ctx: ActorContext[Any]) -> None:
        contexts.append(ctx)
        ctx.pipe_to_self(give(1))

    with no_complaints():
        async with ActorSystem() as system:
            probe = Probe(system)
            ref = system.spawn(Behaviors.with_lifecycle(doing(probe), post_stop=post_stop), "worker")
            ref.tell("begun")
            await probe.next()
            system.stop(ref)
            await system.wait_stopped(ref)
            with pytest.raises(UsageError, match="/worker has stopped"):
                contexts[0].pipe_to_self(give(2))
            assert await probe.all() == []


# -- wrong arguments ---------------------------------------------------------------------------------------------------


async def test_what_cannot_be_awaited_or_called_is_refused_in_the_handlers_own_call() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe), "worker")
        wrong: Any = 5

        def calls(ctx: ActorContext[Any]) -> None:
            with pytest.raises(UsageError, match=r"of /worker: the work must be awaitable.*; call it: give\(\)"):
                ctx.pipe_to_self(give)  # type: ignore[arg-type]
            with pytest.raises(UsageError, match=r"of /worker: mapper must be something to call, or None, not 5"):
                ctx.pipe_to_self(give(1), wrong)
            with pytest.raises(UsageError, match=r"of /worker: on_failure must be something to call, or None, not 5"):
                ctx.pipe_to_self(give(1), None, wrong)
            with pytest.raises(UsageError, match=r"run_blocking of /worker wants a function"):
                ctx.run_blocking(wrong)
            ctx.reply("all refused")

        with no_complaints():
            assert await ref.ask(calls) == "all refused"


async def test_a_reply_from_a_mapper_is_refused_because_another_message_may_be_in_hand() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe), "worker")
        ref.tell(lambda ctx: ctx.pipe_to_self(give(1), ctx.reply, lambda exc: exc))
        error = await probe.next()
        assert isinstance(error, UsageError)
        assert "ctx.reply() of /worker was called outside of its handler" in str(error)


# -- threads -----------------------------------------------------------------------------------------------------------


async def test_a_blocking_function_runs_in_another_thread_and_its_result_is_a_message() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        ref.tell(lambda ctx: ctx.run_blocking(lambda a, b: (threading.get_ident(), a, b), 1, 2))
        thread, *arguments = await probe.next()
        assert thread != threading.get_ident()
        assert arguments == [1, 2]


async def test_the_actor_goes_on_while_a_function_blocks() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        gate = threading.Event()
        ref.tell(lambda ctx: ctx.run_blocking(gate.wait, 5.0, mapper=lambda opened: ("opened", opened)))
        ref.tell("meanwhile")
        assert await probe.next() == "meanwhile"
        gate.set()
        assert await probe.next() == ("opened", True)


@pytest.mark.parametrize(("error", "kind"), [(OSError("down"), OSError), (StopIteration("odd"), RuntimeError)])
async def test_what_a_blocking_function_raises_is_a_failure(error: Exception, kind: type[Exception]) -> None:
    def work() -> None:
        raise error

    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        ref.tell(lambda ctx: ctx.run_blocking(work, on_failure=lambda exc: ("failed", type(exc))))
        assert await probe.next() == ("failed", kind)


async def test_a_stop_does_not_wait_for_the_thread_and_its_result_is_dropped() -> None:
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        gate.wait(5.0)
        ended.set()
        return "too late"

    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))
        ref.tell(lambda ctx: ctx.run_blocking(work))
        assert await asyncio.to_thread(begun.wait, 5.0)
        system.stop(ref)
        await within(system.wait_stopped(ref))
        assert not ended.is_set()
        gate.set()
        assert await asyncio.to_thread(ended.wait, 5.0)
        assert await probe.all() == []
        assert system.dead_letters == 0


async def test_many_pieces_of_work_at_once_all_come_back() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(doing(probe))

        def start(ctx: ActorContext[Any]) -> None:
            for number in range(200):
                ctx.pipe_to_self(give(number))

        ref.tell(start)
        assert sorted(await probe.take(200)) == list(range(200))
