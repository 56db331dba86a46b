"""Rules 2 and 7 to 9: what is heard about oneself."""

from __future__ import annotations

import pytest
from attrs import evolve

from casty_proto.machine import SECOND, Note, Rejected, Reply
from casty_proto.swim import (
    NUMBER_MAX,
    PAYLOAD_MAX,
    Ack,
    Defunct,
    Gossip,
    Identity,
    MemberConflict,
    Ping,
    Received,
    Records,
    Send,
    State,
    SyncRequest,
    Update,
    UpdatePayload,
)
from casty_proto.swim.core import FORGET
from casty_proto.swim.myself import LEAP

from .bench import Bench, address_of
from .script import ME, Script, alive, at, dead, left, quiet, sent, suspect, who


@pytest.mark.parametrize("state", ["suspect", "dead"])
@pytest.mark.parametrize(("own", "accused", "then"), [(0, 0, 1), (3, 3, 4), (3, 7, 8)])
def test_rule_7_s_11_an_accusation_is_contradicted_above_it(state: str, own: int, accused: int, then: int) -> None:
    """SWIM 4.2: incarnation max(own, accused) + 1; one alive message; one more point of doubt."""
    script = Script("p", incarnation=own, payload=b"mine")
    accusation = suspect("me", accused) if state == "suspect" else dead("me", accused)
    effects = script.hear(accusation)
    assert quiet(effects) == []
    assert script.machine.me.incarnation == then
    assert script.machine.me.state is State.ALIVE
    assert script.news() == [alive("me", then, b"mine")]
    assert script.machine.health == 1


def test_rule_7_whoever_accuses_is_answered_at_once() -> None:
    script = Script("p")
    answer = sent(script.hear(suspect("me", 0), source="p"), Gossip)
    assert answer == [(at("p"), Gossip(ME, (alive("me", 1),)))]


def test_rule_7_an_accusation_in_a_ping_is_answered_in_the_ack_and_once() -> None:
    script = Script("p")
    effects = script.receive(Ping(who("p"), 7, ME, (suspect("me", 0),)))
    assert [e for e in effects if isinstance(e, Send)] == [Send(at("p"), Ack(ME, 7, (alive("me", 1),)))]


def test_rule_2_s_39_a_stale_accusation_is_answered_with_the_present_state() -> None:
    script = Script("p", incarnation=5)
    script.calm()
    assert script.hear(suspect("me", 4)) == []
    assert script.machine.me.incarnation == 5
    assert script.news() == [alive("me", 5)]
    assert script.machine.health == 0
    effects = script.receive(Ping(who("p"), 7, ME, (dead("me", 4),)))
    assert sent(effects, Ack) == [(at("p"), Ack(ME, 7, (alive("me", 5),)))]


def test_rule_7_an_answer_does_not_wait_for_its_turn() -> None:
    """There is other news, larger and never told, and room for one."""
    script = Script("p", incarnation=5, payload=bytes(800))
    script.hear(alive("x", 0, bytes(900)))
    effects = script.receive(Ping(who("p"), 7, ME, (suspect("me", 4),)))
    assert sent(effects, Ack) == [(at("p"), Ack(ME, 7, (alive("me", 5, bytes(800)),)))]


def test_rule_20_a_repeated_answer_is_not_counted_from_the_beginning() -> None:
    script = Script("p", incarnation=5)
    script.hear(suspect("me", 4))
    script.advance(0.2)
    rumours = script.machine._core.rumours
    before = rumours._keys["me"]
    script.hear(suspect("me", 4))
    assert rumours._keys["me"] == before


def test_rule_7_s_05_a_claim_beyond_one_s_own_is_exceeded_and_the_payload_kept() -> None:
    script = Script("p", incarnation=1, payload=b"mine")
    script.hear(alive("me", 2, b"other"))
    assert script.machine.me.incarnation == 3
    assert script.news() == [alive("me", 3, b"mine")]


