"""Counts the words of real files with a pool of actors that crash on purpose, and proves that the count is exact.

    python examples/word_count.py                        the sources of this project
    python examples/word_count.py book.txt notes/        any text files and folders

It shows its progress, the most frequent words, and what happened. At the end it counts again in plain Python: it exits
with 0 if both counts agree word for word, and with 1 if not. `--crash-rate 0.5` lets half of the attempts crash.

    files -> read() -> SinkRef, producer == demand-driven stream ==> consumer, SourceRef -> count() -> WordCounter 1..n

Why nothing is lost and nothing counted twice, although workers die at any moment:

1.  A worker keeps no counts. Its only effect is its reply, and an ask has one reply or none: the reply is the commit.
2.  When it crashes before the reply, the ask fails at once. Nothing was counted, so the batch is sent again.
3.  When it crashes after the reply, the ask has succeeded. The batch is counted, and is not sent again.
4.  Supervision gives the worker a new start. Its ref stays valid, and what is sent to it meanwhile waits.
5.  The stream delivers every batch once, and no faster than workers become free, so memory stays small.

All actors share one event loop: the pool is there to be robust, not to be faster than one core.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Literal

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorFailedError,
    ActorRef,
    ActorRestarted,
    ActorSystem,
    AskTimeoutError,
    EventStreamPublish,
    EventStreamSubscribe,
    GetSink,
    GetSource,
    SinkRef,
    SourceRef,
    StreamClosedError,
    SupervisionStrategy,
    run,
    stream_consumer,
    stream_producer,
    supervised,
)

ROOT = Path(__file__).resolve().parent.parent
WORD = re.compile(r"[^\W\d_]+")  # letters of any alphabet
LINES_PER_BATCH = 2  # few, so that there is much to go wrong
BEFORE, AFTER, LATE = MOMENTS = ("before counting", "after counting", "after the reply")
type Counts = Counter[str]


# -- the workers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """Some lines of the `file`-th file. Answered with the counts of their words, a `Counter[str]`."""

    number: int
    file: int
    lines: tuple[str, ...]
    attempt: int = 0


class CrashOnPurposeError(Exception):
    """A worker dies. The argument says when."""


def decide(error: Exception) -> SupervisionStrategy:
    # A bug would fail on the same batch for ever. It stops its worker, and with that the program.
    return SupervisionStrategy.RESTART if isinstance(error, CrashOnPurposeError) else SupervisionStrategy.STOP


# Any number of restarts, each after 5 ms.
@supervised(max_restarts=None, backoff_initial=0.005, backoff_multiplier=1.0, decider=decide)
class WordCounter(Actor[Batch]):
    def __init__(self, crash_rate: float, seed: int) -> None:
        self.crash_rate, self.seed = crash_rate, seed

    def receive(self, msg: Batch, ctx: ActorContext[Batch]) -> None:
        crash = self.crash_at(msg)
        if crash is BEFORE:
            raise CrashOnPurposeError(crash)
        counts = Counter(WORD.findall("".join(msg.lines).lower()))
        if crash is AFTER:
            raise CrashOnPurposeError(crash)
        ctx.reply(counts)
        if crash is LATE:
            raise CrashOnPurposeError(crash)

    def crash_at(self, batch: Batch) -> str | None:
        dice = Random(f"{self.seed}/{batch.number}/{batch.attempt}")  # the same seed, the same crashes
        return dice.choice(MOMENTS) if batch.lines and dice.random() < self.crash_rate else None

    def pre_restart(self, exc: Exception, msg: Batch | None) -> None:
        # Anything can be an event on the event stream. The restart itself is published there by the system.
        self.context.system.event_stream.tell(EventStreamPublish(exc))


# -- the progress: an actor that hears of everything, and draws now and then -------------------------------------------


@dataclass(frozen=True)
class Finish:
    reply_to: ActorRef[Counts]


type ProgressMsg = Batch | CrashOnPurposeError | ActorRestarted | Literal["draw"] | Finish


class Progress(Actor[ProgressMsg]):
    """Is told of every batch that was counted, and of every crash and restart."""

    def __init__(self, screen: Screen, files: int) -> None:
        self.screen, self.files = screen, files
        self.tally, self.began = Counter[str](), time.perf_counter()

    def receive(self, msg: ProgressMsg, ctx: ActorContext[ProgressMsg]) -> None:
        tally = self.tally
        match msg:
            case Batch():
                tally["file"] = max(tally["file"], msg.file)
                tally.update(batches=1, lines=len(msg.lines), sent_again=msg.attempt - 1)
            case CrashOnPurposeError():
                tally.update({"crashes": 1, msg.args[0]: 1})
            case ActorRestarted():
                tally["restarts"] += 1
            case "draw":
                self.screen.progress(self.line())
            case Finish(reply_to):
                self.screen.progress(self.line(), end="\n")
                reply_to.tell(tally)

    def line(self) -> str:
        now, speed = self.tally, self.tally["lines"] / (time.perf_counter() - self.began)
        return (
            f"{now['lines']:,} lines, {speed:,.0f} lines/s, file {now['file']:,} of {self.files:,}, "
            f"{now['crashes']:,} crashes, {now['restarts']:,} restarts"
        )


# -- the pipeline ------------------------------------------------------------------------------------------------------


async def count_with_actors(options: argparse.Namespace, screen: Screen) -> tuple[Counts, Counts]:
    """The counts of all words, and how often what happened."""
    files, workers, dice = options.files, options.workers, {"crash_rate": options.crash_rate, "seed": options.seed}
    async with ActorSystem("word-count") as system:
        progress = await system.spawn(Progress, "progress", screen=screen, files=len(files))
        system.event_stream.tell(EventStreamSubscribe(CrashOnPurposeError | ActorRestarted | Finish, progress))
        system.tick("draw", progress, "draw", interval=0.1 if screen.live else 1.0)
        pool = [await system.spawn(WordCounter, f"counter-{n}", **dice) for n in range(1, workers + 1)]

        # As many batches as there are workers are on their way, and as many wait at the producer.
        producer = system.spawn(stream_producer(buffer_size=workers), "lines")
        consumer = system.spawn(stream_consumer(producer, initial_demand=workers), "batches")
        sink: SinkRef[Batch] = await system.ask(producer, lambda r: GetSink(reply_to=r))
        source: SourceRef[Batch] = await system.ask(consumer, lambda r: GetSource(reply_to=r))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read(files, sink))
            totals = await count(source, pool, progress)

        # A worker that crashed after its last reply may still be down. Its answer to an empty batch says that it is
        # back; `Finish`, when it is published after that, comes after the events of all restarts.
        for worker in pool:
            await worker.ask(Batch(0, 0, ()))
        tally: Counts = await system.ask(system.event_stream, lambda r: EventStreamPublish(Finish(reply_to=r)))
        return totals, tally


async def read(files: list[Path], sink: SinkRef[Batch]) -> None:
    """Push the lines of all files into the stream."""
    number = itertools.count(1)
    with suppress(StreamClosedError):  # whoever iterates has left, and says why: an error, or Ctrl-C
        for position, file in enumerate(files, 1):
            pieces = itertools.batched(lines_of(file), 500)
            while piece := await asyncio.to_thread(next, pieces, ()):  # a disk may be slow; the loop has more to do
                for lines in itertools.batched(piece, LINES_PER_BATCH):
                    await sink.put(Batch(next(number), position, lines))  # waits here while all workers are busy
        await sink.complete()


async def count(source: SourceRef[Batch], pool: list[ActorRef[Batch]], progress: ActorRef[ProgressMsg]) -> Counts:
    """Give each batch to a worker that is idle, until the stream is complete."""
    totals: Counts = Counter()
    idle: asyncio.Queue[ActorRef[Batch]] = asyncio.Queue()
    for each in pool:
        idle.put_nowait(each)

    async def deliver(batch: Batch, worker: ActorRef[Batch]) -> None:
        counts: Counts | None = None
        while counts is None:
            batch = replace(batch, attempt=batch.attempt + 1)
            with suppress(ActorFailedError, AskTimeoutError):  # no reply, so nothing was counted: send it again
                counts = await worker.ask(batch, timeout=60.0)
        totals.update(counts)  # there is no await between the reply and this
        progress.tell(batch)
        idle.put_nowait(worker)

    async with asyncio.TaskGroup() as tasks:
        async for batch in source:
            tasks.create_task(deliver(batch, await idle.get()))
    return totals


# -- the input, and the count without actors ---------------------------------------------------------------------------


def plain_count(files: list[Path]) -> Counts:
    return Counter(word for file in files for line in lines_of(file) for word in WORD.findall(line.lower()))


def lines_of(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace") as text:
        yield from text


def files_below(path: Path) -> Iterator[Path]:
    """All files but those in hidden folders and caches; a file itself."""
    if not path.is_dir():
        yield path
    for folder, folders, names in path.walk():
        folders[:] = sorted(name for name in folders if name[0] not in "._")
        yield from (folder / name for name in sorted(names) if (folder / name).is_file())


def own_sources() -> list[Path]:
    """What git tracks, or without git all that is there."""
    git = ["git", "ls-files", "-z"]
    names = subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout if shutil.which("git") else ""
    files = [ROOT / name for name in names.split("\0") if name]
    return [file for file in files or files_below(ROOT) if file.suffix in {".py", ".md", ".toml"} and file.is_file()]


def is_binary(file: Path) -> bool:
    with file.open("rb") as start:
        return b"\0" in start.read(8192)


# -- what is typed, and what is shown ----------------------------------------------------------------------------------


class Screen:
    """Standard output: a live line and colours on a terminal, plain lines anywhere else."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.live = sys.stdout.isatty()

    def progress(self, line: str, end: str = "") -> None:
        width = shutil.get_terminal_size().columns - 1
        with suppress(BrokenPipeError):  # whoever read it has left, as `head` does
            if not self.quiet:
                print(f"\r{line[:width]:<{width}}" if self.live else line, end=end if self.live else "\n", flush=True)

    def paint(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.live and not os.environ.get("NO_COLOR") else text

    def table(self, counts: Counts, top: int) -> None:
        print(self.paint(f"{'rank':>8}  {'word':<24}{'count':>10}{'share':>8}", 1))
        for rank, (word, times) in enumerate(counts.most_common(top), 1):
            print(f"{rank:>8}  {word[:23]:<24}{times:>10,}{times / counts.total():>8.2%}")

    def compare(self, ours: Counts, plain: Counts) -> bool:
        wrong = [word for word in sorted(ours.keys() | plain.keys()) if ours[word] != plain[word]]
        for word in wrong:
            print(f"{word}: {ours[word]:,} by the actors, {plain[word]:,} in plain Python")
        text = f"DIFFERENT: {len(wrong):,} counts disagree" if wrong else f"EXACT: all {len(plain):,} counts agree"
        print(self.paint(text, 31 if wrong else 32))
        return not wrong


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count words with actors that crash, and prove that it is exact.")
    add = parser.add_argument
    add("paths", nargs="*", type=Path, metavar="PATH", help="text files and folders (default: this project's sources)")
    add("--workers", type=int, default=4, metavar="N", help="how many actors count (default: 4)")
    add("--top", type=int, default=10, metavar="N", help="how many words the table has (default: 10)")
    add("--crash-rate", type=float, default=0.1, metavar="P", help="the share of attempts that crash (default: 0.1)")
    add("--seed", type=int, default=1, metavar="N", help="the same seed gives the same crashes (default: 1)")
    add("--quiet", action="store_true", help="show no progress, only the result")
    options = parser.parse_args(arguments)
    if options.workers < 1 or options.top < 0 or not 0 <= options.crash_rate <= 1:
        parser.error("--workers must be at least 1, --top at least 0, and --crash-rate from 0 to 1")
    try:
        found = [file for path in options.paths for file in files_below(path)] if options.paths else own_sources()
        options.files = [file for file in found if not is_binary(file)]
    except OSError as error:
        parser.error(f"cannot read {error.filename}: {error.strerror}")
    if not options.files:
        parser.error("there is no text file")
    options.skipped = len(found) - len(options.files)
    return options


def count_twice(options: argparse.Namespace) -> bool:
    """Count both ways and show the result: whether they agree."""
    screen, started = Screen(options.quiet), time.time()
    began = time.perf_counter()
    ours, tally = run(count_with_actors(options, screen))
    halfway = time.perf_counter()
    plain = plain_count(options.files)
    ended = time.perf_counter()
    screen.table(ours, options.top)
    print(
        f"   input  {len(options.files):,} files, {tally['lines']:,} lines; {options.skipped:,} binary files skipped\n"
        f"   words  {ours.total():,}, of which {len(ours):,} different\n"
        f" batches  {tally['batches']:,}, and {tally['sent_again']:,} sent again\n"
        f" crashes  {tally['crashes']:,}: {', '.join(f'{tally[each]:,} {each}' for each in MOMENTS)}\n"
        f"restarts  {tally['restarts']:,}\n"
        f"    time  {halfway - began:.2f} s with {options.workers} actors, {ended - halfway:.2f} s without"
    )
    if ours != plain and (changed := [str(file) for file in options.files if file.stat().st_mtime > started]):
        print(f"Somebody changed what was being counted: {', '.join(changed)}")
    return screen.compare(ours, plain)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    # Failures are logged with their tracebacks. Those on purpose are not worth it; any other still is.
    log = logging.getLogger("casty.word-count")
    log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], CrashOnPurposeError)))
    try:
        return 0 if count_twice(options) else 1
    except (KeyboardInterrupt, BrokenPipeError):
        print("\nword_count.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
