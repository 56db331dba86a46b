"""Timed messages: `system.schedule`, `system.tick`, `/_scheduler`, and the timers of one actor."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    ActorSystem,
    Behavior,
    Behaviors,
    CancelSchedule,
    DeadLetter,
    EventStreamSubscribe,
    Mailbox,
    MailboxOverflowStrategy,
    OneForOneStrategy,
    Reason,
    ScheduleOnce,
    ScheduleTick,
    SupervisorConfig,
    SystemShutDownError,
    UsageError,
)

from .probe import Gate, Marker, Probe, within

WRONG = [-1, -0.001, float("nan"), float("inf"), float("-inf"), 1e300, None, "1", [1], 1j]
"""What is no length of time."""


def timers(system: ActorSystem) -> int:
    assert system._running is not None
    return len(system._running.timers)


# -- once and again ----------------------------------------------------------------------------------------------------


async def test_schedule_sends_once_and_not_before_its_delay() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        began = asyncio.get_running_loop().time()
        system.schedule("timeout", probe.ref, "now", delay=0.02)
        assert await probe.next() == "now"
        # uvloop counts milliseconds.
        assert asyncio.get_running_loop().time() - began >= 0.019
        system.schedule("marker", probe.ref, "end", delay=0.02)
        assert await probe.next() == "end"
        assert timers(system) == 0


async def test_a_delay_of_zero_is_sent_in_the_next_turn_of_the_loop_not_within_the_call() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.schedule("soon", probe.ref, "soon", 0)
        probe.ref.tell("first")
        assert await probe.take(2) == ["first", "soon"]


async def test_timers_fire_in_the_order_of_their_deadlines_not_of_their_making() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        for number in (3, 1, 2):
            system.schedule(str(number), probe.ref, number, number * 0.005)
        assert await probe.take(3) == [1, 2, 3]


async def test_tick_sends_again_and_again_the_first_time_after_one_interval() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        loop = asyncio.get_running_loop()
        began = loop.time()
        system.tick("report", probe.ref, "report", interval=0.01)
        assert await probe.next() == "report"
        assert loop.time() - began >= 0.009
        assert await probe.take(3) == ["report"] * 3
        assert loop.time() - began >= 0.039
        assert timers(system) == 1


async def test_after_cancel_schedule_has_returned_nothing_is_sent() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.tick("tick", probe.ref, "tick", 0.001)
        system.schedule("once", probe.ref, "once", 0.0)
        time.sleep(0.005)  # noqa: ASYNC251 - both are overdue by now
        assert system.cancel_schedule("tick") is True
        assert system.cancel_schedule("once") is True
        system.schedule("end", probe.ref, "end", 0.01)
        assert await probe.next() == "end"


async def test_cancelling_twice_or_too_late_or_what_never_was_is_false() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        assert system.cancel_schedule("nothing") is False
        system.schedule("once", probe.ref, "once", 0.0)
        await probe.next()
        assert system.cancel_schedule("once") is False
        system.tick("tick", probe.ref, "tick", 1.0)
        assert [system.cancel_schedule("tick"), system.cancel_schedule("tick")] == [True, False]


async def test_the_same_key_replaces_what_was_scheduled_under_it_whatever_it_was() -> None:
    async with ActorSystem() as system:
        probe, other = Probe(system), Probe(system)
        system.schedule("key", probe.ref, "schedule", 0.0)
        system.tick("key", probe.ref, "tick", 0.001)
        system.schedule("key", other.ref, "last", 0.003)
        assert await other.next() == "last"
        system.schedule("end", probe.ref, "end", 0.005)
        assert await probe.next() == "end"
        system.schedule("key", probe.ref, "schedule", 0.0)
        system.tick("key", probe.ref, "tick", 0.001)
        assert await probe.take(2) == ["tick", "tick"]
        assert timers(system) == 1


# -- the end of the target and of the system ---------------------------------------------------------------------------


async def test_a_tick_whose_target_has_stopped_is_one_dead_letter_and_then_no_more() -> None:
    async with ActorSystem() as system:
        letters = Probe(system)
        system.event_stream.tell(EventStreamSubscribe(DeadLetter, letters.ref))
        system.event_stream.tell(EventStreamSubscribe(Marker, letters.ref))
        target = Probe(system).ref
        system.tick("tick", target, "tick", 0.002)
        system.stop(target)
        assert await letters.next() == DeadLetter("tick", target, Reason.STOPPED)
        assert timers(system) == 0
        assert await letters.events() == []


async def test_a_message_scheduled_for_an_actor_that_has_stopped_is_a_dead_letter() -> None:
    async with ActorSystem() as system:
        target = Probe(system).ref
        system.schedule("late", target, "late", 0.0)
        system.stop(target)
        probe = Probe(system)
        system.schedule("end", probe.ref, "end", 0.002)
        await probe.next()
        assert system.dead_letters == 1


async def test_a_mailbox_that_rejects_costs_a_tick_and_not_the_timer() -> None:
    gate = Gate()
    async with ActorSystem() as system:
        full = system.spawn(gate.behavior(), mailbox=Mailbox(1, MailboxOverflowStrategy.reject))
        await gate.hold(full)
        full.tell("waiting")
        probe = Probe(system)
        system.tick("full", full, "tick", 0.001)
        system.tick("beside", probe.ref, "tick", 0.001)
        await probe.take(5)
        gate.opened.set()
        assert [await within(gate.handled.get()) for _ in range(3)] == ["held", "waiting", "tick"]


async def test_after_the_shutdown_no_timer_is_left_and_none_can_be_made() -> None:
    system = ActorSystem()
    probe = Probe(system)
    system.tick("tick", probe.ref, "tick", 0.001)
    system.schedule("once", probe.ref, "once", 60.0)
    await system.shutdown()
    assert system._running is not None
    assert len(system._running.clock) == 0
    for call in (system.schedule, system.tick):
        with pytest.raises(SystemShutDownError):
            call("key", probe.ref, "message", 1.0)
    assert system.cancel_schedule("key") is False


# -- by message --------------------------------------------------------------------------------------------------------


async def test_the_scheduler_takes_messages_and_shares_its_keys_with_the_system() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        lookup = system.lookup("/_scheduler")
        assert lookup.ref == system.scheduler
        lookup.tell(ScheduleTick("key", probe.ref, "tick", interval=0.001))
        assert await probe.take(2) == ["tick"] * 2
        lookup.tell(ScheduleOnce("key", probe.ref, "once", delay=0.0))
        async with asyncio.timeout(5):
            while await probe.next() != "once":
                pass
        lookup.tell(ScheduleOnce("key", probe.ref, "never", delay=0.01))
        lookup.tell(CancelSchedule("key"))
        system.schedule("end", probe.ref, "end", 0.02)
        assert await probe.next() == "end"


async def test_a_message_that_is_none_of_the_schedulers_does_not_end_it() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.scheduler.tell("hello")  # type: ignore[arg-type]
        system.scheduler.tell(ScheduleOnce("key", probe.ref, "once", 0.0))
        assert await probe.next() == "once"


# -- wrong arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", WRONG, ids=repr)
async def test_what_is_no_length_of_time_is_refused_at_once_and_changes_nothing(value: Any) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.tick("key", probe.ref, "kept", 0.001)
        wants = "must be a number of seconds, .* not"
        with pytest.raises(UsageError, match=rf"schedule\('key'\): the delay {wants}"):
            system.schedule("key", probe.ref, "wrong", value)
        with pytest.raises(UsageError, match=rf"tick\('key'\): the interval {wants}"):
            system.tick("key", probe.ref, "wrong", value)
        with pytest.raises(UsageError, match=rf"ScheduleOnce.delay {wants}"):
            ScheduleOnce("key", probe.ref, "wrong", value)
        with pytest.raises(UsageError, match=rf"ScheduleTick.interval {wants}"):
            ScheduleTick("key", probe.ref, "wrong", value)
        assert await probe.take(2) == ["kept"] * 2


async def test_an_interval_of_zero_is_refused() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        for zero in (0, 0.0, -0.0):
            with pytest.raises(UsageError, match="more than 0"):
                system.tick("key", probe.ref, "wrong", zero)
            with pytest.raises(UsageError, match="more than 0"):
                ScheduleTick("key", probe.ref, "wrong", zero)
        assert timers(system) == 0


async def test_a_target_that_is_no_ref_and_a_key_that_cannot_be_hashed_are_refused() -> None:
    async with ActorSystem() as system:
        probe = Probe(system, "probe")
        wrong: Any
        for wrong in ("probe", None, system.lookup("probe"), probe.behavior(), Probe):
            with pytest.raises(UsageError, match=r"schedule\('key'\): the target must be an ActorRef"):
                system.schedule("key", wrong, "message", 0.0)
            with pytest.raises(UsageError, match=r"ScheduleTick.target must be an ActorRef"):
                ScheduleTick("key", wrong, "message", 1.0)
        unhashable: Any = []
        with pytest.raises(UsageError, match=r"tick: the key .* cannot be hashed"):
            system.tick(unhashable, probe.ref, "message", 1.0)
        with pytest.raises(UsageError, match=r"cannot be hashed"):
            system.cancel_schedule(unhashable)
        assert timers(system) == 0


# -- the timers of one actor -------------------------------------------------------------------------------------------


def clockwork(probe: Probe) -> Behavior[str]:
    """Starts timers when told to, and passes everything else on."""

    async def receive(ctx: ActorContext[str], message: str) -> Behavior[str]:
        match message:
            case "tick":
                ctx.tick("key", "ticked", 0.001)
            case "once":
                ctx.schedule("key", "happened", 0.003)
            case "both":
                ctx.schedule("long", "never", 0.01)
                ctx.tick("key", "ticked", 0.001)
            case "cancel":
                probe.ref.tell(ctx.cancel_schedule("key"))
            case "fail":
                raise ValueError("as asked")
            case _:
                probe.ref.tell(message)
        return Behaviors.same()

    return Behaviors.supervise(Behaviors.receive(receive), OneForOneStrategy())


async def test_an_actor_has_timers_of_its_own_whose_keys_meet_nobody_elses() -> None:
    async with ActorSystem() as system:
        probe, other = Probe(system), Probe(system)
        one, two = system.spawn(clockwork(probe)), system.spawn(clockwork(other))
        system.schedule("key", probe.ref, "system", 60.0)
        one.tell("once")
        two.tell("once")
        assert await probe.next() == "happened"
        assert await other.next() == "happened"
        assert system.cancel_schedule("key") is True


async def test_an_actor_replaces_and_cancels_its_timers_by_key() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(clockwork(probe))
        for message in ("tick", "once"):
            ref.tell(message)
        assert await probe.next() == "happened"
        for message in ("cancel", "tick", "cancel", "cancel"):
            ref.tell(message)
        assert await probe.take(3) == [False, True, False]
        system.schedule("end", probe.ref, "end", 0.01)
        assert await probe.next() == "end"


@pytest.mark.parametrize("how", ["restart", "stop"])
async def test_the_timers_of_an_actor_end_with_it_and_with_a_restart(how: str) -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(clockwork(probe))
        ref.tell("both")
        await probe.take(2)
        if how == "stop":
            system.stop(ref)
            await system.wait_stopped(ref)
        else:
            ref.tell("fail")
            ref.tell("restarted")
            async with asyncio.timeout(5):
                while await probe.next() != "restarted":
                    pass
        await probe.all()
        # A tick that was in the mailbox when the actor stopped is a dead letter.
        lost = system.dead_letters
        system.schedule("end", probe.ref, "end", 0.02)
        assert await probe.next() == "end"
        assert system.dead_letters == lost


async def test_the_timers_of_an_actor_that_backs_off_do_not_go_on_meanwhile() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        ref = system.spawn(clockwork(probe), supervision=SupervisorConfig(backoff_initial=0.03, jitter=0.0))
        ref.tell("tick")
        await probe.next()
        ref.tell("fail")
        ref.tell("restarted")
        await probe.until("restarted")
        assert await probe.all() == []


async def test_a_timer_that_has_fired_leaves_nothing_behind_in_its_actor() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)

        async def receive(ctx: ActorContext[int], number: int) -> Behavior[int]:
            if number:
                ctx.schedule(f"key-{number}", number - 1, 0.0)
            else:
                probe.ref.tell(len(ctx._own_timers()))
            return Behaviors.same()

        system.spawn(Behaviors.receive(receive)).tell(50)
        assert await probe.next() == 0


async def test_an_actors_timers_refuse_what_the_systems_refuse() -> None:
    async with ActorSystem() as system:

        async def receive(ctx: ActorContext[Any], value: Any) -> Behavior[Any]:
            with pytest.raises(UsageError, match=r"schedule\('key'\): the delay"):
                ctx.schedule("key", "message", value)
            with pytest.raises(UsageError, match=r"tick\('key'\): the interval"):
                ctx.tick("key", "message", value)
            ctx.reply("refused")
            return Behaviors.same()

        ref = system.spawn(Behaviors.receive(receive))
        for value in WRONG:
            assert await ref.ask(value) == "refused"
