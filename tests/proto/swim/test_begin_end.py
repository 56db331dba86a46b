"""Rules 9, 26 and 27: joining, leaving, and what there is before and after."""

from __future__ import annotations

from random import Random

import pytest

from casty_proto.machine import SECOND, Note, Rejected, Reply, Severity, Wake
from casty_proto.swim import (
    Ack,
    Departed,
    Gossip,
    Join,
    Joined,
    Leave,
    Ping,
    PingRequest,
    Received,
    Records,
    Send,
    State,
    Swim,
    SwimOptions,
    SyncReply,
    SyncRequest,
    UpdatePayload,
)
from casty_proto.swim.core import JOIN
from casty_proto.swim.leaving import TOLD_MAX

from .script import ME, Script, alive, at, left, quiet, sent, suspect, who

LEFT = State.LEFT
MY_GOODBYE = left("me")


def machine() -> Swim:
    return Swim(ME, at("me"), b"mine", rng=Random(1))


def stepped(script: Script, effects: list[object], source: str) -> list[object]:
    """A seed answers that this is all that it knows."""
    requests = [e.message for e in effects if isinstance(e, Send) and isinstance(e.message, SyncRequest)]
    name = source.partition(":")[0]
    return list(script.receive(SyncReply(who(name), requests[0].number, (), None), name))


# Before --------------------------------------------------------------------------------------------------------------


def test_before_joining_there_is_no_deadline_and_nothing_is_listened_to() -> None:
    swim = machine()
    assert swim.deadline() is None
    assert swim.handle(Wake(), 0) == ()
    (note,) = swim.handle(Received(at("p"), Ping(who("p"), 1, ME, (alive("p"),))), 0)
    assert isinstance(note, Note)
    assert [member.identity for member in swim.members] == [ME]
    for event in (Leave("r"), UpdatePayload(b"x", "r")):
        (reply,) = swim.handle(event, 0)
        assert isinstance(reply, Reply)
        assert isinstance(reply.result, Rejected)
    swim.invariants()


# Joining -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [(), (at("me"),)])
def test_rule_26_who_has_no_seeds_but_itself_has_joined(seeds: tuple[str, ...]) -> None:
    assert machine().handle(Join(seeds, "r"), 0) == (Reply("r", None), Joined(None))


def test_rule_26_a_seed_is_told_of_us_and_asked_for_all() -> None:
    effects = machine().handle(Join((at("s"),), "r"), 0)
    assert effects == (
        Reply("r", None),
        Send(at("s"), Gossip(ME, (alive("me", payload=b"mine"),))),
        effects[2],
    )
    assert isinstance(effects[2], Send)
    request = effects[2].message
    assert isinstance(request, SyncRequest)
    assert (request.after, request.upto, [str(d) for d in request.digests]) == ("", None, ["alive me/1.0"])


def test_rule_26_joined_is_when_a_seed_has_told_all() -> None:
    script = Script()
    effects = script.do(Join((at("s"), at("t"))))
    ((_, request), (_, other)) = sent(effects, SyncRequest)
    script.receive(Records(who("s"), (alive("a"), alive("s"))), "s")
    more = script.receive(SyncReply(who("s"), request.number, (), "a"), "s")
    assert quiet(more) == []
    ((to, request),) = sent(more, SyncRequest)
    assert (to, request.after) == (at("s"), "a")
    assert script.receive(SyncReply(who("t"), other.number, (), None), "t") == [], "one seed is enough"
    assert quiet(script.receive(SyncReply(who("s"), request.number, (), None), "s")) == [Joined(at("s"))]
    assert at("t") not in {to for to, _ in sent(script.advance(10), SyncRequest)}


def test_rule_26_a_seed_may_be_known_by_another_address() -> None:
    script = Script()
    effects = script.do(Join(("alias:1",)))
    ((_, request),) = sent(effects, SyncRequest)
    assert quiet(script.receive(SyncReply(who("s"), request.number, (), None), "s")) == [Joined("alias:1")]


