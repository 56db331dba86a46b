"""Many nodes that look for a cluster at once, over links that lose, delay and cut: `cluster/forming.py` as a whole."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from itertools import permutations
from random import Random
from typing import Any

import pytest

from casty_proto.cluster import NodeInfo
from casty_proto.cluster import events as ev
from casty_proto.cluster.core import SEEK, Core
from casty_proto.cluster.forming import Admitted, Forming, Found, Verdict
from casty_proto.cluster.messages import Belongs, Envelope, JoinAnswer, JoinRequest, Seek
from casty_proto.machine import MILLISECOND, SECOND, Instant

from .kit_node import World
from .kit_parts import FAST

LATE = 20 * SECOND


class Seekers:
    """Nodes that do nothing but what forming.py is about. Who has founded a cluster takes in everybody."""

    def __init__(self, seed: int, loss: float, slowest_ms: float) -> None:
        self.rng = Random(seed)
        self.loss = loss
        self.slowest_ns = round(slowest_ms * MILLISECOND)
        self.now: Instant = 0
        self.founded: list[str] = []
        self.belongs: dict[str, str] = {}
        self.isolated: dict[str, None] = {}
        self._nodes: dict[str, tuple[Core, Forming]] = {}
        self._heap: list[tuple[Instant, int, Callable[[], object]]] = []
        self._sequence = 0

    def at(self, instant: Instant, call: Callable[[], object]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (instant, self._sequence, call))

    def start(self, address: str, seeds: tuple[str, ...]) -> None:
        core = Core(NodeInfo(address, 1, address), FAST)
        core.now = self.now
        self._nodes[address] = (core, Forming(core))
        self._after(address, self._nodes[address][1].begin(seeds))

    def run(self, until: Instant) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, call = heapq.heappop(self._heap)
            call()
        self.now = until

    def _after(self, address: str, verdict: Verdict | None) -> None:
        core, _ = self._nodes[address]
        if isinstance(verdict, Found):
            assert address not in self.belongs
            self.founded.append(address)
            self.belongs[address] = core.key
        elif isinstance(verdict, Admitted):
            self.belongs.setdefault(address, verdict.cluster)
        for effect in core.out:
            if isinstance(effect, ev.Send):
                self._carry(address, effect.to, effect.message)
        core.out.clear()
        deadline = core.deadlines.earliest()
        if deadline is not None and address not in self.belongs:
            self.at(max(deadline, self.now), lambda: self._ring(address))

    def _carry(self, source: str, to: str, message: Envelope) -> None:
        if self.rng.random() >= self.loss and source not in self.isolated and to not in self.isolated:
            delay = self.rng.randrange(MILLISECOND // 10, self.slowest_ns)
            self.at(self.now + delay, lambda: self._arrive(to, message))

    def _ring(self, address: str) -> None:
        core, forming = self._nodes[address]
        core.now = self.now
        if address not in self.belongs and SEEK in core.deadlines and SEEK in list(core.deadlines.due(self.now)):
            self._after(address, forming.due())

    def _arrive(self, to: str, message: Envelope) -> None:
        if to not in self._nodes:
            return
        core, forming = self._nodes[to]
        core.now = self.now
        if to not in self.belongs:
            self._after(to, forming.on_message(message.sender, message.address, message.body))
            return
        answer: Any = None
        if isinstance(message.body, Seek):
            answer = Belongs(self.belongs[to])
        elif isinstance(message.body, JoinRequest):
            answer = JoinAnswer(self.belongs[to], True)
        if answer is not None:
            self._carry(to, message.address, Envelope(core.key, to, self.belongs[to], message.sender, answer))


def check(world: Seekers, count: int) -> None:
    assert len(world.founded) == 1, world.founded
    assert len(world.belongs) == count, world.belongs
    assert len(dict.fromkeys(world.belongs.values())) == 1


@pytest.mark.parametrize("loss", [0.0, 0.2, 0.5])
def test_rule_3_two_clusters_never_form_from_one_list_whatever_becomes_of_the_messages(loss: float) -> None:
    """And one does form, in whatever order the seeds start, and however their messages are lost and delayed."""
    for seed in range(40):
        world = Seekers(seed, loss, slowest_ms=(1, 50, 400)[seed % 3])
        names = ["a", "b", "c", "d", "e"][: world.rng.choice([2, 3, 4, 5])]
        for one in [*names, "x", "0"]:
            at = world.rng.randrange(SECOND)
            world.at(at, partial(world.start, one, tuple(names)))
        world.run(LATE)
        check(world, len(names) + 2)
        assert world.founded[0] in names, "0 and x are no seeds"


def test_rule_3_founders_that_are_cut_off_for_a_while_found_no_second_cluster() -> None:
    for seed in range(60):
        world = Seekers(seed, 0.1, slowest_ms=20)
        names = ("a", "b", "c", "d", "e")[: world.rng.choice([3, 5])]
        for one in names:
            world.at(world.rng.randrange(SECOND // 4), partial(world.start, one, names))
        for _ in range(6):
            one, begin = world.rng.choice(names), world.rng.randrange(SECOND)
            world.at(begin, partial(world.isolated.setdefault, one))
            world.at(begin + SECOND // 2, partial(world.isolated.pop, one, None))
        world.run(LATE)
        check(world, len(names))


@pytest.mark.parametrize("loss", [0.0, 0.4])
def test_rule_2_seeds_of_each_other_form_one_cluster_in_any_order_of_starting(loss: float) -> None:
    """None of them has itself as a seed."""
    for seed, order in enumerate(permutations("abc")):
        world = Seekers(seed, loss, slowest_ms=10)
        for at, one in enumerate(order):
            seeds = tuple([other for other in "abc" if other != one])
            world.at(at * SECOND // 8, partial(world.start, one, seeds))
        world.run(LATE)
        check(world, 3)


def test_rule_4_the_lowest_address_that_is_there_founds() -> None:
    for order in permutations("abc"):
        world = Seekers(1, 0.0, slowest_ms=2)
        for at, one in enumerate(order):
            world.at(at * MILLISECOND, partial(world.start, one, ("a", "b", "c")))
        world.run(2 * SECOND)
        assert world.founded == ["a"]


def test_rule_4_without_the_lowest_the_next_one_founds() -> None:
    world = Seekers(1, 0.0, slowest_ms=2)
    for one in ("b", "c"):
        world.start(one, ("a", "b", "c"))
    world.run(2 * SECOND)
    assert world.founded == ["b"]
    world.start("a", ("a", "b", "c"))
    world.run(3 * SECOND)
    check(world, 3)


def test_rule_4_a_lone_seed_waits_and_founds_nothing() -> None:
    world = Seekers(1, 0.0, slowest_ms=2)
    world.start("a", ("a", "b", "c"))
    world.run(100 * SECOND)
    assert world.founded == []
    world.start("c", ("a", "b", "c"))
    world.run(110 * SECOND)
    check(world, 2)


# Whole nodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_whole_nodes_of_one_list_form_one_cluster_with_losses(seed: int) -> None:
    world = World(seed, loss=0.2, slowest_ms=30)
    order = list("abcd")
    world.rng.shuffle(order)
    for one in order:
        world.start(one, "abcd")
        world.run(world.rng.random() / 10)
    world.run(3)
    world.loss = 0.0
    world.settle()
    assert len(dict.fromkeys([one.node.cluster for one in world.everybody])) == 1


def test_rule_6_of_two_lists_that_overlap_later_nodes_join_what_is_there() -> None:
    world = World(1)
    world.form("bc")
    for one in ("a", "d"):
        world.start(one, "abcd")
    world.settle()
    assert [one.node.cluster for one in world.everybody] == [world["b"].node.cluster] * 4
