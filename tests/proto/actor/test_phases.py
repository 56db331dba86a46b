"""Every event in every situation that an actor can be in: the table behind the rules.

A situation is a phase, and what the driver has of the actor: a job that is due, a job in hand, a message in hand. The
parent asked to judge, and the policy restarts after a second. After each event the system is stopped, and it must end.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from casty_proto.actor import (
    Done,
    Effect,
    Judged,
    Phase,
    Ready,
    Renew,
    Stopped,
    SupervisionStrategy,
    Task,
    Terminated,
)
from casty_proto.machine import SECOND

from .bench import ESCALATE, LATER, Bench, Notice, Reported

BAD = ValueError("bad")
LATE = ValueError("late")


class Scene(Bench):
    """A bench with a parent that judges, a child of it, `a`, and sometimes a child of that."""

    def __init__(self) -> None:
        super().__init__()
        self.parent = self.start("parent", judges=True)
        self.watcher = self.start("watcher")
        self.a = self.spawn("a", self.parent, policy=LATER)

    def restart(self) -> None:
        self.break_on(self.a, "bad", BAD)
        self.take(self.parent)
        self.judge(self.parent, SupervisionStrategy.RESTART)
        self.run(self.parent)


def start_due(_: Scene) -> None:
    pass


def start_in_hand(scene: Scene) -> None:
    scene.take(scene.a)


def idle(scene: Scene) -> None:
    scene.run(scene.a)


def busy(scene: Scene) -> None:
    scene.begin(scene.a, 1)


def suspended(scene: Scene) -> None:
    scene.break_on(scene.a, "bad", BAD)
    scene.run(scene.a)


def suspended_and_busy(scene: Scene) -> None:
    """A child escalated while it had a message in hand."""
    idle(scene)
    child = scene.start("child", scene.a, policy=ESCALATE)
    scene.begin(scene.a, 1)
    scene.break_on(child, "bad", BAD)
    scene.run(child)


def pre_restart_due(scene: Scene) -> None:
    scene.restart()


def pre_restart_due_and_busy(scene: Scene) -> None:
    """A sibling's failure concerns it while it has a message in hand."""
    busy(scene)
    scene.feed(Renew(scene.a, BAD))


def pre_restart_in_hand(scene: Scene) -> None:
    scene.restart()
    scene.take(scene.a)


def clearing(scene: Scene) -> None:
    idle(scene)
    scene.start("child", scene.a)
    scene.restart()
    scene.run(scene.a)


def backing_off(scene: Scene) -> None:
    scene.restart()
    scene.run(scene.a)


def restart_due(scene: Scene) -> None:
    backing_off(scene)
    scene.wake(SECOND)


def restart_in_hand(scene: Scene) -> None:
    restart_due(scene)
    scene.take(scene.a)


def stopping_after_its_child(scene: Scene) -> None:
    idle(scene)
    scene.start("child", scene.a)
    scene.stop(scene.a)


def stopping_and_busy(scene: Scene) -> None:
    busy(scene)
    scene.stop(scene.a)


def post_stop_due(scene: Scene) -> None:
    idle(scene)
    scene.stop(scene.a)


def post_stop_in_hand(scene: Scene) -> None:
    post_stop_due(scene)
    scene.take(scene.a)


def stopped(scene: Scene) -> None:
    post_stop_due(scene)
    scene.run(scene.a)


type Situation = Callable[[Scene], None]

