"""One node: a sensor that streams its readings, a part of the stations, and perhaps the dispatcher or the monitor.

python -m examples.sensors.node --port 25520 --seed node-1:25520 --sensor temp
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import os
import random
import socket
import time
from contextlib import nullcontext
from typing import Any

from casty_asyncio import (
    Actor,
    ActorSystem,
    AskError,
    Behaviors,
    Context,
    DistributedSystem,
    GetSink,
    GetSource,
    HealthServer,
    RaftConfig,
    ReplicationConfig,
    StreamError,
    run,
    stream_consumer,
    stream_producer,
)

from .messages import (
    DISPATCHER,
    MONITOR,
    SENSORS,
    STATIONS,
    Alert,
    Arrived,
    ConsumeAlerts,
    GetAlerts,
    GetArrived,
    SensorReading,
    WhereAreYou,
    step,
)
from .output import RED, YELLOW, Reporter, painted

RANGES = {"temp": (15.0, 45.0), "humidity": (20.0, 95.0), "pressure": (980.0, 1050.0)}


class Station(Actor[Arrived | GetArrived]):
    """Remembers how many readings of one sensor have arrived. Its state is on two nodes before it answers."""

    def __init__(self, entity_id: str, reporter: Reporter) -> None:
        self.sensor = entity_id
        self.arrived = 0
        self._reporter = reporter

    async def on_start(self) -> None:
        text = f"station {painted(self.sensor, YELLOW)} is here, and knows of {self.arrived} readings"
        self._reporter.say("station", text, sensor=self.sensor, arrived=self.arrived)

    async def receive(self, msg: Arrived | GetArrived, ctx: Context) -> None:
        match msg:
            case Arrived(count):
                self.arrived = max(self.arrived, count)
            case GetArrived():
                ctx.reply(self.arrived)


class Dispatcher(Actor[WhereAreYou]):
    """There is one of it in the whole cluster."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    async def on_start(self) -> None:
        self._reporter.say("dispatcher", "the dispatcher is here")

    async def receive(self, msg: WhereAreYou, ctx: Context) -> None:
        system = ctx.system
        assert isinstance(system, DistributedSystem)
        ctx.reply(system.node_id)


def alert_monitor(reporter: Reporter) -> Any:
    """Consumes the alerts that clients produce. One that comes again, because a stream broke, counts once."""
    seen: dict[Alert, None] = {}

    async def count(ctx: Context, producer: Any) -> int:
        consumer = ctx.spawn(stream_consumer(producer, timeout=30.0))
        source = await ctx.system.ask(consumer, lambda r: GetSource(reply_to=r), timeout=5.0)
        async for alert in source:
            if alert not in seen:
                seen[alert] = None
                text = f"{painted('ALERT', RED)} #{len(seen)} {alert.sensor} {alert.value:.1f} > {alert.threshold:.1f}"
                reporter.say("alert", text, sensor=alert.sensor, number=alert.number)
        return len(seen)

    async def listen(ctx: Context, msg: Any) -> Any:
        match msg:
            case ConsumeAlerts(producer):
                ctx.pipe_to_self(count(ctx, producer), lambda count: count, lambda error: error)
            case GetAlerts(reply_to):
                reply_to.tell(len(seen))
            case int(count_of_all):
                reporter.say("alerts", f"the alerts of a client are complete: {count_of_all}", count=count_of_all)
            case error:
                reporter.say("alerts-failed", f"the alerts of a client broke off: {error}")
        return Behaviors.same()

    return Behaviors.receive(listen)


async def produce(
    system: DistributedSystem, stations: Any, sensor: str, count: int, interval: float, reporter: Reporter
) -> None:
    """Stream the readings of a sensor, and when the stream breaks, those that have not arrived again."""
    for attempt in itertools.count():
        name = f"sensor-{sensor}" if attempt == 0 else f"sensor-{sensor}-{attempt}"
        try:
            await stream(system, stations, sensor, count, interval, reporter, name)
            return
        except (StreamError, AskError) as error:
            reporter.say("sensor-left", f"nobody reads sensor {sensor} any more: {error}", sensor=sensor)
            await asyncio.sleep(0.1)


