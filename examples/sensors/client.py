"""The client outside of the cluster: consumes all sensors, and streams alerts back.

    python -m examples.sensors.client --contact node-1:25520

A sensor whose node dies is found again when the node is back, and goes on with the first reading that has not arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from typing import Any

from casty_asyncio import (
    ActorRef,
    AskError,
    ClusterClient,
    ClusterError,
    ContactError,
    GetSink,
    GetSource,
    SinkRef,
    SourceRef,
    StreamError,
    run,
    stream_consumer,
    stream_producer,
)
from casty_asyncio.streams import StreamProducerMsg

from .messages import (
    DISPATCHER,
    MONITOR,
    SENSORS,
    STATIONS,
    Alert,
    Arrived,
    ConsumeAlerts,
    GetAlerts,
    SensorReading,
    WhereAreYou,
    step,
)
from .output import GREEN, YELLOW, Reporter, painted

THRESHOLDS = {"temp": 40.0, "humidity": 85.0, "pressure": 1040.0}


class AlertFeed:
    """Streams alerts to the monitor. To one that was lost, or has come back, all of them from the beginning."""

    def __init__(self, client: ClusterClient, reporter: Reporter) -> None:
        self.alerts: list[Alert] = []
        self._client = client
        self._reporter = reporter
        self._is_complete = False
        self._news = asyncio.Event()

    def add(self, alert: Alert) -> None:
        """One more. It is on its way to the monitor when this returns, and not with it."""
        self.alerts.append(alert)
        self._news.set()

    def complete(self) -> None:
        """There will be no more."""
        self._is_complete = True
        self._news.set()

    async def run(self) -> None:
        """Stream them until all are with the monitor."""
        while True:
            try:
                if await self._stream():
                    return
            except (StreamError, AskError, ClusterError, TimeoutError) as error:
                self._reporter.say("alerts-again", f"the alert monitor is lost, and is looked for again: {error}")
            await asyncio.sleep(0.1)

    async def _stream(self) -> bool:
        """Stream all alerts to one monitor. Whether it has all of them."""
        listing = await self._client.wait_for_service(MONITOR, timeout=30.0)
        monitor = next(iter(listing)).ref
        producer: ActorRef[StreamProducerMsg[Alert]] = self._client.spawn(stream_producer())
        sink: SinkRef[Alert] = await self._client.ask(producer, lambda r: GetSink(reply_to=r), timeout=5.0)
        monitor.tell(ConsumeAlerts(producer=producer))
        self._reporter.say("monitor", "the alert monitor is connected")
        sent = 0
        while not self._is_complete or sent < len(self.alerts):
            while sent < len(self.alerts):
                async with asyncio.timeout(10.0):
                    await sink.put(self.alerts[sent])
                sent += 1
            if not self._is_complete:
                self._news.clear()
                await self._news.wait()
        await sink.complete()
        async with asyncio.timeout(10.0):
            await self._client.wait_stopped(producer)
        count: int = await self._client.ask(monitor, lambda r: GetAlerts(reply_to=r), timeout=5.0)
        return count == len(self.alerts)


class Pipeline:
    """What one client does."""

    def __init__(self, client: ClusterClient, reporter: Reporter, args: argparse.Namespace) -> None:
        self.client = client
        self.reporter = reporter
        self.count: int = args.count
        self.sensors: int = args.producers
        self.arrived: dict[str, int] = {}
        self.repeated = 0
        self.feed = AlertFeed(client, reporter)
        self.delays: list[float] = []
        self.longest_gap = 0.0

    async def run(self) -> bool:
        """Consume everything. Whether all of it has arrived."""
        feeding = asyncio.create_task(self.feed.run())
        watching = asyncio.create_task(self.watch_dispatcher())
        try:
            async with asyncio.TaskGroup() as group:
                reading: dict[Any, asyncio.Task[None]] = {}
                # A producer that is back after its node has died is another actor, and so another one to read.
                while not self.is_complete:
                    for instance in self.client.lookup(SENSORS).instances:
                        if instance.ref not in reading:
                            name = f"{instance.node}"
                            reading[instance.ref] = group.create_task(self.consume(instance.ref, name))
                    await asyncio.sleep(0.05)
                for each in reading.values():
                    each.cancel()
            self.feed.complete()
            await feeding
        finally:
            watching.cancel()
            feeding.cancel()
        return self.is_complete

    @property
    def is_complete(self) -> bool:
        return len(self.arrived) == self.sensors and all(count == self.count for count in self.arrived.values())

    async def consume(self, producer: Any, where: str) -> None:
        """Read one producer to its end."""
        consumer = self.client.spawn(stream_consumer(producer, timeout=10.0))
        try:
            source: SourceRef[SensorReading] = await self.client.ask(consumer, lambda r: GetSource(reply_to=r))
            number: int | None = None
            async for reading in source:
                if number is not None and reading.number != number + 1:
                    self.reporter.say("gap", f"{reading.sensor}: {reading.number} came after {number}")
                number = reading.number
                await self.take(reading)
        except (StreamError, AskError) as error:
            self.reporter.say("lost", f"the sensor at {where} is lost: {error}", where=where)

    async def take(self, reading: SensorReading) -> None:
        """A reading has come: note it down at its station, which is on two nodes when this returns."""
        expected = self.arrived.get(reading.sensor, 0)
        if reading.number != expected:
            self.repeated += reading.number < expected
            if reading.number > expected:
                self.reporter.say("gap", f"{reading.sensor}: {reading.number} came instead of {expected}")
            return
        self.arrived[reading.sensor] = expected + 1
        self.delays.append(time.time() - reading.timestamp)
        threshold = THRESHOLDS.get(reading.sensor, 90.0)
        if reading.value > threshold:
            self.feed.add(Alert(reading.sensor, reading.number, reading.value, threshold))
        station = self.client.entity_ref(STATIONS, reading.sensor)
        while True:
            try:
                await station.send(Arrived(expected + 1))
                break
            except AskError:
                # Saying it twice does no harm, and the node that had it may be gone.
                await asyncio.sleep(0.05)
        if (expected + 1) % step(self.count) == 0 or expected + 1 == self.count:
            self.reporter.say(
                "progress",
                f"{painted(reading.sensor, YELLOW)}: {expected + 1} of {self.count} readings, from {reading.node}",
                arrived=self.arrived,
            )

    async def watch_dispatcher(self) -> None:
        """Ask the singleton where it is, again and again, and report when it has moved."""
        dispatcher = self.client.singleton_ref(DISPATCHER)
        last, where = time.monotonic(), ""
        while True:
            try:
                now_at = await dispatcher.ask(WhereAreYou(), timeout=1.0)
            except AskError:
                await asyncio.sleep(0.02)
                continue
            gap, last = time.monotonic() - last, time.monotonic()
            self.longest_gap = max(self.longest_gap, gap if where else 0.0)
            if now_at != where:
                if where:
                    text = f"the dispatcher answers from {now_at} now, after {gap:.2f} s without an answer"
                    self.reporter.say("moved", text, node=now_at, gap=gap)
                where = now_at
            await asyncio.sleep(0.05)


async def client(args: argparse.Namespace, reporter: Reporter) -> int:
    """Consume everything, and report how it went. Returns the exit status: 0 if all of it has arrived."""
    contacts = [(host, int(port)) for host, _, port in (each.rpartition(":") for each in args.contact)]
    async with ClusterClient(contact_points=contacts, system_name="sensors", secret=args.secret) as outside:
        pipeline = Pipeline(outside, reporter, args)
        begun = time.monotonic()
        async with asyncio.timeout(args.timeout):
            complete = await pipeline.run()
        seconds = time.monotonic() - begun
        delays = sorted(pipeline.delays)
        reporter.say(
            "result",
            f"{painted('complete', GREEN)}: {sum(pipeline.arrived.values())} readings in {seconds:.1f} s",
            arrived=pipeline.arrived,
            alerts=len(pipeline.feed.alerts),
            repeated=pipeline.repeated,
            seconds=seconds,
            median_ms=1000 * delays[len(delays) // 2],
            longest_gap=pipeline.longest_gap,
        )
    return 0 if complete else 1


def parser() -> argparse.ArgumentParser:
    """What the program can be told."""
    found = argparse.ArgumentParser(prog="python -m examples.sensors.client", description=__doc__.splitlines()[0])
    found.add_argument("--contact", action="append", required=True, help="a node to begin with, as host:port")
    found.add_argument("--producers", type=int, default=3, help="how many sensors there are (default: 3)")
    found.add_argument("--count", type=int, default=200, help="how many readings each has (default: 200)")
    found.add_argument("--timeout", type=float, default=120.0, help="seconds until it gives up (default: 120)")
    found.add_argument(
        "--secret",
        default=os.environ.get("CASTY_SECRET") or None,
        help="what all must know; safer as CASTY_SECRET in the environment, which others cannot read",
    )
    found.add_argument("--json", action="store_true", help="print one JSON object for each line")
    return found


if __name__ == "__main__":
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.ERROR if arguments.json else logging.WARNING)
    try:
        sys.exit(run(client(arguments, Reporter("client", as_json=arguments.json))))
    except ContactError as error:
        sys.exit(f"The client found no cluster: {error}")
