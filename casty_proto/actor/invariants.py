"""What holds between two calls of the engine, asserted over the whole tree."""

from __future__ import annotations

from collections.abc import Iterable

from ..timers import Deadlines
from .cell import CLOSED, Cell, Job, Phase, Task
from .mailbox import UNBOUNDED


def check_tree(roots: Iterable[Cell], deadlines: Deadlines[Cell]) -> None:
    """Assert every invariant of every live actor, and that exactly the backing-off ones have a deadline."""
    backing_off = 0
    stack = list(roots)
    while stack:
        cell = stack.pop()
        _check(cell)
        if cell.phase == Phase.BACKING_OFF:
            backing_off += 1
            assert cell in deadlines, f"{cell} backs off without a deadline"
        for name, child in (cell.children or {}).items():
            assert child.parent is cell, f"{child} is filed under {cell}"
            assert child.name == name, f"{child} is filed as {name}"
            if cell.phase >= Phase.CLEARING:
                assert child.phase == Phase.STOPPING, f"{child} goes on below {cell}"
            stack.append(child)
    assert backing_off == len(deadlines), "a deadline without an actor that backs off"


def _check(cell: Cell) -> None:
    assert cell.phase != Phase.STOPPED or cell.parent is None, f"{cell} is in the tree"
    assert (cell.limit == CLOSED) == (cell.phase >= Phase.STOPPING), f"{cell}: limit {cell.limit}"
    assert not cell.jobs or cell.held, f"{cell} has jobs that nobody will run"
    assert cell.put is None or (cell.queue is not None and cell.limit == UNBOUNDED), f"{cell}: a wrong short cut"
    assert cell.queue is None or cell.queue or cell.held, f"{cell} is idle and keeps an empty queue"
    assert cell.notices == sum(type(item) is Job for item in cell.queue or ()), f"{cell}: {cell.notices} notices"
    if cell.phase == Phase.RUNNING:
        assert not cell.queue or cell.held, f"{cell} has messages that nobody will handle"
    if cell.phase >= Phase.STOPPING:
        assert cell.queue is None, f"{cell} is closed and holds messages"
        assert not cell.stashed, f"{cell} is closed and holds stashed messages"
    if cell.phase == Phase.STOPPING and cell.parent is not None:
        assert cell.children or cell.held, f"{cell} waits for nothing"
    if cell.phase == Phase.CLEARING:
        assert cell.children, f"{cell} waits for children that it does not have"
    if cell.phase in (Phase.BACKING_OFF, Phase.STOPPED):
        assert not cell.children, f"{cell} has children that outlive it"
    if cell.phase == Phase.SUSPENDED and cell.parent is not None:
        asked = cell.parent.held and cell.parent.judges
        above = cell.parent.phase in (Phase.SUSPENDED, Phase.RESTARTING)
        assert asked or above, f"{cell} waits for a verdict that nobody gives"
    if cell.phase in (Phase.STARTING, Phase.RESTARTING) and cell.parent is not None:
        assert cell.held, f"{cell} waits for a job that nobody runs"
    if cell.phase in (Phase.SUSPENDED, Phase.RESTARTING, Phase.CLEARING, Phase.BACKING_OFF):
        assert cell.error is not None, f"{cell} has no reason"
    if cell.jobs:
        ends = [job for job in cell.jobs if job.task is Task.POST_STOP]
        assert not ends or cell.phase == Phase.STOPPING, f"{cell} is to end without stopping"
        assert len(ends) <= 1, f"{cell} is to end twice"
    for watcher in cell.watchers or ():
        assert watcher.watching is not None, f"{watcher} is told of {cell} without watching it"
        assert cell in watcher.watching, f"{watcher} is told of {cell} without watching it"
        assert watcher.phase != Phase.STOPPED, f"{cell} remembers {watcher}, which has stopped"
    for subject in cell.watching or ():
        assert subject.watchers is not None, f"{cell} watches {subject}, which does not know"
        assert cell in subject.watchers, f"{cell} watches {subject}, which does not know"
        assert subject.phase != Phase.STOPPED, f"{cell} remembers {subject}, which has stopped"
