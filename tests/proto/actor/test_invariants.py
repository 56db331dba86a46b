"""`invariants()` itself: each thing that it promises to find is broken once, and found."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from unittest.mock import patch

import pytest

from casty_proto.actor import Cell, Job, Phase, Ready, Task
from casty_proto.actor.cell import CLOSED
from casty_proto.timers import Deadlines

from .bench import LATER, Bench

BAD = ValueError("bad")


def idle(bench: Bench) -> Cell:
    return bench.start("a")


def busy(bench: Bench) -> Cell:
    a = bench.start("a")
    bench.begin(a, 1)
    bench.tell(a, 2, 3)
    return a


def backing_off(bench: Bench) -> Cell:
    a = bench.start("a", policy=LATER)
    bench.break_on(a, 1, BAD)
    bench.run(a)
    return a


def stopping(bench: Bench) -> Cell:
    a = bench.start("a")
    bench.start("child", a)
    bench.stop(a)
    return a


def clearing(bench: Bench) -> Cell:
    a = bench.start("a")
    bench.start("child", a)
    bench.break_on(a, 1, BAD)
    bench.run(a)
    return a


def suspended(bench: Bench) -> Cell:
    parent = bench.start("parent", judges=True)
    a = bench.start("a", parent)
    bench.break_on(a, 1, BAD)
    bench.run(a)
    return a


def change(**values: object) -> Callable[[Bench, Cell], None]:
    """Write over some attributes."""

    def apply(_: Bench, cell: Cell) -> None:
        for name, value in values.items():
            setattr(cell, name, value)

    return apply


def child(**values: object) -> Callable[[Bench, Cell], None]:
    """Write over some attributes of the child."""
    return lambda bench, cell: change(**values)(bench, (cell.children or {})["child"])


def linked(watches: bool) -> Callable[[Bench, Cell], None]:
    """Leave a link to an actor that has stopped, one way or the other."""

    def apply(bench: Bench, cell: Cell) -> None:
        gone = bench.start("gone")
        bench.stop(gone)
        bench.settle()
        watcher, subject = (cell, gone) if watches else (gone, cell)
        watcher.watching, subject.watchers = {subject: None}, {watcher: None}

    return apply


CASES: list[tuple[str, Callable[[Bench], Cell], Callable[[Bench, Cell], None]]] = [
    ("is in the tree", idle, change(phase=Phase.STOPPED)),
    ("limit", idle, change(limit=CLOSED)),
    ("jobs that nobody will run", idle, change(jobs=[Job(Task.START)])),
    ("a wrong short cut", idle, change(put=print)),
    ("keeps an empty queue", idle, change(queue=deque())),
    ("notices", busy, change(notices=1)),
    ("messages that nobody will handle", idle, change(queue=deque([1]))),
    ("closed and holds messages", stopping, change(queue=deque([1]))),
    ("closed and holds stashed messages", stopping, change(stashed=[1])),
    ("waits for nothing", stopping, change(children={})),
    ("children that it does not have", clearing, change(children={})),
    ("goes on below", clearing, child(phase=Phase.RUNNING, limit=1)),
    ("goes on below", stopping, child(phase=Phase.RUNNING, limit=1)),
    ("children that outlive it", backing_off, change(children={"x": None})),
    ("waits for a job that nobody runs", idle, change(phase=Phase.STARTING)),
    ("has no reason", backing_off, change(error=None)),
    ("waits for a verdict", suspended, lambda _, cell: change(jobs=None, held=False)(_, cell.parent or cell)),
    ("to end without stopping", busy, change(jobs=[Job(Task.POST_STOP)])),
    ("to end twice", stopping, change(jobs=[Job(Task.POST_STOP)] * 2, held=True)),
    ("without watching it", idle, lambda bench, cell: change(watchers={bench.start("b"): None})(bench, cell)),
    ("which does not know", idle, lambda bench, cell: change(watching={bench.start("b"): None})(bench, cell)),
    ("remembers", idle, linked(watches=True)),
    ("remembers", idle, linked(watches=False)),
    ("without a deadline", backing_off, lambda bench, cell: bench.engine._deadlines.clear()),
    ("without an actor", idle, lambda bench, cell: bench.engine._deadlines.set(cell, 1)),
    ("is filed under", clearing, child(parent=None)),
    ("is filed as", clearing, child(name="other")),
]


@pytest.mark.parametrize(("text", "scene", "spoil"), CASES, ids=[f"{case[0]}-{case[1].__name__}" for case in CASES])
def test_what_is_broken_is_found(
    text: str, scene: Callable[[Bench], Cell], spoil: Callable[[Bench, Cell], None]
) -> None:
    bench = Bench()
    cell = scene(bench)
    bench.engine.invariants()
    spoil(bench, cell)
    with pytest.raises(AssertionError, match=text):
        bench.engine.invariants()


def test_a_broken_table_of_deadlines_is_found() -> None:
    bench = Bench()
    broken = patch.object(Deadlines, "invariants", side_effect=AssertionError("broken"))
    with broken, pytest.raises(AssertionError, match="broken"):
        bench.engine.invariants()


def test_an_effect_that_was_not_returned_is_found() -> None:
    bench = Bench()
    bench.engine._out.append(Ready(bench.start("a")))
    with pytest.raises(AssertionError):
        bench.engine.invariants()
