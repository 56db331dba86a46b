"""`/_task_runner`: fire-and-forget work that is tracked, reported, and cancelled rather than orphaned."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    CancelTask,
    DeadLetter,
    EventStreamSubscribe,
    Mailbox,
    MailboxOverflowStrategy,
    RunTask,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskResult,
    UnhandledMessage,
    UsageError,
)

from .probe import Gate, Probe, within


async def give(value: Any) -> Any:
    return value


async def fail(error: BaseException) -> None:
    raise error


async def for_ever(cancelled: list[str] | None = None, name: str = "work") -> None:
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        if cancelled is not None:
            cancelled.append(name)
        raise


@contextmanager
def no_complaints() -> Iterator[None]:
    """Fails when Python complains about a coroutine that was never awaited."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(each.message) for each in caught if issubclass(each.category, RuntimeWarning)] == []


# -- results -----------------------------------------------------------------------------------------------------------


async def test_a_result_an_exception_and_a_cancellation_are_reported_with_the_key() -> None:
    error = ValueError("as asked")
    async with ActorSystem() as system:
        probe = Probe(system)
        runner = system.task_runner
        runner.tell(RunTask(give(7), reply_to=probe.ref, key="good"))
        runner.tell(RunTask(fail(error), reply_to=probe.ref, key="bad"))
        assert await probe.take(2) == [TaskCompleted("good", 7), TaskFailed("bad", error)]
        runner.tell(RunTask(for_ever(), reply_to=probe.ref, key="long"))
        runner.tell(CancelTask("long"))
        assert await probe.next() == TaskCancelled("long")


async def test_a_coroutine_without_a_result_completes_as_in_the_spec() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.task_runner.tell(RunTask(coro=asyncio.sleep(0), reply_to=probe.ref, key="my-job"))
        assert await probe.next() == TaskCompleted("my-job")


async def test_a_result_can_be_asked_for() -> None:
    async with ActorSystem() as system:
        answer: TaskResult = await system.ask(system.task_runner, lambda r: RunTask(give("done"), r))
        assert answer == TaskCompleted(None, "done")


async def test_a_failure_that_nobody_is_told_of_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.task_runner.tell(RunTask(fail(ValueError("lost?")), key="job"))
        system.task_runner.tell(RunTask(give(1), probe.ref))
        await probe.next()
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "task job failed")
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "lost?"


async def test_a_cancelled_key_cancels_all_running_tasks_of_that_key_and_no_others() -> None:
    cancelled: list[str] = []
    async with ActorSystem() as system:
        probe = Probe(system)
        for name, key in (("a", "x"), ("b", "x"), ("c", "y"), ("d", None)):
            system.task_runner.tell(RunTask(for_ever(cancelled, name), probe.ref, key))
        system.task_runner.tell(RunTask(give(1), probe.ref, "begun"))
        assert await probe.next() == TaskCompleted("begun", 1)
        system.task_runner.tell(CancelTask("x"))
        assert await probe.take(2) == [TaskCancelled("x")] * 2
        assert cancelled == ["a", "b"]


async def test_tasks_run_beside_each_other_and_beside_the_actors() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        both = asyncio.Barrier(3)

        async def meet() -> str:
            await both.wait()
            return "met"

        for _ in range(3):
            system.task_runner.tell(RunTask(meet(), probe.ref))
        assert await probe.take(3) == [TaskCompleted(None, "met")] * 3


async def test_a_task_does_not_see_the_context_variables_of_who_told_it() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def look() -> str:
        return variable.get()

    async with ActorSystem() as system:
        system.lookup("/_task_runner")
        variable.set("set")
        answer = await system.ask(system.task_runner, lambda r: RunTask(look(), r))
        assert answer == TaskCompleted(None, "unset")


# -- where it is -------------------------------------------------------------------------------------------------------


async def test_it_is_found_by_its_path_before_any_spawn() -> None:
    async with ActorSystem() as system:
        done = asyncio.Event()

        async def work() -> None:
            done.set()

        system.lookup("/_task_runner").tell(RunTask(work()))
        await within(done.wait())
        found = await system.lookup("/_task_runner")
        assert found == system.task_runner
        assert found is not None
        assert found.path == "/_task_runner"


async def test_the_first_spawn_starts_it() -> None:
    async with ActorSystem() as system:
        assert system._running is not None
        guardian = system._running.machine.system
        assert not guardian.children
        Probe(system)
        assert list(guardian.children or ()) == ["_task_runner"]


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_running_tasks_are_cancelled_and_not_orphaned_at_the_shutdown() -> None:
    cancelled: list[str] = []
    async with ActorSystem() as system:
        probe = Probe(system)
        for name in ("a", "b"):
            system.task_runner.tell(RunTask(for_ever(cancelled, name)))
        system.task_runner.tell(RunTask(give(1), probe.ref))
        await probe.next()
    assert cancelled == ["a", "b"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_it_stops_last_so_that_last_hooks_can_still_use_it() -> None:
    events: list[str] = []

    async def work() -> None:
        events.append("work begun")
        await for_ever(events, "work cancelled")

    async def post_stop(ctx: ActorContext[object]) -> None:
        events.append("last hook")
        ctx.system.task_runner.tell(RunTask(work()))

    async with ActorSystem() as system:
        probe = Probe(system)
        system.spawn(Behaviors.with_lifecycle(probe.behavior(), post_stop=post_stop)).tell("hello")
        await probe.next()
    assert events == ["last hook", "work begun", "work cancelled"]


async def test_a_task_may_shut_its_own_system_down() -> None:
    system = ActorSystem()
    Probe(system)
    system.task_runner.tell(RunTask(system.shutdown()))
    await within(system.wait_shutdown())


async def test_cancelling_takes_time_and_the_shutdown_waits_for_it() -> None:
    events: list[str] = []

    async def tidy() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0.01)
            events.append("tidied up")

    async with ActorSystem() as system:
        probe = Probe(system)
        system.task_runner.tell(RunTask(tidy()))
        system.task_runner.tell(RunTask(give(1), probe.ref))
        await probe.next()
    assert events == ["tidied up"]


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_what_is_no_coroutine_is_refused_in_the_tellers_own_call() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        future = asyncio.get_running_loop().create_future()
        wrong: Any
        for wrong, hint in ((give, r"; call it: give\(\)"), (None, "not None"), (future, "Future"), (7, "not 7")):
            with pytest.raises(UsageError, match=f"RunTask.coro must be a coroutine, .*{hint}"):
                RunTask(wrong)
        system.task_runner.tell(RunTask(give(1), probe.ref))
        assert await probe.next() == TaskCompleted(None, 1)


