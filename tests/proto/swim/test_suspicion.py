"""Rules 17 to 19: from suspicion to death. SWIM 4.2; Lifeguard IV-B and IV-C"""

from __future__ import annotations

import pytest

from casty_proto.machine import MILLISECOND, SECOND
from casty_proto.swim import (
    Ack,
    Gossip,
    MemberAlive,
    MemberDead,
    MemberSuspected,
    Ping,
    State,
    SwimOptions,
    SyncReply,
    SyncRequest,
)

from .script import ME, Script, alive, at, dead, left, member, quiet, sent, suspect, who

ALIVE, SUSPECT, DEAD, LEFT = State
OPTIONS = SwimOptions(confirmations=3)


def due(script: Script, name: str) -> float:
    """In how many seconds the suspect is to be declared dead."""
    return (script.machine._core.suspicions[name].deadline - script.now) / SECOND


def test_rule_17_a_suspect_is_declared_dead_when_its_time_is_up_and_not_before() -> None:
    script = Script(*"pqrs")
    script.hear(suspect("p"))
    time = due(script, "p")
    assert time == 24
    assert quiet(script.advance(time - 0.001)) == []
    assert quiet(script.advance(0.001)) == [MemberDead(member("p", DEAD), replaced=False)]
    assert script.news() == [dead("p", by="me")]


def test_rule_17_s_27_the_time_of_a_small_cluster_is_the_minimum() -> None:
    """n - 2 < K: nobody is left who could confirm."""
    script = Script("p", "q", options=OPTIONS)
    script.hear(suspect("p", by="q"))
    assert due(script, "p") == 4


def test_rule_17_without_beta_the_time_is_fixed_as_in_swim() -> None:
    script = Script(*"pqrstu", options=SwimOptions(suspicion_max_mult=1))
    script.hear(suspect("p", by="q"))
    assert due(script, "p") == 4
    script.hear(suspect("p", by="r"))
    assert due(script, "p") == 4


def test_rule_18_s_09_each_accuser_confirms_once_and_is_passed_on() -> None:
    script = Script(*"pqrstu", options=OPTIONS)
    script.hear(suspect("p", by="q"))
    script.calm()
    assert script.hear(suspect("p", by="q")) == []
    assert script.news() == []
    expected = {"r": 14.0, "s": 8.150, "t": 4.0}
    for by, seconds in expected.items():
        assert script.hear(suspect("p", by=by)) == []
        assert due(script, "p") == pytest.approx(seconds, abs=0.002)
        assert script.news() == [suspect("p", by=by)]
        script.calm()
        assert script.hear(suspect("p", by=by), suspect("p", by="q")) == []
        assert script.news() == []
    assert script.hear(suspect("p", by="u")) == []
    assert script.news() == [], "more than K confirmations are not passed on"
    assert due(script, "p") == pytest.approx(4.0, abs=0.002)


def test_rule_18_our_own_probes_confirm_too() -> None:
    script = Script(*"pqrs", options=OPTIONS)
    script.hear(suspect("p", by="q"))
    before = script.machine._core.suspicions["p"].deadline
    script.silent = {"p": None}
    script.advance(10)
    assert script.machine._core.suspicions["p"].accusers == {"q": None, "me": None}
    assert script.machine._core.suspicions["p"].deadline < before


@pytest.mark.parametrize("by", ["nobody", "gone", "p"])
def test_rule_18_only_members_who_are_there_can_confirm(by: str) -> None:
    script = Script(*"pqrst", "gone", options=OPTIONS)
    script.hear(dead("gone"), suspect("p", by="q"))
    before = due(script, "p")
    script.hear(suspect("p", by=by))
    assert due(script, "p") == before


@pytest.mark.parametrize("update", [suspect("p", 1, "r"), suspect("p", 3, "r")], ids=str)
def test_rule_18_only_the_same_incarnation_is_confirmed(update: object) -> None:
    script = Script(*"pqrst", options=OPTIONS)
    script.hear(alive("p", 2), suspect("p", 2, "q"))
    script.now += SECOND
    script.hear(update)  # type: ignore[arg-type]
    suspicion = script.machine._core.suspicions["p"]
    assert suspicion.confirmations == 0


