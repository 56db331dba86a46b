"""The timeline: what stood when, what became of messages, and that keeping it changes nothing in a run."""

from __future__ import annotations

import pytest

from casty_proto.machine import MILLISECOND, SECOND
from casty_proto.raft import Raft
from casty_sim.checkers import linearizability
from casty_sim.checkers.history import record
from casty_sim.checkers.linearizability import NEVER, Read, Write, check, register
from casty_sim.network import Link
from casty_sim.scenario import Settings, run
from casty_sim.scenarios import SCENARIOS
from casty_sim.scenarios.raft import RaftScenario
from casty_sim.tape import Tape
from casty_sim.timeline import CLOGGED, CUT, DOWN, OWNS, PAUSED, Fate, Timeline, Verdict
from casty_sim.trace import Trace

from . import toy

BRIEF = Settings(nodes=3, safety_ns=2 * SECOND)


def spans(timeline: Timeline, kind: str) -> list[tuple[str, int, int | None, str]]:
    return [(each.host, each.began_at, each.ended_at, each.text) for each in timeline.spans if each.kind == kind]


@pytest.mark.parametrize("name", ["raft", "swim", "cluster"])
def test_a_run_that_is_kept_is_the_run_that_is_not(name: str) -> None:
    timeline = Timeline()
    kept = run(SCENARIOS[name], Tape(3), BRIEF, Trace(timeline=timeline))
    plain = run(SCENARIOS[name], Tape(3), BRIEF)
    assert kept == plain
    assert kept.digest == plain.digest != ""
    assert timeline.messages
    assert timeline.roles


def test_nothing_is_kept_unless_a_timeline_is_given() -> None:
    trace = Trace()
    assert trace.timeline is None
    assert not trace.keeps
    world = toy.world(trace=trace)
    world.run(SECOND)
    assert not world.watched or world.check_invariants
    assert world.network.on_change is None


def test_something_that_stands_ends_where_it_is_ended_and_the_rest_at_the_end_of_the_run() -> None:
    timeline = Timeline()
    timeline.begin(1, "a", OWNS, "x", "owns x")
    timeline.begin(2, "a", OWNS, "y", "owns y")
    timeline.end(5, "a", OWNS, "x")
    timeline.end(6, "a", OWNS, "x")
    timeline.close(9)
    assert spans(timeline, OWNS) == [("a", 1, 5, "owns x"), ("a", 2, 9, "owns y")]


def test_what_begins_again_is_a_second_span_and_what_took_no_time_is_none() -> None:
    timeline = Timeline()
    timeline.begin(1, "a", OWNS, "x", "first")
    timeline.begin(4, "a", OWNS, "x", "second")
    timeline.begin(4, "a", OWNS, "x", "third")
    timeline.close(8)
    assert spans(timeline, OWNS) == [("a", 1, 4, "first"), ("a", 4, 8, "third")]


def test_a_crash_ends_whatever_a_host_was_and_had_but_not_what_the_network_does_to_it() -> None:
    timeline = Timeline()
    timeline.host("b")
    timeline.begin(0, "a", DOWN, text="not started yet")
    timeline.up(1, "a")
    timeline.role(1, "a", "leader")
    timeline.begin(2, "a", OWNS, "x")
    timeline.begin(2, "a", PAUSED)
    timeline.links(2, [("a", "b")])
    timeline.down(5, "a", "power cut")
    timeline.up(7, "a")
    timeline.role(7, "a", "leader")
    timeline.close(9)
    assert spans(timeline, DOWN) == [("a", 0, 1, "not started yet"), ("a", 5, 7, "power cut")]
    assert spans(timeline, OWNS) == [("a", 2, 5, "")]
    assert spans(timeline, PAUSED) == [("a", 2, 5, "")]
    assert sorted(spans(timeline, CUT)) == [("a", 2, 9, "cannot send to b"), ("b", 2, 9, "does not hear a")]
    assert [each.at for each in timeline.roles] == [1, 7], "the same role after a crash is news"


def test_a_role_that_is_repeated_is_no_news_but_more_about_it_is() -> None:
    timeline = Timeline()
    timeline.role(1, "a", "follower", "term 1")
    timeline.role(2, "a", "follower")
    timeline.role(3, "a", "follower", "term 1")
    timeline.role(4, "a", "follower", "term 2")
    timeline.role(5, "a", "leader")
    assert [(each.at, each.role, each.text) for each in timeline.roles] == [
        (1, "follower", "term 1"),
        (4, "follower", "term 2"),
        (5, "leader", ""),
    ]


def test_links_are_told_as_what_each_host_does_not_reach() -> None:
    timeline = Timeline()
    for name in "abc":
        timeline.host(name)
    timeline.links(1, [("a", "b"), ("b", "a"), ("a", "c")])
    timeline.links(3, [("a", "b"), ("b", "a"), ("a", "c")])
    timeline.links(4, [("a", "b"), ("b", "a")])
    timeline.links(6, [])
    timeline.close(9)
    assert spans(timeline, CUT) == [
        ("a", 1, 4, "no link with b; cannot send to c"),
        ("b", 1, 6, "no link with a"),
        ("c", 1, 4, "does not hear a"),
        ("a", 4, 6, "no link with b"),
    ]


