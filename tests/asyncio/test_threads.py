"""Other threads: the bridge `system.threadsafe`: tell and ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen

from casty_asyncio import (
    ActorContext,
    ActorFailedError,
    ActorRef,
    ActorStoppedError,
    ActorSystem,
    AskTimeoutError,
    Behavior,
    Behaviors,
    Mailbox,
    MailboxOverflowStrategy,
    SystemShutDownError,
    ThreadBridge,
    UsageError,
    WrongThreadError,
)

from .probe import Gate, Probe, within


@frozen
class Get:
    reply_to: ActorRef[str]


def answering() -> Behavior[Any]:
    async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        match message:
            case Get(reply_to):
                reply_to.tell("got")
            case "fail":
                raise ValueError("as asked")
            case "nothing":
                pass
            case "stop":
                return Behaviors.stopped()
            case _:
                await asyncio.sleep(0)
                ctx.reply((message, threading.get_ident()))
        return Behaviors.same()

    return Behaviors.receive(receive)


async def elsewhere(call: Callable[[], Any]) -> Any:
    """Call in another thread, and get what comes out of it."""
    return await within(asyncio.to_thread(call))


# -- the bridge --------------------------------------------------------------------------------------------------------


async def test_a_thread_tells_and_the_handler_runs_in_the_thread_of_the_loop() -> None:
    async with ActorSystem() as system:
        threads: list[int] = []
        done = asyncio.Event()

        async def receive(ctx: ActorContext[str], message: str) -> Behavior[str]:
            threads.append(threading.get_ident())
            done.set()
            return Behaviors.same()

        ref = system.spawn(Behaviors.receive(receive))
        await elsewhere(lambda: system.threadsafe.tell(ref, "hello"))
        await within(done.wait())
        assert threads == [threading.get_ident()]


async def test_a_thread_asks_in_both_styles() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(answering())
        bridge = system.threadsafe
        assert await elsewhere(lambda: bridge.ask(ref, "question")) == ("question", threading.get_ident())
        assert await elsewhere(lambda: bridge.ask_with(ref, lambda r: Get(reply_to=r))) == "got"


async def test_a_thread_may_get_the_bridge_itself() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(answering())
        assert (await elsewhere(lambda: system.threadsafe.ask(ref, "question")))[0] == "question"


async def test_the_messages_of_each_thread_come_in_order_from_many_threads_at_once() -> None:
    threads, count = 8, 200
    async with ActorSystem() as system:
        probe = Probe(system)
        bridge = system.threadsafe
        start = threading.Barrier(threads)

        def work(thread: int) -> None:
            start.wait()
            for number in range(count):
                bridge.tell(probe.ref, (thread, number))

        workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        found = await probe.take(threads * count)
        for worker in workers:
            worker.join()
    for thread in range(threads):
        assert [number for whose, number in found if whose == thread] == list(range(count))


async def test_many_threads_ask_at_once_and_each_gets_its_own_answer() -> None:
    async with ActorSystem() as system:
        refs = [system.spawn(answering()) for _ in range(4)]
        bridge = system.threadsafe

        def work(thread: int) -> list[Any]:
            return [bridge.ask(refs[thread % 4], (thread, number))[0] for number in range(25)]

        found = await within(asyncio.gather(*(asyncio.to_thread(work, thread) for thread in range(8))))
        assert found == [[(thread, number) for number in range(25)] for thread in range(8)]


async def test_a_blocking_function_of_an_actor_may_use_the_bridge() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(answering())
        bridge = system.threadsafe

        def start(ctx: ActorContext[Any]) -> Behavior[Any]:
            ctx.run_blocking(lambda: bridge.ask(ref, "question")[0])
            return probe.behavior()

        system.spawn(Behaviors.setup(start))
        assert await probe.next() == "question"


async def test_a_thread_that_asks_is_told_what_went_wrong() -> None:
    async with ActorSystem() as system:
        bridge = system.threadsafe
        silent, failing = system.spawn(answering(), "silent"), system.spawn(answering(), "failing")
        with pytest.raises(AskTimeoutError, match=r"/silent did not answer str within 0\.01 s"):
            await elsewhere(lambda: bridge.ask(silent, "nothing", timeout=0.01))
        with pytest.raises(ActorFailedError) as caught:
            await elsewhere(lambda: bridge.ask(failing, "fail"))
        assert isinstance(caught.value.__cause__, ValueError)
        with pytest.raises(ActorStoppedError):
            await elsewhere(lambda: bridge.ask(failing, "too late"))


async def test_what_a_mailbox_rejects_is_logged_for_a_tell_and_raised_for_an_ask(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    async with ActorSystem() as system:
        full = system.spawn(gate.behavior(), "full", mailbox=Mailbox(1, MailboxOverflowStrategy.reject))
        await gate.hold(full)
        full.tell("waits")
        bridge = system.threadsafe
        await elsewhere(lambda: bridge.tell(full, "rejected"))
        with pytest.raises(asyncio.QueueFull):
            await elsewhere(lambda: bridge.ask(full, "rejected"))
        assert await gate.open(full, 1) == ["waits"]
    (record,) = caplog.records
    assert "message from another thread: the mailbox of /full" in record.getMessage()


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), None, "1"])
async def test_a_thread_cannot_ask_for_an_impossible_time(timeout: Any) -> None:
    async with ActorSystem() as system:
        ref = system.spawn(answering())
        with pytest.raises(UsageError, match="the timeout of an ask must be a number of seconds"):
            await elsewhere(lambda: system.threadsafe.ask(ref, "question", timeout))


async def test_a_receiver_that_is_no_ref_is_refused_in_the_thread_itself() -> None:
    async with ActorSystem() as system:
        Probe(system, "probe")
        bridge = system.threadsafe
        wrong: Any
        for wrong in ("probe", None, system.lookup("probe")):
            for call in (bridge.tell, bridge.ask):
                with pytest.raises(UsageError, match="the receiver must be an ActorRef"):
                    await elsewhere(lambda call=call, wrong=wrong: call(wrong, "message"))  # type: ignore[misc]


async def test_a_thread_may_begin_the_shutdown() -> None:
    system = ActorSystem()
    system.spawn(answering())
    with pytest.raises(WrongThreadError):
        await elsewhere(system.request_shutdown)
    assert not system.stopping
    await elsewhere(system.threadsafe.request_shutdown)
    await within(system.wait_shutdown())


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_after_the_shutdown_a_tell_is_a_dead_letter_and_an_ask_ends_at_once() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(answering())
        bridge = system.threadsafe
    await elsewhere(lambda: bridge.tell(ref, "too late"))
    with pytest.raises(ActorStoppedError):
        await elsewhere(lambda: bridge.ask(ref, "too late"))
    with pytest.raises(SystemShutDownError):
        await elsewhere(lambda: bridge.ask_with(ref, lambda r: Get(reply_to=r)))
    with pytest.raises(SystemShutDownError):
        await elsewhere(lambda: system.threadsafe)
    assert system.dead_letters == 2


async def test_an_ask_that_waits_when_the_system_stops_ends() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        bridge = system.threadsafe
        asked = asyncio.create_task(elsewhere(lambda: bridge.ask(probe.ref, "question", timeout=1000)))
        assert await probe.next() == "question"
    with pytest.raises(ActorStoppedError):
        await asked


def test_once_the_loop_has_ended_everything_is_refused() -> None:
    async def main() -> tuple[ThreadBridge, ActorRef[Any]]:
        system = ActorSystem()
        bridge, ref = system.threadsafe, system.spawn(answering())
        await ref.ask("begun?")
        await system.shutdown()
        return bridge, ref

    bridge, ref = asyncio.run(main())
    calls: tuple[Callable[[], Any], ...] = (
        lambda: bridge.tell(ref, "too late"),
        lambda: bridge.ask(ref, "too late"),
        lambda: bridge.ask_with(ref, lambda r: Get(reply_to=r)),
    )
    refused: list[Any] = []

    def work() -> None:
        for call in calls:
            with pytest.raises(SystemShutDownError, match="its event loop has ended"):
                call()
            refused.append(call)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    assert len(refused) == len(calls)


def test_a_thread_does_not_wait_for_ever_for_a_loop_that_ends_without_a_shutdown() -> None:
    outcome: list[BaseException] = []
    threads: list[threading.Thread] = []

    async def main() -> None:
        system = ActorSystem()
        probe = Probe(system)
        bridge = system.threadsafe

        def work() -> None:
            try:
                bridge.ask(probe.ref, "question", timeout=1000)
            except BaseException as error:
                outcome.append(error)

        threads.append(threading.Thread(target=work))
        threads[0].start()
        await probe.next()

    asyncio.run(main())
    threads[0].join(5)
    (error,) = outcome
    assert isinstance(error, SystemShutDownError)


def test_a_thread_does_not_wait_for_ever_for_a_loop_that_stands_still() -> None:
    loop = asyncio.new_event_loop()

    async def begin() -> tuple[ActorSystem, ThreadBridge, ActorRef[Any]]:
        system = ActorSystem()
        return system, system.threadsafe, system.spawn(answering(), "frozen")

    system, bridge, ref = loop.run_until_complete(begin())
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            bridge.ask(ref, "question", timeout=0.01)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    (error,) = outcome
    assert isinstance(error, AskTimeoutError)
    assert "/frozen did not answer within 0.01 s" in str(error)
    loop.run_until_complete(system.shutdown())
    loop.close()
