"""Rules 10 to 16: probes, helpers, and doubts about oneself. SWIM 3.1; Lifeguard IV-A"""

from __future__ import annotations

import pytest

from casty_proto.machine import MILLISECOND, SECOND, Note, Severity
from casty_proto.swim import (
    Ack,
    ConnectionLost,
    IndirectAck,
    MemberDead,
    MemberSuspected,
    Nack,
    Ping,
    PingRequest,
    State,
    SwimOptions,
)

from .script import ME, Script, alive, at, dead, left, quiet, sent, suspect, who

ALIVE, SUSPECT, DEAD, LEFT = State


def indirect(script: Script) -> list[tuple[str, PingRequest]]:
    """Go on to the end of the probe timeout. Returns who is asked for help, if anybody is before the next probe."""
    for _ in range(1000):
        effects = script.wake()
        requests, pings = sent(effects, PingRequest), sent(effects, Ping)
        if requests or pings:
            return requests
    raise AssertionError("neither help nor the next probe")


# Rule 10 -------------------------------------------------------------------------------------------------------------


def test_rule_10_one_member_is_probed_in_each_period() -> None:
    script = Script("p", "q", "r")
    pings = sent(script.advance(60), Ping)
    assert len(pings) in (59, 60, 61)
    assert sorted(to for to, _ in pings[:3]) == [at("p"), at("q"), at("r")]


def test_rule_10_the_first_probe_comes_at_a_random_time_within_a_period() -> None:
    times = [Script("p", seed=seed).machine.deadline() for seed in range(20)]
    assert len(set(times)) == 20
    assert all(time is not None and 0 <= time < SECOND for time in times)


def test_s_29_without_others_there_is_nothing_to_do() -> None:
    script = Script()
    assert script.advance(100) == []
    assert script.machine.health == 0


def test_s_44_when_all_are_gone_nobody_is_probed_and_a_newcomer_is_probed_once_a_period() -> None:
    script = Script("p", "q")
    script.hear(dead("p"), dead("q"))
    assert sent(script.advance(40), Ping) == []
    script.hear(alive("x"), source="x")
    assert len(sent(script.advance(10), Ping)) == 10


def test_rule_10_the_dead_and_the_left_are_not_probed_and_suspects_are() -> None:
    script = Script(*"pqrs")
    script.hear(dead("p"), left("q"), suspect("r", by="s"))
    assert sorted({to for to, _ in sent(script.advance(3), Ping)}) == [at("r"), at("s")]


# Rules 11 and 12 -----------------------------------------------------------------------------------------------------


def test_rule_11_s_19_a_silent_member_is_probed_through_others_and_then_suspected() -> None:
    script = Script(*"pqrs")
    to, ping = script.probe()
    target = ping.target.node_id
    start = script.now
    requests = indirect(script)
    assert script.now == start + SECOND // 2
    assert sorted(helper for helper, _ in requests) == sorted(at(name) for name in "pqrs" if name != target)
    assert all(request == PingRequest(ME, ping.number, ping.target, to) for _, request in requests)
    effects = script.wake()
    assert script.now == start + SECOND
    assert quiet(effects) == [MemberSuspected(script.machine._core.members[target])]
    assert script.news() == [suspect(target, by="me")]


@pytest.mark.parametrize(("k", "expected"), [(0, 0), (1, 1), (2, 2), (9, 3)])
def test_rule_11_as_many_helpers_as_there_are_up_to_k(k: int, expected: int) -> None:
    script = Script(*"pqrs", options=SwimOptions(indirect_probes=k))
    script.probe()
    helpers = [to for to, _ in indirect(script)]
    assert len(helpers) == len(set(helpers)) == expected


def test_rule_11_s_19_helpers_are_neither_suspected_nor_dead() -> None:
    script = Script(*"pqrst")
    script.hear(suspect("p"), suspect("q"), dead("r"), left("s"))
    _, ping = script.probe()
    while ping.target.node_id != "t":
        script.answer(ping)
        _, ping = script.probe()
    assert indirect(script) == []