PHASES: dict[Situation, Phase] = {
    start_due: Phase.STARTING,
    start_in_hand: Phase.STARTING,
    idle: Phase.RUNNING,
    busy: Phase.RUNNING,
    suspended: Phase.SUSPENDED,
    suspended_and_busy: Phase.SUSPENDED,
    pre_restart_due: Phase.RESTARTING,
    pre_restart_due_and_busy: Phase.RESTARTING,
    pre_restart_in_hand: Phase.RESTARTING,
    clearing: Phase.CLEARING,
    backing_off: Phase.BACKING_OFF,
    restart_due: Phase.STARTING,
    restart_in_hand: Phase.STARTING,
    stopping_after_its_child: Phase.STOPPING,
    stopping_and_busy: Phase.STOPPING,
    post_stop_due: Phase.STOPPING,
    post_stop_in_hand: Phase.STOPPING,
    stopped: Phase.STOPPED,
}
BUSY = (start_in_hand, busy, suspended_and_busy, pre_restart_due_and_busy, restart_in_hand, stopping_and_busy)
"""Something is in hand that can raise."""
DUE = {start_due: Task.START, pre_restart_due: Task.PRE_RESTART, restart_due: Task.RESTART}
ENDING = (Phase.STOPPING, Phase.STOPPED)


def situations(*phases: Phase, but: bool = False) -> pytest.MarkDecorator:
    """Those of some phases; or of all but some."""
    chosen = [situation for situation, phase in PHASES.items() if (phase in phases) != but]
    return pytest.mark.parametrize("situation", chosen, ids=lambda situation: situation.__name__)


every_situation = situations(but=True)


def scene_of(situation: Situation) -> Scene:
    scene = Scene()
    situation(scene)
    assert scene.a.phase == PHASES[situation]
    return scene


def unchanged(scene: Scene, situation: Situation, effects: list[Effect]) -> None:
    assert effects == []
    assert scene.a.phase == PHASES[situation]


def end(scene: Scene) -> None:
    """Everything in the scene ends, and the watcher has heard of it once."""
    scene.watch(scene.watcher, scene.a)
    scene.stop(scene.parent)
    scene.settle()
    assert scene.ran.count(("watcher", Notice(scene.a))) == 1
    scene.end()


@every_situation
def test_every_situation_ends_by_itself(situation: Situation) -> None:
    scene = scene_of(situation)
    scene.settle()
    scene.wake(SECOND)
    scene.settle()
    assert scene.a.phase in (Phase.RUNNING, Phase.STOPPED)
    end(scene)


@every_situation
def test_stop(situation: Situation) -> None:
    scene = scene_of(situation)
    effects = scene.stop(scene.a)
    if situation is start_due:
        assert effects == [Stopped(scene.a, None)]
    elif PHASES[situation] in ENDING:
        unchanged(scene, situation, effects)
    elif situation is suspended_and_busy:
        assert [type(effect) for effect in effects] == [Ready]
        assert Ready(scene.a) not in effects
    else:
        assert effects == [Ready(scene.a)] * (situation in (idle, suspended, backing_off))
    assert scene.a.phase >= Phase.STOPPING
    assert scene.engine.deadline() is None
    before = len(scene.ran)
    end(scene)
    # Whatever else was due is not run any more.
    last = [] if situation in (start_due, post_stop_in_hand, stopped) else [("a", Task.POST_STOP)]
    assert [each for each in scene.ran[before:] if each[0] == "a"] == last


@pytest.mark.parametrize("situation", BUSY, ids=lambda situation: situation.__name__)
def test_a_failure(situation: Situation) -> None:
    scene = scene_of(situation)
    effects = scene.fail(scene.a, LATE)
    if PHASES[situation] in (Phase.STARTING, Phase.RUNNING):
        assert effects == [Ready(scene.parent)]
        assert scene.a.phase == Phase.SUSPENDED
    else:
        # Its fate is decided already. The error is told to the operator, and changes nothing.
        assert effects == [Reported(scene.a, LATE, SupervisionStrategy.STOP)]
        assert scene.a.phase == PHASES[situation]
        assert scene.a.error is not LATE
    end(scene)


@situations(Phase.STARTING, but=True)
@pytest.mark.parametrize("task", [Task.START, Task.RESTART])
def test_the_end_of_a_start_in_another_phase(situation: Situation, task: Task) -> None:
    scene = scene_of(situation)
    unchanged(scene, situation, scene.feed(Done(scene.a, task)))
    end(scene)


@situations(Phase.RESTARTING, but=True)
def test_the_end_of_a_pre_restart_hook_in_another_phase(situation: Situation) -> None:
    scene = scene_of(situation)
    unchanged(scene, situation, scene.feed(Done(scene.a, Task.PRE_RESTART)))
    end(scene)


