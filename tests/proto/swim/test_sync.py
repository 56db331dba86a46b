"""Rules 21, 23 and 25: comparing whole states, in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.machine import SECOND, Note
from casty_proto.swim import (
    Ack,
    Digest,
    Gossip,
    Join,
    Ping,
    Records,
    Send,
    State,
    SwimOptions,
    SyncReply,
    SyncRequest,
    Update,
    message_size,
)
from casty_proto.swim.sync import BURST, Sync

from .script import ME, Script, alive, at, dead, left, sent, suspect, who

ALIVE, SUSPECT, DEAD, LEFT = State


def digest(name: str, state: State = ALIVE, incarnation: int = 0) -> Digest:
    return Digest(who(name), incarnation, state)


def ask(script: Script, *digests: Digest, after: str = "", upto: str | None = None) -> tuple[list[Update], SyncReply]:
    """`p` takes a step along the state of the script. Returns the records, and the end of the answer."""
    effects = script.receive(SyncRequest(who("p"), 9, after, upto, digests))
    records = [update for _, message in sent(effects, Records) for update in message.updates]
    ((to, reply),) = sent(effects, SyncReply)
    assert (to, reply.number) == (at("p"), 9)
    return records, reply


def sync_request(script: Script) -> tuple[str, SyncRequest]:
    """Go on to the next step of the script's own."""
    for _ in range(1000):
        requests = sent(script.advance(0.5), SyncRequest)
        if requests:
            return requests[0]
    raise AssertionError("no states are compared")


# Answering -----------------------------------------------------------------------------------------------------------


def test_rule_23_what_is_missing_is_told_and_what_is_newer_is_wanted() -> None:
    script = Script("a", "b", "c", "d", "p")
    script.hear(alive("b", 2), alive("c", 5))
    mine = (digest("a"), digest("b", ALIVE, 1), digest("c", ALIVE, 6), digest("me"), digest("p"), digest("x"))
    records, reply = ask(script, *mine)
    assert records == [alive("b", 2), alive("d")]
    assert reply.wants == ("c", "x")
    assert reply.covered is None


def test_rule_23_an_answer_keeps_to_the_range() -> None:
    script = Script("a", "b", "c", "d", "p")
    assert ask(script, after="a", upto="c")[0] == [alive("b"), alive("c")]
    assert ask(script, after="c", upto="cz")[0] == []
    assert ask(script, after="c")[0] == [alive("d"), alive("me"), alive("p")]


def test_rule_23_whole_states_carry_suspects_dead_and_left() -> None:
    script = Script("a", "b", "c", "p")
    script.hear(suspect("a", by="q"), dead("b"), left("c"))
    records, _ = ask(script, digest("a"), digest("b"), digest("c"), digest("me"), digest("p"))
    assert [str(record) for record in records] == [
        "alive a/1.0 at a:1",
        "suspect a/1.0 by q",
        "dead b/1.0",
        "left c/1.0",
    ]


def test_rule_23_nobody_is_taught_strangers_who_are_gone() -> None:
    script = Script("b", "c", "p")
    script.hear(dead("b"), left("c"))
    assert ask(script, digest("me"), digest("p"))[0] == []
    _, reply = ask(script, digest("me"), digest("p"), digest("x", DEAD, 3), digest("y", LEFT, 3))
    assert reply.wants == ()


def test_rule_23_an_incarnation_with_two_payloads_is_put_right_by_its_owner() -> None:
    """A process that restarted as itself used an incarnation again. Nobody else can tell which of them is meant."""
    script = Script("a", "p", payload=b"mine")
    script.hear(alive("a", 1, b"old"), alive("p", 1, b"old"))
    others = [Digest(who(name), 1, ALIVE, check=99) for name in ("a", "p")]
    records, reply = ask(script, others[0], digest("me"), others[1])
    assert records == [alive("p", 1, b"old")], "the owner is told"
    assert reply.wants == ("me",), "the owner asks"


def test_rule_23_what_is_equal_costs_nothing() -> None:
    script = Script("a", "b", "p")
    effects = script.receive(SyncRequest(who("p"), 9, "", None, (digest("a"), digest("b"), digest("me"), digest("p"))))
    assert effects == [Send(at("p"), SyncReply(ME, 9, (), None))]


# Bounds --------------------------------------------------------------------------------------------------------------


def big(count: int) -> Script:
    """A member of a cluster of so many, with the largest payloads."""
    script = Script("p")
    for number in range(count):
        name = f"n{number:03}"
        script.hear(alive(name, 0, bytes(1024)), source=name)
    return script


def test_rule_21_an_answer_is_bounded_and_says_how_far_it_goes() -> None:
    """The watch of the script measures each message."""
    script = big(40)
    effects = script.receive(SyncRequest(who("p"), 9, "", None, ()))
    assert len(sent(effects, Records)) <= BURST
    seen: list[Update] = []
    after: str | None = ""
    steps = 0
    while after is not None and steps < 50:
        records, reply = ask(script, after=after)
        assert records
        assert reply.covered is None or records[-1].identity.node_id == reply.covered
        seen += records
        after = reply.covered
        steps += 1
    assert [update.identity.node_id for update in seen] == sorted([*(f"n{n:03}" for n in range(40)), "me", "p"])
    assert steps == 3