def test_a_clog_ends_by_itself_or_when_it_is_cleared() -> None:
    timeline = Timeline()
    timeline.links(1, [], {("a", "b"): 4, ("b", "a"): 20})
    timeline.links(6, [], {("a", "b"): 4, ("b", "a"): 20})
    timeline.links(8, [], {})
    assert [(host, began, ended) for host, began, ended, _ in spans(timeline, CLOGGED)] == [("a", 1, 4), ("b", 1, 8)]


def test_what_became_of_a_message() -> None:
    timeline = Timeline()
    timeline.begin(0, "b", DOWN, text="not started yet")
    timeline.up(10, "b")
    timeline.down(50, "b", "power cut")
    timeline.message(1, "a", "b", "Ping", "Ping()", (5,))
    timeline.message(1, "a", "b", "Ping", "Ping()", (5, 10))
    timeline.message(11, "a", "b", "Ping", "Ping()", (12,))
    timeline.message(11, "a", "b", "Ping", "Ping()", (12, 13))
    timeline.message(11, "a", "b", "Ping", "Ping()", (49,), "it takes long")
    timeline.message(11, "a", "b", "Ping", "Ping()", (), "the link is cut")
    timeline.message(11, "a", "b", "Ping", "Ping()", (51,))
    timeline.close(60)
    assert timeline.fates() == [
        (Fate.UNHEARD, "b is down when it arrives"),
        (Fate.DOUBLED, ""),
        (Fate.DELIVERED, ""),
        (Fate.DOUBLED, ""),
        (Fate.LATE, "it takes long"),
        (Fate.LOST, "the link is cut"),
        (Fate.UNHEARD, "b is down when it arrives"),
    ]


# -- the world feeds it ------------------------------------------------------------------------------------------------


