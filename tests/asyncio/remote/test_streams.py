"""Rules 2 and 5 for streams: unchanged code, whose two ends are in different processes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from attrs import frozen

from casty_asyncio import (
    ActorRef,
    ActorSystem,
    Register,
    SinkRef,
    SourceRef,
    StreamClosedError,
    StreamFailedError,
    StreamTimeoutError,
    stream_consumer,
    stream_producer,
)

from .. import test_streams_guides as guides
from ..probe import Probe, within
from ..streams_kit import drain, get_sink, get_source, idle, quiet
from .kit import conversation_of, listening, looked_up, pair, peers_of, process, proxied, seen_from, until
from .parcels import Consume, Echo, Produce

MANY = 10_000


@frozen
class Ends:
    """A stream between two systems."""

    producer: ActorRef[Any]
    consumer: ActorRef[Any]
    sink: SinkRef[Any]
    source: SourceRef[Any]


async def ends(
    upper: ActorSystem, lower: ActorSystem, *, buffer_size: int = 64, demand: int = 16, timeout: float | None = None
) -> Ends:
    """A stream from one system to another."""
    producer = upper.spawn(stream_producer(buffer_size=buffer_size))
    there = await looked_up(lower, upper, producer.path)
    consumer = lower.spawn(stream_consumer(there, initial_demand=demand, timeout=timeout))
    return Ends(producer, consumer, await get_sink(upper, producer), await get_source(lower, consumer))


async def put(sink: SinkRef[Any], count: int) -> None:
    for number in range(count):
        await sink.put(number)
    await sink.complete()


class Split:
    """Stands for the system of a guide: what a producer is spawned in, and what a consumer is, are two systems.

    The refs of producers are those that the other system has of them.
    """

    def __init__(self, upper: ActorSystem, lower: ActorSystem) -> None:
        self._upper = upper
        self._lower = lower
        self._producers: dict[ActorRef[Any], ActorRef[Any]] = {}

    def spawn(self, behavior: Any, name: str) -> ActorRef[Any]:
        """Spawn where the name says."""
        if "producer" not in name:
            consumer: ActorRef[Any] = self._lower.spawn(behavior, name)
            return consumer
        producer: ActorRef[Any] = self._upper.spawn(behavior, name)
        there = seen_from(self._lower, self._upper, producer)
        self._producers[there] = producer
        return there

    def ask(self, ref: ActorRef[Any], build: Any, timeout: float) -> Any:
        """Ask beside the actor: sinks and sources are never sent."""
        if ref in self._producers:
            return self._upper.ask(self._producers[ref], build, timeout)
        return self._lower.ask(ref, build, timeout)

    async def wait_stopped(self, ref: ActorRef[Any]) -> None:
        """Wait from where the consumer is."""
        await self._lower.wait_stopped(ref)


async def test_the_code_of_the_guide_is_the_same_between_two_systems(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        async with pair() as (one, other):
            split: Any = Split(one, other)
            await guides.price_feed(split)
            await guides.early_break(split)
            await until(lambda: all(not len(peer.link.session) for peer in (*peers_of(one), *peers_of(other))))
            assert one.dead_letters == other.dead_letters == 0
    assert capsys.readouterr().out == guides.PRINTED


async def test_sensors_of_another_system_are_listed_and_alerts_stream_back() -> None:
    seen: dict[str, list[float]] = {}
    with quiet():
        async with pair() as (one, other):
            alerts: asyncio.Future[list[guides.Alert]] = asyncio.get_running_loop().create_future()
            monitor = one.spawn(guides.alert_monitor(alerts), "monitor")
            other.receptionist_ref.tell(Register(guides.ALERT_MONITOR_KEY, seen_from(other, one, monitor)))
            for sensor in ("temp", "humidity", "pressure"):
                await guides.push_readings(one, sensor)
            for instance in one.lookup(guides.SENSOR_KEY):
                other.receptionist_ref.tell(Register(guides.SENSOR_KEY, seen_from(other, one, instance.ref)))
            await until(lambda: len(other.lookup(guides.SENSOR_KEY)) == 3)
            await within(guides.collect(other, seen))
            got = await within(alerts)
            assert not other.lookup(guides.SENSOR_KEY)
            assert one.dead_letters == other.dead_letters == 0
    everything = [float(i) for i in range(20)]
    assert seen == {f"sensor@unknown:0 {sensor}": everything for sensor in ("temp", "humidity", "pressure")}
    assert sorted((alert.sensor, alert.value) for alert in got) == [
        (sensor, float(i)) for sensor in ("humidity", "pressure", "temp") for i in range(16, 20)
    ]


# -- one stream --------------------------------------------------------------------------------------------------------


async def test_rule_2_ten_thousand_elements_arrive_in_order_and_the_end_after_them() -> None:
    async with pair() as (one, other):
        stream = await ends(one, other, demand=256)
        putting = asyncio.ensure_future(put(stream.sink, MANY))
        assert await within(drain(stream.source)) == (list(range(MANY)), None)
        await putting
        await within(one.wait_stopped(stream.producer))
        await within(other.wait_stopped(stream.consumer))
        assert one.dead_letters == other.dead_letters == 0


async def test_rule_2_no_element_is_lost_or_repeated_over_many_broken_connections() -> None:
    async with proxied() as (one, other, proxy):
        stream = await ends(one, other, demand=256)
        proxy.cut_after = 5_003
        putting = asyncio.ensure_future(put(stream.sink, MANY))
        assert await within(drain(stream.source)) == (list(range(MANY)), None)
        await putting
        assert proxy.cuts >= 5
        assert one.dead_letters == other.dead_letters == 0


async def test_rule_2_no_element_is_lost_over_a_half_open_connection() -> None:
    async with proxied(ping_after=0.05, mute_after=0.15) as (one, other, proxy):
        stream = await ends(one, other)
        putting = asyncio.ensure_future(put(stream.sink, 300))
        got: list[int] = []

        async def consume() -> None:
            async for element in stream.source:
                got.append(element)
                if element == 100:
                    proxy.swallow()

        await within(consume())
        await putting
        assert got == list(range(300))
        assert one.dead_letters == other.dead_letters == 0


async def test_rule_2_a_slow_consumer_holds_up_the_producer() -> None:
    async with pair() as (one, other):
        stream = await ends(one, other, buffer_size=8, demand=4)
        taken = 0
        accepted = 0

        async def producing() -> None:
            nonlocal accepted
            for number in range(30):
                await stream.sink.put(number)
                accepted += 1
            await stream.sink.complete()

        putting = asyncio.ensure_future(producing())
        async for element in stream.source:
            assert element == taken
            taken += 1
            await until(lambda: not len(peers_of(one)[0].link.session) and not len(peers_of(other)[0].link.session))
            await idle()
            # In the buffer, and in the window: those that were not consumed are no more than both.
            assert accepted <= taken + 8 + 4
        await putting
        assert taken == 30


@pytest.mark.parametrize("how", ["break", "aclose", "cancel", "raise"])
async def test_rule_5_a_consumer_that_leaves_ends_the_producer(how: str) -> None:
    async with pair() as (one, other):
        stream = await ends(one, other, buffer_size=0)
        for number in range(100):
            await stream.sink.put(number)
        got: list[int] = []

        async def consume() -> None:
            async for element in stream.source:
                got.append(element)
                if element == 5:
                    if how == "break":
                        break
                    if how == "raise":
                        raise ZeroDivisionError
                    if how == "cancel":
                        await asyncio.Event().wait()
                    await stream.source.aclose()
                    return

        consuming = asyncio.ensure_future(consume())
        await until(lambda: len(got) == 6)
        if how == "cancel":
            consuming.cancel()
        await asyncio.wait([consuming])
        assert (consuming.cancelled() or type(consuming.exception())) in (True, type(None), ZeroDivisionError)
        del consuming
        await within(one.wait_stopped(stream.producer))
        with pytest.raises(StreamClosedError):
            await stream.sink.put("too late")
        await until(lambda: not len(peers_of(one)[0].link.session))
        assert got == list(range(6))
        assert one.dead_letters == other.dead_letters == 0


async def test_rule_4_a_producer_that_fails_fails_the_consumer_after_its_elements_with_the_cause() -> None:
    async with pair() as (one, other):
        stream = await ends(one, other)
        for number in range(10):
            await stream.sink.put(number)
        await stream.sink.fail(LookupError("no more"))
        got, error = await within(drain(stream.source))
        assert got == list(range(10))
        assert isinstance(error, StreamFailedError)
        assert isinstance(error.__cause__, LookupError)
        assert error.__cause__.args == ("no more",)


async def test_rule_4_a_producer_that_fails_with_what_cannot_be_sent_fails_the_consumer_all_the_same() -> None:
    class LocalError(Exception):
        pass

    async with pair() as (one, other):
        stream = await ends(one, other)
        await stream.sink.put("before")
        await stream.sink.fail(LocalError(threading.Lock()))
        got, error = await within(drain(stream.source))
        assert got == ["before"]
        assert isinstance(error, StreamFailedError)
        assert "LocalError" in str(error)


@pytest.mark.parametrize("window", [1, 16])
async def test_rule_3_an_element_that_cannot_be_sent_fails_the_stream_and_says_which(window: int) -> None:
    async with pair() as (one, other):
        stream = await ends(one, other, demand=window)
        lock = threading.Lock()
        for element in ("before", {"key": lock}, "after"):
            await stream.sink.put(element)
        got, error = await within(drain(stream.source))
        assert got in (["before"], [])
        assert isinstance(error, StreamFailedError)
        assert "lock" in str(error)
        with pytest.raises(StreamClosedError, match="lock"):
            await stream.sink.put("later")
        await within(one.wait_stopped(stream.producer))


async def test_rule_4_a_producer_that_stops_fails_the_consumer() -> None:
    async with pair() as (one, other):
        stream = await ends(one, other)
        await stream.sink.put("only")
        consuming = asyncio.ensure_future(drain(stream.source))
        await until(lambda: not len(peers_of(one)[0].link.session))
        one.stop(stream.producer)
        got, error = await within(consuming)
        assert got == ["only"]
        assert isinstance(error, StreamFailedError)


async def test_rule_4_a_producer_that_is_gone_already_fails_the_consumer() -> None:
    async with pair() as (one, other):
        producer = one.spawn(stream_producer(), "producer")
        there = await looked_up(other, one, "producer")
        one.stop(producer)
        await one.wait_stopped(producer)
        consumer = other.spawn(stream_consumer(there))
        got, error = await within(drain(await get_source(other, consumer)))
        assert got == []
        assert isinstance(error, StreamFailedError)


async def test_rule_4_a_producer_that_falls_silent_is_a_timeout() -> None:
    async with proxied() as (one, other, proxy):
        stream = await ends(one, other, timeout=0.2)
        await stream.sink.put("only")
        consuming = asyncio.ensure_future(drain(stream.source))
        await until(lambda: not len(peers_of(one)[0].link.session))
        proxy.stall()
        got, error = await within(consuming)
        assert got == ["only"]
        assert isinstance(error, StreamTimeoutError)
        proxy.resume()
        await within(one.wait_stopped(stream.producer))


async def test_rule_6_a_stream_to_a_stalled_peer_waits_while_messages_to_it_are_lost() -> None:
    async with proxied(max_queued=256, max_queued_bytes=200_000) as (one, other, proxy):
        stream = await ends(one, other, buffer_size=16, demand=64)
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        consuming = asyncio.ensure_future(drain(stream.source))
        await stream.sink.put(0)
        await until(lambda: not len(peers_of(one)[0].link.session))
        proxy.stall()
        for _ in range(300):
            ref.tell("x")
        putting = asyncio.ensure_future(put_from(stream.sink, 1, 200))
        await idle()
        assert not putting.done()
        proxy.resume()
        await within(putting)
        assert await within(consuming) == (list(range(200)), None)
        assert await probe.next() == "x"


async def test_rule_6_large_elements_wait_for_room_and_none_is_lost() -> None:
    async with proxied(max_queued_bytes=2_000_000) as (one, other, proxy):
        stream = await ends(one, other, buffer_size=4, demand=16)
        consuming = asyncio.ensure_future(drain(stream.source))
        elements = [str(number) * 300_000 for number in range(10)] * 2
        proxy.stall()

        async def putting() -> None:
            for element in elements:
                await stream.sink.put(element)
            await stream.sink.complete()

        task = asyncio.ensure_future(putting())
        await idle()
        proxy.resume()
        await within(task)
        assert await within(consuming) == (elements, None)


async def put_from(sink: SinkRef[Any], first: int, end: int) -> None:
    for number in range(first, end):
        await sink.put(number)
    await sink.complete()


# -- with another process ----------------------------------------------------------------------------------------------


async def test_rule_5_when_the_producers_process_is_killed_the_stream_fails_and_never_completes() -> None:
    async with listening(refused_after=0.05) as system, process() as there:
        desk = await there.look_up(system, "desk")
        producer = await within(desk.ask(Produce(100, ends=False)))
        consumer = system.spawn(stream_consumer(producer))
        source = await get_source(system, consumer)
        got: list[int] = []

        async def consume() -> None:
            async for element in source:
                got.append(element)  # noqa: PERF401 - what came before the failure counts too

        consuming = asyncio.ensure_future(consume())
        await until(lambda: len(got) == 100)
        await there.kill()
        with pytest.raises(StreamFailedError, match="has stopped"):
            await within(consuming)
        assert got == list(range(100))


async def test_rule_5_when_the_producers_process_shuts_down_the_stream_fails() -> None:
    async with listening(refused_after=60.0) as system, process() as there:
        desk = await there.look_up(system, "desk")
        producer = await within(desk.ask(Produce(10, ends=False)))
        source = await get_source(system, system.spawn(stream_consumer(producer)))
        consuming = asyncio.ensure_future(drain(source))
        await until(lambda: not len(peers_of(system)[0].link.session))
        await there.end()
        got, error = await within(consuming)
        assert got == list(range(len(got)))
        assert isinstance(error, StreamFailedError)


async def test_rule_5_when_the_consumers_process_is_killed_the_sink_takes_no_more() -> None:
    async with listening(refused_after=0.05) as system, process() as there:
        probe = Probe(system)
        desk = await there.look_up(system, "desk")
        producer = system.spawn(stream_producer(buffer_size=8))
        sink = await get_sink(system, producer)
        desk.tell(Consume(producer, probe.ref, 4))
        for number in range(20):
            await within(sink.put(number))
            assert await probe.next() == number
        await there.kill()
        with pytest.raises(StreamClosedError):
            await within(put(sink, 1000))
        await within(system.wait_stopped(producer))


async def test_rule_2_a_stream_comes_from_another_process_and_one_goes_there() -> None:
    async with listening() as system, process() as there:
        probe = Probe(system)
        desk = await there.look_up(system, "desk")
        produced = await within(desk.ask(Produce(2_000)))
        source = await get_source(system, system.spawn(stream_consumer(produced, initial_demand=64)))
        producer = system.spawn(stream_producer())
        sink = await get_sink(system, producer)
        desk.tell(Consume(producer, probe.ref, 64))
        putting = asyncio.ensure_future(put(sink, 2_000))
        assert await within(drain(source)) == (list(range(2_000)), None)
        await within(putting)
        assert await probe.take(2_001) == [*range(2_000), "completed"]
        assert await within(desk.ask(Echo("done"))) == "done"
        assert system.dead_letters == 0
        assert not conversation_of(system).asking