def test_rule_26_silent_seeds_are_asked_again_in_turn_at_growing_intervals() -> None:
    script = Script()
    seeds = tuple(f"s{number}:1" for number in range(5))
    script.do(Join(seeds))
    times: list[float] = []
    asked: list[str] = []
    while script.now < 150 * SECOND:
        now = [to for to, _ in sent(script.wake(), SyncRequest) if to in seeds]
        if len(now) == 3:
            times.append(script.now / SECOND)
            asked += now
    assert times[:7] == [1, 3, 7, 15, 31, 61, 91]
    assert set(asked[:2]) == {"s3:1", "s4:1"}
    assert set(asked) == set(seeds)


def test_rule_26_who_is_found_by_others_before_its_seeds_answer_has_joined() -> None:
    script = Script()
    script.do(Join((at("s"),)))
    script.hear(alive("p"), source="p")
    wakes = (script.wake() for _ in range(200))
    request = next(asked for effects in wakes for to, asked in sent(effects, SyncRequest) if to == at("p"))
    assert quiet(script.receive(SyncReply(who("p"), request.number, (), None))) == [Joined(at("p"))]
    assert (JOIN, 0) not in script.machine._deadlines


def test_rule_26_a_seed_that_turns_out_to_be_ourselves_is_no_seed() -> None:
    script = Script()
    effects = script.do(Join(("localhost:1",)))
    ((_, request),) = sent(effects, SyncRequest)
    (note,) = script.hear(alive("me"), source="me")
    assert isinstance(note, Note)
    assert note.severity is Severity.INFO
    effects = script.receive(request, "me")
    assert quiet(effects) == [Joined(None)]
    assert sent(script.advance(300), SyncRequest) == []


def test_rule_26_join_may_be_repeated_with_other_seeds() -> None:
    script = Script("p")
    script.do(Join((at("s"),)))
    effects = script.do(Join((at("t"),), "r"))
    assert effects[0] == Reply("r", None)
    assert [to for to, _ in sent(effects, SyncRequest)] == [at("t")]
    assert Joined(at("t")) in stepped(script, list(effects), "t")


def test_join_refuses_seeds_that_are_no_texts() -> None:
    for seeds in ("host:1", ("",), (1,), ["host:1"]):
        with pytest.raises(TypeError):
            Join(seeds)  # type: ignore[arg-type]


# Leaving -------------------------------------------------------------------------------------------------------------


def test_rule_27_s_41_a_goodbye_goes_to_all_of_a_few_at_once_and_then_nothing_more_is_done() -> None:
    script = Script(*"abcdefgh")
    effects = script.do(Leave("r"))
    assert effects[0] == Reply("r", None)
    told = sent(effects, Ping)
    assert quiet(effects[1:]) == []
    assert sorted(to for to, _ in told) == [at(name) for name in "abcdefgh"]
    assert all(MY_GOODBYE in ping.updates for _, ping in told)
    answered = [quiet(script.answer(ping)) for _, ping in told]
    assert answered == [[]] * 7 + [[Departed()]]
    assert script.machine.deadline() is None
    assert script.machine.me.state is LEFT


def test_rule_27_of_many_no_more_are_told_than_there_is_a_limit_for() -> None:
    script = Script(*[f"m{number:02}" for number in range(90)])
    told = [to for to, _ in sent(script.do(Leave()), Ping)]
    assert len(told) == len(set(told)) == TOLD_MAX
    often = Script(*[f"m{number:02}" for number in range(90)], options=SwimOptions(retransmit_mult=20))
    assert len(sent(often.do(Leave()), Ping)) == 40


def test_rule_27_who_does_not_answer_is_told_again_for_one_period() -> None:
    script = Script("a", "b")
    told = sent(script.do(Leave()), Ping)
    assert script.answer(dict(told)[at("a")]) == []
    effects = script.wake()
    assert script.now == SECOND // 5
    assert [to for to, _ in sent(effects, Ping)] == [at("b")]
    script.silent["b"] = None
    effects = script.advance(100)
    assert {to for to, _ in sent(effects, Ping)} == {at("b")}
    assert quiet(effects) == [Departed()]
    assert len(sent(effects, Ping)) == 3  # At 0.4, 0.6 and 0.8 s; after 1 s it is over.


