"""Rules 12, 13 and 15: being asked by others, for oneself and for third parties. SWIM 3.1; Lifeguard IV-A"""

from __future__ import annotations

from casty_proto.machine import SECOND, Note
from casty_proto.swim import (
    Ack,
    Gossip,
    IndirectAck,
    Nack,
    Ping,
    PingRequest,
    Send,
    SwimOptions,
)
from casty_proto.swim.probe import RELAYS_MAX

from .script import ME, Script, alive, at, sent, who

# Answering -----------------------------------------------------------------------------------------------------------


def test_rule_12_a_ping_is_answered_whoever_sends_it() -> None:
    script = Script()
    effects = script.receive(Ping(who("p"), 7, ME))
    assert effects[0] == Send(at("p"), Ack(ME, 7))


def test_rule_1_a_ping_for_our_predecessor_is_answered_with_who_we_are() -> None:
    script = Script("p", me="me/2")
    effects = script.receive(Ping(who("p"), 7, who("me/1")))
    assert effects == [Send(at("p"), Gossip(who("me/2"), (alive("me/2"),)))]


def test_rule_12_a_ping_for_somebody_else_is_dropped() -> None:
    script = Script("p")
    (note,) = script.receive(Ping(who("p"), 7, who("x")))
    assert isinstance(note, Note)


# Helping -----------------------------------------------------------------------------------------------------------


def test_rule_13_a_helper_probes_and_passes_the_answer_on() -> None:
    script = Script("p", "x")
    effects = script.receive(PingRequest(who("p"), 77, who("x"), at("x")))
    ((to, ping),) = sent(effects, Ping)
    assert (to, ping.target) == (at("x"), who("x"))
    assert script.answer(ping) == [Send(at("p"), IndirectAck(ME, 77))]
    assert script.answer(ping) == []


def test_rule_13_a_helper_without_an_answer_says_so_after_80_percent_of_the_timeout_and_once() -> None:
    script = Script("x", options=SwimOptions(probe_interval_ns=100 * SECOND, probe_timeout_ns=SECOND))
    script.receive(PingRequest(who("p"), 77, who("y"), at("y")))
    assert sent(script.advance(0.799), Nack) == []
    assert sent(script.advance(0.001), Nack) == [(at("p"), Nack(ME, 77))]
    assert sent(script.advance(300), Nack) == []


def test_rule_13_an_answer_after_the_nack_is_still_passed_on_within_the_period() -> None:
    script = Script("p", "q")
    ((_, ping),) = sent(script.receive(PingRequest(who("p"), 77, who("y"), at("y"))), Ping)
    script.advance(0.9)
    assert script.answer(ping) == [Send(at("p"), IndirectAck(ME, 77))]
    ((_, ping),) = sent(script.receive(PingRequest(who("p"), 78, who("y"), at("y"))), Ping)
    script.advance(1)
    assert script.answer(ping) == []


def test_rule_15_a_helper_that_was_away_keeps_silent_about_a_probe_that_is_over() -> None:
    script = Script("p", "q")
    script.receive(PingRequest(who("p"), 77, who("y"), at("y")))
    assert sent(script.sleep(10), Nack) == []
    assert sent(script.advance(10), Nack) == []


def test_rule_13_a_helper_trusts_the_address_that_it_knows() -> None:
    script = Script("x")
    effects = script.receive(PingRequest(who("p"), 1, who("x"), "elsewhere:9"))
    assert [to for to, _ in sent(effects, Ping)] == [at("x")]
    effects = script.receive(PingRequest(who("p"), 2, who("x/2"), "elsewhere:9"))
    assert [to for to, _ in sent(effects, Ping)] == ["elsewhere:9"]


def test_rule_13_a_helper_answers_only_for_the_one_who_was_asked_about() -> None:
    script = Script("x")
    ((_, ping),) = sent(script.receive(PingRequest(who("p"), 1, who("x/2"), at("x"))), Ping)
    assert script.receive(Ack(who("x"), ping.number)) == []


def test_rule_13_nobody_is_helped_without_end() -> None:
    script = Script("p")
    for number in range(RELAYS_MAX):
        script.receive(PingRequest(who("p"), number, who("x"), at("x")))
    (note,) = script.receive(PingRequest(who("p"), 1000, who("x"), at("x")))
    assert isinstance(note, Note)
    script.advance(2)
    assert sent(script.receive(PingRequest(who("p"), 1001, who("x"), at("x"))), Ping)
