"""The program of the guide "Reactive Streams over the Network": its lines, with nodes and a client in one loop."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    ClusterClient,
    DistributedSystem,
    GetSink,
    GetSource,
    ServiceKey,
    SinkRef,
    SourceRef,
    StreamFailedError,
    StreamProducerMsg,
    stream_consumer,
    stream_producer,
)

from ..probe import Probe, within
from .client_kit import PATIENCE, client_of, cluster, crash, linked

log = logging.getLogger(__name__)
MAGENTA = RED = YELLOW = RESET = ""
THRESHOLD = 50.0


@dataclass(frozen=True)
class SensorReading:
    sensor: str
    value: float
    timestamp: float
    node: str


@dataclass(frozen=True)
class Alert:
    sensor: str
    value: float
    threshold: float
    timestamp: float


@dataclass(frozen=True)
class ConsumeAlerts:
    producer: ActorRef[StreamProducerMsg[Alert]]


SENSOR_KEY: ServiceKey[StreamProducerMsg[SensorReading]] = ServiceKey("sensor")
ALERT_MONITOR_KEY: ServiceKey[ConsumeAlerts] = ServiceKey("alert-monitor")


# -- a node ------------------------------------------------------------------------------------------------------------


async def produce(system: ActorSystem, sensor: str, node_name: str, count: int = 20) -> list[SensorReading]:
    lo, hi = 0.0, 100.0
    sent = []
    producer_ref = system.spawn(
        Behaviors.discoverable(stream_producer(), key=SENSOR_KEY),
        f"sensor-{sensor}",
    )
    sink: SinkRef[SensorReading] = await system.ask(producer_ref, lambda r: GetSink(reply_to=r), timeout=5.0)
    for _ in range(count):
        value = round(random.uniform(lo, hi), 2)
        reading = SensorReading(
            sensor=sensor,
            value=value,
            timestamp=time.time(),
            node=node_name,
        )
        await sink.put(reading)
        sent.append(reading)
    await sink.complete()
    return sent


def alert_monitor(system: ActorSystem, seen: asyncio.Queue[list[Alert]]) -> Behavior[ConsumeAlerts]:
    async def consume(producer_ref: ActorRef[StreamProducerMsg[Alert]]) -> None:
        consumer = system.spawn(stream_consumer(producer_ref, timeout=30.0), "alert-consumer")
        source: SourceRef[Alert] = await system.ask(consumer, lambda r: GetSource(reply_to=r), timeout=5.0)
        alerts = []
        count = 0
        async for alert in source:
            count += 1
            log.warning(
                "%sALERT #%d%s  sensor=%s%s%s  value=%.1f  threshold=%.1f",
                RED,
                count,
                RESET,
                YELLOW,
                alert.sensor,
                RESET,
                alert.value,
                alert.threshold,
            )
            alerts.append(alert)
        seen.put_nowait(alerts)

    def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        if isinstance(message, ConsumeAlerts):
            ctx.pipe_to_self(consume(message.producer), lambda _: None)
        return Behaviors.same()

    return Behaviors.receive(receive)


# -- the client --------------------------------------------------------------------------------------------------------


async def consume_sensor(
    source: SourceRef[SensorReading], alert_sink: SinkRef[Alert], sensor_label: str
) -> list[SensorReading]:
    readings = []
    async for reading in source:
        readings.append(reading)
        if reading.value > THRESHOLD:
            await alert_sink.put(Alert(reading.sensor, reading.value, THRESHOLD, reading.timestamp))
    return readings


async def watch(client: ClusterClient, count: int) -> dict[str, list[SensorReading]]:
    # -- Spawn local alert producer and get its SinkRef --
    alert_producer = client.spawn(stream_producer(), "alert-producer")
    alert_sink: SinkRef[Alert] = await client.ask(alert_producer, lambda r: GetSink(reply_to=r), timeout=5.0)

    # -- Discover alert monitor (with retries) --
    for attempt in range(15):
        monitor_listing = client.lookup(ALERT_MONITOR_KEY)
        if monitor_listing and monitor_listing.instances:
            monitor_ref = next(iter(monitor_listing.instances)).ref
            monitor_ref.tell(ConsumeAlerts(producer=alert_producer))
            log.info("%sAlert monitor%s connected", MAGENTA, RESET)
            break
        log.info(
            "Alert monitor not found yet (attempt %d/15), retrying ...",
            attempt + 1,
        )
        await asyncio.sleep(2.0)
    else:
        log.warning("No alert monitor found after 15 attempts")

    producers = await client.wait_for_service(SENSOR_KEY, count)
    tasks = []
    labels = []
    for i, instance in enumerate(producers):
        producer_ref = instance.ref
        consumer_name = f"sensor-consumer-{i}"

        consumer_ref = client.spawn(
            stream_consumer(producer_ref, timeout=10.0),
            consumer_name,
        )
        source: SourceRef[SensorReading] = await client.ask(consumer_ref, lambda r: GetSource(reply_to=r), timeout=5.0)

        node_host = instance.node.host if instance.node else "unknown"
        node_port = instance.node.port if instance.node else 0
        sensor_label = f"sensor@{node_host}:{node_port}"

        task = asyncio.create_task(consume_sensor(source, alert_sink, sensor_label))
        labels.append(sensor_label)
        tasks.append(task)
    found = dict(zip(labels, await asyncio.gather(*tasks), strict=True))
    await alert_sink.complete()
    return found


async def test_the_sensor_pipeline_of_the_guide_streams_both_ways() -> None:
    seen: asyncio.Queue[list[Alert]] = asyncio.Queue()
    async with cluster(3) as systems:
        systems[2].spawn(
            Behaviors.discoverable(alert_monitor(systems[2], seen), key=ALERT_MONITOR_KEY), "alert-monitor"
        )
        async with client_of(systems[0]) as client:
            # The monitor is known before the guide's loop, whose pause would be two seconds.
            await client.wait_for_service(ALERT_MONITOR_KEY)
            producing = [
                asyncio.create_task(produce(system, sensor, system.node_id))
                for system, sensor in zip(systems, ("temp", "humidity", "pressure"), strict=True)
            ]
            async with asyncio.timeout(PATIENCE):
                found = await watch(client, 3)
                sent = await asyncio.gather(*producing)
                alerts = await seen.get()
        assert found == {f"sensor@{system.address}": each for system, each in zip(systems, sent, strict=True)}
        expected = [reading for each in sent for reading in each if reading.value > THRESHOLD]
        assert len(alerts) == len(expected)
        assert {(alert.sensor, alert.timestamp) for alert in alerts} == {(r.sensor, r.timestamp) for r in expected}


# -- what else holds ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def stream_from(
    system: DistributedSystem, client: ClusterClient
) -> AsyncIterator[tuple[SinkRef[int], SourceRef[int]]]:
    """A stream from a node to a client."""
    key: ServiceKey[StreamProducerMsg[int]] = ServiceKey("numbers")
    producer = system.spawn(Behaviors.discoverable(stream_producer(buffer_size=4), key=key), "numbers")
    sink: SinkRef[int] = await system.ask(producer, lambda r: GetSink(reply_to=r))
    (instance,) = await client.wait_for_service(key)
    consumer = client.spawn(stream_consumer(instance.ref, initial_demand=4), "consumer")
    source: SourceRef[int] = await client.ask(consumer, lambda r: GetSource(reply_to=r))
    yield sink, source


async def test_a_stream_through_the_client_keeps_its_demand_and_its_order() -> None:
    async with cluster(1) as (only,), client_of(only) as client, stream_from(only, client) as (sink, source):

        async def fill() -> None:
            for number in range(500):
                await sink.put(number)
            await sink.complete()

        filling = asyncio.create_task(fill())
        async with asyncio.timeout(PATIENCE):
            assert [number async for number in source] == list(range(500))
            await filling


async def test_a_stream_fails_when_its_node_is_gone_and_the_client_goes_on_with_others() -> None:
    async with cluster(3, leave_timeout=0.2) as systems, client_of(systems[0]) as client:
        await linked(client, 3)
        async with stream_from(systems[0], client) as (sink, source):
            numbers = aiter(source)
            await sink.put(1)
            assert await within(anext(numbers)) == 1
            await crash(systems[0])
            with pytest.raises(StreamFailedError):
                await within(anext(numbers))
        probe = Probe(client)
        systems[1].spawn(Behaviors.discoverable(stream_producer(), key=SENSOR_KEY), "another")
        (instance,) = await client.wait_for_service(SENSOR_KEY)
        assert instance.node == systems[1].address
        assert await probe.all() == []


async def test_a_producer_of_the_client_ends_with_the_client() -> None:
    async with cluster(1) as (only,):
        key: ServiceKey[Any] = ServiceKey("taker")
        failed: asyncio.Queue[object] = asyncio.Queue()

        async def take(producer: ActorRef[Any]) -> None:
            consumer = only.spawn(stream_consumer(producer, timeout=30.0), "taking")
            source: SourceRef[int] = await only.ask(consumer, lambda r: GetSource(reply_to=r))
            try:
                async for number in source:
                    failed.put_nowait(number)
            except StreamFailedError as error:
                failed.put_nowait(error)

        def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
            if isinstance(message, ConsumeAlerts):
                ctx.pipe_to_self(take(message.producer), lambda _: None)
            return Behaviors.same()

        only.spawn(Behaviors.discoverable(Behaviors.receive(receive), key=key), "taker")
        async with client_of(only) as client:
            (taker,) = await client.wait_for_service(key)
            producer = client.spawn(stream_producer(), "producer")
            sink: SinkRef[int] = await client.ask(producer, lambda r: GetSink(reply_to=r))
            taker.ref.tell(ConsumeAlerts(producer=producer))
            await sink.put(7)
            assert await within(failed.get()) == 7
        assert isinstance(await within(failed.get()), StreamFailedError)
