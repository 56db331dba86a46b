"""Deep, wide and long: what would overflow a stack, or take quadratic time, in a recursive or careless engine."""

from __future__ import annotations

from random import Random
from typing import Any

from casty_proto.actor import (
    IDLE,
    ActorMachine,
    Cell,
    Done,
    Failed,
    Failure,
    Phase,
    Ready,
    Spawn,
    Stop,
    Stopped,
    SupervisionStrategy,
    Task,
    Terminated,
    Watch,
)

from .bench import ESCALATE, RESTART

DEPTH = WIDTH = 50_000
CHAIN = 2_000

BAD = ValueError("bad")


class Crowd:
    """An engine with a driver that only runs: no script and no checks, for many actors."""

    def __init__(self) -> None:
        self.engine = ActorMachine(Random(1))
        self.ready: list[Cell] = []
        self.effects: list[Any] = []

    def feed(self, event: Any) -> None:
        effects = self.engine.handle(event, 0)
        self.effects += effects
        self.ready += [effect.cell for effect in effects if type(effect) is Ready]

    def spawn(self, parent: Cell, policy: Any = RESTART, start: bool = True) -> Cell:
        self.feed(Spawn(None, parent, None, policy))
        cell: Cell = self.effects[-2].result
        if start:
            self.run()
        return cell

    def run(self) -> None:
        while self.ready:
            cell = self.ready.pop()
            while (job := self.engine.take(cell)) is not IDLE:
                if job.task is not Task.NOTICE:
                    self.feed(Done(cell, job.task))

    def line(self, length: int, **options: Any) -> list[Cell]:
        """A tree without branches: each the child of the one before."""
        cells = [self.spawn(self.engine.user, **options)]
        for _ in range(length - 1):
            cells.append(self.spawn(cells[-1], **options))
        return cells

    @property
    def stopped(self) -> list[Cell]:
        return [effect.cell for effect in self.effects if type(effect) is Stopped]


def test_a_deep_tree_stops_from_the_bottom_to_the_top() -> None:
    crowd = Crowd()
    cells = crowd.line(DEPTH)
    crowd.feed(Stop(cells[0]))
    assert crowd.ready == [cells[-1]]
    crowd.run()
    assert crowd.stopped == cells[::-1]
    crowd.engine.invariants()


def test_a_deep_tree_that_was_never_begun_stops_at_once() -> None:
    crowd = Crowd()
    cells = crowd.line(DEPTH, start=False)
    crowd.feed(Stop(crowd.engine.user))
    assert crowd.stopped == [*cells[::-1], crowd.engine.user]


def test_a_deep_tree_of_which_only_the_lowest_was_begun_stops_with_its_last_hook() -> None:
    crowd = Crowd()
    cells = crowd.line(DEPTH, start=False)
    lowest = cells[-1]
    crowd.feed(Done(lowest, crowd.engine.take(lowest).task))
    crowd.ready = []
    crowd.feed(Stop(crowd.engine.user))
    assert crowd.stopped == []
    assert crowd.engine.take(lowest).task is Task.POST_STOP
    crowd.feed(Done(lowest, Task.POST_STOP))
    assert crowd.stopped == [*cells[::-1], crowd.engine.user]


def test_a_wide_tree_stops_its_parent_last() -> None:
    crowd = Crowd()
    parent = crowd.spawn(crowd.engine.user)
    children = [crowd.spawn(parent) for _ in range(WIDTH)]
    crowd.feed(Stop(parent))
    crowd.run()
    assert crowd.stopped == [*children, parent]
    crowd.engine.invariants()


def test_the_children_of_a_wide_tree_are_cleared_for_a_restart() -> None:
    crowd = Crowd()
    parent = crowd.spawn(crowd.engine.user)
    children = [crowd.spawn(parent) for _ in range(WIDTH)]
    crowd.feed(Failed(parent, BAD))
    crowd.feed(Done(parent, _taken(crowd, parent)))
    crowd.run()
    assert len(crowd.stopped) == len(children)
    assert parent.phase == Phase.RUNNING


def test_many_watchers_are_told_of_one_end_and_one_watcher_of_many() -> None:
    crowd = Crowd()
    a = crowd.spawn(crowd.engine.user)
    others = [crowd.spawn(crowd.engine.user) for _ in range(WIDTH // 10)]
    for other in others:
        crowd.feed(Watch(other, a))
        crowd.feed(Watch(a, other))
    crowd.feed(Stop(a))
    crowd.run()
    assert [effect.watcher for effect in crowd.effects if type(effect) is Terminated] == others
    assert not any(other.watchers for other in others)


def test_a_long_chain_of_escalations_stops_the_top() -> None:
    crowd = Crowd()
    cells = crowd.line(CHAIN, policy=ESCALATE)
    crowd.feed(Failed(cells[-1], BAD))
    failures = [effect for effect in crowd.effects if type(effect) is Failure]
    assert [failure.cell for failure in failures] == cells[::-1]
    assert {failure.strategy for failure in failures} == {SupervisionStrategy.ESCALATE}
    crowd.run()
    assert crowd.stopped == cells[::-1]
    assert {effect.error for effect in crowd.effects if type(effect) is Stopped} == {BAD}
    crowd.engine.invariants()


def test_a_long_chain_of_escalations_restarts_the_one_that_restarts() -> None:
    crowd = Crowd()
    top = crowd.spawn(crowd.engine.user)
    cells = [crowd.spawn(top, policy=ESCALATE)]
    for _ in range(CHAIN - 1):
        cells.append(crowd.spawn(cells[-1], policy=ESCALATE))
    crowd.feed(Failed(cells[-1], BAD))
    crowd.run()
    assert crowd.stopped == cells[::-1]
    assert top.phase == Phase.RUNNING


def _taken(crowd: Crowd, cell: Cell) -> Task:
    job = crowd.engine.take(cell)
    task: Task = job.task
    return task
