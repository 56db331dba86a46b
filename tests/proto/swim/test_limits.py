"""Rule 30: strangers may invent members without end; what is kept of them has an end."""

from __future__ import annotations

import pytest

from casty_proto.machine import SECOND, Note, Severity
from casty_proto.swim import (
    Digest,
    Gossip,
    MemberAlive,
    MemberLeft,
    Records,
    State,
    SwimEffect,
    SwimOptions,
    SyncReply,
    SyncRequest,
    Update,
)
from casty_proto.swim.learning import NOTE_INTERVAL

from .script import Script, alive, at, dead, left, member, quiet, sent, suspect, who

ALIVE, SUSPECT, DEAD, LEFT = State


def full(*gone: Update, limit: int = 5) -> Script:
    """A member that knows p and q, and as many as it may with these who are gone. What went, went long ago."""
    script = Script(*"pq", options=SwimOptions(max_members=limit))
    script.hear(*gone)
    if gone:
        script.advance(31)
    for number in range(limit - len(script.machine.members)):
        script.hear(alive(f"n{number}"))
    assert len(script.machine.members) == limit
    script.calm()
    return script


def notes(effects: list[SwimEffect]) -> list[Note]:
    return [effect for effect in effects if isinstance(effect, Note)]


# What is not taken in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("update", [alive("x"), dead("x"), left("x")], ids=str)
@pytest.mark.parametrize("kind", [Gossip, Records])
def test_rule_30_a_stranger_beyond_the_limit_is_not_taken_in(kind: type, update: Update) -> None:
    script = full()
    before = script.machine.members
    effects = script.receive(kind(who("p"), (update,)))
    if update.state is DEAD and kind is Records:
        assert effects == [], "the dead of a state are of no interest anyhow"
    else:
        (note,) = effects
        assert isinstance(note, Note)
        assert note.severity is Severity.WARNING
        assert "max_members" in note.text
        assert str(update) in note.text
    assert script.machine.members == before
    assert script.news() == []


def test_rule_30_the_limit_counts_oneself_the_dead_and_the_left() -> None:
    script = Script("p", options=SwimOptions(max_members=4))
    script.hear(dead("d"), left("l"))
    assert len(script.machine.members) == 4
    script.hear(dead("e"))
    assert script.get("e") is None


def test_rule_30_a_flood_of_strangers_is_noted_once_in_a_while_with_its_size() -> None:
    script = full()
    told = [note.text for n in range(100) for note in notes(script.hear(*(alive(f"x{n}.{m}") for m in range(5))))]
    assert len(told) == 1
    assert "and 0 more" in told[0]
    script.now += NOTE_INTERVAL - 1
    assert notes(script.hear(alive("x"))) == []
    script.now += 1
    (note,) = notes(script.hear(alive("x")))
    assert "and 500 more" in note.text
    assert notes(script.hear(alive("x"))) == []
    assert len(script.machine.members) == 5


def test_rule_30_who_is_known_is_listened_to_as_ever() -> None:
    script = full()
    script.hear(alive("p", 4, b"new"), suspect("q"))
    assert script.state("p") == (ALIVE, 4)
    assert script.state("q") == (SUSPECT, 0)
    script.hear(alive("q/2"), dead("n0"))
    assert script.get("q") == member("q/2")
    assert script.state("n0") == (DEAD, 0)


def test_rule_30_a_suspicion_of_a_stranger_forgets_and_notes_nobody() -> None:
    script = full(left("l"))
    assert script.hear(suspect("x")) == []
    assert script.state("l") == (LEFT, 0)


def test_rule_30_what_there_is_no_room_for_is_not_asked_for() -> None:
    script = full()
    digests = (*(Digest(who(name), 0, ALIVE) for name in ("me", "n0", "n1", "p", "q")), Digest(who("x"), 0, ALIVE))
    ((_, reply),) = sent(script.receive(SyncRequest(who("p"), 1, "", None, digests)), SyncReply)
    assert reply.wants == ()
    script = full(left("l"))
    ((_, reply),) = sent(script.receive(SyncRequest(who("p"), 1, "", None, digests)), SyncReply)
    assert "x" in reply.wants


# Who is forgotten for it ---------------------------------------------------------------------------------------------


def test_rule_30_for_a_stranger_who_is_there_one_who_is_gone_is_forgotten() -> None:
    script = full(left("l"))
    effects = script.hear(alive("x"))
    assert effects == [MemberAlive(member("x"), None)]
    assert script.get("l") is None
    assert script.state("x") == (ALIVE, 0)
    assert script.news() == [alive("x")]