@every_situation
@pytest.mark.parametrize("strategy", [*SupervisionStrategy, None])
def test_a_verdict_about_another_failure(situation: Situation, strategy: SupervisionStrategy | None) -> None:
    scene = scene_of(situation)
    unchanged(scene, situation, scene.feed(Judged(scene.a, LATE, None, strategy)))
    end(scene)


@situations(Phase.SUSPENDED, but=True)
def test_a_verdict_about_a_failure_that_is_no_longer_open(situation: Situation) -> None:
    scene = scene_of(situation)
    unchanged(scene, situation, scene.feed(Judged(scene.a, BAD, "bad", SupervisionStrategy.STOP)))
    end(scene)


@every_situation
def test_a_request_for_its_own_restart(situation: Situation) -> None:
    scene = scene_of(situation)
    effects = scene.feed(Renew(scene.a, LATE))
    if situation in (start_in_hand, idle, busy, restart_in_hand):
        assert effects == [Ready(scene.a)] * (situation is idle)
        assert scene.a.phase == Phase.RESTARTING
    else:
        unchanged(scene, situation, effects)
    end(scene)


@every_situation
def test_watching_it(situation: Situation) -> None:
    scene = scene_of(situation)
    effects = scene.watch(scene.watcher, scene.a)
    assert effects == [Terminated(scene.watcher, scene.a)] * (situation is stopped)
    scene.stop(scene.parent)
    scene.settle()
    assert scene.ran.count(("watcher", Notice(scene.a))) == 1
    scene.end()


@every_situation
def test_its_watching_others(situation: Situation) -> None:
    scene = scene_of(situation)
    subject = scene.start("subject")
    unchanged(scene, situation, scene.watch(scene.a, subject))
    assert bool(subject.watchers) == (PHASES[situation] not in ENDING)
    scene.settle()
    scene.wake(SECOND)
    scene.settle()
    scene.stop(subject)
    scene.settle()
    assert scene.ran.count(("a", Notice(subject))) == (PHASES[situation] not in ENDING)
    end(scene)


@every_situation
def test_spawning_a_child(situation: Situation) -> None:
    scene = scene_of(situation)
    if PHASES[situation] in (Phase.CLEARING, Phase.BACKING_OFF):
        reason = "/parent/a is restarting; it can spawn again once its next incarnation has begun"
        assert scene.refused("new", scene.a) == reason
    elif PHASES[situation] in ENDING:
        assert scene.refused("new", scene.a) == "/parent/a is stopping, or has stopped, and can no longer spawn"
    else:
        new = scene.start("new", scene.a)
        assert scene.engine.child(scene.a, "new") is new
    end(scene)


@every_situation
def test_a_message(situation: Situation) -> None:
    scene = scene_of(situation)
    refused = scene.tell(scene.a, "new")
    assert bool(refused) == (PHASES[situation] in ENDING)
    scene.settle()
    scene.wake(SECOND)
    scene.settle()
    assert scene.ran.count(("a", "new")) + len(refused) == 1
    end(scene)


@every_situation
def test_a_wake_before_its_time(situation: Situation) -> None:
    scene = scene_of(situation)
    unchanged(scene, situation, scene.wake(SECOND - 1 if situation is backing_off else 0))
    end(scene)


@situations(Phase.STOPPING, but=True)
def test_the_end_of_a_last_hook_that_is_not_due_is_a_bug_of_the_driver(situation: Situation) -> None:
    scene = scene_of(situation)
    with pytest.raises(AssertionError):
        scene.engine.handle(Done(scene.a, Task.POST_STOP), scene.now)


@pytest.mark.parametrize("situation", DUE, ids=lambda situation: situation.__name__)
def test_a_job_that_is_due_is_what_the_driver_takes_next(situation: Situation) -> None:
    scene = scene_of(situation)
    scene.tell(scene.a, 1)
    assert scene.take(scene.a) is DUE[situation]
    end(scene)