@pytest.mark.parametrize("stage", ["direct", "late direct", "indirect"])
def test_rule_12_s_20_s_23_an_answer_by_either_way_is_enough_and_a_sign_of_health(stage: str) -> None:
    script = Script(*"pq")
    script.machine._core.health.change(+1)
    _, ping = script.probe()
    if stage == "direct":
        script.answer(ping)
    else:
        ((helper, request),) = indirect(script)
        if stage == "late direct":
            script.answer(ping)
        else:
            name = helper.partition(":")[0]
            script.receive(IndirectAck(who(name), request.number), name)
    assert script.machine.health == 0
    assert quiet(script.wake()) == []
    assert script.news() == []


def test_rule_12_s_23_health_does_not_fall_below_nothing() -> None:
    script = Script("p")
    script.advance(10)
    assert script.machine.health == 0


@pytest.mark.parametrize("wrong", ["number", "source", "generation", "late", "repeated"])
def test_rule_12_s_25_s_36_any_other_answer_counts_for_nothing(wrong: str) -> None:
    script = Script(*"pqr")
    script.machine._core.health.change(+3)
    _, ping = script.probe()
    name = ping.target.node_id
    other = "p" if name != "p" else "q"
    if wrong == "number":
        assert script.receive(Ack(ping.target, ping.number + 1)) == []
    if wrong == "source":
        assert script.receive(Ack(who(other), ping.number)) == []
    if wrong == "generation":
        assert script.receive(Ack(who(f"{name}/2"), ping.number)) == []
    if wrong == "repeated":
        script.answer(ping)
        assert script.machine.health == 2
        assert script.answer(ping) == []
        assert script.machine.health == 2
        return
    assert script.machine.health == 3
    indirect(script)
    script.wake()
    assert script.state(name) == (SUSPECT, 0)
    if wrong == "late":
        health = script.machine.health
        assert script.answer(ping) == []
        assert script.machine.health == health
        assert script.state(name) == (SUSPECT, 0)


def test_rule_12_s_36_only_a_helper_who_was_asked_can_pass_an_answer_on() -> None:
    script = Script(*"pqrs", options=SwimOptions(indirect_probes=1))
    script.machine._core.health.change(+3)
    _, ping = script.probe()
    ((helper, _),) = indirect(script)
    for name in "pqrs":
        if at(name) != helper:
            script.receive(IndirectAck(who(name), ping.number), name)
            script.receive(Nack(who(name), ping.number), name)
    assert script.machine.health == 3
    script.receive(IndirectAck(who(helper[0]), ping.number + 1), helper[0])
    assert script.machine.health == 3
    script.receive(IndirectAck(who(helper[0]), ping.number), helper[0])
    assert script.machine.health == 2


def test_rule_11_whoever_said_something_new_during_the_probe_is_not_suspected() -> None:
    script = Script(*"pq")
    _, ping = script.probe()
    script.hear(alive(ping.target.node_id, 1))
    indirect(script)
    assert quiet(script.wake()) == []


@pytest.mark.parametrize("gone", ["dead", "left", "replaced"])
def test_rule_11_whoever_went_during_the_probe_costs_no_health(gone: str) -> None:
    script = Script(*"pqr")
    _, ping = script.probe()
    name = ping.target.node_id
    script.hear({"dead": dead(name), "left": left(name), "replaced": alive(f"{name}/2")}[gone])
    before = script.state(name)
    assert indirect(script) == []
    assert script.machine.health == 0
    assert script.state(name) == before


# Rule 14 -------------------------------------------------------------------------------------------------------------


def fail_a_probe(script: Script, nacks: int) -> None:
    """One probe without an answer, of whose helpers so many say that they are there."""
    script.probe()
    for helper, request in indirect(script)[:nacks]:
        name = helper.partition(":")[0]
        script.receive(Nack(who(name), request.number), name)
    script.wake()


@pytest.mark.parametrize(
    ("names", "nacks", "before", "after"),
    [
        ("pqr", 2, 1, 1),  # S-21: all helpers are there, it is not us
        ("pqr", 1, 0, 1),  # S-22: two were asked, one is silent
        ("pqr", 0, 0, 2),
        ("p", 0, 0, 1),  # S-22: nobody could help
        ("p", 0, 7, 7),  # S-23: 7 is the worst
    ],
)
def test_rule_14_s_21_s_22_a_failed_probe_costs_health_for_each_silent_helper(
    names: str, nacks: int, before: int, after: int
) -> None:
    script = Script(*names)
    script.machine._core.health.change(before)
    fail_a_probe(script, nacks)
    assert script.machine.health == after