def test_rule_21_a_request_is_bounded_and_goes_on_from_where_it_ended() -> None:
    script = big(100)
    to, request = sync_request(script)
    steps = [request]
    while len(steps) < 20:
        assert message_size(request) <= script.options.message_limit
        effects = script.receive(SyncReply(who(to[:-2]), request.number, (), None), to[:-2])
        requests = sent(effects, SyncRequest)
        if not requests:
            break
        ((again, request),) = requests
        assert again == to
        assert request.after == steps[-1].upto
        steps.append(request)
    told = [digest.identity.node_id for step in steps for digest in step.digests]
    assert told == sorted([*(f"n{n:03}" for n in range(100)), "me", "p"])
    assert steps[-1].upto is None
    assert 3 <= len(steps) <= 6


def test_rule_21_wants_are_bounded_too() -> None:
    """A partner with a larger limit may tell of more than we can ask for in one message."""
    script = Script("p")
    names = [f"n{number:02}" + "x" * 60 for number in range(40)]
    _, reply = ask(script, *map(digest, names), upto="o")
    assert message_size(reply) <= 1400
    assert 0 < len(reply.wants) < 40
    assert reply.covered == reply.wants[-1]


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.tuples(st.integers(0, 2), st.integers(0, 1024))),
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.tuples(st.integers(0, 2), st.integers(0, 1024))),
    st.sampled_from([0, 700]),
)
def test_rule_23_after_a_walk_both_know_the_newest_of_all(
    ours: dict[str, tuple[int, int]], theirs: dict[str, tuple[int, int]], more: int
) -> None:
    """Two machines, one walk, no gossip. The payload of an incarnation is the same everywhere."""
    options = SwimOptions(message_limit=1400 + more)
    one, two = Script("two", me="one", options=options), Script("one", me="two", options=options)
    known: list[dict[str, Update]] = []
    for script, names in ((one, ours), (two, theirs)):
        updates = [alive(name, i, bytes((ours.get(name, (0, n))[1] + i) % 1025)) for name, (i, n) in names.items()]
        script.hear(*updates)
        known.append({update.identity.node_id: update for update in updates})
    expected = dict(known[0])
    for name, update in known[1].items():
        if name not in expected or update.incarnation > expected[name].incarnation:
            expected[name] = update
    partner = one.machine._core.members["two"]
    out: list[object] = []
    one.machine._sync.ask(partner, one.now, out)  # type: ignore[arg-type]
    carry(one, two, out)
    for script in (one, two):
        for name, update in expected.items():
            known_now = script.get(name)
            assert known_now is not None
            assert (known_now.incarnation, known_now.payload) == (update.incarnation, update.payload)


def carry(one: Script, two: Script, effects: list[object]) -> None:
    """Deliver what belongs to comparing states, in order, until there is nothing more."""
    scripts = {"one": one, "two": two}
    waiting = [("one", effect) for effect in effects]
    handled = 0
    while waiting:
        handled += 1
        assert handled < 10_000, "a walk without end"
        sender, effect = waiting.pop(0)
        if isinstance(effect, Send) and isinstance(effect.message, SyncRequest | SyncReply | Records):
            receiver = effect.to.partition(":")[0]
            waiting += [(receiver, each) for each in scripts[receiver].receive(effect.message, sender)]


# Walking -------------------------------------------------------------------------------------------------------------


def test_rule_23_states_are_compared_at_intervals_that_grow_with_the_cluster() -> None:
    few, many = Script(*"pqrs"), Script(*(f"n{number}" for number in range(70)))
    assert len(sent(few.advance(300), SyncRequest)) in (10, 11)
    assert len({to for to, _ in sent(many.advance(900), SyncRequest)}) > 3
    assert many.machine._core.members.count == 71
    assert len([request for _, request in sent(many.advance(900), SyncRequest) if not request.after]) in range(9, 12)


def test_rule_23_what_the_partner_wants_is_given() -> None:
    script = Script("a", "p")
    to, request = sync_request(script)
    name = to[:-2]
    effects = script.receive(SyncReply(who(name), request.number, ("a", "nobody"), None), name)
    assert effects == [Send(to, Records(ME, (alive("a"),)))]


def test_rule_23_a_reply_that_was_not_asked_for_is_nothing() -> None:
    script = Script("a", "p")
    to, request = sync_request(script)
    name, number = to[:-2], request.number
    other = "a" if name == "p" else "p"
    assert script.receive(SyncReply(who(name), number + 1, ("a",), None), name) == []
    assert script.receive(SyncReply(who(other), number, ("a",), None), other) == []
    assert script.receive(SyncReply(who(name), number, ("a",), None), name) != []
    assert script.receive(SyncReply(who(name), number, ("a",), None), name) == []


