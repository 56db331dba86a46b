"""Forming alone: the rules of `cluster/forming.py`, one event after the other."""

from __future__ import annotations

import pytest

from casty_proto.cluster.core import SEEK, Core
from casty_proto.cluster.forming import Admitted, Forming, Found, TurnedAway
from casty_proto.cluster.messages import Agreed, Belongs, Claim, JoinAnswer, JoinRequest, Seek, Seeking
from casty_proto.machine import SECOND

from .kit_parts import FAST, core_of, notes, sent, take

SETTLE = FAST.settle_ns
ABC = ("a", "b", "c")


def begun(address: str, *seeds: str) -> tuple[Core, Forming]:
    """One that has asked its seeds for the first time."""
    core = core_of(address)
    forming = Forming(core)
    assert forming.begin(seeds) is None
    assert sent(core) == [(one, Seek(seeds, 0)) for one in seeds if one != address]
    return core, forming


def claiming(*heard: str) -> tuple[Core, Forming]:
    """The node `a` of the seeds `a`, `b` and `c`, which has heard these, and has waited long enough."""
    core, forming = begun("a", *ABC)
    for one in heard:
        assert forming.on_message(f"{one}.1", one, Seeking(ABC, 0)) is None
    core.now += SETTLE
    assert forming.due() is None
    return core, forming


# Rule 1 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [(), ("a",), ("a", "a")])
def test_rule_1_a_node_without_other_seeds_founds_at_once(seeds: tuple[str, ...]) -> None:
    core = core_of("a")
    assert Forming(core).begin(seeds) == Found()
    assert take(core) == []


def test_rule_1_a_node_with_another_seed_asks_it_and_waits() -> None:
    core, forming = begun("b", "a")
    for _ in range(100):
        core.now += SECOND
        assert forming.due() is None
    assert all(pair == ("a", Seek(("a",), 0)) for pair in sent(core))


def test_a_seed_that_stands_twice_is_asked_once() -> None:
    core = core_of("b")
    Forming(core).begin(("a", "a", "b"))
    assert sent(core) == [("a", Seek(("a", "b"), 0))]


# Rule 2 --------------------------------------------------------------------------------------------------------------


def test_rule_2_who_is_no_seed_never_founds_anything_though_it_has_the_lowest_address() -> None:
    core, forming = begun("a", "b", "c")
    for _ in range(50):
        for one in ("b", "c"):
            assert forming.on_message(f"{one}.1", one, Seeking(("b", "c"), 0)) is None
        core.now += SETTLE
        assert forming.due() is None
    assert sent(core, Claim) == []


def test_rule_2_who_asks_a_seed_that_has_it_as_a_seed_is_a_founder() -> None:
    """`a` has `b` as its seed, and `b` has `a`."""
    core, forming = begun("a", "b")
    forming.on_message("b.1", "b", Seek(("a",), 0))
    core.now += SETTLE
    assert forming.due() is None
    assert ("b", Claim(1)) in sent(core)
    assert forming.on_message("b.1", "b", Agreed(1)) == Found()


def test_rule_2_who_is_no_founder_is_agreed_with_by_nobody_and_agrees_with_nobody() -> None:
    core, forming = begun("b", *ABC)
    forming.on_message("0.1", "0", Claim(1))
    assert sent(core, Agreed) == []
    core, forming = begun("x", *ABC)
    forming.on_message("a.1", "a", Claim(1))
    assert sent(core, Agreed) == []


def test_rule_2_the_agreement_of_who_is_no_founder_does_not_count() -> None:
    _, forming = claiming("b", "c")
    for other in ("x", "y", "z"):
        assert forming.on_message(f"{other}.1", other, Agreed(1)) is None
    assert forming.on_message("b.1", "b", Agreed(1)) == Found()


# Rules 3 and 4 -------------------------------------------------------------------------------------------------------


def test_rule_4_a_lone_seed_waits_for_more_than_half() -> None:
    core, forming = begun("a", *ABC)
    for _ in range(100):
        core.now += SECOND
        assert forming.due() is None
    assert sent(core, Claim) == []


