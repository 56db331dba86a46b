"""The checkers of SWIM on hand-made sequences: what is legal passes, and each kind of wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from casty_proto.machine import SECOND, Note, Severity, Wake
from casty_proto.swim import (
    Ack,
    ConnectionLost,
    Defunct,
    Departed,
    Gossip,
    Identity,
    IndirectAck,
    Join,
    Joined,
    Leave,
    Member,
    MemberAlive,
    MemberConflict,
    MemberDead,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    Message,
    Nack,
    Ping,
    PingRequest,
    Received,
    Send,
    State,
    SwimEffect,
    SwimEvent,
    SwimOptions,
    SyncRequest,
    Update,
    UpdatePayload,
)
from casty_proto.swim.messages import Digest
from casty_sim.checkers.swim import SwimChecker
from casty_sim.checkers.swim_views import bounds
from casty_sim.world import Violation

ALIVE, SUSPECT, DEAD, LEFT = State
OPTIONS = SwimOptions(suspicion_mult=1)
A, B, B2, C = Identity("a", 1), Identity("b", 1), Identity("b", 2), Identity("c", 1)


def member(identity: Identity, incarnation: int = 0, state: State = ALIVE, payload: bytes = b"") -> Member:
    return Member(identity, incarnation, state, identity.node_id, payload, told=incarnation)


def update(identity: Identity, incarnation: int = 0, state: State = ALIVE, payload: bytes = b"") -> Update:
    address = identity.node_id if state is ALIVE else ""
    by = "c" if state is SUSPECT else ""
    return Update(identity, incarnation, state, by, address, payload)


class Script:
    """Three members, of whom `a` is the one that does something."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.at = 0
        self.checker = SwimChecker(OPTIONS, 3, self.reached.append, lambda node_id: True)
        self.me = {identity.node_id: member(identity) for identity in (A, B, C)}
        for me in self.me.values():
            self.checker.started(me)

    def does(self, node_id: str, event: SwimEvent, *effects: SwimEffect, **changes: Any) -> None:
        """A member handles an event. `changes` are what it says otherwise of itself from now on."""
        if changes:
            self.me[node_id] = evolve(self.me[node_id], **changes)
        self.checker.handled(self.me[node_id], event, effects, self.at, self.at)

    def a(self, *effects: SwimEffect) -> None:
        """`a` says or announces this: by itself what it says, and after news what it announces."""
        says = any(isinstance(effect, Send) for effect in effects)
        self.does("a", Wake() if says else Received("c", Gossip(C, ())), *effects)

    def b_says(self, incarnation: int) -> None:
        """`b` objects to a suspicion, and says something newer."""
        accusation = Received("c", Gossip(C, (update(B, incarnation - 1, SUSPECT),)))
        self.does("b", accusation, incarnation=incarnation, told=incarnation)

    def b_restarts(self) -> None:
        self.me["b"] = member(B2)
        self.checker.started(self.me["b"])


def to_b(message: Message) -> Send:
    return Send("b", message)


def test_the_life_of_a_member_in_the_eyes_of_another_passes() -> None:
    script = Script()
    script.a(MemberAlive(member(B), None), Joined("b"))
    script.a(MemberSuspected(member(B, 0, SUSPECT)))
    script.b_says(1)
    script.a(MemberAlive(member(B, 1), SUSPECT))
    script.a(MemberSuspected(member(B, 1, SUSPECT)))
    script.at += SECOND
    script.a(MemberDead(member(B, 1, DEAD), replaced=False))
    script.b_says(2)
    script.a(MemberAlive(member(B, 2), DEAD))
    script.does("b", UpdatePayload(b"new"), incarnation=3, told=3, payload=b"new")
    script.a(MemberUpdated(member(B, 3, payload=b"new")))
    script.does("b", Leave(), state=LEFT)
    script.a(MemberLeft(member(B, 3, LEFT, b"new")))
    script.b_restarts()
    script.a(MemberAlive(member(B2), None))
    assert script.reached == [
        "a member was suspected",
        "a suspicion was refuted",
        "a member was suspected",
        "a member that was up was declared dead",
        "a member was declared dead",
        "a dead member came back",
        "a payload changed",
        "a member left",
        "one who had left came back",
    ]


def test_a_suspect_that_is_back_with_another_payload_is_announced_in_two_steps() -> None:
    script = Script()
    script.a(MemberAlive(member(B), None), MemberSuspected(member(B, 0, SUSPECT)))
    script.does("b", UpdatePayload(b"new"), incarnation=1, told=1, payload=b"new")
    new = member(B, 1, payload=b"new")
    script.a(MemberAlive(new, SUSPECT), MemberUpdated(new))
    assert script.checker.announced("a") == {"b": new}


def known(script: Script) -> None:
    script.a(MemberAlive(member(B), None))


def suspected(script: Script) -> None:
    known(script)
    script.a(MemberSuspected(member(B, 0, SUSPECT)))


def dead(script: Script) -> None:
    suspected(script)
    script.at += SECOND
    script.a(MemberDead(member(B, 0, DEAD), replaced=False))