def test_rule_23_a_reply_that_covers_nothing_ends_the_walk() -> None:
    script = big(100)
    to, request = sync_request(script)
    assert request.upto is not None
    assert sent(script.receive(SyncReply(who(to[:-2]), request.number, (), ""), to[:-2]), SyncRequest) == []


@pytest.mark.parametrize(("beyond", "second"), [(True, False), (True, True), (False, True)])
def test_rule_23_a_reply_that_covers_more_or_less_than_was_asked_for_is_rubbish(beyond: bool, second: bool) -> None:
    """Dropped whole, and noted; the good answer still counts."""
    script = big(100)
    to, request = sync_request(script)
    name = to[:-2]
    if second:
        ((_, request),) = sent(script.receive(SyncReply(who(name), request.number, (), None), name), SyncRequest)
        assert request.after
    assert request.upto is not None
    covered = request.upto + "x" if beyond else request.after[:-1]
    (note,) = script.receive(SyncReply(who(name), request.number, ("n001",), covered, (alive("x"),)), name)
    assert isinstance(note, Note)
    assert repr(covered) in note.text
    assert script.get("x") is None
    ((_, after),) = sent(script.receive(SyncReply(who(name), request.number, (), request.upto), name), SyncRequest)
    assert after.after == request.upto


def test_rule_23_where_the_last_walk_came_to_is_known_only_when_the_next_step_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step that fails leaves nothing behind that would make the next walk fail as well."""
    script = big(100)
    to, request = sync_request(script)

    def fail(*_: object) -> None:
        raise AssertionError("planted")

    with monkeypatch.context() as broken:
        broken.setattr(Sync, "_digests", fail)
        with pytest.raises(AssertionError, match="planted"):
            script.receive(SyncReply(who(to[:-2]), request.number, (), None), to[:-2])
    _, later = sync_request(script)
    assert later.after == ""


def test_rule_23_a_walk_that_broke_off_is_taken_up_by_the_next() -> None:
    script = big(100)
    to, request = sync_request(script)
    script.receive(SyncReply(who(to[:-2]), request.number, (), None), to[:-2])
    _, later = sync_request(script)
    assert later.after == request.upto


# Looking for the lost ------------------------------------------------------------------------------------------------


def test_rule_25_a_dead_member_is_asked_now_and_then_and_told_what_is_believed() -> None:
    script = Script("p", "x")
    script.hear(dead("x"))
    script.advance(60)
    requests = dict(sent(script.advance(31), SyncRequest))
    assert list(requests) == [at("p"), at("x")]
    assert [str(update) for update in requests[at("x")].updates] == ["dead x/1.0"]


def test_rule_25_the_dead_who_were_never_seen_alive_are_not_asked() -> None:
    """Nobody knows where they were. They do not take the turn of those who can be asked."""
    script = Script("p", "x")
    script.hear(dead("x"), *(dead(f"unseen{number}") for number in range(9)))
    assert [to for to, _ in sent(script.advance(300), SyncRequest)].count(at("x")) in (10, 11)


def test_rule_25_one_who_has_left_is_left_alone() -> None:
    script = Script("p", "x")
    script.hear(left("x"))
    assert at("x") not in {to for to, _ in sent(script.advance(200), SyncRequest)}


def test_rule_25_a_seed_that_is_no_member_is_asked_now_and_then() -> None:
    script = Script("p")
    ((_, request),) = sent(script.do(Join((at("p"), at("seed")))), SyncRequest)[:1]
    script.receive(SyncReply(who("p"), request.number, (), None))
    receivers = [to for to, _ in sent(script.advance(200), SyncRequest)]
    assert receivers.count(at("seed")) > 3
    script.hear(alive("seed"))
    receivers = [to for to, _ in sent(script.advance(31), SyncRequest)]
    assert len(receivers) == 1


@pytest.mark.parametrize(("known", "stranger"), [("", "x"), ("x/1", "x/2")])
def test_rule_25_a_stranger_who_pings_is_asked_who_it_is(known: str, stranger: str) -> None:
    script = Script("a", "z", *([known] if known else []))
    effects = script.receive(Ping(who(stranger), 5, ME), "x")
    assert [type(e.message) for e in effects if isinstance(e, Send)] == [Ack, SyncRequest]
    ((to, request),) = sent(effects, SyncRequest)
    assert to == at("x")
    assert (request.after, request.upto) == ("me", "x")
    assert [str(d) for d in request.digests] == (["alive x/1.0"] if known else [])
    answer = Script(me=stranger).receive(request, "me")
    assert sent(answer, Records) == [(at("me"), Records(who(stranger), (alive(stranger),)))]


@pytest.mark.parametrize("name", ["x/1", "x/2"])
def test_rule_25_whoever_is_known_is_not_asked(name: str) -> None:
    script = Script("x/2")
    assert sent(script.receive(Ping(who(name), 5, ME)), SyncRequest) == []


def test_rule_23_news_learned_from_a_state_is_passed_on() -> None:
    script = Script("p")
    script.compare(alive("x"))
    assert [to for to, _ in sent(script.advance(0.3), Gossip)]
    assert script.now < SECOND