def test_rule_4_it_claims_after_some_time_and_not_before() -> None:
    core, forming = begun("a", *ABC)
    forming.on_message("b.1", "b", Seeking(ABC, 0))
    core.now += SETTLE - 1
    forming.due()
    assert sent(core, Claim) == []
    core.now += 1
    forming.due()
    assert sent(core, Claim) == [("b", Claim(1)), ("c", Claim(1))]


def test_rule_4_the_deadline_is_the_end_of_the_settling_time() -> None:
    core, forming = begun("a", *ABC)
    core.now += FAST.seek_ns - 1
    forming.on_message("b.1", "b", Seeking(ABC, 0))
    began = core.now
    while core.now < began + SETTLE:
        at = core.deadlines.earliest()
        assert at is not None
        assert core.now < at <= began + SETTLE
        core.now = at
        for key in core.deadlines.due(at):
            assert key == SEEK
            forming.due()
    assert sent(core, Claim)


def test_rule_4_who_hears_a_lower_founder_does_not_claim() -> None:
    core, forming = begun("b", *ABC)
    for one in ("a", "c"):
        forming.on_message(f"{one}.1", one, Seeking(ABC, 0))
    for _ in range(5):
        core.now += SETTLE
        forming.on_message("a.1", "a", Seeking(ABC, 0))
        forming.due()
    assert sent(core, Claim) == []


def test_rule_4_a_lower_founder_that_shows_up_ends_the_claim() -> None:
    core, forming = begun("b", *ABC)
    forming.on_message("c.1", "c", Seeking(ABC, 0))
    core.now += SETTLE
    forming.due()
    assert ("c", Claim(1)) in sent(core)
    forming.on_message("a.1", "a", Seek(ABC, 0))
    assert forming.on_message("c.1", "c", Agreed(1)) is None, "the claim that c agrees to is withdrawn"
    take(core)
    forming.due()
    assert ("c", Seek(ABC, 1)) in sent(core), "and c is told"


def test_rule_4_the_time_begins_anew_when_too_few_answer() -> None:
    core, forming = begun("a", *ABC)
    forming.on_message("b.1", "b", Seeking(ABC, 0))
    core.now += FAST.seek_ns * 8 * 4
    forming.due()
    assert sent(core, Claim) == [], "it was long ago that b was heard"
    forming.on_message("b.1", "b", Seeking(ABC, 0))
    core.now += SETTLE - 1
    forming.due()
    assert sent(core, Claim) == []
    core.now += 1
    forming.due()
    assert sent(core, Claim)


def test_rule_3_more_than_half_with_itself_make_a_founder() -> None:
    _, forming = claiming("b")
    assert forming.on_message("c.1", "c", Agreed(1)) == Found()


def test_rule_3_half_of_an_even_number_is_not_enough() -> None:
    seeds = ("a", "b", "c", "d")
    core, forming = begun("a", *seeds)
    for one in ("b", "c"):
        forming.on_message(f"{one}.1", one, Seeking(seeds, 0))
    core.now += SETTLE
    forming.due()
    assert forming.on_message("b.1", "b", Agreed(1)) is None
    assert forming.on_message("b.1", "b", Agreed(1)) is None, "and the same one counts once"
    assert forming.on_message("c.1", "c", Agreed(1)) == Found()


def test_rule_3_an_agreement_to_another_claim_does_not_count() -> None:
    _, forming = claiming("b")
    assert forming.on_message("b.1", "b", Agreed(2)) is None
    assert forming.on_message("b.1", "b", Agreed(0)) is None


def test_rule_3_nobody_agrees_with_two() -> None:
    core, forming = begun("c", *ABC)
    forming.on_message("b.1", "b", Claim(1))
    assert sent(core, Agreed) == [("b", Agreed(1))]
    forming.on_message("a.1", "a", Claim(1))
    assert sent(core, Agreed) == []
    forming.on_message("b.1", "b", Claim(1))
    assert sent(core, Agreed) == [], "a is lower, and has been heard"


def test_rule_3_who_has_a_claim_of_its_own_agrees_with_a_lower_one_only_when_that_is_withdrawn() -> None:
    core, forming = begun("b", *ABC)
    forming.on_message("c.1", "c", Seeking(ABC, 0))
    core.now += SETTLE
    forming.due()
    take(core)
    forming.on_message("c.1", "c", Claim(1))
    assert sent(core, Agreed) == [], "c is higher"
    forming.on_message("a.1", "a", Claim(7))
    assert sent(core, Agreed) == [("a", Agreed(7))]
    assert forming.on_message("c.1", "c", Agreed(1)) is None, "its own claim is withdrawn by that"


