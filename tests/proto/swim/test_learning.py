"""Rules 1 to 6, 24 and 28: what is heard about others, and what follows."""

from __future__ import annotations

import pytest

from casty_proto.machine import SECOND
from casty_proto.swim import (
    Gossip,
    MemberAlive,
    MemberConflict,
    MemberDead,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    State,
    SwimOptions,
    Update,
)

from .script import Script, alive, at, dead, left, member, quiet, sent, suspect, who

ALIVE, SUSPECT, DEAD, LEFT = State


def test_rule_5_s_01_a_stranger_who_is_alive_enters() -> None:
    script = Script("p")
    assert quiet(script.hear(alive("x", 1))) == [MemberAlive(member("x", ALIVE, 1, told=1), None)]
    assert script.news() == [alive("x", 1)]


def test_rule_4_s_02_s_45_what_is_known_changes_nothing() -> None:
    script = Script("p")
    script.hear(alive("x", 1))
    script.advance(0.2)
    rumours, before = script.machine._core.rumours, script.get("x")
    passed_on = rumours._keys["x"]
    assert passed_on[0] > 0
    assert script.hear(alive("x", 1)) == []
    assert script.get("x") is before
    assert rumours._keys["x"] == passed_on, "it is counted from the beginning"


def test_rule_3_s_03_a_suspicion_is_refuted_by_a_later_incarnation_only() -> None:
    script = Script("p", "q")
    script.hear(alive("x", 1), suspect("x", 1))
    script.calm()
    assert script.hear(alive("x", 1)) == []
    assert script.state("x") == (SUSPECT, 1)
    assert quiet(script.hear(alive("x", 2))) == [MemberAlive(member("x", ALIVE, 2, told=2), SUSPECT)]
    assert script.news() == [alive("x", 2)]
    script.advance(60)
    assert script.state("x") == (ALIVE, 2)


def test_s_18_the_time_of_a_refuted_suspicion_does_not_run_for_the_next_one() -> None:
    script = Script("p", "q", "r", "x")
    script.hear(suspect("x"))
    first = script.machine._core.suspicions["x"].deadline
    script.hear(alive("x", 1))
    script.now += 3 * SECOND
    script.hear(suspect("x", 1))
    second = script.machine._core.suspicions["x"].deadline
    assert second == first + 3 * SECOND
    effects = quiet(script.advance((first - script.now) / SECOND + 2))
    assert script.now > first
    assert effects == []
    script.advance((second - script.now) / SECOND)
    assert script.state("x") == (DEAD, 1)


def test_rule_2_s_04_another_payload_is_an_update_and_no_entry() -> None:
    script = Script("p")
    script.hear(alive("x", 1))
    script.calm()
    assert quiet(script.hear(alive("x", 2, b"new"))) == [MemberUpdated(member("x", ALIVE, 2, b"new", 2))]
    assert script.news() == [alive("x", 2, b"new")]


def test_rule_2_a_later_incarnation_with_the_same_payload_is_passed_on_and_not_announced() -> None:
    script = Script("p")
    script.hear(alive("x", 1, b"same"))
    assert quiet(script.hear(alive("x", 2, b"same"))) == []
    assert script.news() == [alive("x", 2, b"same")]


def test_rule_2_a_refutation_with_another_payload_is_both() -> None:
    script = Script("p")
    script.hear(alive("x", 1), suspect("x", 1))
    now = member("x", ALIVE, 2, b"new", 2)
    assert quiet(script.hear(alive("x", 2, b"new"))) == [MemberAlive(now, SUSPECT), MemberUpdated(now)]


def test_rule_2_a_suspicion_may_know_a_later_incarnation_than_its_payload() -> None:
    """The payload of incarnation 3 did not come here. It is not claimed to be that of incarnation 1."""
    script = Script("p", "q")
    script.hear(alive("x", 1, b"old"), suspect("x", 3))
    assert script.get("x") == member("x", SUSPECT, 3, b"old", told=1)
    assert script.machine._core.record(member("x", SUSPECT, 3, b"old", told=1)) == (
        alive("x", 1, b"old"),
        suspect("x", 3),
    )


@pytest.mark.parametrize("state", [ALIVE, SUSPECT, DEAD])
def test_rule_6_s_06_an_identity_at_another_address_is_reported_and_not_listened_to(state: State) -> None:
    script = Script("p")
    script.hear(alive("x", 1), *{ALIVE: [], SUSPECT: [suspect("x", 1)], DEAD: [dead("x", 1)]}[state])
    script.calm()
    before = script.get("x")
    assert before is not None
    assert script.hear(alive("x", 2, address="elsewhere:9")) == [MemberConflict(before, "elsewhere:9")]
    assert script.get("x") == before
    assert script.news() == []