def test_rule_30_those_whom_it_costs_least_are_forgotten_first() -> None:
    """Who was never here; who left; who died, and might have to be found again."""
    script = full(dead("p"), left("q"), dead("unseen"))
    went = []
    for number in range(4):
        before = {known.identity.node_id for known in script.machine.members}
        script.hear(alive(f"x{number}"))
        went.append(sorted(before - {known.identity.node_id for known in script.machine.members}))
    assert went == [["unseen"], ["q"], ["p"], []]
    assert script.get("x3") is None


def test_rule_30_for_a_stranger_who_is_gone_nobody_is_forgotten() -> None:
    script = full(dead("p"), left("q"), dead("unseen"))
    before = script.machine.members
    assert len(script.hear(dead("x"), left("y"))) == 1
    assert script.machine.members == before


def test_rule_30_who_died_not_long_ago_is_not_forgotten() -> None:
    """Its death is still on its way, and it is still sent gossip, so that it can object."""
    script = full()
    script.hear(dead("p"))
    script.advance(29)
    script.hear(alive("x"))
    assert (script.state("p"), script.get("x")) == ((DEAD, 0), None)
    script.advance(1)
    script.hear(alive("x"))
    assert (script.get("p"), script.state("x")) == (None, (ALIVE, 0))


def test_rule_30_who_came_back_is_not_forgotten() -> None:
    script = full(dead("p"), alive("p", 1))
    script.hear(alive("x"))
    assert (script.state("p"), script.get("x")) == ((ALIVE, 1), None)


def test_rule_30_who_was_forgotten_comes_as_if_new_and_its_time_does_not_run_on() -> None:
    script = full(left("l"), limit=4)
    script.hear(alive("x"))
    assert script.get("l") is None
    script.hear(left("x"))
    script.calm()
    assert quiet(script.hear(alive("l"))) == [MemberAlive(member("l"), None)]
    script.advance(200)
    assert script.state("l") == (ALIVE, 0)


def test_rule_30_whose_going_is_still_news_is_not_forgotten() -> None:
    script = full()
    effects = script.hear(left("p"), alive("x"))
    assert quiet(effects) == [MemberLeft(member("p", LEFT))]
    assert script.get("x") is None
    assert script.news() == [left("p")]
    script.advance(2)
    script.hear(alive("x"))
    assert (script.get("p"), script.state("x")) == (None, (ALIVE, 0))


def test_rule_30_where_nobody_is_left_to_be_told_the_news_is_no_hindrance() -> None:
    script = Script(*"pq", options=SwimOptions(max_members=3))
    script.hear(left("p"), left("q"))
    script.advance(100)
    assert script.news() == [left("p"), left("q")]
    script.hear(alive("x"), source="x")
    assert script.state("x") == (ALIVE, 0)
    assert len(script.machine.members) == 3


def test_rule_28_the_reclaim_time_of_one_who_was_forgotten_does_not_run_for_the_next_of_that_name() -> None:
    script = Script(*"pq", options=SwimOptions(max_members=4, reclaim_ns=100 * SECOND))
    script.hear(left("p"), alive("x"))
    script.advance(2)
    script.hear(alive("y"))
    assert script.get("p") is None
    script.hear(left("x"))
    script.calm()
    assert quiet(script.hear(alive("p"))) == [MemberAlive(member("p"), None)]
    script.advance(200)
    assert script.state("p") == (ALIVE, 0)


def test_rule_30_invented_members_are_found_silent_and_make_room_again() -> None:
    script = Script(*"pq", options=SwimOptions(max_members=8, reclaim_ns=10**6 * SECOND))
    for number in range(100):
        name = f"x{number}"
        script.silent[name] = None
        script.hear(alive(name))
    assert len(script.machine.members) == 8
    assert script.get("new") is None
    script.hear(alive("new"), source="new")
    assert script.get("new") is None
    script.advance(200)
    script.hear(alive("new"), source="new")
    assert script.state("new") == (ALIVE, 0)
    assert [script.state(name) for name in "pq"] == [(ALIVE, 0)] * 2


def test_rule_30_the_names_of_dead_strangers_do_not_push_out_those_who_were_here() -> None:
    script = full(dead("q"), limit=6)
    script.hear(*(dead(f"y{number}") for number in range(50)))
    assert script.state("q") == (DEAD, 0)
    assert len(script.machine.members) == 6


def test_rule_30_a_stranger_who_speaks_is_answered_even_so() -> None:
    script = full()
    (note,) = script.hear(alive("x"), source="x")
    assert isinstance(note, Note)
    ((to, reply),) = sent(script.receive(SyncRequest(who("x"), 1, "", None, ()), "x"), SyncReply)
    assert (to, reply.number) == (at("x"), 1)