def test_rule_3_a_claim_is_repeated_to_those_who_have_not_agreed() -> None:
    seeds = ("a", "b", "c", "d", "e")
    core, forming = begun("a", *seeds)
    for one in ("b", "c"):
        forming.on_message(f"{one}.1", one, Seeking(seeds, 0))
    core.now += SETTLE
    forming.due()
    assert [to for to, _ in sent(core, Claim)] == ["b", "c", "d", "e"]
    forming.on_message("b.1", "b", Agreed(1))
    take(core)
    core.now += FAST.seek_ns
    forming.due()
    assert sent(core, Claim) == [(one, Claim(1)) for one in ("c", "d", "e")]


# Rule 5 --------------------------------------------------------------------------------------------------------------


def test_rule_5_consent_lasts_although_the_claimant_is_silent() -> None:
    core, forming = begun("b", *ABC)
    forming.on_message("a.1", "a", Claim(1))
    forming.on_message("c.1", "c", Seeking(ABC, 0))
    take(core)
    for _ in range(100):
        core.now += SECOND
        forming.on_message("c.1", "c", Seeking(ABC, 0))
        assert forming.due() is None
    assert [(to, body) for to, body in sent(core) if isinstance(body, Claim)] == []


def test_rule_5_consent_ends_when_the_claim_is_withdrawn() -> None:
    core, forming = begun("c", *ABC)
    forming.on_message("b.1", "b", Claim(3))
    forming.on_message("b.1", "b", Seeking(ABC, 2))
    forming.on_message("a.1", "a", Claim(1))
    assert sent(core, Agreed) == [("b", Agreed(3))], "up to 2 is not up to 3"
    forming.on_message("b.1", "b", Seeking(ABC, 3))
    forming.on_message("a.1", "a", Claim(1))
    assert sent(core, Agreed) == [("a", Agreed(1))]


def test_rule_5_consent_ends_when_another_process_has_that_address() -> None:
    core, forming = begun("c", *ABC)
    forming.on_message("b.1", "b", Claim(1))
    forming.on_message("b.2", "b", Seek(ABC, 0))
    forming.on_message("a.1", "a", Claim(1))
    assert sent(core, Agreed) == [("b", Agreed(1)), ("a", Agreed(1))]


# Rule 6 --------------------------------------------------------------------------------------------------------------


def test_rule_6_who_hears_of_a_cluster_asks_to_be_taken_in_and_founds_nothing() -> None:
    core, forming = claiming("b")
    take(core)
    assert forming.on_message("c.1", "c", Belongs("c.1")) is None
    assert sent(core) == [("c", JoinRequest(core.info))]
    assert forming.on_message("b.1", "b", Agreed(1)) is None
    forming.on_message("b.1", "b", Seek(ABC, 0))
    assert sent(core) == [("b", Seeking(ABC, 1))], "its claim is withdrawn"
    core.now += SECOND
    assert forming.due() is None
    assert sent(core) == [("c", JoinRequest(core.info)), ("b", Seek(ABC, 1))]


def test_rule_6_seeds_are_asked_on_when_the_only_contact_is_silent() -> None:
    core, forming = begun("d", *ABC)
    forming.on_message("a.1", "a", Belongs("a.1"))
    for seed in ("b", "c"):
        forming.on_message(f"{seed}.1", seed, Seeking(ABC, 0))
    take(core)
    forming.due()
    assert sent(core, Seek) == [("b", Seek(ABC, 0)), ("c", Seek(ABC, 0))]
    forming.on_message("b.1", "b", Belongs("a.1"))
    assert sent(core) == [("b", JoinRequest(core.info))]


def test_rule_6_who_knows_of_a_cluster_agrees_with_nobody() -> None:
    core, forming = begun("b", *ABC)
    forming.on_message("c.1", "c", Belongs("c.1"))
    take(core)
    forming.on_message("a.1", "a", Claim(1))
    assert sent(core) == []


def test_rule_6_members_are_asked_in_turn() -> None:
    core, forming = begun("d", *ABC)
    for one in ("a", "b"):
        forming.on_message(f"{one}.1", one, Belongs("a.1"))
    take(core)
    for _ in range(4):
        forming.due()
    assert sorted(to for to, _ in sent(core, JoinRequest)) == ["a", "a", "b", "b"]


