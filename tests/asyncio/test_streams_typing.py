"""The types of streams under `mypy --strict`: the guides' lines are right, and lines that mix things up are wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from dataclasses import dataclass

from casty_asyncio import (
    ActorRef,
    ActorSystem,
    Behaviors,
    CompleteStream,
    FailStream,
    GetSink,
    GetSource,
    ServiceKey,
    SinkRef,
    SourceRef,
    StreamConsumerMsg,
    StreamProducerMsg,
    stream_consumer,
    stream_producer,
)


@dataclass(frozen=True)
class PriceUpdate:
    symbol: str
    price: float


@dataclass(frozen=True)
class Alert:
    sensor: str


@dataclass(frozen=True)
class ConsumeAlerts:
    producer: ActorRef[StreamProducerMsg[Alert]]


PRICES: ServiceKey[StreamProducerMsg[PriceUpdate]] = ServiceKey("prices")
MONITOR: ServiceKey[ConsumeAlerts] = ServiceKey("alert-monitor")


async def guide(system: ActorSystem) -> None:
    producer = system.spawn(stream_producer(buffer_size=16), "price-producer")
    consumer = system.spawn(stream_consumer(producer, initial_demand=2), "price-consumer")
    sink: SinkRef[PriceUpdate] = await system.ask(producer, lambda r: GetSink(reply_to=r), timeout=5.0)
    source: SourceRef[PriceUpdate] = await system.ask(consumer, lambda r: GetSource(reply_to=r), timeout=5.0)
    await sink.put(PriceUpdate(symbol="AAPL", price=1.0))
    await sink.put("AAPL")  # wrong
    async for update in source:
        print(f"{update.symbol}: ${update.price:.2f}")
        print(update.volume)  # wrong
    source.put(1)  # wrong
    await sink.complete()
    await sink.fail(ValueError("wet"))
    await sink.fail("wet")  # wrong


async def network(system: ActorSystem) -> None:
    producer_ref = system.spawn(Behaviors.discoverable(stream_producer(), key=PRICES), "prices")
    sink: SinkRef[PriceUpdate] = await system.ask(producer_ref, lambda r: GetSink(reply_to=r), timeout=5.0)
    alert_producer = system.spawn(stream_producer(), "alert-producer")
    for instance in system.lookup(MONITOR).instances:
        instance.ref.tell(ConsumeAlerts(producer=alert_producer))
        instance.ref.tell(alert_producer)  # wrong
    for found in system.lookup(PRICES).instances:
        consumer_ref = system.spawn(stream_consumer(found.ref, timeout=10.0))
        source: SourceRef[PriceUpdate] = await system.ask(consumer_ref, lambda r: GetSource(reply_to=r), timeout=5.0)
        async for update in source:
            print(update.symbol)
            print(update.sensor)  # wrong


def mixed_up(
    producer: ActorRef[StreamProducerMsg[Alert]],
    consumer: ActorRef[StreamConsumerMsg[Alert]],
    alerts: ActorRef[SinkRef[Alert]],
    prices: ActorRef[SinkRef[PriceUpdate]],
) -> None:
    producer.tell(CompleteStream())
    producer.tell(FailStream(ValueError("wet")))
    producer.tell(GetSink(reply_to=alerts))
    producer.tell(GetSink(reply_to=prices))  # wrong
    producer.tell("complete")  # wrong
    consumer.tell(CompleteStream())  # wrong
    stream_consumer(consumer)  # wrong
    stream_consumer(producer, initial_demand="2")  # wrong
    stream_producer(16, 1.0)  # wrong
"""


def test_right_lines_pass_and_wrong_lines_do_not(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    root = Path(__file__).parents[2]
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    flags = ["--strict", "--config-file=", f"--cache-dir={root / '.mypy_cache' / 'snippets'}", "--no-error-summary"]
    # In a process of its own: what mypy leaves on the heap would slow down every collection of the tests after this.
    command = [sys.executable, "-m", "mypy", *flags, "--show-absolute-path", str(program)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert not done.stderr
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    wrong = {number for number, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# wrong")}
    assert found == wrong, done.stdout
