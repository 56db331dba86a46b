"""The arithmetic of timers, on a loop whose clock the test moves: no drift, no burst, one alarm for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from casty_asyncio import ActorRef, ActorSystem
from casty_asyncio.clock import MAX_SECONDS, Clock, Due, can_wait
from casty_asyncio.runtime import Runtime
from casty_asyncio.scheduler import Timers

from .probe import Probe


class HandLoop:
    """An event loop with a clock that is moved by hand, and nothing but alarms."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.alarms: dict[HandAlarm, None] = {}
        self.set_alarms = 0

    def time(self) -> float:
        return self.at

    def call_at(self, when: float, callback: Callable[[], None]) -> HandAlarm:
        self.set_alarms += 1
        alarm = HandAlarm(self, when, callback)
        self.alarms[alarm] = None
        return alarm

    def sleep(self, seconds: float) -> None:
        """Nothing runs for so long; then whatever is overdue does, once each."""
        self.at += seconds
        for alarm in [alarm for alarm in self.alarms if alarm.when <= self.at]:
            if alarm in self.alarms:
                del self.alarms[alarm]
                alarm.callback()

    def run(self, seconds: float) -> None:
        """Let time pass, each alarm ringing in its own instant."""
        end = self.at + seconds
        while self.alarms and (when := min(alarm.when for alarm in self.alarms)) <= end:
            self.at = max(self.at, when)
            self.sleep(0.0)
        self.at = end


class HandAlarm:
    def __init__(self, loop: HandLoop, when: float, callback: Callable[[], None]) -> None:
        self.loop, self.when, self.callback = loop, when, callback

    def cancel(self) -> None:
        self.loop.alarms.pop(self, None)


class Target(ActorRef[Any]):
    """Notes when it is told what."""

    path = "/target"
    address = "casty://test/target"

    def __init__(self, loop: HandLoop, on_tell: Callable[[Any], object] = lambda _: None) -> None:
        self.loop = loop
        self.on_tell = on_tell
        self.told: list[tuple[float, Any]] = []

    def tell(self, message: Any, sender: ActorRef[Any] | None = None) -> None:
        self.told.append((round(self.loop.at - 1000.0, 6), message))
        self.on_tell(message)

    async def ask(self, message: Any, timeout: float = 5.0) -> Any:
        raise AssertionError


class Bench:
    def __init__(self) -> None:
        self.loop = HandLoop()
        self.clock = Clock(cast(asyncio.AbstractEventLoop, self.loop), lambda: None, lambda now: None)
        self.timers = Timers(cast(Runtime, SimpleNamespace(clock=self.clock, check_thread=lambda: None)))
        self.target = Target(self.loop)


def test_ticks_do_not_drift_however_late_each_of_them_is() -> None:
    bench = Bench()
    bench.timers.tick("tick", bench.target, "tick", 1.0)
    for at in (1.4, 2.4, 3.4, 4.4):
        bench.loop.sleep(1000.0 + at - bench.loop.at)
    bench.loop.run(0.6)
    assert [at for at, _ in bench.target.told] == [1.4, 2.4, 3.4, 4.4, 5.0]


def test_a_loop_that_was_blocked_gets_one_tick_and_not_a_burst_and_stays_in_step() -> None:
    bench = Bench()
    bench.timers.tick("tick", bench.target, "tick", 1.0)
    bench.loop.sleep(7.5)
    bench.loop.sleep(0.0)
    bench.loop.sleep(0.0)
    bench.loop.run(2.0)
    assert [at for at, _ in bench.target.told] == [7.5, 8.0, 9.0]


def test_many_thousand_ticks_later_a_tick_is_still_in_step() -> None:
    bench = Bench()
    bench.timers.tick("tick", bench.target, "tick", 0.001)
    bench.loop.run(10.0)
    assert len(bench.target.told) == pytest.approx(10_000, abs=1)
    assert bench.target.told[-1][0] == pytest.approx(10.0, abs=0.0015)