async def test_a_refused_reply_to_closes_the_coroutine() -> None:
    async with ActorSystem() as system:
        Probe(system, "probe")
        wrong: Any
        for wrong in ("probe", system.lookup("probe"), Probe):
            coro = give(1)
            with no_complaints(), pytest.raises(UsageError, match=r"RunTask.reply_to must be an ActorRef"):
                RunTask(coro, wrong)
            assert inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED


async def test_no_coroutine_is_left_unawaited_that_comes_too_late_or_to_nobody() -> None:
    system = ActorSystem()
    stopped = Probe(system).ref
    runner = system.task_runner
    missing = system.lookup("/nobody/here")
    system.stop(stopped)
    with no_complaints():
        stopped.tell(RunTask(give(1)))
        missing.tell(RunTask(give(1)))
        await system.shutdown()
        runner.tell(RunTask(give(1)))
        with pytest.raises(Exception, match="/_task_runner"):
            await runner.ask(RunTask(give(1)))


async def test_no_coroutine_is_left_unawaited_in_a_mailbox_that_drops_it_or_stops() -> None:
    gate = Gate()
    with no_complaints():
        async with ActorSystem() as system:
            full = system.spawn(gate.behavior(), mailbox=Mailbox(1))
            await gate.hold(full)
            full.tell(RunTask(give("waits")))
            full.tell(RunTask(give("dropped")))
            system.stop(full)
            gate.opened.set()
            await system.wait_stopped(full)


async def test_a_coroutine_that_is_told_just_before_the_shutdown_is_cancelled_or_closed() -> None:
    with no_complaints():
        async with ActorSystem() as system:
            probe = Probe(system)
            for _ in range(3):
                system.task_runner.tell(RunTask(for_ever(), probe.ref))


async def test_a_task_that_is_told_twice_does_not_disturb_the_runner() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        task = RunTask(give(1), probe.ref, "twice")
        system.task_runner.tell(task)
        assert await probe.next() == TaskCompleted("twice", 1)
        system.task_runner.tell(task)
        again = await probe.next()
        assert isinstance(again, TaskFailed)
        assert isinstance(again.exception, RuntimeError)


async def test_a_reply_to_that_rejects_makes_the_result_a_dead_letter() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        letters = Probe(system)
        system.event_stream.tell(EventStreamSubscribe(DeadLetter, letters.ref))
        full = system.spawn(gate.behavior(), mailbox=Mailbox(1, MailboxOverflowStrategy.reject))
        await gate.hold(full)
        full.tell("waits")
        system.task_runner.tell(RunTask(give(1), full, "key"))
        letter = await letters.next()
        assert (letter.message, letter.ref) == (TaskCompleted("key", 1), full)
        gate.opened.set()


async def test_a_message_that_is_none_of_its_own_is_unhandled_and_ends_no_task() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.event_stream.tell(EventStreamSubscribe(UnhandledMessage, probe.ref))
        runner: ActorRef[Any] = system.task_runner
        gate = asyncio.Event()
        runner.tell(RunTask(gate.wait(), probe.ref))
        runner.tell("hello")
        assert await probe.next() == UnhandledMessage("hello", runner)
        gate.set()
        assert await probe.next() == TaskCompleted(None, True)


async def test_an_actor_is_told_of_the_results_of_its_tasks_one_at_a_time() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)

        def worker(ctx: ActorContext[str | TaskResult]) -> Behavior[str | TaskResult]:
            async def receive(ctx: ActorContext[str | TaskResult], message: str | TaskResult) -> Any:
                match message:
                    case TaskCompleted(key, result):
                        probe.ref.tell((key, result))
                    case TaskFailed(key, exception):
                        probe.ref.tell((key, repr(exception)))
                    case "go":
                        for key in ("a", "b"):
                            ctx.system.task_runner.tell(RunTask(give(key * 2), ctx.self, key))
                        ctx.system.task_runner.tell(RunTask(fail(KeyError("c")), ctx.self, "c"))
                return Behaviors.same()

            return Behaviors.receive(receive)

        system.spawn(Behaviors.setup(worker)).tell("go")
        assert await probe.take(3) == [("a", "aa"), ("b", "bb"), ("c", "KeyError('c')")]
