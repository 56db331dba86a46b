"""What the framework logs, and the logger that actors are given."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorSystem,
    Behavior,
    Behaviors,
    Context,
    OneForOneStrategy,
    SupervisionStrategy,
    SupervisorConfig,
)

from .probe import Probe


@contextmanager
def at_level(level: int) -> Iterator[None]:
    logger = logging.getLogger("casty")
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


async def logged(system: ActorSystem, name: str, line: Any) -> None:
    """Have an actor of that name call `line(ctx.log)`."""

    async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        line(ctx.log)
        ctx.reply(None)
        return Behaviors.same()

    await system.spawn(Behaviors.receive(receive), name).ask("go")


# -- ctx.log -----------------------------------------------------------------------------------------------------------


async def test_a_line_of_an_actor_begins_with_its_path_and_the_record_has_it_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ActorSystem("shop") as system:
        await logged(system, "cart", lambda log: log.warning("%d items, %s", 3, "paid"))
    (record,) = caplog.records
    assert record.name == "casty.shop"
    assert record.getMessage() == "/cart: 3 items, paid"
    assert record.__dict__["actor"] == "/cart"


async def test_the_path_of_a_child_is_whole_and_hooks_log_too(caplog: pytest.LogCaptureFixture) -> None:
    class Child(Actor[str]):
        async def on_start(self) -> None:
            self.context.log.warning("here")

        async def receive(self, msg: str, ctx: Context) -> None: ...

    class Parent(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            await ctx.spawn(Child, name="child")
            ctx.reply(None)

    async with ActorSystem() as system:
        await (await system.spawn(Parent, name="parent")).ask("go")
    assert [record.getMessage() for record in caplog.records] == ["/parent/child: here"]


@pytest.mark.parametrize("name", ["50%", "%s", "%d%%", "a%(x)sb"])
async def test_a_per_cent_sign_in_a_name_is_no_place_for_an_argument(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with ActorSystem() as system:
        await logged(system, name, lambda log: (log.error("%d items", 3), log.error("100%")))
    assert [record.getMessage() for record in caplog.records] == [f"/{name}: 3 items", f"/{name}: 100%"]


async def test_a_line_says_where_in_the_application_it_was_written(caplog: pytest.LogCaptureFixture) -> None:
    def line(log: Any) -> None:
        log.warning("here")
        log.log(logging.ERROR, "here")
        log.error("here", stacklevel=1)

    async with ActorSystem() as system:
        await logged(system, "cart", line)
    assert [(record.filename, record.funcName) for record in caplog.records] == [("test_logging.py", "line")] * 3


async def test_extra_fields_and_exceptions_of_the_application_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    def line(log: Any) -> None:
        try:
            raise KeyError("sku")
        except KeyError:
            log.exception("no such thing", extra={"order": 7})

    async with ActorSystem() as system:
        await logged(system, "cart", line)
    (record,) = caplog.records
    assert (record.__dict__["order"], record.__dict__["actor"]) == (7, "/cart")
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


async def test_a_line_below_the_level_is_not_formatted(caplog: pytest.LogCaptureFixture) -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    async with ActorSystem() as system:
        with at_level(logging.WARNING):
            await logged(system, "cart", lambda log: log.info(Costly()))
            await logged(system, "other", lambda log: log.debug("%s", Costly()))
    assert caplog.records == []


# -- what the framework says by itself ---------------------------------------------------------------------------------


def failing(policy: SupervisorConfig) -> Behavior[str]:
    async def receive(ctx: ActorContext[str], message: str) -> Behavior[str]:
        raise ValueError(message)

    return Behaviors.supervise(Behaviors.receive(receive), policy)


async def test_a_restart_is_a_warning_and_a_stop_an_error_each_with_the_traceback_of_the_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ActorSystem() as system:
        ref = system.spawn(failing(OneForOneStrategy(max_restarts=1)), "worker")
        ref.tell("first")
        ref.tell("second")
        await system.wait_stopped(ref)
    restart, stop = caplog.records
    assert (restart.levelno, restart.getMessage()) == (
        logging.WARNING,
        "/worker restarts (restart 1; it may have 1 restarts within 60 s)",
    )
    assert (stop.levelno, stop.getMessage()) == (
        logging.ERROR,
        "/worker stops: it had its 1 restarts within 60 s",
    )
    for record, text in ((restart, "first"), (stop, "second")):
        assert record.__dict__["actor"] == "/worker"
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == text
        trace = record.exc_info[2]
        assert trace is not None
        assert trace.tb_frame.f_code.co_name == "receive"


async def test_a_decider_that_fails_is_named_and_stops_the_actor(caplog: pytest.LogCaptureFixture) -> None:
    def nonsense(error: Exception) -> Any:
        return "restart"

    def broken(error: Exception) -> SupervisionStrategy:
        raise KeyError("oops")

    async with ActorSystem() as system:
        for name, decider in (("nonsense", nonsense), ("broken", broken)):
            ref = system.spawn(failing(OneForOneStrategy(decider=decider)), name)
            ref.tell("message")
            await system.wait_stopped(ref)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("/nonsense stops: its decider failed with TypeError")
    assert "returned 'restart'; it must return a SupervisionStrategy" in lines[0]
    assert lines[1] == "/broken stops: its decider failed with KeyError('oops')"


async def test_a_hook_that_fails_is_named_with_its_actor(caplog: pytest.LogCaptureFixture) -> None:
    async def post_stop(ctx: ActorContext[Any]) -> None:
        raise OSError("disk")

    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(Behaviors.with_lifecycle(probe.behavior(), post_stop=post_stop), "worker")
        ref.tell("begin")
        await probe.next()
        system.stop(ref)
        await system.wait_stopped(ref)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "/worker: its hook post_stop failed")
    assert record.__dict__["actor"] == "/worker"


async def test_an_unhandled_message_is_a_line_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    async with ActorSystem() as system:
        with at_level(logging.DEBUG):
            probe = Probe(system)
            system.spawn(Behaviors.receive(lambda ctx, message: Behaviors.unhandled()), "picky").tell("what?")
            await probe.all()
    assert [record.getMessage() for record in caplog.records if record.name == "casty.casty"] == [
        "/picky does not handle str"
    ]


async def test_an_ordinary_life_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.tick("tick", probe.ref, "tick", 0.001)
        await probe.take(2)
        system.cancel_schedule("tick")
        await probe.all()
        system.stop(probe.ref)
        await system.wait_stopped(probe.ref)
    assert caplog.records == []