def test_rule_3_a_suspicion_of_a_later_incarnation_begins_anew() -> None:
    """Its subject has objected to the first one meanwhile, and the objection has not come here."""
    script = Script(*"pqrst", options=OPTIONS)
    script.hear(suspect("p", 0, "q"), suspect("p", 0, "r"))
    script.now += 3 * SECOND
    assert quiet(script.hear(suspect("p", 5, "s"))) == []
    assert script.state("p") == (SUSPECT, 5)
    assert due(script, "p") == 24
    assert script.news() == [suspect("p", 5, "s")]


def test_rule_18_s_28_a_confirmation_after_the_shortened_time_kills_at_once_and_once() -> None:
    script = Script(*"pqrstu", options=OPTIONS)
    script.hear(suspect("p", by="q"))
    script.advance(13.9)
    script.hear(suspect("p", by="q"))
    assert script.state("p") == (SUSPECT, 0), "the first accuser cannot confirm itself"
    script.now += 500 * MILLISECOND
    effects = quiet(script.hear(suspect("p", by="r")))
    assert effects == [MemberDead(member("p", DEAD), replaced=False)]
    assert script.news() == [dead("p", by="me")]
    assert quiet(script.hear(suspect("p", by="s"))) == []
    assert quiet(script.advance(29)) == []


def test_rule_17_another_s_word_that_a_suspect_is_dead_is_enough() -> None:
    script = Script(*"pqrs")
    script.hear(suspect("p"))
    assert quiet(script.hear(dead("p", by="q"))) == [MemberDead(member("p", DEAD), replaced=False)]
    assert quiet(script.advance(29)) == []


def test_rule_17_a_suspect_counts_as_a_member() -> None:
    script = Script(*"pq")
    script.hear(suspect("p"))
    assert script.machine._core.members.count == 3
    assert at("p") in {to for to, _ in sent(script.advance(2), Ping)}


def test_rule_17_a_death_is_refuted_as_a_suspicion_is() -> None:
    script = Script(*"pqrs")
    script.hear(suspect("p"))
    script.advance(24)
    assert quiet(script.hear(alive("p", 1))) == [MemberAlive(member("p", ALIVE, 1, told=1), DEAD)]
    assert quiet(script.hear(suspect("p", 1))) == [MemberSuspected(member("p", SUSPECT, 1, told=1))]


# Rule 19 -------------------------------------------------------------------------------------------------------------


def test_rule_19_s_24_the_ping_of_a_suspect_tells_it_that_it_is_suspected() -> None:
    script = Script("p")
    script.hear(suspect("p", by="q"))
    script.calm()
    _, ping = script.probe()
    assert ping.updates == (suspect("p", by="q"),)


def test_rule_19_whatever_a_suspect_is_sent_tells_it() -> None:
    script = Script("p", "q")
    script.hear(suspect("p", by="q"))
    script.calm()
    assert sent(script.receive(Ping(who("p"), 1, ME)), Ack)[0][1].updates == (suspect("p", by="q"),)
    reply = sent(script.receive(SyncRequest(who("p"), 1, "", None, ())), SyncReply)[0][1]
    assert reply.updates == (suspect("p", by="q"),)
    script.hear(alive("x"))
    gossip = dict(sent(script.advance(0.2), Gossip))
    assert gossip[at("p")].updates[0] == suspect("p", by="q")


def test_rule_19_the_accusation_is_not_said_twice_in_one_message() -> None:
    script = Script("p", "q")
    script.hear(suspect("p", by="q"))
    _, ping = script.probe()
    assert [update for update in ping.updates if update.identity == who("p")] == [suspect("p", by="q")]


def test_rule_19_without_the_buddy_system_suspects_hear_it_like_anybody() -> None:
    script = Script("p", options=SwimOptions(buddy=False))
    script.hear(suspect("p", by="q"))
    script.calm()
    assert script.probe()[1].updates == ()


@pytest.mark.parametrize("buddy", [True, False])
@pytest.mark.parametrize("gone", [dead, left])
def test_rule_19_s_42_who_is_taken_for_gone_and_speaks_is_told(gone: type, buddy: bool) -> None:
    script = Script("p", "q", options=SwimOptions(buddy=buddy))
    script.hear(gone("p"))
    script.calm()
    ((_, ack),) = sent(script.receive(Ping(who("p"), 1, ME)), Ack)
    assert [str(update) for update in ack.updates] == [f"{gone('p').state.name.lower()} p/1.0"]


def test_rule_19_who_was_replaced_is_told_by_whom() -> None:
    script = Script("q", "p/3")
    ((_, ack),) = sent(script.receive(Ping(who("p/2"), 1, ME)), Ack)
    assert ack.updates == (alive("p/3"),)