def test_rule_14_a_nack_counts_once() -> None:
    script = Script(*"pqr")
    script.probe()
    requests = indirect(script)
    name = requests[0][0].partition(":")[0]
    for _ in range(2):
        script.receive(Nack(who(name), requests[0][1].number), name)
    script.wake()
    assert script.machine.health == 1


@pytest.mark.parametrize("score", range(8))
def test_rule_14_s_21_period_and_timeout_grow_with_the_doubt(score: int) -> None:
    script = Script(*"pqrs")
    script.machine._core.health.change(score)
    script.probe()
    start = script.now
    assert indirect(script)
    assert script.now - start == (score + 1) * SECOND // 2
    script.wake()
    assert script.now - start == (score + 1) * SECOND


def test_rule_14_without_awareness_nothing_grows() -> None:
    script = Script(*"pqrs", options=SwimOptions(awareness_max=1))
    for _ in range(3):
        fail_a_probe(script, 0)
    assert script.machine.health == 0


# Rule 15 -------------------------------------------------------------------------------------------------------------


def test_rule_15_s_37_after_a_pause_helpers_get_their_whole_time() -> None:
    """Timeout and end of the period are both over. The target is not accused in the breath that asks for help."""
    script = Script(*"pqr")
    _, ping = script.probe()
    effects = script.sleep(10)
    assert len(sent(effects, PingRequest)) == 2
    assert quiet(effects) == []
    assert script.machine.deadline() == script.now + 500 * MILLISECOND
    assert script.machine.health == 1, "being late is a reason for doubt"
    script.answer(ping)
    assert quiet(script.wake()) == []


def test_rule_15_s_37_the_next_period_is_as_ever() -> None:
    script = Script(*"pqr")
    script.probe()
    script.sleep(10)
    effects = script.wake()
    assert [type(effect) for effect in quiet(effects)] == [MemberSuspected]
    assert len(sent(effects, Ping)) == 1
    assert indirect(script)


def test_rule_15_a_suspect_has_a_little_more_time_after_a_pause_and_once() -> None:
    script = Script(*"pqrs")
    script.hear(suspect("p", by="q"))
    effects = script.sleep(100)
    assert not [effect for effect in effects if isinstance(effect, MemberDead)]
    assert any(isinstance(effect, Note) and effect.severity is Severity.DEBUG for effect in effects)
    effects = script.sleep(100)
    assert [effect for effect in effects if isinstance(effect, MemberDead)]


def test_rule_15_an_objection_that_waited_during_the_pause_is_heard() -> None:
    script = Script(*"pqrs")
    script.hear(suspect("p", by="q"))
    script.sleep(100)
    script.hear(alive("p", 1))
    script.advance(60)
    assert script.state("p") == (ALIVE, 1)


def test_an_early_wake_does_nothing() -> None:
    script = Script("p")
    before = script.machine.deadline()
    assert script.sleep(0) == []
    assert script.machine.deadline() == before


# Rule 16 -------------------------------------------------------------------------------------------------------------


def test_rule_16_a_member_whose_connection_broke_is_probed_next_and_not_accused() -> None:
    script = Script(*"pqrstuvw")
    for name in "pqw":
        script.answer(script.probe()[1])
        assert script.do(ConnectionLost(at(name))) == []
        assert script.state(name) == (ALIVE, 0)
        to, ping = script.probe()
        assert to == at(name)
        script.answer(ping)


def test_rule_16_a_broken_connection_to_nobody_is_nothing() -> None:
    script = Script("p")
    script.hear(dead("p"))
    for address in (at("p"), at("me"), "nobody:1"):
        assert script.do(ConnectionLost(address)) == []
    assert sent(script.advance(5), Ping) == []


def test_rule_12_an_answer_that_was_meant_for_a_former_life_does_not_count() -> None:
    """Found by reading: numbers that began at 1 in every life let the answer to one life's probe serve the next."""
    before, after = Script("p", "q", me="me/1"), Script("p", "q", me="me/2")
    numbers = []
    for script in (before, after):
        for _ in range(20):
            _, ping = script.probe()
            numbers.append(ping.number)
            script.answer(ping)
    assert len(set(numbers)) == 40