def test_rule_7_an_equal_claim_with_another_payload_is_exceeded_too() -> None:
    """A process that lost its memory, and began again with the incarnation that its earlier life had."""
    script = Script("p", incarnation=1, payload=b"mine")
    script.hear(alive("me", 1, b"mine"), alive("me", 0, b"old"))
    assert script.machine.me.incarnation == 1
    script.hear(alive("me", 1, b"other"))
    assert script.news() == [alive("me", 2, b"mine")]


def test_rule_7_who_is_said_to_have_left_and_has_not_says_so() -> None:
    script = Script("p")
    script.hear(left("me", 4))
    assert script.news() == [alive("me", 5)]
    assert script.machine.health == 0, "nobody found us silent"


def test_rule_6_somebody_else_in_our_name_is_reported_and_not_answered() -> None:
    script = Script("p")
    effects = script.hear(alive("me", 9, address="elsewhere:9"))
    assert effects == [MemberConflict(script.machine.me, "elsewhere:9")]
    assert script.machine.me.incarnation == 0


def test_rule_1_what_is_said_of_our_predecessor_is_answered_if_it_is_believed_there() -> None:
    script = Script("p", me="me/5")
    assert script.hear(dead("me/4"), left("me/4")) == []
    assert script.news() == []
    script.hear(alive("me/4", 9))
    assert script.news() == [alive("me/5")]


# Rule 9 --------------------------------------------------------------------------------------------------------------


def test_rule_9_a_higher_generation_of_ourselves_is_the_end() -> None:
    script = Script("p")
    assert quiet(script.hear(alive("me/2"))) == [Defunct("me/1 was replaced by me/2", 2)]
    assert script.machine.deadline() is None
    assert quiet(script.receive(Ping(who("p"), 1, ME))) == []


def test_rule_9_s_38_the_last_incarnation_can_be_reached_and_not_passed() -> None:
    script = Script("p", incarnation=NUMBER_MAX - 1)
    script.hear(suspect("me", NUMBER_MAX - 1))
    assert script.machine.me.incarnation == NUMBER_MAX
    script.calm()
    effects = quiet(script.hear(suspect("me", NUMBER_MAX)))
    assert [type(effect) for effect in effects] == [Defunct]
    assert script.machine.me.incarnation == NUMBER_MAX


def test_rule_9_a_payload_needs_an_incarnation_too() -> None:
    script = Script("p", incarnation=NUMBER_MAX)
    (reply,) = script.do(UpdatePayload(b"new", "r"))
    assert isinstance(reply, Reply)
    assert isinstance(reply.result, Rejected)
    assert script.machine.me.payload == b""


# Rule 8 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("update", [alive, suspect, dead, left])
def test_rule_8_a_wild_incarnation_of_another_is_not_believed(update: type) -> None:
    script = Script("p")
    script.hear(alive("x", 7))
    script.calm()
    (note,) = script.hear(update("x", 8 + LEAP))
    assert isinstance(note, Note)
    assert "no incarnation rises so far at once" in str(note)
    assert script.state("x") == (State.ALIVE, 7)
    assert script.news() == []
    script.hear(update("x", 7 + LEAP))
    assert script.state("x") != (State.ALIVE, 7)


def test_rule_8_a_stranger_s_wild_incarnation_is_believed_of_the_stranger_alone() -> None:
    script = Script("p")
    script.hear(alive("x", LEAP + 1))
    assert script.get("x") is None
    script.hear(alive("x", LEAP + 1), source="x")
    assert script.state("x") == (State.ALIVE, LEAP + 1)