def test_a_world_tells_of_its_hosts_and_of_what_is_done_to_them() -> None:
    timeline = Timeline()
    world = toy.world(trace=Trace(timeline=timeline))
    a, b, c = world.hosts.values()
    world.at(1 * SECOND, a.crash)
    world.at(2 * SECOND, a.start)
    world.at(3 * SECOND, lambda: b.pause(SECOND))
    world.at(3 * SECOND + SECOND // 2, lambda: b.pause(SECOND))
    world.at(4 * SECOND, lambda: world.network.cut("a", "c"))
    world.at(5 * SECOND, lambda: world.network.mend("a", "c"))
    world.at(5 * SECOND, lambda: world.network.clog("a", "b", 6 * SECOND))
    world.at(7 * SECOND, c.scrap)
    world.run(8 * SECOND)
    timeline.close(world.now)
    assert list(timeline.hosts) == ["a", "b", "c"]
    assert spans(timeline, DOWN) == [
        ("a", 1 * SECOND, 2 * SECOND, "power cut"),
        ("c", 7 * SECOND, 8 * SECOND, "power cut for good"),
    ]
    assert [(began, ended) for _, began, ended, _ in spans(timeline, PAUSED)] == [
        (3 * SECOND, 3 * SECOND + SECOND // 2),
        (3 * SECOND + SECOND // 2, 4 * SECOND + SECOND // 2),
    ]
    assert spans(timeline, CUT) == [
        ("a", 4 * SECOND, 5 * SECOND, "cannot send to c"),
        ("c", 4 * SECOND, 5 * SECOND, "does not hear a"),
    ]
    assert spans(timeline, CLOGGED) == [("a", 5 * SECOND, 6 * SECOND, "what is sent to b has to wait")]
    assert [(each.at, each.host) for each in timeline.roles if each.host == "a"] == [(0, "a"), (2 * SECOND, "a")]


def test_a_world_says_why_a_message_was_lost_or_late() -> None:
    timeline = Timeline()
    world = toy.world(trace=Trace(timeline=timeline))
    a = world.hosts["a"]
    a.send("b", toy.Count(1))
    world.network.cut("a", "b")
    a.send("b", toy.Count(2))
    world.network.mend("a", "b")
    world.network.clog("a", "b", SECOND)
    a.send("b", toy.Count(3))
    world.network.heal()
    world.network.shape("a", "b", Link(loss=1.0))
    a.send("b", toy.Count(4))
    world.network.shape("a", "b", Link(loss=0.999999))
    a.send("b", toy.Count(4))
    world.network.shape("a", "b", None)
    world.network.change(tail=1.0, tail_ns=3600 * SECOND)
    a.send("b", toy.Count(5))
    a.send("nobody", toy.Count(6))
    assert [(each.text, each.why, len(each.arrivals)) for each in timeline.messages] == [
        ("Count(value=1)", "", 1),
        ("Count(value=2)", "the link is cut", 0),
        ("Count(value=3)", "the link is clogged", 1),
        ("Count(value=4)", "the link is cut", 0),
        ("Count(value=4)", "lost by chance", 0),
        ("Count(value=5)", "it takes long", 1),
        ("Count(value=6)", "no host has that name", 0),
    ]
    assert timeline.messages[0].kind == "Count"


def test_a_raft_run_tells_of_leaders_applied_commands_and_operations() -> None:
    timeline = Timeline()
    outcome = run(SCENARIOS["raft"], Tape(1), BRIEF, Trace(timeline=timeline))
    assert not outcome.failed
    assert any(each.role == "leader" and each.text.startswith("term ") for each in timeline.roles)
    assert any("=c" in each.text for each in timeline.marks if each.kind == "applies")
    assert {each.verdict for each in timeline.operations} == {Verdict.LINEARIZABLE}
    assert list(timeline.clients) == ["c1", "c2", "c3"]
    assert timeline.ended_at == outcome.simulated_ns
    assert timeline.broken is None
    assert all(each.ended_at is not None for each in timeline.spans)


def test_a_cluster_run_tells_who_owns_what_and_what_clients_asked_for() -> None:
    timeline = Timeline()
    outcome = run(SCENARIOS["cluster"], Tape(2), BRIEF, Trace(timeline=timeline))
    assert not outcome.failed
    owned = {each.name for each in timeline.spans if each.kind == OWNS}
    assert {"boss/0", "counters/0", "registers/0", "plain/0"} <= owned
    assert all(each.lane.startswith("clients of n") for each in timeline.operations)
    assert Verdict.LINEARIZABLE in {each.verdict for each in timeline.operations}
    assert len({(each.client, each.called_at) for each in timeline.operations}) == len(timeline.operations)
    assert {each.kind for each in timeline.messages} >= {"Ping", "Heartbeat"}, "and not what all envelopes are"


def test_a_swim_run_tells_who_suspects_whom() -> None:
    timeline = Timeline()
    outcome = run(SCENARIOS["swim"], Tape(1), Settings(safety_ns=5 * SECOND), Trace(timeline=timeline))
    assert not outcome.failed
    suspicions = [each for each in timeline.spans if each.kind == "suspects"]
    assert suspicions
    assert all(each.text.startswith(f"suspects {each.name}/") for each in suspicions)


class Forgetful(Raft):
    """Answers every write before anybody has it."""

    __slots__ = ()

    def invariants(self) -> None:
        raise AssertionError("it never is in order")


def test_a_broken_run_says_what_was_broken_and_when() -> None:
    timeline = Timeline()
    outcome = run(RaftScenario(Forgetful), Tape(1), Settings(check_invariants=True), Trace(timeline=timeline))
    assert timeline.broken is not None
    assert timeline.broken.rule == outcome.rule == "invariants"
    assert timeline.broken.at == outcome.simulated_ns
    assert "it never is in order" in timeline.broken.text
    assert not timeline.broken.text.startswith("invariants: ")


# -- histories ---------------------------------------------------------------------------------------------------------


def test_an_operation_that_fits_no_order_is_told_from_the_others_and_is_the_moment_to_look_at() -> None:
    history = [
        linearizability.Operation("a", "x", 1, 2, Write(1)),
        linearizability.Operation("a", "x", 3, 4, Write(2)),
        linearizability.Operation("b", "x", 5, 6, Read(), 1),
        linearizability.Operation("b", "y", 7, 8, Write(3)),
        linearizability.Operation("b", "y", 9, 10, Write(4)),
        linearizability.Operation("b", "y", 11, 12, Write(5)),
        linearizability.Operation("b", "y", 13, 14, Write(6)),
    ]
    timeline = Timeline()
    record(timeline, history, check(history, register()))
    timeline.broke(20, "linearizability", "the history of x has no order")
    assert [(each.text, each.verdict, each.place) for each in timeline.operations[:4]] == [
        ("write x := 1", Verdict.BROKEN, 1),
        ("write x := 2", Verdict.BROKEN, 2),
        ("read x", Verdict.STUCK, None),
        ("write y := 3", Verdict.NOT_CHECKED, None),
    ]
    assert timeline.broken is not None
    assert timeline.broken.at == 6


def test_a_history_that_nobody_has_checked_says_so() -> None:
    timeline = Timeline()
    record(timeline, [linearizability.Operation("a", "x", 1, 2, Write(1))], None)
    assert [each.verdict for each in timeline.operations] == [Verdict.NOT_CHECKED]


def test_who_gets_no_answer_waits_until_it_asks_for_something_else() -> None:
    timeline = Timeline()
    history = [
        linearizability.Operation("a", "x", 1 * MILLISECOND, NEVER, Write(1)),
        linearizability.Operation("a", "x", 5 * MILLISECOND, 6 * MILLISECOND, Read(), 1),
        linearizability.Operation("a", "x", 7 * MILLISECOND, NEVER, Write(2)),
    ]
    record(timeline, history, check(history, register()))
    assert [(each.returned_at, each.gave_up_at, each.result) for each in timeline.operations] == [
        (None, 5 * MILLISECOND, ""),
        (6 * MILLISECOND, None, "1"),
        (None, None, ""),
    ]
