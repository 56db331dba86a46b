"""The guides' programs print what the guides say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import frozen

from casty_asyncio import (
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    GetSink,
    GetSource,
    ServiceKey,
    SinkRef,
    SourceRef,
    StreamProducerMsg,
    stream_consumer,
    stream_producer,
)

from .streams_kit import quiet


@frozen
class PriceUpdate:
    symbol: str
    price: float


async def price_feed(system: ActorSystem) -> None:
    prices = [142.50, 143.10, 141.80, 144.20, 145.00]
    producer = system.spawn(stream_producer(buffer_size=16), "price-producer")
    consumer = system.spawn(stream_consumer(producer, initial_demand=2), "price-consumer")
    await asyncio.sleep(0.05)

    sink: SinkRef[PriceUpdate] = await system.ask(producer, lambda r: GetSink(reply_to=r), timeout=5.0)
    source: SourceRef[PriceUpdate] = await system.ask(consumer, lambda r: GetSource(reply_to=r), timeout=5.0)

    async def consume() -> int:
        count = 0
        async for update in source:
            count += 1
            print(f"  #{count} {update.symbol}: ${update.price:.2f}")
        return count

    consume_task = asyncio.create_task(consume())

    print("── Pushing 5 prices into producer ──")
    print("── Consuming via async for (initial_demand=2) ──")
    for price in prices:
        await sink.put(PriceUpdate(symbol="AAPL", price=price))
    await sink.complete()

    count = await consume_task
    print(f"\n── Stream complete: {count} prices received ──")


async def early_break(system: ActorSystem) -> None:
    print("\n── Early break: take 5 from 20 ──")

    producer2 = system.spawn(stream_producer(buffer_size=32), "num-producer")
    consumer2 = system.spawn(stream_consumer(producer2, initial_demand=4), "num-consumer")
    await asyncio.sleep(0.05)

    sink2: SinkRef[int] = await system.ask(producer2, lambda r: GetSink(reply_to=r), timeout=5.0)
    source2: SourceRef[int] = await system.ask(consumer2, lambda r: GetSource(reply_to=r), timeout=5.0)

    taken: list[int] = []

    async def take_five() -> None:
        async for value in source2:
            taken.append(value)
            if len(taken) >= 5:
                break

    take_task = asyncio.create_task(take_five())

    for i in range(20):
        await sink2.put(i)

    await take_task

    print(f"  Took: {taken}")
    print("  Stream cancelled — producer stopped via StreamCancel")

    await system.wait_stopped(producer2)
    await system.wait_stopped(consumer2)


PRINTED = """\
── Pushing 5 prices into producer ──
── Consuming via async for (initial_demand=2) ──
  #1 AAPL: $142.50
  #2 AAPL: $143.10
  #3 AAPL: $141.80
  #4 AAPL: $144.20
  #5 AAPL: $145.00

── Stream complete: 5 prices received ──

── Early break: take 5 from 20 ──
  Took: [0, 1, 2, 3, 4]
  Stream cancelled — producer stopped via StreamCancel