def test_ten_thousand_timers_share_one_alarm() -> None:
    bench = Bench()
    for number in range(10_000):
        bench.timers.schedule(number, bench.target, number, 1.0 + (number * 7919 % 10_000) / 10_000)
    assert len(bench.timers) == len(bench.clock) == 10_000
    assert len(bench.loop.alarms) == 1
    bench.loop.run(3.0)
    assert len(bench.target.told) == 10_000
    assert bench.target.told == sorted(bench.target.told, key=lambda each: each[0])
    assert (len(bench.timers), len(bench.clock), len(bench.loop.alarms)) == (0, 0, 0)


def test_cancelling_ten_thousand_timers_sends_nothing() -> None:
    bench = Bench()
    for number in range(10_000):
        bench.timers.tick(number, bench.target, number, 1.0)
    for number in range(10_000):
        assert bench.timers.cancel(number)
    bench.loop.run(5.0)
    assert bench.target.told == []
    assert len(bench.clock) == 0


def test_a_timer_that_is_cancelled_by_an_earlier_one_of_the_same_instant_sends_nothing() -> None:
    bench = Bench()
    first = Target(bench.loop, lambda _: bench.timers.cancel("second"))
    bench.timers.schedule("first", first, "first", 1.0)
    bench.timers.schedule("second", bench.target, "second", 1.0)
    bench.loop.run(2.0)
    assert (len(first.told), bench.target.told) == (1, [])


def test_a_timer_may_be_replaced_by_its_own_message() -> None:
    bench = Bench()

    def again(message: int) -> None:
        if message < 3:
            bench.timers.schedule("key", target, message + 1, 1.0)

    target = Target(bench.loop, again)
    bench.timers.schedule("key", target, 1, 1.0)
    bench.loop.run(10.0)
    assert target.told == [(1.0, 1), (2.0, 2), (3.0, 3)]
    bench.timers.tick("key", target, 3, 1.0)
    target.on_tell = lambda _: bench.timers.schedule("key", bench.target, "end", 0.0)
    bench.loop.run(5.0)
    assert (len(target.told), len(bench.target.told), len(bench.timers)) == (4, 1, 0)


def test_a_later_timer_does_not_set_the_alarm_again() -> None:
    bench = Bench()
    bench.timers.schedule("soon", bench.target, "soon", 1.0)
    for number in range(100):
        bench.timers.schedule(number, bench.target, number, 2.0 + number)
    assert bench.loop.set_alarms == 1
    bench.timers.schedule("sooner", bench.target, "sooner", 0.5)
    assert (bench.loop.set_alarms, len(bench.loop.alarms)) == (2, 1)


def test_the_clock_goes_on_though_one_of_its_deadlines_raised() -> None:
    class Broken:
        def on_due(self, now: int) -> None:
            raise ZeroDivisionError

    bench = Bench()
    broken: Due = Broken()
    bench.clock.set(broken, 1.0)
    bench.timers.schedule("beside", bench.target, "beside", 1.0)
    with pytest.raises(ZeroDivisionError):
        bench.loop.run(1.0)
    bench.loop.run(1.0)
    assert [message for _, message in bench.target.told] == ["beside"]


@pytest.mark.parametrize("seconds", [0, 0.0, 1e-9, 1, MAX_SECONDS])
def test_the_clock_can_wait_for_any_number_of_seconds_that_people_mean(seconds: float) -> None:
    assert can_wait(seconds)


@pytest.mark.parametrize("seconds", [-1, -1e-9, float("nan"), float("inf"), MAX_SECONDS * 2, None, "1", (), 1j])
def test_the_clock_cannot_wait_for_anything_else(seconds: Any) -> None:
    assert not can_wait(seconds)


async def test_the_longest_and_the_shortest_waits_are_possible_on_a_real_loop() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.schedule("long", probe.ref, "long", MAX_SECONDS)
        system.schedule("short", probe.ref, "short", 1e-9)
        assert await probe.next() == "short"
        assert system.cancel_schedule("long")
