"""Random trees, messages, failures, stops and times against a slow and obvious model (`ledger`), and replayed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from casty_proto.actor import (
    Cell,
    Event,
    Job,
    Mailbox,
    MailboxOverflowStrategy,
    MultiChildStrategy,
    Phase,
    Policy,
    Renew,
    Spawn,
    Stop,
    SupervisionStrategy,
    Task,
    Unwatch,
    Watch,
)
from casty_proto.actor.events import Done, Failed
from casty_proto.machine import SECOND, Rejected, Reply, Wake

from .bench import ESCALATE, HOOKS, LATER, RESTART, STOP, Bench, verdict
from .ledger import Ledger

STRATEGIES = (*SupervisionStrategy, None)


def decide(error: Exception) -> SupervisionStrategy:
    """A decider that errors can steer, and that fails for some."""
    number: int = error.args[0]
    return list(SupervisionStrategy)[number]


POLICIES: tuple[Policy, ...] = (
    RESTART,
    STOP,
    ESCALATE,
    LATER,
    Policy(max_restarts=None),
    Policy(decider=decide),
    evolve(RESTART, multi_child=MultiChildStrategy.ONE_FOR_ALL),
    evolve(LATER, multi_child=MultiChildStrategy.REST_FOR_ONE),
    evolve(LATER, multi_child=MultiChildStrategy.ONE_FOR_ALL, max_restarts=1, within_ns=5 * SECOND),
    evolve(STOP, multi_child=MultiChildStrategy.REST_FOR_ONE),
)
MAILBOXES = (Mailbox(), Mailbox(), *(Mailbox(2, overflow) for overflow in MailboxOverflowStrategy))
NAMES = (None, "a", "b", "c")
OUTCOMES = ("ok", "ok", "fail", "fail", "fail", "renew", "stash", "unstash", "stop")

PICKS = st.integers(0, 60)
POLICY = st.integers(0, len(POLICIES) - 1)


class Rig:
    """An engine and its books. Every step is a method name and plain numbers, so that it can be taken again."""

    def __init__(self, seed: int) -> None:
        self.bench = Bench(seed)
        self.ledger = Ledger(self.bench)
        self.cells: dict[int, Cell] = {}
        self.serial = 0
        self.script: list[tuple[str, tuple[Any, ...]]] = []
        self.sound = True

    def do(self, step: str, *args: Any) -> None:
        """Take one step and check it."""
        self.script.append((step, args))
        self.sound = False
        getattr(self, step)(*args)
        self.ledger.check()
        self.sound = True

    def feed(self, event: Event) -> None:
        self.ledger.saw(event, self.bench.feed(event))

    # -- steps -----------------------------------------------------------------------------------------------------

    def spawn(self, parent: int, name: int, policy: int, mailbox: int, judges: bool) -> None:
        above = (self.cells | {1: self.bench.engine.user, 2: self.bench.engine.system})[parent]
        box = MAILBOXES[mailbox]
        refusal = self.ledger.refusal(above, NAMES[name])
        reply, *_ = self.bench.feed(Spawn(None, above, NAMES[name], POLICIES[policy], mailbox=box, judges=judges))
        assert isinstance(reply, Reply)
        assert isinstance(reply.result, Rejected) == refusal
        if not refusal:
            self.cells[reply.result.uid] = reply.result
            self.ledger.spawned(reply.result, box)

    def tell(self, uid: int) -> None:
        self.serial += 1
        self.ledger.told(self.cells[uid], self.serial, self.bench.tell(self.cells[uid], self.serial))

    def take(self, uid: int) -> None:
        self.ledger.taken(self.cells[uid], self.bench.take(self.cells[uid]))

    def end(self, uid: int, outcome: str, number: int) -> None:
        """What is in hand ends, in one of the ways in which it can."""
        cell = self.cells[uid]
        item = self.bench.hand[cell]
        if outcome == "stash" and isinstance(item, int):
            self.ledger.stashed(cell, self.bench.stash(cell))
        elif outcome == "unstash" and not isinstance(item, Job):
            self.ledger.unstashed(cell, self.bench.unstash(cell))
        elif outcome == "stop" and not isinstance(item, Job):
            self.feed(Stop(cell))
        else:
            del self.bench.hand[cell]
            self._end(cell, item, outcome, number)

    def _end(self, cell: Cell, item: Any, outcome: str, number: int) -> None:
        error = ValueError(number)
        if isinstance(item, Job) and item.task is Task.JUDGE:
            self.ledger.finished(cell)
            self.feed(verdict(item, STRATEGIES[number]))
        elif outcome == "fail" and not (isinstance(item, Job) and item.task in (Task.PRE_RESTART, Task.POST_STOP)):
            self.ledger.finished(cell, failed=True)
            self.feed(Failed(cell, error, None if isinstance(item, Job) else item))
        elif outcome == "renew" and not isinstance(item, Job):
            self.ledger.finished(cell)
            self.feed(Renew(cell, error, item))
        else:
            self.ledger.finished(cell)
            if isinstance(item, Job) and item.task in HOOKS:
                self.feed(Done(cell, item.task))

    def stop(self, uid: int) -> None:
        self.feed(Stop(self.cells[uid]))

    def watch(self, watcher: int, subject: int) -> None:
        self.feed(Watch(self.cells[watcher], self.cells[subject]))

    def unwatch(self, watcher: int, subject: int) -> None:
        self.feed(Unwatch(self.cells[watcher], self.cells[subject]))

    def wait(self, nanoseconds: int) -> None:
        """Let time pass, then `Wake`."""
        self.bench.now += nanoseconds
        self.feed(Wake())
        deadline = self.bench.engine.deadline()
        assert deadline is None or deadline > self.bench.now

    def shut_down(self) -> None:
        """Run until nothing is left to do, stop both guardians, and run again."""
        self._settle()
        self.ledger.check_quiet()
        for guardian in self.ledger.guardians:
            self.feed(Stop(guardian))
        self._settle()
        assert [guardian.phase for guardian in self.ledger.guardians] == [Phase.STOPPED] * 2
        self.ledger.check_end()

    def _settle(self) -> None:
        while self.bench.held or self.bench.engine.deadline() is not None:
            for cell in list(self.bench.held):
                if cell in self.bench.hand:
                    self.end(cell.uid, "ok", 3)
                else:
                    self.take(cell.uid)
            deadline = self.bench.engine.deadline()
            if deadline is not None and not self.bench.held:
                self.wait(deadline - self.bench.now)

    # -- what came of it -------------------------------------------------------------------------------------------

    @property
    def trace(self) -> list[str]:
        """All effects and all that was run, in words without addresses."""
        return [*map(repr, self.bench.effects), *map(repr, self.bench.ran)]


class Engine(RuleBasedStateMachine):
    """Draws the steps of a rig. One number chooses among whatever there is to choose from at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(seed=7)

    @property
    def idle_hands(self) -> list[int]:
        return [cell.uid for cell in self.rig.bench.held if cell not in self.rig.bench.hand]

    @property
    def full_hands(self) -> list[int]:
        return [cell.uid for cell in self.rig.bench.hand]

    @property
    def live(self) -> list[int]:
        return [uid for uid, cell in self.rig.cells.items() if cell.phase < Phase.STOPPING]

    # -- growing ---------------------------------------------------------------------------------------------------

    @initialize(actors=st.lists(st.tuples(PICKS, POLICY, st.booleans()), min_size=3, max_size=10))
    def plant(self, actors: list[tuple[int, int, bool]]) -> None:
        for parent, policy, judges in actors:
            self.spawn(parent, 0, policy, 0, judges, start=True)

    @rule(
        parent=PICKS,
        name=st.integers(0, len(NAMES) - 1),
        policy=POLICY,
        mailbox=st.integers(0, len(MAILBOXES) - 1),
        judges=st.booleans(),
        start=st.booleans(),
    )
    def spawn(self, parent: int, name: int, policy: int, mailbox: int, judges: bool, start: bool) -> None:
        before = len(self.rig.cells)
        self.rig.do("spawn", pick([1, 2, *self.rig.cells], parent), name, policy, mailbox, judges)
        if start and len(self.rig.cells) > before:
            self.turn(list(self.rig.cells)[-1], 2)

    # -- working ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.rig.cells)
    @rule(which=PICKS, count=st.integers(1, 3))
    def tell(self, which: int, count: int) -> None:
        for _ in range(count):
            self.rig.do("tell", pick(self.rig.cells, which))

    @precondition(lambda self: self.idle_hands)
    @rule(which=PICKS)
    def take(self, which: int) -> None:
        self.rig.do("take", pick(self.idle_hands, which))

    @precondition(lambda self: self.full_hands)
    @rule(which=PICKS, outcome=st.sampled_from(OUTCOMES), number=st.integers(0, 3))
    def end(self, which: int, outcome: str, number: int) -> None:
        self.rig.do("end", pick(self.full_hands, which), outcome, number)

    @precondition(lambda self: self.live)
    @rule(which=PICKS, outcome=st.sampled_from(OUTCOMES), number=st.integers(0, 3))
    def handle(self, which: int, outcome: str, number: int) -> None:
        """One message, from its sending to the end of its handler, as far as the actor gets to it."""
        uid = pick(self.live, which)
        self.rig.do("tell", uid)
        for _ in range(8):
            self.turn(uid, 1)
            if uid in self.full_hands and isinstance(self.rig.bench.hand[self.rig.cells[uid]], int):
                self.rig.do("end", uid, outcome, number)
                return

    @precondition(lambda self: self.rig.bench.held)
    @rule(which=PICKS, turns=st.integers(1, 4))
    def run(self, which: int, turns: int) -> None:
        """A few turns of one actor, all of which go well."""
        self.turn(pick([cell.uid for cell in self.rig.bench.held], which), turns)

    @precondition(lambda self: self.rig.bench.held)
    @rule(turns=st.integers(1, 4))
    def run_all(self, turns: int) -> None:
        """A few turns of everybody, all of which go well."""
        for cell in list(self.rig.bench.held):
            self.turn(cell.uid, turns)

    def turn(self, uid: int, turns: int) -> None:
        for _ in range(turns):
            if uid in self.full_hands:
                self.rig.do("end", uid, "ok", 3)
            elif uid in self.idle_hands:
                self.rig.do("take", uid)

    # -- stopping, watching, waiting -------------------------------------------------------------------------------

    @precondition(lambda self: len(self.live) > 3)
    @rule(which=PICKS)
    def stop(self, which: int) -> None:
        self.rig.do("stop", pick(self.rig.cells, which))

    @precondition(lambda self: self.rig.cells)
    @rule(watcher=PICKS, subject=PICKS, undo=st.sampled_from([False, False, True]))
    def watch(self, watcher: int, subject: int, undo: bool) -> None:
        self.rig.do("unwatch" if undo else "watch", pick(self.rig.cells, watcher), pick(self.rig.cells, subject))

    @precondition(lambda self: self.rig.bench.engine.deadline() is not None)
    @rule(when=st.sampled_from(["early", "exactly", "late"]), by=st.integers(0, 3 * SECOND))
    def wait(self, when: str, by: int) -> None:
        left = max(0, (self.rig.bench.engine.deadline() or 0) - self.rig.bench.now)
        self.rig.do("wait", {"early": max(0, left - 1 - by), "exactly": left, "late": left + by}[when])

    # -- checking --------------------------------------------------------------------------------------------------

    @invariant()
    def an_actor_has_one_thing_in_hand_and_is_held(self) -> None:
        bench = self.rig.bench
        assert bench.hand.keys() <= bench.held.keys()
        assert all(cell.held == (cell in bench.held) for cell in self.rig.cells.values())

    def teardown(self) -> None:
        if not self.rig.sound:
            return
        self.rig.do("shut_down")
        again = Rig(seed=7)
        for step, args in self.rig.script:
            again.do(step, *args)
        assert again.trace == self.rig.trace


def pick(candidates: Iterable[int], which: int) -> int:
    chosen = list(candidates)
    return chosen[which % len(chosen)]


TestEngine = Engine.TestCase
TestEngine.settings = settings(max_examples=100, stateful_step_count=70, deadline=None)