"""


async def test_the_price_feed_and_the_early_break_print_what_the_guide_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with quiet():
        async with ActorSystem() as system:
            await price_feed(system)
            await early_break(system)
        assert system.dead_letters == 0
    assert capsys.readouterr().out == PRINTED


# -- sensors, and alerts that stream back ------------------------------------------------------------------------------


@frozen
class SensorReading:
    sensor: str
    value: float
    timestamp: float
    node: str


@frozen
class Alert:
    sensor: str
    value: float
    threshold: float
    timestamp: float


@frozen
class ConsumeAlerts:
    producer: ActorRef[StreamProducerMsg[Alert]]


SENSOR_KEY: ServiceKey[StreamProducerMsg[SensorReading]] = ServiceKey("sensor")
ALERT_MONITOR_KEY: ServiceKey[ConsumeAlerts] = ServiceKey("alert-monitor")
THRESHOLD = 15.0


async def push_readings(system: ActorSystem, sensor: str) -> None:
    producer_ref = system.spawn(Behaviors.discoverable(stream_producer(), key=SENSOR_KEY), f"sensor-{sensor}")
    sink: SinkRef[SensorReading] = await system.ask(producer_ref, lambda r: GetSink(reply_to=r), timeout=5.0)
    for i in range(20):
        await sink.put(SensorReading(sensor=sensor, value=float(i), timestamp=0.0, node="node-1"))
    await sink.complete()


async def consume_sensor(
    source: SourceRef[SensorReading], alert_sink: SinkRef[Alert], label: str, seen: dict[str, list[float]]
) -> None:
    async for reading in source:
        seen.setdefault(f"{label} {reading.sensor}", []).append(reading.value)
        if reading.value > THRESHOLD:
            await alert_sink.put(
                Alert(sensor=reading.sensor, value=reading.value, threshold=THRESHOLD, timestamp=reading.timestamp)
            )


async def monitor(system: ActorSystem, producer_ref: ActorRef[StreamProducerMsg[Alert]]) -> list[Alert]:
    consumer = system.spawn(stream_consumer(producer_ref, timeout=30.0), "alert-consumer")
    source: SourceRef[Alert] = await system.ask(consumer, lambda r: GetSource(reply_to=r), timeout=5.0)
    return [alert async for alert in source]


def alert_monitor(alerts: asyncio.Future[list[Alert]]) -> Behavior[Any]:
    def receive(ctx: ActorContext[Any], message: ConsumeAlerts | list[Alert]) -> Behavior[Any]:
        match message:
            case ConsumeAlerts(producer):
                ctx.pipe_to_self(monitor(ctx.system, producer))
            case list():
                alerts.set_result(message)
        return Behaviors.same()

    return Behaviors.receive(receive)


async def collect(system: ActorSystem, seen: dict[str, list[float]]) -> None:
    """The external client: everything that the sensors say, and alerts in the other direction."""
    alert_producer = system.spawn(stream_producer(), "alert-producer")
    alert_sink: SinkRef[Alert] = await system.ask(alert_producer, lambda r: GetSink(reply_to=r), timeout=5.0)
    monitor_listing = system.lookup(ALERT_MONITOR_KEY)
    assert monitor_listing
    next(iter(monitor_listing.instances)).ref.tell(ConsumeAlerts(producer=alert_producer))

    sensors = system.lookup(SENSOR_KEY)
    async with asyncio.TaskGroup() as tasks:
        for i, instance in enumerate(sensors.instances):
            consumer_ref = system.spawn(stream_consumer(instance.ref, timeout=10.0), f"sensor-consumer-{i}")
            source: SourceRef[SensorReading] = await system.ask(
                consumer_ref, lambda r: GetSource(reply_to=r), timeout=5.0
            )
            node_host = instance.node.host if instance.node else "unknown"
            node_port = instance.node.port if instance.node else 0
            tasks.create_task(consume_sensor(source, alert_sink, f"sensor@{node_host}:{node_port}", seen))
    await alert_sink.complete()
    for instance in sensors.instances:
        await system.wait_stopped(instance.ref)


async def test_sensors_are_found_by_their_key_and_alerts_stream_back() -> None:
    seen: dict[str, list[float]] = {}
    with quiet():
        async with ActorSystem() as system:
            alerts: asyncio.Future[list[Alert]] = asyncio.get_running_loop().create_future()
            system.spawn(Behaviors.discoverable(alert_monitor(alerts), key=ALERT_MONITOR_KEY), "monitor")
            for sensor in ("temp", "humidity", "pressure"):
                await push_readings(system, sensor)
            assert len(system.lookup(SENSOR_KEY)) == 3
            await collect(system, seen)
            got = await alerts
            assert not system.lookup(SENSOR_KEY), "a producer whose stream has ended is no longer listed"
            assert system.dead_letters == 0
    everything = [float(i) for i in range(20)]
    assert seen == {f"sensor@unknown:0 {sensor}": everything for sensor in ("temp", "humidity", "pressure")}
    assert sorted((alert.sensor, alert.value) for alert in got) == [
        (sensor, float(i)) for sensor in ("humidity", "pressure", "temp") for i in range(16, 20)
    ]