@pytest.mark.parametrize("known", [None, dead, left])
def test_rule_8_a_stranger_of_whom_something_wild_is_said_is_asked_itself(known: type | None) -> None:
    """Otherwise two members with high incarnations, of whom neither knows the other, would never find each other."""
    script, x = Script("p", *(["x"] if known else [])), Script("p", me="x", incarnation=LEAP + 1)
    if known:
        script.hear(known("x"))
    effects = script.hear(alive("x", LEAP + 1))
    ((to, request),) = sent(effects, SyncRequest)
    assert to == at("x")
    ((_, records),) = sent(x.receive(request, "me"), Records)
    script.receive(records, "x")
    assert script.state("x") == (State.ALIVE, LEAP + 1)


@pytest.mark.parametrize("update", [suspect, dead, left])
def test_rule_8_of_a_stranger_who_is_gone_nobody_is_asked(update: type) -> None:
    assert sent(Script("p").hear(update("x", LEAP + 1)), SyncRequest) == []


def test_rule_8_two_members_with_high_incarnations_find_each_other() -> None:
    """Both were lied about, and one has lost its memory. A third tells each of the other."""
    bench = Bench(2)
    bench.grow(3)
    bench.run_until(bench.converged, 10)
    for name in ("n1", "n2"):
        lie = Update(Identity(name, 1), LEAP, State.ALIVE, address=address_of(name), payload=b"a lie")
        bench.feed("n0", Received(address_of("liar"), Gossip(Identity("liar", 1), (lie,))))
        bench.feed(name, Received(address_of("liar"), Gossip(Identity("liar", 1), (lie,))))
    bench.run_until(bench.converged, 10)
    assert bench.hosts["n1"].machine.me.incarnation == LEAP + 1
    for name, other in (("n1", "n2"), ("n2", "n1")):
        machine = bench.hosts[name].machine
        machine._core.members.put(evolve(machine._core.members[other], state=State.LEFT))
        machine._deadlines.set((FORGET, other), bench.now + SECOND)
    bench.run(1)
    assert bench.view("n1").keys() == {"n0", "n1"}
    bench.run_until(bench.converged, 61)


def test_rule_8_a_wild_accusation_of_ourselves_is_followed_in_steps() -> None:
    """Nobody honest believes more than a few jumps at a time; whatever they believe is reached."""
    script = Script("p")
    script.hear(suspect("me", NUMBER_MAX))
    assert script.machine.me.incarnation == LEAP + 1
    script.hear(suspect("me", NUMBER_MAX))
    assert script.machine.me.incarnation == 2 * (LEAP + 1)


def test_rule_8_who_believed_something_wild_is_caught_up_with() -> None:
    """`you` was told two wild accusations in a row. It tells the accused, who needs two steps to get above them."""
    script = Script("me")
    you = Script("liar", me="you")
    you.hear(alive("me"), source="me")
    you.hear(suspect("me", LEAP), source="liar")
    you.hear(suspect("me", 2 * LEAP), source="liar")
    assert you.state("me") == (State.SUSPECT, 2 * LEAP)
    for _ in range(2):
        script.hear(suspect("me", 2 * LEAP))
        you.hear(*script.news(), source="me")
    assert you.state("me") == (State.ALIVE, 2 * LEAP + 1)


# Local changes -------------------------------------------------------------------------------------------------------


def test_rule_2_a_new_payload_raises_the_incarnation_and_is_told() -> None:
    script = Script("p", payload=b"old")
    assert script.do(UpdatePayload(b"new", "r")) == [Reply("r", None)]
    assert script.news() == [alive("me", 1, b"new")]
    script.calm()
    assert script.do(UpdatePayload(b"new", "r")) == [Reply("r", None)]
    assert script.news() == []
    assert script.machine.me.incarnation == 1


def test_rule_2_a_payload_has_its_limit() -> None:
    script = Script("p")
    assert script.do(UpdatePayload(b"x" * PAYLOAD_MAX, "r")) == [Reply("r", None)]
    before = script.machine.me
    (reply,) = script.do(UpdatePayload(b"x" * (PAYLOAD_MAX + 1), "r"))
    assert reply == Reply("r", Rejected("a payload is at most 1024 bytes"))
    assert script.machine.me == before
