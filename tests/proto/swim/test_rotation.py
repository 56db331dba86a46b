"""Rules 10 and 16: the order of probes, and what it means for the time until a crash is noticed. SWIM 4.3"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.swim.pool import Pool, draw, shuffle
from casty_proto.swim.rotation import Rotation


def rotation(*names: str, seed: int = 1) -> Rotation:
    order = Rotation(Random(seed))
    for name in names:
        order.add(name)
    return order


def test_rule_10_s_26_everybody_is_probed_once_in_a_round_and_the_next_round_is_another() -> None:
    order = rotation(*"abcdefgh")
    rounds = [[order.next() for _ in range(8)] for _ in range(20)]
    assert all(sorted(map(str, one)) == list("abcdefgh") for one in rounds)
    assert all(one != other for one, other in pairwise(rounds))


def test_rule_10_s_29_nobody_to_probe() -> None:
    order = rotation()
    assert order.next() is None
    order.add("a")
    order.remove("a")
    assert order.next() is None


def test_rule_10_s_26_a_newcomer_gets_any_place() -> None:
    places: Counter[int] = Counter()
    for seed in range(400):
        order = rotation(*"abc", seed=seed)
        order.add("x")
        round_ = [order.next() for _ in range(4)]
        places[round_.index("x")] += 1
    assert set(places) == {0, 1, 2, 3}
    assert min(places.values()) > 70


@given(st.integers(0, 2**32), st.lists(st.sampled_from(["next", "next", "add", "remove"]), max_size=60))
def test_rule_10_no_turn_is_repeated_or_skipped_when_others_come_and_go(seed: int, steps: list[str]) -> None:
    """In each round whoever was there at its beginning and still is has one turn, and a newcomer one or none."""
    order = rotation("a", "b", seed=seed)
    present = {"a": False, "b": False}
    """Who is there, and whether it came during this round."""
    turns: list[str | None] = []
    for serial, step in enumerate(steps):
        if step == "add":
            order.add(f"n{serial}")
            present[f"n{serial}"] = True
        elif step == "remove" and present:
            gone = list(present)[serial % len(present)]
            order.remove(gone)
            del present[gone]
        else:
            if order._next == len(order):
                assert all(turns.count(name) == 1 for name, is_new in present.items() if not is_new)
                turns, present = [], dict.fromkeys(present, False)
            turns.append(order.next())
            assert turns[-1] in (present or [None])
            assert present == {} or turns.count(turns[-1]) == 1
        order.invariants(len(present))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_section_3_two_probes_of_one_member_are_at_most_2_n_minus_1_less_1_periods_apart(n: int) -> None:
    """Section 4: worst gap of a single prober 3, 7, 17 for n = 3, 5, 10, which is 2(n - 1) - 1. It is reached."""
    names = [f"n{number}" for number in range(n - 1)]
    worst = 0
    for seed in range(20):
        order = rotation(*names, seed=seed)
        last: dict[str, int] = {}
        for period in range(400):
            node_id = order.next()
            assert node_id is not None
            worst = max(worst, period - last.get(node_id, period))
            last[node_id] = period
    assert worst == 2 * (n - 1) - 1


@pytest.mark.parametrize(("n", "expected"), [(3, 1.25), (5, 1.39), (10, 1.48), (50, 1.58)])
def test_section_4_first_detection_with_the_round_robin_order(n: int, expected: float) -> None:
    """The mean number of periods, the one in which the crash happens included, until any of the others probes it.

    Section 3 has e / (e - 1) = 1.582 for large n and random targets; the order changes the tail, not the mean.
    """
    rng, total, runs = Random(n), 0, 1500
    for _ in range(runs):
        waits = []
        for _ in range(n - 1):
            # Where a prober is in its round when the crash happens: anywhere. The rest of it, then a new one.
            names = [f"n{number}" for number in range(n - 1)]
            order = Rotation(rng)
            order._order = names
            shuffle(rng, names)
            order._next = int(rng.random() * (n - 1))
            wait = 1
            while order.next() != "n0":
                wait += 1
            waits.append(wait)
        total += min(waits)
    assert total / runs == pytest.approx(expected, abs=0.08)


def test_rule_16_an_urgent_member_is_next_and_keeps_its_turn() -> None:
    order = rotation(*"abcd")
    first = order.next()
    order.hurry("c")
    rest = [order.next() for _ in range(4)]
    assert rest[0] == "c"
    assert sorted([str(first), *map(str, rest[1:])]) == list("abcd")


def test_rule_16_members_that_are_always_urgent_take_every_second_probe() -> None:
    order = rotation(*"abcdef")
    seen = []
    for _ in range(12):
        order.hurry("a")
        seen.append(order.next())
    assert seen[::2] == ["a"] * 6
    assert sorted(map(str, seen[1::2])) == list("abcdef")


def test_rule_16_an_urgent_member_that_goes_is_not_probed() -> None:
    order = rotation("a", "b")
    order.hurry("a")
    order.remove("a")
    assert [order.next(), order.next()] == ["b", "b"]


# Drawing at random ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh")), max_size=40))
def test_a_pool_is_a_set_with_places(steps: list[tuple[bool, str]]) -> None:
    pool: Pool = Pool()
    expected: dict[str, None] = {}
    for is_in, name in steps:
        if is_in:
            pool.add(name)
            expected[name] = None
        else:
            pool.discard(name)
            expected.pop(name, None)
        pool.invariants()
        assert sorted(pool[place] for place in range(len(pool))) == sorted(expected)
        assert all((name in pool) == (name in expected) for name in "abcdefgh")


@given(st.integers(0, 6), st.text("abcde", max_size=5), st.text("vwxyz", max_size=5), st.text("abvw", max_size=3))
def test_a_draw_is_of_different_ones_from_all_pools(count: int, first: str, second: str, but: str) -> None:
    pools = (Pool(), Pool())
    for pool, names in zip(pools, (first, second), strict=True):
        for name in names:
            pool.add(name)
    drawn = draw(Random(1), count, *pools, but=list(but))
    allowed = [name for name in dict.fromkeys(first + second) if name not in but]
    assert len(drawn) == min(count, len(allowed))
    assert len(dict.fromkeys(drawn)) == len(drawn)
    assert all(name in allowed for name in drawn)


def test_a_draw_is_fair() -> None:
    pools = (Pool(), Pool())
    for pool, names in zip(pools, ("ab", "cde"), strict=True):
        for name in names:
            pool.add(name)
    rng, counts = Random(1), Counter[str]()
    for _ in range(5000):
        counts.update(draw(rng, 2, *pools))
    assert all(1850 < count < 2150 for count in counts.values())


def test_a_shuffle_is_fair() -> None:
    rng, counts = Random(1), Counter[str]()
    for _ in range(6000):
        items = list("abc")
        shuffle(rng, items)
        counts["".join(items)] += 1
    assert len(counts) == 6
    assert all(900 < count < 1100 for count in counts.values())