def test_rule_27_who_leaves_as_well_need_not_answer() -> None:
    script = Script("a", "b")
    script.do(Leave())
    assert script.hear(left("b"), source="a") == []
    assert script.hear(left("a/2"), source="a/2") == []
    assert script.hear(left("a"), source="a") == []
    assert script.hear(left("b"), source="b") == [Departed()]


def test_rule_27_an_answer_to_an_earlier_question_does_not_say_that_it_was_heard() -> None:
    script = Script("a")
    _, earlier = script.probe()
    ((_, told),) = sent(script.do(Leave()), Ping)
    assert script.answer(earlier) == []
    assert script.answer(told) == [Departed()]


def test_rule_27_where_nobody_is_left_nobody_is_told() -> None:
    assert quiet(Script().do(Leave("r"))) == [Reply("r", None), Departed()]


def test_rule_27_whoever_asks_after_that_is_told() -> None:
    script = Script("a", "b")
    script.do(Leave())
    script.advance(1)
    request = PingRequest(who("a"), 1, who("b"), at("b"))
    for message in (Ping(who("a"), 1, ME), request, SyncRequest(who("a"), 1, "", None, ())):
        assert script.receive(message, "a") == [Send(at("a"), Gossip(ME, (MY_GOODBYE,)))]
    assert script.receive(Ack(who("a"), 1), "a") == []
    assert script.hear(alive("c"), source="a") == []
    assert script.get("c") is None
    assert script.machine.deadline() is None


@pytest.mark.parametrize("when", ["leaving", "left"])
def test_rule_27_accusations_are_answered_with_the_goodbye_and_never_contradicted(when: str) -> None:
    script = Script("a", "b")
    script.do(Leave())
    if when == "left":
        script.advance(1)
    effects = script.hear(suspect("me", 0), source="a")
    assert sent(effects, Gossip) == [(at("a"), Gossip(ME, (MY_GOODBYE,)))]
    effects = script.hear(suspect("me", 5), source="a")
    assert sent(effects, Gossip) == [(at("a"), Gossip(ME, (left("me", 5),)))]
    assert script.machine.health == 0


def test_rule_27_leaving_twice_or_joining_after_it_is_refused() -> None:
    script = Script("a", "b")
    script.do(Leave())
    for event in (Leave("r"), Join((), "r"), UpdatePayload(b"x", "r")):
        (reply,) = script.do(event)
        assert isinstance(reply, Reply)
        assert isinstance(reply.result, Rejected)
    script.wake()
    (reply,) = script.do(Join((), "r"))
    assert isinstance(reply, Reply)
    assert isinstance(reply.result, Rejected)


def test_rule_27_s_41_nothing_is_probed_or_suspected_after_leaving() -> None:
    script = Script(*"abcdef", options=SwimOptions(gossip_interval_ns=50 * SECOND))
    script.hear(suspect("a"))
    assert len(sent(script.do(Leave()), Ping)) == 6
    script.silent.update(dict.fromkeys("abcdef"))
    effects = script.advance(200)
    assert [effect for effect in effects if isinstance(effect, Send)] == []
    assert quiet(effects) == [Departed()]


# After being replaced ------------------------------------------------------------------------------------------------


def test_rule_9_a_defunct_member_does_nothing_any_more() -> None:
    script = Script("a", "b")
    script.hear(alive("me/2"))
    assert script.machine.deadline() is None
    for event in (Leave("r"), Join((), "r"), UpdatePayload(b"x", "r")):
        (reply,) = script.do(event)
        assert isinstance(reply, Reply)
        assert isinstance(reply.result, Rejected)
    (note,) = script.receive(Ping(who("a"), 1, ME))
    assert isinstance(note, Note)
    assert script.do(Wake()) == []
