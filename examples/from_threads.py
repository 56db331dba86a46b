"""From other threads: blocking code tells and asks actors through a bridge, while the event loop goes on.

Two threads measure, each with blocking calls, and report to one actor; a third asks it for the result and blocks until
it is there. The actor needs no lock. Run it with `python examples/from_threads.py`. It prints:

    2 threads sent 2000 measurements, the actor has handled 2000
    their sum is 999000
    each thread's came in the order sent: True
    in the loop's own thread the bridge refuses: WrongThreadError
"""

import asyncio
import threading
from dataclasses import dataclass

from casty_asyncio import Actor, ActorRef, ActorSystem, Context, ThreadBridge, WrongThreadError, run

PER_THREAD = 1000


@dataclass(frozen=True)
class Measured:
    thread: str
    value: int


@dataclass(frozen=True)
class GetSummary:
    """Answered with a `Summary`."""


@dataclass(frozen=True)
class Summary:
    count: int
    total: int
    in_order: bool


type StatisticsMsg = Measured | GetSummary


class Statistics(Actor[StatisticsMsg]):
    def __init__(self) -> None:
        self.values: dict[str, list[int]] = {}

    def receive(self, msg: StatisticsMsg, ctx: Context) -> None:
        match msg:
            case Measured(thread, value):
                self.values.setdefault(thread, []).append(value)
            case GetSummary():
                series = self.values.values()
                in_order = all(each == sorted(each) for each in series)
                ctx.reply(Summary(sum(map(len, series)), sum(map(sum, series)), in_order))


def measure(bridge: ThreadBridge, statistics: ActorRef[StatisticsMsg]) -> None:
    """Runs in a thread of its own. Knows nothing of asyncio."""
    for value in range(PER_THREAD):
        bridge.tell(statistics, Measured(threading.current_thread().name, value))


def blocking_program(bridge: ThreadBridge, statistics: ActorRef[StatisticsMsg]) -> Summary:
    """The part of an application that is not asynchronous."""
    threads = [threading.Thread(target=measure, args=(bridge, statistics), name=name) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Blocks this thread until the answer is there. Raises what `await ref.ask(...)` raises.
    summary: Summary = bridge.ask(statistics, GetSummary(), timeout=5.0)
    return summary


async def main() -> None:
    async with ActorSystem() as system:
        statistics: ActorRef[StatisticsMsg] = await system.spawn(Statistics, "statistics")
        bridge = system.threadsafe  # taken in the thread of the loop, then handed over

        summary = await asyncio.to_thread(blocking_program, bridge, statistics)
        print(f"2 threads sent {2 * PER_THREAD} measurements, the actor has handled {summary.count}")
        print(f"their sum is {summary.total}")
        print(f"each thread's came in the order sent: {summary.in_order}")

        # Blocking the loop that has to answer would be a deadlock, so it is an error. The other way round, a ref is not
        # for other threads: they use the bridge for all that they send.
        try:
            bridge.ask(statistics, GetSummary())
        except WrongThreadError as error:
            print(f"in the loop's own thread the bridge refuses: {type(error).__name__}")


if __name__ == "__main__":
    run(main())