async def stream(
    system: DistributedSystem,
    stations: Any,
    sensor: str,
    count: int,
    interval: float,
    reporter: Reporter,
    name: str,
) -> None:
    """Stream the readings of a sensor, from the first one that has not arrived."""
    first = await stations[sensor].ask(GetArrived(), timeout=20.0)
    producer = system.spawn(Behaviors.discoverable(stream_producer(), key=SENSORS), name)
    sink = await system.ask(producer, lambda r: GetSink(reply_to=r), timeout=5.0)
    reporter.say("sensor", f"sensor {painted(sensor, YELLOW)} begins with reading {first}", sensor=sensor, first=first)
    # A station that lives on this very node, for now. When the node is killed it is seen on another one.
    own = (name for name in names(sensor) if system.owner_of(STATIONS, name) == system.node_id)
    journal = next(own, f"{sensor}-journal-0")
    low, high = RANGES.get(sensor, (0.0, 100.0))
    for number in range(first, count):
        # Seeded by its number, so that a reading that is produced again is the same one.
        value = round(random.Random(f"{sensor} {number}").uniform(low, high), 2)
        await sink.put(SensorReading(sensor, number, value, time.time(), system.node_id))
        await asyncio.sleep(interval)
        if (number + 1) % step(count) == 0:
            await stations[journal].send(Arrived(number + 1))
            reporter.say("kept", f"station {journal} knows of {number + 1} readings", count=number + 1)
    await sink.complete()
    reporter.say("complete", f"sensor {painted(sensor, YELLOW)} is complete: {count} readings", sensor=sensor)


def names(sensor: str) -> list[str]:
    """Names of stations, so many that some are on every node that has any."""
    return [f"{sensor}-journal-{number}" for number in range(200)]


async def node(args: argparse.Namespace, reporter: Reporter) -> None:
    """Run a node until it is told to end."""
    advertise = socket.gethostname() if args.host == "auto" else args.host
    system = ActorSystem.distributed(
        args.bind_host,
        args.port,
        advertise=advertise,
        seeds=args.seed,
        name="sensors",
        node_id=reporter.who,
        roles=args.role,
        secret=args.secret,
        # Fast enough to watch, and slow enough for a busy machine.
        raft_config=RaftConfig(heartbeat_interval=0.1, election_timeout_min=0.3, election_timeout_max=0.6),
    )
    orchestrators = None if args.health_port is None else HealthServer(system, args.bind_host, args.health_port)
    async with system, orchestrators or nullcontext():
        health = None if orchestrators is None else orchestrators.port
        reporter.say("listening", f"listening on {system.address}", address=str(system.address), health=health)
        await system.wait_for(args.nodes, timeout=60.0)
        reporter.say("joined", f"in a cluster of {len(system.members)}, led by {system.leader_id}")
        stations = await system.spawn(
            Station,
            STATIONS,
            sharded=True,
            num_shards=16,
            replication=ReplicationConfig(factor=3, sync_count=1),
            remember=True,
            reporter=reporter,
        )
        if "dispatch" in args.role:
            await system.spawn(Dispatcher, DISPATCHER, singleton=True, role="dispatch", reporter=reporter)
        if args.alert_monitor:
            system.spawn(Behaviors.discoverable(alert_monitor(reporter), key=MONITOR), "alert-monitor")
        work = asyncio.create_task(produce(system, stations, args.sensor, args.count, args.interval, reporter))
        try:
            await system.serve()
        finally:
            work.cancel()
    reporter.say("ended", "has left the cluster")


def parser() -> argparse.ArgumentParser:
    """What the program can be told."""
    found = argparse.ArgumentParser(prog="python -m examples.sensors.node", description=__doc__.splitlines()[0])
    found.add_argument("--port", type=int, default=25520, help="the port to listen on (default: 25520)")
    found.add_argument("--bind-host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    found.add_argument("--host", default=None, help="what others dial; 'auto' is the name of this machine")
    found.add_argument("--seed", action="append", default=[], help="a node to join through, as host:port")
    found.add_argument("--nodes", type=int, default=3, help="how many nodes to wait for (default: 3)")
    found.add_argument("--node-id", default=None, help="what this node is called (default: the name of this machine)")
    found.add_argument("--role", action="append", default=[], help="a role of this node, such as dispatch")
    found.add_argument("--sensor", default="temp", help="the sensor of this node (default: temp)")
    found.add_argument("--alert-monitor", action="store_true", help="consume the alerts of clients here")
    found.add_argument("--count", type=int, default=200, help="how many readings there are (default: 200)")
    found.add_argument("--interval", type=float, default=0.05, help="seconds between two readings (default: 0.05)")
    found.add_argument(
        "--secret",
        default=os.environ.get("CASTY_SECRET") or None,
        help="what all must know; safer as CASTY_SECRET in the environment, which others cannot read",
    )
    found.add_argument("--health-port", type=int, default=None, help="answer orchestrators over HTTP on this port")
    found.add_argument("--json", action="store_true", help="print one JSON object for each line")
    return found


if __name__ == "__main__":
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.ERROR if arguments.json else logging.WARNING)
    run(node(arguments, Reporter(arguments.node_id or socket.gethostname(), as_json=arguments.json)))