def test_rule_6_s_16_one_who_has_left_may_come_back_from_anywhere() -> None:
    script = Script("p")
    script.hear(alive("x", 1), left("x", 1))
    effects = quiet(script.hear(alive("x", 2, address="elsewhere:9")))
    assert [type(effect) for effect in effects] == [MemberAlive]
    back = script.get("x")
    assert back is not None
    assert back.address == "elsewhere:9"


def test_rule_28_s_16_a_dead_member_s_name_is_free_after_the_reclaim_time() -> None:
    script = Script("p", "q", options=SwimOptions(reclaim_ns=100 * SECOND))
    script.hear(alive("x", 1), dead("x", 1))
    script.advance(99)
    assert script.state("x") == (DEAD, 1)
    assert len(quiet(script.hear(alive("x", 2, address="elsewhere:9")))) == 1
    script.advance(1)
    assert script.state("x") is None
    entered = quiet(script.hear(alive("x", 0, address="elsewhere:9")))
    assert [type(effect) for effect in entered] == [MemberAlive]
    assert script.state("x") == (ALIVE, 0)


def test_rule_28_a_member_that_came_back_is_not_forgotten() -> None:
    script = Script("p", "q", options=SwimOptions(reclaim_ns=100 * SECOND))
    script.hear(alive("x", 1), left("x", 1), alive("x", 2))
    script.advance(200)
    assert script.state("x") == (ALIVE, 2)


@pytest.mark.parametrize("update", [suspect("x", 1), dead("x", 1), left("x", 1)], ids=str)
def test_rule_5_s_07_of_a_stranger_who_is_not_there_nothing_is_announced(update: Update) -> None:
    script = Script("p")
    assert script.hear(update) == []
    assert script.news() == []


def test_rule_5_s_07_the_death_of_a_stranger_is_remembered_against_older_news_and_forgotten_later() -> None:
    script = Script("p", "q", options=SwimOptions(reclaim_ns=100 * SECOND))
    script.hear(dead("x", 1))
    assert script.hear(alive("x", 1)) == []
    assert script.state("x") == (DEAD, 1)
    script.advance(100)
    assert script.state("x") is None


def test_rule_5_a_stranger_who_was_dead_comes_as_if_new() -> None:
    script = Script("p")
    script.hear(dead("x", 1))
    assert quiet(script.hear(alive("x", 2))) == [MemberAlive(member("x", ALIVE, 2, told=2), None)]


def test_rule_17_s_08_an_accusation_makes_a_suspect() -> None:
    """Of 4 members 2 could confirm: from 24 s down to 4 s."""
    script = Script("p", "q", "x")
    assert quiet(script.hear(suspect("x"))) == [MemberSuspected(member("x", SUSPECT))]
    assert script.news() == [suspect("x")]
    assert script.machine._core.suspicions["x"].deadline == script.now + 24 * SECOND


def test_rule_3_s_10_what_is_older_than_the_record_is_ignored() -> None:
    script = Script("p")
    script.hear(alive("x", 10))
    script.calm()
    assert script.hear(suspect("x", 1), dead("x", 1), left("x", 1)) == []
    assert script.state("x") == (ALIVE, 10)
    assert script.news() == []


def test_rule_4_s_12_a_death_is_announced_once() -> None:
    script = Script("p")
    script.hear(alive("x", 1))
    script.calm()
    assert quiet(script.hear(dead("x", 1))) == [MemberDead(member("x", DEAD, 1, told=1), replaced=False)]
    assert script.news() == [dead("x", 1)]
    script.calm()
    assert script.hear(dead("x", 1, by="q")) == []
    assert script.news() == []


def test_rule_4_a_later_death_of_the_dead_is_passed_on_and_not_announced() -> None:
    script = Script("p")
    script.hear(alive("x", 1), dead("x", 1))
    assert quiet(script.hear(dead("x", 4))) == []
    assert script.state("x") == (DEAD, 4)
    assert script.news() == [dead("x", 4)]


def test_rule_27_s_13_one_who_leaves_is_out_at_once() -> None:
    script = Script("p")
    script.hear(alive("x", 1))
    assert quiet(script.hear(left("x", 1), source="x")) == [MemberLeft(member("x", LEFT, 1, told=1))]
    assert script.machine._core.members.count == 2
    assert script.hear(dead("x", 1), suspect("x", 1)) == []


def test_rule_27_one_who_was_taken_for_dead_may_have_left() -> None:
    script = Script("p")
    script.hear(alive("x", 1), dead("x", 1))
    assert quiet(script.hear(left("x", 1))) == [MemberLeft(member("x", LEFT, 1, told=1))]
    assert quiet(script.hear(left("x", 1), left("x", 2))) == []