def test_rule_6_who_belonged_to_a_cluster_and_was_started_again_is_agreed_with() -> None:
    """Otherwise these two would wait for each other for ever, and for a cluster that nobody is left of."""
    core, forming = begun("b", "a", "b")
    forming.on_message("a.1", "a", Belongs("a.1"))
    forming.on_message("a.2", "a", Seek(("a", "b"), 0))
    take(core)
    forming.on_message("a.2", "a", Claim(1))
    assert sent(core) == [("a", Agreed(1))]


def test_rule_6_of_those_who_say_that_they_belong_somewhere_only_some_are_remembered_and_all_seeds() -> None:
    core, forming = begun("d", *ABC)
    for number in range(10_000):
        forming.on_message("x.1", f"x{number}", Belongs("x.1"))
    asked = len(sent(core, JoinRequest))
    for seed in ABC:
        forming.on_message(f"{seed}.1", seed, Belongs("a.1"))
    take(core)
    for _ in range(1000):
        forming.due()
    assert len(dict.fromkeys([to for to, _ in sent(core, JoinRequest)])) == asked + len(ABC) < 100


@pytest.mark.parametrize("accepted", [True, False])
def test_rule_7_a_cluster_that_was_not_heard_of_takes_nobody_in_and_turns_nobody_away(accepted: bool) -> None:
    core, forming = begun("d", *ABC)
    forming.on_message("a.1", "a", Belongs("a.1"))
    take(core)
    assert forming.on_message("x.1", "x", JoinAnswer("x.1", accepted, "why", ("x",))) is None
    assert take(core) == []


# How it ends, and what is said ---------------------------------------------------------------------------------------


def test_who_was_taken_in_knows_the_cluster_and_its_contacts() -> None:
    _, forming = begun("d", *ABC)
    forming.on_message("a.1", "a", Belongs("b.1"))
    found = forming.on_message("a.1", "a", JoinAnswer("b.1", True, "", ("b", "a", "c")))
    assert found == Admitted("b.1", ("a", "b", "c"))


def test_who_was_turned_away_knows_why() -> None:
    _, forming = begun("d", *ABC)
    forming.on_message("a.1", "a", Belongs("b.1"))
    assert forming.on_message("a.1", "a", JoinAnswer("b.1", False, "too old")) == TurnedAway("too old")


def test_it_asks_more_and_more_slowly_and_never_stops() -> None:
    core, forming = begun("b", "a")
    pauses = []
    for _ in range(60):
        at = core.deadlines.earliest()
        assert at is not None
        pauses.append(at - core.now)
        core.now = at
        list(core.deadlines.due(at))
        forming.due()
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FAST.seek_ns, FAST.seek_ns * 8)


def test_it_says_every_ten_seconds_what_it_waits_for() -> None:
    core, forming = begun("b", "a", "b")
    core.now += 10 * SECOND - 1
    forming.due()
    assert notes(core) == []
    core.now += 1
    forming.due()
    (said,) = notes(core)
    assert "b.1 belongs to no cluster yet" in said
    assert "its seeds a do not answer" in said
    forming.on_message("a.1", "a", Belongs("a.1"))
    core.now += 10 * SECOND
    forming.due()
    assert "no leader that can be reached" in notes(core)[0]


def test_it_names_the_silent_founder_that_it_has_agreed_with() -> None:
    core, forming = begun("b", "a", "b")
    forming.on_message("a.1", "a", Claim(1))
    core.now += 11 * SECOND
    forming.due()
    assert "it waits for a, which was about to found one" in notes(core)[0]


def test_it_says_when_its_seeds_cannot_found_a_cluster() -> None:
    core, forming = begun("b", "a")
    core.now += 10 * SECOND
    forming.on_message("a.1", "a", Seeking(("x",), 0))
    forming.due()
    assert "none of them has seeds that could found one" in notes(core)[0]


def test_a_node_that_was_asked_answers_with_its_seeds() -> None:
    core, forming = begun("b", *ABC)
    forming.on_message("x.1", "x", Seek(("q",), 0))
    assert sent(core) == [("x", Seeking(ABC, 0))]
