"""Many streams at once: interleaving, fairness, chains and circles."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise

import pytest

from casty_proto.stream import (
    EMPTY,
    INPUT_READY,
    MAX_DEMAND,
    Completed,
    Continue,
    Failed,
    Publisher,
    PublisherOptions,
    Received,
    Subscribe,
    SubscriberOptions,
)

from .bench import Bench


@pytest.mark.parametrize("seed", range(3))
def test_rule_15_f_7_a_hundred_streams_in_any_order_each_keep_the_rules(seed: int) -> None:
    rng = random.Random(seed)
    benches = []
    for n in range(100):
        subscriber = SubscriberOptions(window=rng.randint(1, 8), batch=rng.random() < 0.5, resumable=n % 2 == 0)
        bench = Bench(PublisherOptions(buffer_size=rng.randint(1, 8)), subscriber)
        bench.open()
        benches.append(bench)
    for _ in range(20_000):
        bench = rng.choice(benches)
        match rng.randrange(6):
            case 0 | 1:
                bench.put(len(bench.accepted) + len(bench.blocked))
            case 2:
                bench.step_up()
            case 3:
                bench.step_down()
            case 4:
                bench.step_nudge()
            case _:
                bench.take()
    for bench in benches:
        bench.drain()
        bench.complete()
        assert bench.drain() == list(range(len(bench.accepted)))
        assert bench.outcome == Completed()
        assert not bench.notes


def test_rule_16_f_8_no_stream_starves_beside_one_with_an_endless_demand() -> None:
    big = Publisher[int]("big", PublisherOptions(buffer_size=0, max_batch=16))
    small = Publisher[int]("small")
    for n in range(10_000):
        big.offer(n)
    small.offer(1)
    turns: deque[tuple[Publisher[int], object]] = deque()
    turns.append((big, Received("c", Subscribe("c", MAX_DEMAND, batch=True))))
    turns.append((small, Received("c", Subscribe("c", 1, batch=True))))
    served = []
    while turns:
        publisher, event = turns.popleft()
        effects = publisher.handle(event, 0)  # type: ignore[arg-type]
        served.append(publisher)
        if Continue() in effects:
            turns.append((publisher, INPUT_READY))
    assert served[1] is small, "the second turn, however much the first has to send"
    assert served.count(big) == 10_000 // 16


def link(upstream: Bench, downstream: Bench) -> bool:
    """A stage between two streams: takes from one while the other has room. Returns whether an element moved."""
    upstream.run()
    downstream.run()
    if downstream.blocked:
        return False
    element = upstream.take()
    if element is EMPTY:
        return False
    downstream.put(element)
    return True


def test_rule_10_rs_4_1_a_chain_of_streams_holds_no_more_than_its_buffers() -> None:
    window, size, stages = 2, 3, 4
    chain = [Bench(PublisherOptions(buffer_size=size), SubscriberOptions(window=window)).open() for _ in range(stages)]
    first, last = chain[0], chain[-1]
    total = 500
    for n in range(total):
        first.put(n)
        if first.blocked:
            while sum(link(a, b) for a, b in pairwise(chain)):
                pass
            # Per stage: its buffer, its window, and the one element that the stage holds in its hand.
            assert len(first.accepted) - len(last.taken) <= stages * (size + window + 1)
            last.run()
            last.take()
    while len(last.taken) < total:
        for a, b in pairwise(chain):
            link(a, b)
        last.run()
        last.take()
    assert last.taken == list(range(total))


def test_rule_18_rs_4_2_a_processor_passes_a_failure_on() -> None:
    first, second = Bench().open(), Bench().open()
    first.put(1)
    first.fail("Booom")
    while link(first, second):
        pass
    assert isinstance(first.outcome, Failed)
    second.fail(first.outcome.reason, first.outcome.cause, flush=False)
    second.run()
    second.drain()
    assert second.outcome == Failed("Booom")


def test_rule_10_f_9_a_circle_of_streams_with_a_window_of_one_makes_progress() -> None:
    there, back = (Bench(PublisherOptions(buffer_size=1), SubscriberOptions(window=1)).open() for _ in range(2))
    there.put(0)
    for turn in range(1000):
        here, other = (there, back) if turn % 2 == 0 else (back, there)
        here.run()
        element = here.take()
        assert element == turn
        other.put(element + 1)
    assert len(there.taken) == len(back.taken) == 500