def test_rule_4_one_who_left_came_back_unseen_died_and_left_is_announced_once() -> None:
    script = Script("p")
    script.hear(alive("x", 1), left("x", 1))
    assert quiet(script.hear(dead("x", 2), left("x", 2))) == []
    assert script.state("x") == (LEFT, 2)


def test_rule_3_s_14_a_dead_member_comes_back_with_a_later_incarnation_only() -> None:
    script = Script("p")
    script.hear(alive("x", 10), dead("x", 10))
    assert script.hear(alive("x", 10), suspect("x", 11)) == []
    assert script.state("x") == (DEAD, 10)
    assert quiet(script.hear(alive("x", 11))) == [MemberAlive(member("x", ALIVE, 11, told=11), DEAD)]


def test_rule_24_s_15_a_state_is_merged_and_its_dead_are_only_suspected() -> None:
    script = Script("p")
    script.hear(alive("m1", 1), alive("m2", 1), alive("m3", 1), suspect("m1", 1))
    effects = script.compare(alive("m1", 2), suspect("m2", 1), dead("m3", 1), alive("m4", 2))
    assert quiet(effects) == [
        MemberAlive(member("m1", ALIVE, 2, told=2), SUSPECT),
        MemberSuspected(member("m2", SUSPECT, 1, told=1)),
        MemberSuspected(member("m3", SUSPECT, 1, told=1)),
        MemberAlive(member("m4", ALIVE, 2, told=2), None),
    ]
    states = [script.state(name) for name in ("m1", "m2", "m3", "m4")]
    assert states == [(ALIVE, 2), (SUSPECT, 1), (SUSPECT, 1), (ALIVE, 2)]


def test_rule_24_the_left_of_a_state_have_left_and_unknown_dead_stay_unknown() -> None:
    script = Script("p")
    script.hear(alive("x", 1))
    assert quiet(script.compare(left("x", 1), dead("y", 1))) == [MemberLeft(member("x", LEFT, 1, told=1))]
    assert script.get("y") is None


def test_rule_24_who_reports_a_death_is_the_accuser() -> None:
    script = Script("p", "q", "x")
    script.compare(dead("x", by="somebody"), source="q")
    assert script.news() == [suspect("x", by="q")]


@pytest.mark.parametrize("before", [ALIVE, SUSPECT])
def test_rule_1_a_higher_generation_replaces_the_lower_at_once(before: State) -> None:
    script = Script("p", "x/1")
    if before is SUSPECT:
        script.hear(suspect("x/1"))
    script.calm()
    assert quiet(script.hear(alive("x/2", address="elsewhere:9"))) == [
        MemberDead(member("x/1", DEAD), replaced=True),
        MemberAlive(script.machine._core.members["x"], None),
    ]
    assert script.get("x") == script.machine._core.members["x"]
    assert script.news() == [alive("x/2", address="elsewhere:9")]
    assert quiet(script.hear(alive("x/1", 9), dead("x/1", 9), left("x/1", 9))) == []


@pytest.mark.parametrize("gone", [dead("x/2"), left("x/2")], ids=str)
def test_rule_1_a_higher_generation_that_is_gone_has_replaced_the_lower_too(gone: Update) -> None:
    script = Script("p", "x/1")
    assert quiet(script.hear(gone)) == [MemberDead(member("x/1", DEAD), replaced=True)]
    assert script.news() == [gone]
    assert quiet(script.hear(alive("x/2"))) == []


def test_rule_1_a_suspicion_of_an_unknown_generation_says_nothing() -> None:
    script = Script("p", "x/1")
    assert quiet(script.hear(suspect("x/2"))) == []
    assert script.state("x/1") == (ALIVE, 0)


def test_rule_28_a_dead_member_s_name_comes_back_with_a_higher_generation() -> None:
    script = Script("p", "x/1")
    script.hear(dead("x/1"))
    entered = quiet(script.hear(alive("x/2")))
    assert entered == [MemberAlive(member("x/2"), None)]


def test_rule_22_s_17_the_dead_are_sent_gossip_for_a_while() -> None:
    script = Script("p", "x")
    script.hear(dead("x"))
    script.calm()
    script.hear(alive("y"))
    assert [to for to, _ in sent(script.advance(1), Gossip)].count(at("x")) > 0
    script.advance(30)
    script.calm()
    script.hear(alive("z"))
    receivers = [to for to, _ in sent(script.advance(5), Gossip)]
    assert receivers
    assert at("x") not in receivers


def test_rule_22_the_dead_are_told_that_they_are_dead() -> None:
    script = Script("x")
    script.hear(dead("x"))
    gossip = sent(script.advance(0.2), Gossip)
    assert gossip == [(at("x"), Gossip(who("me"), (Update(who("x"), 0, DEAD),)))]