def gone(script: Script) -> None:
    known(script)
    script.does("b", Leave(), state=LEFT)
    script.a(MemberLeft(member(B, 0, LEFT)))


def nothing(script: Script) -> None:
    pass


@pytest.mark.parametrize(
    ("before", "effect", "rule"),
    [
        (nothing, MemberSuspected(member(B, 0, SUSPECT)), "announcements"),
        (nothing, MemberDead(member(B, 0, DEAD), replaced=False), "announcements"),
        (nothing, MemberLeft(member(B, 0, LEFT)), "announcements"),
        (nothing, MemberUpdated(member(B)), "announcements"),
        (nothing, MemberAlive(member(A), None), "announcements"),
        (nothing, MemberAlive(member(B2), None), "invention"),
        (known, MemberAlive(member(B), None), "no way back"),
        (known, MemberAlive(member(B, 1), SUSPECT), "announcements"),
        (known, MemberUpdated(member(B, 1)), "announcements"),
        (known, MemberDead(member(B, 0, DEAD), replaced=True), "announcements"),
        (known, MemberDead(member(B, 0, DEAD), replaced=False), "suspicion"),
        (known, MemberLeft(member(B, 0, LEFT)), "announcements"),
        (suspected, MemberSuspected(member(B, 0, SUSPECT)), "announcements"),
        (suspected, MemberAlive(member(B), SUSPECT), "no way back"),
        (suspected, MemberDead(member(B, 0, DEAD), replaced=False), "suspicion"),
        (dead, MemberDead(member(B, 0, DEAD), replaced=False), "announcements"),
        (dead, MemberAlive(member(B), DEAD), "no way back"),
        (dead, MemberSuspected(member(B, 0, SUSPECT)), "announcements"),
        (gone, MemberDead(member(B, 0, DEAD), replaced=False), "announcements"),
        (gone, MemberAlive(member(B, 1), LEFT), "no way back"),
        (gone, MemberLeft(member(B, 0, LEFT)), "announcements"),
        (known, MemberConflict(member(B), "x"), "announcements"),
        (known, Defunct("replaced", 2), "announcements"),
        (known, Departed(), "own word"),
        (known, Note(Severity.WARNING, "dropped"), "honest peers"),
    ],
)
def test_rules_3_4_27_announcements_out_of_order_are_refused(
    before: Callable[[Script], None], effect: SwimEffect, rule: str
) -> None:
    script = Script()
    before(script)
    with pytest.raises(Violation) as refused:
        script.a(effect)
    assert refused.value.rule == rule


def test_rule_1_only_a_higher_generation_replaces() -> None:
    script = Script()
    known(script)
    script.b_restarts()
    script.a(MemberDead(member(B, 0, DEAD), replaced=True), MemberAlive(member(B2), None))
    assert script.reached == ["a member was replaced"]


def test_rule_1_what_is_said_of_one_who_was_replaced_does_not_count() -> None:
    script = Script()
    known(script)
    script.does("b", Leave(), state=LEFT)
    script.b_restarts()
    script.a(MemberDead(member(B, 0, DEAD), replaced=True))
    script.does("a", Received("c", Gossip(C, (update(B, 0, LEFT),))))
    with pytest.raises(Violation, match="no way back"):
        script.a(MemberLeft(member(B, 0, LEFT)))


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (Ack(A, 1, (update(B, 1),)), "invention"),
        (Ack(A, 1, (update(B, 1, SUSPECT),)), "invention"),
        (Ack(A, 1, (update(B, 0, payload=b"?"),)), "invention"),
        (Ack(A, 1, (update(B, 0, LEFT),)), "invention"),
        (Ack(A, 1, (update(B2),)), "invention"),
        (Ack(A, 1, (update(A, 0, DEAD),)), "never itself"),
        (Ack(B, 1), "own word"),
        (SyncRequest(A, 1, "", None, (Digest(B, 1, ALIVE),)), "invention"),
    ],
)
def test_rule_2_nobody_speaks_beyond_the_word_of_another(message: Message, rule: str) -> None:
    script = Script()
    with pytest.raises(Violation) as refused:
        script.a(to_b(message))
    assert refused.value.rule == rule


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (Wake(), {"incarnation": 1, "told": 1}),
        (UpdatePayload(b"new"), {"payload": b"new"}),
        (Received("b", Gossip(B, (update(C, 0, SUSPECT),))), {"incarnation": 1, "told": 1}),
        (Wake(), {"address": "elsewhere"}),
    ],
)
def test_rule_7_a_member_changes_its_word_for_a_reason_only(event: SwimEvent, changes: dict[str, Any]) -> None:
    script = Script()
    with pytest.raises(Violation, match="own word"):
        script.does("a", event, **changes)


@pytest.mark.parametrize("state", [SUSPECT, DEAD, LEFT])
def test_nobody_says_of_itself_that_it_is_gone_without_a_request(state: State) -> None:
    with pytest.raises(Violation, match="never itself"):
        Script().does("a", Wake(), state=state)


def test_rule_7_an_objection_prevails() -> None:
    script = Script()
    accusation = Received("b", Gossip(B, (update(A, 0, SUSPECT),)))
    script.does("a", accusation, to_b(Gossip(A, (update(A, 1),))), incarnation=1, told=1)
    with pytest.raises(Violation, match="objection"):
        script.does("a", accusation, to_b(Gossip(A, (update(A, 1),))))


