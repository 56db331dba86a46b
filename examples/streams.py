"""A price feed: elements flow only as fast as they are consumed, and leaving the loop ends the stream.

A producer and a consumer are two actors. Beside the producer there is a `SinkRef` to put elements into, beside the
consumer a `SourceRef` to iterate; between them, the consumer asks for elements as it consumes them. Run it with
`python examples/streams.py`. It prints:

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

    ── A failing producer fails its consumer ──
      got 1, 2, then: ConnectionError('the exchange hung up')
"""

import asyncio
from dataclasses import dataclass

from casty_asyncio import (
    ActorSystem,
    GetSink,
    GetSource,
    SinkRef,
    SourceRef,
    StreamFailedError,
    run,
    stream_consumer,
    stream_producer,
)


@dataclass(frozen=True)
class PriceUpdate:
    symbol: str
    price: float


async def price_feed(system: ActorSystem) -> None:
    """Push and consume at the same time: a stream may be endless, and is never held in memory as a whole."""
    # At most 16 elements wait at the producer; at most 2 are under way to the consumer.
    producer = system.spawn(stream_producer(buffer_size=16), "price-producer")
    consumer = system.spawn(stream_consumer(producer, initial_demand=2), "price-consumer")

    sink: SinkRef[PriceUpdate] = await system.ask(producer, lambda r: GetSink(reply_to=r), timeout=5.0)
    source: SourceRef[PriceUpdate] = await system.ask(consumer, lambda r: GetSource(reply_to=r), timeout=5.0)

    async def consume() -> int:
        count = 0
        # Ends normally only when the producer has completed the stream; a lost one raises `StreamFailedError`.
        async for update in source:
            count += 1
            print(f"  #{count} {update.symbol}: ${update.price:.2f}")
        return count

    consume_task = asyncio.create_task(consume())

    print("── Pushing 5 prices into producer ──")
    print("── Consuming via async for (initial_demand=2) ──")
    for price in (142.50, 143.10, 141.80, 144.20, 145.00):
        await sink.put(PriceUpdate("AAPL", price))  # waits here while the buffer is full
    await sink.complete()

    print(f"\n── Stream complete: {await consume_task} prices received ──")


async def early_break(system: ActorSystem) -> None:
    """A consumer that has enough just leaves: `break`, `return`, an exception and a cancellation all do."""
    print("\n── Early break: take 5 from 20 ──")
    producer = system.spawn(stream_producer(buffer_size=32), "num-producer")
    consumer = system.spawn(stream_consumer(producer, initial_demand=4), "num-consumer")
    sink: SinkRef[int] = await system.ask(producer, lambda r: GetSink(reply_to=r), timeout=5.0)
    source: SourceRef[int] = await system.ask(consumer, lambda r: GetSource(reply_to=r), timeout=5.0)

    taken: list[int] = []

    async def take_five() -> None:
        async for value in source:
            taken.append(value)
            if len(taken) >= 5:
                break

    take_task = asyncio.create_task(take_five())
    for i in range(20):
        await sink.put(i)  # there is room for all of them; a sink whose consumer has left raises `StreamClosedError`
    await take_task
    await system.wait_stopped(producer)

    print(f"  Took: {taken}")
    print("  Stream cancelled — producer stopped via StreamCancel")


async def failure(system: ActorSystem) -> None:
    """What was accepted is still delivered; then the loop raises, and never ends as if it were complete."""
    print("\n── A failing producer fails its consumer ──")
    producer = system.spawn(stream_producer())
    consumer = system.spawn(stream_consumer(producer))
    sink: SinkRef[int] = await system.ask(producer, lambda r: GetSink(reply_to=r))
    source: SourceRef[int] = await system.ask(consumer, lambda r: GetSource(reply_to=r))
    for i in (1, 2):
        await sink.put(i)
    await sink.fail(ConnectionError("the exchange hung up"))
    try:
        print("  got ", end="")
        async for value in source:
            print(value, end=", ")
    except StreamFailedError as error:
        print(f"then: {error.__cause__!r}")


async def main() -> None:
    async with ActorSystem() as system:
        await price_feed(system)
        await early_break(system)
        await failure(system)


if __name__ == "__main__":
    run(main())
