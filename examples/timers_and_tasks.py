"""Time and work beside the actors: timers, results piped back as messages, blocking calls, and the task runner.

A handler that awaits holds up its own actor, but no other. What takes long is therefore done beside the actor, and
comes back as a message. Run it with `python examples/timers_and_tasks.py`. It prints:

    1. Timers: every 10 ms until cancelled, once after 5 ms, and none that was replaced
      reading 1, reading 2, reading 3, alarm
    2. pipe_to_self: the actor answers others while it waits
      2 under way
      page of 31 letters
      no page: TimeoutError
    3. run_blocking: a function that blocks runs in a thread
      file of 22 letters
    4. Task runner: work that nobody awaits, and how it ended
      TaskCompleted(key='short', result=42)
      TaskFailed(key='bad', exception=TimeoutError())
      TaskCancelled(key='long')
"""

import asyncio
import time
from dataclasses import dataclass

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    CancelTask,
    RunTask,
    TaskResult,
    run,
)


class Sensor(Actor[str]):
    """Answers "watch" with what it saw until the alarm. Its timers end with it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.watcher: ActorRef[str] | None = None

    def receive(self, msg: str, ctx: ActorContext[str]) -> None:
        match msg:
            case "watch":
                self.watcher = ctx.sender  # kept, to answer later
                ctx.tick("readings", "reading", interval=0.01)
            case "reading":
                self.seen.append(f"reading {len(self.seen) + 1}")
                if len(self.seen) == 3:
                    ctx.cancel_schedule("readings")  # nothing more of it arrives after this line
                    ctx.schedule("end", "never", delay=60.0)
                    ctx.schedule("end", "alarm", delay=0.005)  # the same key: replaces the one above
            case _ if self.watcher is not None:
                self.watcher.tell(", ".join([*self.seen, msg]))


@dataclass(frozen=True)
class Fetch:
    url: str
    reply_to: ActorRef[str]


@dataclass(frozen=True)
class GetStatus:
    reply_to: ActorRef[str]


@dataclass(frozen=True)
class Done:  # what the actor tells itself
    text: str
    reply_to: ActorRef[str]


type WorkerMsg = Fetch | GetStatus | Done


async def download(url: str) -> str:
    await asyncio.sleep(0.02)
    if url.endswith("slow"):
        raise TimeoutError
    return f"<p>This is {url}</p>"


def read(url: str) -> str:
    time.sleep(0.02)  # stands for any call that blocks
    return f"This is {url}"


def worker(busy: int = 0) -> Behavior[WorkerMsg]:
    def receive(ctx: ActorContext[WorkerMsg], msg: WorkerMsg) -> Behavior[WorkerMsg]:
        match msg:
            case Fetch(url, to) if url.startswith("file:"):
                ctx.run_blocking(read, url, mapper=lambda text: Done(f"file of {len(text)} letters", to))
                return worker(busy + 1)
            case Fetch(url, to):
                ctx.pipe_to_self(
                    download(url),
                    lambda page: Done(f"page of {len(page)} letters", to),
                    on_failure=lambda error: Done(f"no page: {type(error).__name__}", to),
                )
                return worker(busy + 1)
            case GetStatus(to):
                to.tell(f"{busy} under way")
                return Behaviors.same()
            case Done(text, to):
                to.tell(text)
                return worker(busy - 1)

    return Behaviors.receive(receive)


async def main() -> None:
    async with ActorSystem() as system:
        print("1. Timers: every 10 ms until cancelled, once after 5 ms, and none that was replaced")
        sensor = await system.spawn(Sensor)
        print(f"  {await sensor.ask('watch')}")

        print("2. pipe_to_self: the actor answers others while it waits")
        ref = system.spawn(worker())
        page = asyncio.create_task(system.ask(ref, lambda r: Fetch("http://host/page", r)))
        slow = asyncio.create_task(system.ask(ref, lambda r: Fetch("http://host/slow", r)))
        await asyncio.sleep(0)  # lets the two tasks send their messages first
        print(f"  {await system.ask(ref, GetStatus)}")
        print(f"  {await page}\n  {await slow}")

        print("3. run_blocking: a function that blocks runs in a thread")
        print(f"  {await system.ask(ref, lambda r: Fetch('file:notes.txt', r))}")

        print("4. Task runner: work that nobody awaits, and how it ended")
        outcomes: asyncio.Queue[TaskResult] = asyncio.Queue()

        def note(ctx: ActorContext[TaskResult], result: TaskResult) -> Behavior[TaskResult]:
            outcomes.put_nowait(result)
            return Behaviors.same()

        notes = system.spawn(Behaviors.receive(note))
        runner = system.task_runner  # also under its path: system.lookup("/_task_runner").tell(...)
        for key, work in {"short": asyncio.sleep(0, 42), "bad": download("slow"), "long": asyncio.sleep(60)}.items():
            runner.tell(RunTask(work, reply_to=notes, key=key))
            if key == "long":
                runner.tell(CancelTask(key))
            print(f"  {await outcomes.get()}")


if __name__ == "__main__":
    run(main())