def test_rule_27_whoever_leaves_tells_enough_and_is_believed() -> None:
    script = Script()
    known(script)
    with pytest.raises(Violation, match="goodbye"):
        script.does("a", Leave(), Departed(), state=LEFT)
    script = Script()
    known(script)
    script.does("b", Leave(), state=LEFT)
    with pytest.raises(Violation, match="goodbye"):
        script.does("a", Received("b", Gossip(B, (update(B, 0, LEFT),))))


def ping(target: Identity, number: int = 1) -> Send:
    return Send(target.node_id, Ping(A, number, target))


def probes(script: Script, *targets: Identity) -> None:
    """`a` probes them, one in each period, and they answer."""
    for target in targets:
        script.at += SECOND
        script.a(ping(target))
        script.does("a", Received(target.node_id, Ack(target, 1)))


def test_rule_10_everybody_has_a_turn_within_two_rounds() -> None:
    script = Script()
    script.a(MemberAlive(member(B), None), MemberAlive(member(C), None))
    probes(script, B, C, C, B, C, C, C)
    with pytest.raises(Violation, match="probed b after 4 probes, 3 at most"):
        probes(script, B)


def test_rule_16_a_hint_lets_others_wait_for_one_probe_more() -> None:
    script = Script()
    script.a(MemberAlive(member(B), None), MemberAlive(member(C), None))
    script.does("a", ConnectionLost("c"))
    probes(script, B, C, C, C, B)
    assert script.reached == []


@pytest.mark.parametrize(
    "answer", [None, Ack(B, 4), Ack(C, 5), Nack(C, 5), IndirectAck(C, 4), Gossip(B, (update(B, 0, SUSPECT),))]
)
def test_rule_11_who_does_not_answer_is_suspected(answer: Message | None) -> None:
    for suspected in (True, False):
        script = Script()
        known(script)
        script.a(ping(B, 5))
        if answer is not None:
            script.does("a", Received("c", answer))
        script.at += SECOND
        if suspected:
            script.does("a", Wake(), MemberSuspected(member(B, 0, SUSPECT)), ping(C))
        else:
            with pytest.raises(Violation, match="had no answer from alive b"):
                script.a(ping(C))


@pytest.mark.parametrize("answer", [Ack(B, 5), IndirectAck(C, 5)])
def test_rule_12_who_answers_is_not_suspected(answer: Message) -> None:
    script = Script()
    known(script)
    script.a(ping(B, 5))
    script.does("a", Received("c", answer))
    with pytest.raises(Violation, match="whose answer it did not wait for, or has"):
        script.does("a", Wake(), MemberSuspected(member(B, 0, SUSPECT)))
    script.a(ping(C))


def test_rule_11_who_was_not_probed_is_not_suspected() -> None:
    script = Script()
    known(script)
    with pytest.raises(Violation, match="probe"):
        script.does("a", Wake(), MemberSuspected(member(B, 0, SUSPECT)))


def test_the_load_is_bounded() -> None:
    script = Script()
    for _ in range(bounds(OPTIONS, 3).sends):
        script.a(to_b(PingRequest(A, 1, C, "c")))
    with pytest.raises(Violation, match="by itself in one period"):
        script.a(to_b(PingRequest(A, 1, C, "c")))
    with pytest.raises(Violation, match="2 at most"):
        Script().does("a", Received("b", Ping(B, 1, A)), *[to_b(Ack(A, 1))] * 3)
    with pytest.raises(Violation, match="6 at most"):
        Script().does("a", Join(("b",)), *[to_b(Gossip(A, (update(A),)))] * 7)
    with pytest.raises(Violation, match="asked for help"):
        Script().a(to_b(Nack(A, 1)))
    with pytest.raises(Violation, match="of gossip at once"):
        Script().a(*[to_b(Gossip(A, (update(A),)))] * 7)


def test_rule_20_news_is_passed_on_so_often_and_no_more() -> None:
    script = Script()
    for _ in range(4):
        script.at += SECOND
        script.a(to_b(Ack(A, 1, (update(C),))))
    with pytest.raises(Violation, match=r"passed 'alive c/1\.0 at c' on 5 times, 4 at most"):
        script.a(to_b(Ack(A, 1, (update(C),))))


def test_rule_21_no_message_exceeds_the_limit() -> None:
    Script().checker.size(Ack(A, 1), 1400)
    with pytest.raises(Violation, match="size"):
        Script().checker.size(Ack(A, 1), 1401)


def test_nobody_who_is_up_is_suspected_where_nothing_is_wrong() -> None:
    script = Script()
    known(script)
    script.checker.calm = True
    with pytest.raises(Violation, match="false positive"):
        script.a(MemberSuspected(member(B, 0, SUSPECT)))


def test_a_clock_that_jumps_may_shorten_a_suspicion() -> None:
    script = Script()
    suspected(script)
    script.checker.even_clocks = False
    script.a(MemberDead(member(B, 0, DEAD), replaced=False))
