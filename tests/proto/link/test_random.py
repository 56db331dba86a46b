"""Random accidents: nothing is delivered twice or out of order, nothing is lost without a word, and all heals."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.link import Broken, Dialed, LinkOptions
from casty_proto.machine import MILLISECOND, SECOND

from .pair import Dialling, Pair

OPTIONS = LinkOptions(ack_every=2, max_frames=8, max_bytes=200, reserve=2)
HEALING = 60 * SECOND
"""A dead connection is found within `mute_after_ns`, and what was late comes within `SLOW`."""
SLOW = 20 * SECOND

SIDE = st.integers(0, 1)
STEP = st.one_of(
    st.tuples(st.just("push"), SIDE, st.integers(1, 5)),
    st.tuples(st.just("ahead"), SIDE, st.integers(1, 3)),
    st.tuples(st.just("interest"), SIDE, st.booleans()),
    st.tuples(st.just("advance"), st.sampled_from([0, 1, 2, 3, 30, 100, 1_000, 6_000]), st.none()),
    st.tuples(st.just("advance"), st.integers(0, 5), st.none()),
    st.tuples(st.just("close"), SIDE, st.integers(1, 3)),
    st.tuples(st.just("cut"), st.integers(0, 3), st.integers(1, 3)),
    st.tuples(st.just("slow"), st.integers(0, 2), st.integers(1, 3)),
    st.tuples(st.just("delay"), st.sampled_from([0, 1, 50, 3_000]), st.none()),
    st.tuples(st.just("dialling"), SIDE, st.sampled_from(Dialling)),
    st.tuples(st.just("stall"), SIDE, st.booleans()),
    st.tuples(st.just("connect"), SIDE, st.none()),
)
RARE = st.one_of(
    st.tuples(st.just("forget"), SIDE, st.booleans()),
    st.tuples(st.just("broken"), SIDE, st.none()),
    st.tuples(st.just("advance"), st.just(40_000), st.none()),
)


def step(pair: Pair, what: str, one: int, two: object) -> None:
    """One thing that happens. Connections are counted from the newest."""
    connection = pair.connections[-two] if isinstance(two, int) and 0 < two <= len(pair.connections) else None
    match what:
        case "push":
            assert isinstance(two, int)
            pair.sides[one].push(two)
        case "ahead":
            assert isinstance(two, int)
            pair.sides[one].push(two, ahead=True)
        case "interest":
            pair.sides[one].set_interest(bool(two))
        case "advance":
            pair.advance(one * MILLISECOND)
        case "close" if connection is not None:
            connection.close(one, aborted=True)
        case "cut" if connection is not None:
            pair.cut(connection, a_hears=bool(one & 1), b_hears=bool(one & 2))
        case "slow" if connection is not None:
            connection.delay_ns = [SLOW if one != 1 else MILLISECOND, SLOW if one != 0 else MILLISECOND]
        case "delay":
            pair.delay_ns = one * MILLISECOND
        case "dialling":
            assert isinstance(two, Dialling)
            pair.sides[one].dialling = two
        case "stall":
            pair.sides[one].stalled = True
            if not two:
                pair.sides[one].unstall()
        case "connect":
            pair.sides[one].feed(Dialed(pair.connect(one)))
        case "forget":
            pair.forget(one, peer_hears=bool(two))
        case "broken":
            pair.sides[one].feed(Broken("told to"))


def check_healing(pair: Pair) -> None:
    """The end of every script: within a bounded time everything that waits is delivered, and so is what comes then."""
    pair.heal()
    for side in pair.sides:
        side.set_interest(True)
        side.push()
    pair.advance(HEALING)
    pair.check_settled()
    losses = [len(side.losses) for side in pair.sides]
    for side in pair.sides:
        assert side.push(2) == 2
    pair.advance(SECOND)
    pair.check_settled()
    assert losses == [len(side.losses) for side in pair.sides]


@settings(max_examples=250, deadline=None, derandomize=True)
@given(steps=st.lists(STEP, max_size=40), seed=st.integers(0, 3))
def test_rules_02_06_and_09_what_is_pushed_comes_once_and_in_order_and_all_heals(
    steps: list[tuple[str, int, object]], seed: int
) -> None:
    pair = Pair(OPTIONS, seed=seed, refuses=True)
    for one in steps:
        step(pair, *one)
    check_healing(pair)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(steps=st.lists(st.one_of(STEP, STEP, STEP, RARE), max_size=30), seed=st.integers(0, 3))
def test_rules_07_13_and_15_whoever_forgets_ends_the_session_of_both_and_all_heals(
    steps: list[tuple[str, int, object]], seed: int
) -> None:
    pair = Pair(OPTIONS, seed=seed, refuses=True)
    for one in steps:
        step(pair, *one)
    check_healing(pair)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(steps=st.lists(st.one_of(STEP, STEP, STEP, RARE), max_size=30), seed=st.integers(0, 3))
def test_rule_10_all_heals_where_only_one_side_can_dial(steps: list[tuple[str, int, object]], seed: int) -> None:
    pair = Pair(OPTIONS, seed=seed, refuses=True, can_dial=(True, False))
    for one in steps:
        if one[0] != "connect" or one[1] == 0:
            step(pair, *one)
    check_healing(pair)


def drawn(rng: Random) -> tuple[str, int, object]:
    """A step of a long script: mostly pushes and short whiles, so that there is something for accidents to hit."""
    side = rng.randrange(2)
    kinds: list[tuple[float, tuple[str, int, object]]] = [
        (30, ("push", side, rng.randint(1, 3))),
        (1, ("ahead", side, 1)),
        (3, ("interest", side, rng.random() < 0.5)),
        (80, ("advance", rng.choice([0, 1, 1, 2, 3, 5, 25, 25, 60, 60, 400, 2_000, 6_000]), None)),
        (6, ("close", side, rng.choice([1, 1, 2]))),
        (8, ("cut", rng.randrange(4), rng.choice([1, 1, 2]))),
        (4, ("slow", rng.randrange(3), 1)),
        (4, ("delay", rng.choice([0, 1, 1, 20, 50]), None)),
        (6, ("dialling", side, rng.choice([Dialling.WORKS] * 6 + [Dialling.FAILS] * 3 + [Dialling.REFUSED]))),
        (6, ("stall", side, rng.random() < 0.4)),
        (5, ("connect", side, None)),
        (0.2, ("forget", side, rng.random() < 0.5)),
        (0.2, ("broken", side, None)),
    ]
    return rng.choices([step for _, step in kinds], [weight for weight, _ in kinds])[0]


@pytest.mark.parametrize("seed", range(60))
def test_rules_02_06_and_09_hold_in_a_long_script_of_accidents(seed: int) -> None:
    rng = Random(f"accidents {seed}")
    pair = Pair(OPTIONS, seed=seed, refuses=True)
    for _ in range(150):
        step(pair, *drawn(rng))
    check_healing(pair)
    assert len(pair.connections) > 2
    assert len(pair.delivered) > 10
