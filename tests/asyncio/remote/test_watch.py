"""Rule 5: whoever watches an actor of another process is told of its end, once, after all that it had sent."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from attrs import frozen

from casty_asyncio import ActorContext, ActorRef, Behavior, Behaviors, Terminated

from ..probe import Probe, within
from .kit import conversation_of, echo, listening, looked_up, pair, peers_of, process, proxied, until
from .parcels import Echo, Gone, Halt, Spawn, Watch


@frozen
class Unwatch:
    ref: ActorRef[Any]


class Watcher(Probe):
    """A probe that watches whom it is told to."""

    def behavior(self) -> Behavior[Any]:
        async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            match message:
                case Watch(ref, _):
                    ctx.watch(ref)
                case Unwatch(ref):
                    ctx.unwatch(ref)
                case _:
                    self._come.put_nowait(message)
            return Behaviors.same()

        return Behaviors.receive(receive)

    def watch(self, ref: ActorRef[Any]) -> None:
        self.ref.tell(Watch(ref, self.ref))


def speaking(to: ActorRef[Any], count: int) -> Behavior[Any]:
    """Tells numbers and stops, when it is told anything."""

    def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        for number in range(count):
            to.tell(number)
        return Behaviors.stopped()

    return Behaviors.receive(receive)


async def test_rule_5_a_watcher_is_told_of_the_end_once_after_all_that_the_actor_had_sent() -> None:
    async with pair() as (one, other):
        watcher = Watcher(one, "watcher")
        to_watcher = await looked_up(other, one, "watcher")
        other.spawn(speaking(to_watcher, 500), "there")
        ref = await looked_up(one, other, "there")
        watcher.watch(ref)
        watcher.watch(ref)
        ref.tell("speak")
        assert await watcher.take(501) == [*range(500), Terminated(ref)]
        # The order holds between systems as well: this comes after anything else from there.
        to_watcher.tell("the end")
        assert await watcher.next() == "the end"
        assert await watcher.all() == []
        await until(lambda: not conversation_of(other).watching._watched)
        assert not conversation_of(one).watching._stand_ins


async def test_rule_5_the_end_comes_once_over_broken_connections() -> None:
    async with proxied() as (one, other, proxy):
        watcher = Watcher(one, "watcher")
        to_watcher = await looked_up(other, one, "watcher")
        proxy.cut_after = 5_003
        for number in range(20):
            other.spawn(speaking(to_watcher, 50), f"there-{number}")
            ref = await looked_up(one, other, f"there-{number}")
            watcher.watch(ref)
            ref.tell("speak")
            assert await watcher.take(51) == [*range(50), Terminated(ref)]
        assert proxy.cuts >= 3
        proxy.cut_after = None
        to_watcher.tell("the end")
        assert await watcher.next() == "the end"


async def test_rule_5_an_actor_that_has_stopped_before_is_known_to_have_at_once() -> None:
    async with pair() as (one, other):
        watcher = Watcher(one)
        there = other.spawn(echo(), "there")
        ref = await looked_up(one, other, "there")
        other.stop(there)
        await other.wait_stopped(there)
        for _ in range(2):
            watcher.watch(ref)
            assert await watcher.next() == Terminated(ref)
        await within(one.wait_stopped(ref))


async def test_rule_5_the_end_of_one_actor_is_not_that_of_the_next_of_its_name() -> None:
    async with pair() as (one, other):
        watcher = Watcher(one)
        for _ in range(3):
            there = other.spawn(echo(), "there")
            ref = await looked_up(one, other, "there")
            watcher.watch(ref)
            assert await within(ref.ask("here?")) == "here?"
            other.stop(there)
            assert await watcher.next() == Terminated(ref)
            await other.wait_stopped(there)
        assert await watcher.all() == []


async def test_rule_5_who_does_not_watch_any_more_is_told_nothing_and_who_watches_again_is() -> None:
    async with pair() as (one, other):
        watcher, second = Watcher(one), Watcher(one)
        there = other.spawn(echo(), "there")
        ref = await looked_up(one, other, "there")
        second.watch(ref)
        watcher.watch(ref)
        watcher.ref.tell(Unwatch(ref))
        other.stop(there)
        assert await second.next() == Terminated(ref)
        assert await watcher.all() == []
        there = other.spawn(echo(), "there")
        ref = await looked_up(one, other, "there")
        for _ in range(3):
            watcher.watch(ref)
            watcher.ref.tell(Unwatch(ref))
        watcher.watch(ref)
        other.stop(there)
        assert await watcher.next() == Terminated(ref)
        assert await watcher.all() == []


async def test_rule_5_when_nobody_watches_any_more_the_other_side_is_told_so() -> None:
    async with pair() as (one, other):
        watcher = Watcher(one)
        there = other.spawn(echo(), "there")
        ref = await looked_up(one, other, "there")
        watcher.watch(ref)
        await until(lambda: conversation_of(other).watching._watched)
        watcher.ref.tell(Unwatch(ref))
        await watcher.all()
        conversation_of(one).on_due(0)  # what it looks after every few seconds
        await until(lambda: not conversation_of(other).watching._watched)
        assert not conversation_of(one).watching._stand_ins
        assert not peers_of(one)[0].link._interest
        other.stop(there)
        await other.wait_stopped(there)
        assert await watcher.all() == []


async def test_rule_5_many_watchers_of_one_actor_are_all_told() -> None:
    async with pair() as (one, other), listening() as third:
        there = other.spawn(echo(), "there")
        watchers = [Watcher(system) for system in (one, third) for _ in range(20)]
        for watcher in watchers:
            watcher.watch(await looked_up(watcher.system, other, "there"))
        await until(lambda: len(conversation_of(third).watching._stand_ins) == 1)
        await until(lambda: all(conversation_of(other, place).watching._watched for place in (0, 1)))
        other.stop(there)
        for watcher in watchers:
            assert (await watcher.next()).ref.path == "/there"
            assert await watcher.all() == []


async def test_rule_5_wait_stopped_waits_for_actors_elsewhere() -> None:
    async with pair() as (one, other):
        there = other.spawn(echo(), "there")
        ref = await looked_up(one, other, "there")
        waiting = [asyncio.ensure_future(one.wait_stopped(ref)) for _ in range(3)]
        await until(lambda: conversation_of(other).watching._watched)
        waiting[0].cancel()
        assert not waiting[1].done()
        other.stop(there)
        await within(asyncio.wait(waiting))
        assert [each.cancelled() for each in waiting] == [True, False, False]
        await within(one.wait_stopped(ref))


async def test_rule_5_all_actors_of_a_killed_process_have_ended() -> None:
    async with listening(refused_after=0.05) as system, process() as there:
        watcher = Watcher(system)
        desk = await there.look_up(system, "desk")
        children = [await within(desk.ask(Spawn())) for _ in range(3)]
        for ref in (desk, *children):
            watcher.watch(ref)
        assert await within(desk.ask(Echo("watched"))) == "watched"
        await there.kill()
        assert {each.ref for each in await watcher.take(4)} == {desk, *children}
        assert await watcher.all() == []
        # Whoever comes later is told as well, once it was tried.
        watcher.watch(desk)
        assert await watcher.next() == Terminated(desk)
        await within(system.wait_stopped(children[0]))


async def test_rule_5_all_actors_of_a_process_that_shuts_down_have_ended() -> None:
    async with listening(refused_after=60.0) as system, process() as there:
        watcher = Watcher(system)
        desk = await there.look_up(system, "desk")
        child = await within(desk.ask(Spawn()))
        watcher.watch(desk)
        watcher.watch(child)
        assert await within(desk.ask(Echo("watched"))) == "watched"
        await there.end()
        assert await watcher.take(2) == [Terminated(child), Terminated(desk)]
        watcher.watch(child)
        assert await watcher.next() == Terminated(child)


async def test_rule_5_all_actors_of_a_process_that_is_mute_for_too_long_have_ended() -> None:
    options = {"ping_after": 0.05, "mute_after": 0.15, "lost_after": 0.3, "connect_timeout": 0.2}
    async with listening(**options) as system, process() as there:
        watcher = Watcher(system)
        desk = await there.look_up(system, "desk")
        watcher.watch(desk)
        assert await within(desk.ask(Echo("watched"))) == "watched"
        there.signal(signal.SIGSTOP)
        assert await watcher.next() == Terminated(desk)
        there.signal(signal.SIGCONT)
        # It has not ended after all. It can be asked again, and watched.
        assert await within(desk.ask(Echo("back"), timeout=60.0)) == "back"
        watcher.watch(desk)
        desk.tell(Halt())
        assert await watcher.next() == Terminated(desk)
        assert await watcher.all() == []


async def test_rule_5_a_process_that_is_mute_for_a_short_time_has_not_ended() -> None:
    async with listening(ping_after=0.05, mute_after=0.15) as system, process() as there:
        watcher = Watcher(system)
        desk = await there.look_up(system, "desk")
        watcher.watch(desk)
        assert await within(desk.ask(Echo("watched"))) == "watched"
        there.signal(signal.SIGSTOP)
        await until(lambda: conversation_of(system).peer.link.attached is None)
        there.signal(signal.SIGCONT)
        assert await within(desk.ask(Echo("back"), timeout=60.0)) == "back"
        assert await watcher.all() == []
        desk.tell(Halt())
        assert await watcher.next() == Terminated(desk)


async def test_rule_5_a_process_is_told_of_the_end_of_an_actor_here() -> None:
    async with listening() as system, process() as there:
        here, probe = system.spawn(echo(), "here"), Probe(system)
        desk = await there.look_up(system, "desk")
        desk.tell(Watch(here, probe.ref))
        assert await within(desk.ask(Echo("watched"))) == "watched"
        system.stop(here)
        assert await probe.next() == Gone(here)
        # Of one that had stopped before it was watched as well.
        desk.tell(Watch(here, probe.ref))
        assert await probe.next() == Gone(here)


async def test_rule_5_actors_that_watch_each_other_from_two_systems_are_both_told() -> None:
    async with pair() as (one, other):
        here, there = Watcher(one, "here"), Watcher(other, "there")
        to_there, to_here = await looked_up(one, other, "there"), await looked_up(other, one, "here")
        here.watch(to_there)
        there.watch(to_here)
        await until(lambda: conversation_of(one).watching._watched and conversation_of(other).watching._watched)
        other.stop(there.ref)
        assert await here.next() == Terminated(to_there)
        conversation_of(other).on_due(0)
        await until(lambda: not conversation_of(one).watching.is_used and not conversation_of(other).watching.is_used)


async def test_rule_5_the_end_of_a_watcher_leaves_nothing_behind_there() -> None:
    async with pair() as (one, other):
        watcher = Watcher(one)
        other.spawn(echo(), "there")
        ref = await looked_up(one, other, "there")
        watcher.watch(ref)
        await until(lambda: conversation_of(other).watching._watched)
        one.stop(watcher.ref)
        await one.wait_stopped(watcher.ref)
        conversation_of(one).on_due(0)
        await until(lambda: not conversation_of(other).watching._watched)


async def test_rule_5_a_system_that_shuts_down_has_its_actors_end_first_and_says_so() -> None:
    async with listening() as one:
        watcher = Watcher(one, "watcher")
        async with listening() as other:
            to_watcher = await looked_up(other, one, "watcher")

            def last_words(ctx: ActorContext[Any]) -> None:
                to_watcher.tell("last words")

            other.spawn(Behaviors.with_lifecycle(echo(), post_stop=last_words), "there")
            ref = await looked_up(one, other, "there")
            watcher.watch(ref)
            await until(lambda: conversation_of(other).watching._watched)
        assert await watcher.take(2) == ["last words", Terminated(ref)]
        assert await watcher.all() == []
