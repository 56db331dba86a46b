"""Rules 1, 3 and 4: which of two statements about a member prevails, exhaustively. SWIM 4.2"""

from __future__ import annotations

from itertools import permutations, product

import pytest

from casty_proto.swim import State, Update
from casty_proto.swim.members import prevails

from .script import Script, alive, dead, left, suspect

ALIVE, SUSPECT, DEAD, LEFT = State
LATER, SAME, EARLIER = 2, 1, 0

TABLE: dict[tuple[State, State], tuple[int, ...]] = {
    # new, over old: the incarnations of the new one, against 1 of the old one, with which it prevails
    (ALIVE, ALIVE): (LATER,),
    (ALIVE, SUSPECT): (LATER,),
    (ALIVE, DEAD): (LATER,),
    (ALIVE, LEFT): (LATER,),
    (SUSPECT, ALIVE): (LATER, SAME),
    (SUSPECT, SUSPECT): (LATER,),
    (SUSPECT, DEAD): (),
    (SUSPECT, LEFT): (),
    (DEAD, ALIVE): (LATER, SAME),
    (DEAD, SUSPECT): (LATER, SAME),
    (DEAD, DEAD): (LATER,),
    (DEAD, LEFT): (LATER,),
    (LEFT, ALIVE): (LATER, SAME),
    (LEFT, SUSPECT): (LATER, SAME),
    (LEFT, DEAD): (LATER, SAME),
    (LEFT, LEFT): (LATER,),
}
"""Within one generation. The upper left corner is SWIM's table; the others are ours and memberlist's (section 5)."""

PAPER: dict[tuple[State, State], tuple[int, ...]] = {
    (ALIVE, ALIVE): (LATER,),
    (ALIVE, SUSPECT): (LATER,),
    (SUSPECT, ALIVE): (LATER, SAME),
    (SUSPECT, SUSPECT): (LATER,),
    (SUSPECT, DEAD): (),
}
"""Section 5, what SWIM prints: alive(i) and suspect(i) over alive(j) and suspect(j), and suspicions over the dead."""


def say(name: str, state: State, incarnation: int) -> Update:
    match state:
        case State.ALIVE:
            return alive(name, incarnation)
        case State.SUSPECT:
            return suspect(name, incarnation)
        case State.DEAD:
            return dead(name, incarnation)
        case State.LEFT:
            return left(name, incarnation)


CASES = list(product(State, State, (EARLIER, SAME, LATER)))


def test_the_table_is_whole_and_agrees_with_the_paper() -> None:
    assert list(TABLE) == list(product(State, State))
    assert all(TABLE[pair] == expected for pair, expected in PAPER.items())
    assert all(SAME in TABLE[DEAD, old] for old in (ALIVE, SUSPECT))


@pytest.mark.parametrize(("new", "old", "incarnation"), CASES)
def test_rule_3_which_statement_prevails_within_a_generation(new: State, old: State, incarnation: int) -> None:
    expected = incarnation in TABLE[new, old]
    assert prevails(say("x", new, incarnation), say("x", old, SAME)) == expected


@pytest.mark.parametrize(("new", "old", "incarnation"), CASES)
def test_rule_1_a_higher_generation_prevails_whatever_the_rest(new: State, old: State, incarnation: int) -> None:
    assert prevails(say("x/2", new, incarnation), say("x/1", old, SAME))
    assert not prevails(say("x/1", new, incarnation), say("x/2", old, SAME))


@pytest.mark.parametrize(("new", "old", "incarnation"), CASES)
def test_rule_3_a_view_follows_the_table(new: State, old: State, incarnation: int) -> None:
    """The record after both statements is the new one if that prevails, and otherwise the old one, untouched."""
    script = Script("p", "x")
    script.hear(alive("x", SAME), say("x", old, SAME))
    script.calm()
    before = script.get("x")
    script.hear(say("x", new, incarnation))
    if incarnation in TABLE[new, old]:
        assert script.state("x") == (new, incarnation)
        assert script.news() == [say("x", new, incarnation)]
    else:
        assert script.get("x") == before
        assert script.news() == []


EVERYTHING = [say(name, state, i) for name, state, i in product(("x/1", "x/2"), State, (1, 2))]


@pytest.mark.parametrize("first", EVERYTHING, ids=str)
def test_rule_4_no_view_ever_goes_back(first: Update) -> None:
    """All pairs of statements after the first, in both orders. The script's watch compares the records."""
    for second, third in permutations(EVERYTHING, 2):
        script = Script("p")
        for update in (first, second, third):
            script.hear(update)


@pytest.mark.parametrize("state", [ALIVE, DEAD, LEFT])
def test_rule_3_views_that_heard_the_same_believe_the_same(state: State) -> None:
    """Whatever the order. Suspicions are left out: they need somebody to suspect, and end by themselves."""
    said = [alive("x", 1), alive("x", 2), say("x", state, 2), say("x", DEAD, 1), alive("x", 3), left("x", 3)]
    records = []
    for order in permutations(said):
        script = Script("p")
        for update in order:
            script.hear(update)
        records.append(script.state("x"))
    assert records == [(LEFT, 3)] * len(records)
