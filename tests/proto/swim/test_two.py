"""Two machines and a link between them, before there is any cluster."""

from __future__ import annotations

import pytest

from casty_proto.machine import SECOND
from casty_proto.swim import (
    Defunct,
    Departed,
    Joined,
    MemberAlive,
    MemberDead,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    Ping,
    Received,
    Send,
    State,
    SwimOptions,
    UpdatePayload,
)

from .bench import Bench

ALIVE, SUSPECT, DEAD, LEFT = State


def pair(options: SwimOptions | None = None, loss: float = 0.0) -> Bench:
    """`a`, and `b` which has joined through it, some time ago."""
    bench = Bench(options=options, loss=loss)
    bench.add("a", payload=b"of a")
    bench.add("b", "a", payload=b"of b")
    bench.run(5)
    return bench


def kinds(bench: Bench, node_id: str) -> list[str]:
    """What a node announced, in order, without replies and notes."""
    names = [type(effect).__name__ for _, effect in bench.hosts[node_id].log]
    return [name for name in names if name not in ("Reply", "Note")]


def test_rule_26_two_find_each_other() -> None:
    bench = pair()
    assert bench.converged()
    assert (kinds(bench, "a"), kinds(bench, "b")) == (["Joined", "MemberAlive"], ["MemberAlive", "Joined"])
    assert bench.view("a")["b"].payload == b"of b"
    assert bench.view("b")["a"].payload == b"of a"


def test_rule_26_a_seed_that_comes_later_is_found() -> None:
    bench = Bench()
    bench.add("b", "a")
    bench.run(20)
    assert kinds(bench, "b") == []
    bench.add("a")
    bench.run(20)
    assert bench.converged()
    assert [joined.contact for joined in bench.hosts["b"].effects(Joined)] == ["a:1"]


def test_rule_26_two_who_have_each_other_as_seeds_are_one() -> None:
    bench = Bench()
    bench.add("a", "b")
    bench.add("b", "a")
    bench.run(3)
    assert bench.converged()
    assert (bench.count(Joined), bench.count(MemberAlive)) == (2, 2)


def test_rule_10_in_a_quiet_pair_two_messages_are_sent_by_each_in_a_period() -> None:
    bench = pair()
    bench.sent = 0
    bench.run(100)
    per_member_and_period = bench.sent / 2 / 100
    assert 2 <= per_member_and_period < 2.2


def test_rule_11_a_crash_is_suspected_and_then_a_death() -> None:
    """A period or two, then the minimum: no third member could confirm."""
    bench = pair()
    start = bench.now
    bench.crash("b")
    bench.run(30)
    assert kinds(bench, "a")[-2:] == ["MemberSuspected", "MemberDead"]
    times = [at for at, effect in bench.hosts["a"].log if isinstance(effect, MemberSuspected | MemberDead)]
    assert SECOND / 2 <= times[0] - start <= 3 * SECOND
    assert times[1] - times[0] == 4 * SECOND


def test_rule_7_a_pause_shorter_than_the_suspicion_is_forgiven() -> None:
    bench = pair()
    bench.pause("b")
    bench.run(4)
    bench.resume("b")
    bench.run(10)
    assert bench.converged()
    assert "MemberDead" not in kinds(bench, "a")
    assert bench.hosts["b"].machine.me.incarnation > 0


@pytest.mark.parametrize("wake_first", [True, False])
def test_rule_15_who_paused_does_not_accuse_others(wake_first: bool) -> None:
    bench = pair()
    bench.pause("b")
    bench.run(60)
    bench.resume("b", wake_first=wake_first)
    bench.run(1)
    assert bench.hosts["b"].effects(MemberDead) == []
    bench.run(30)
    assert bench.converged()


def test_rule_3_who_was_declared_dead_and_lives_comes_back() -> None:
    bench = pair()
    bench.partition("a", "b")
    bench.run(20)
    assert (bench.sees("a", "b"), bench.sees("b", "a")) == (DEAD, DEAD)
    bench.partition()
    bench.run(31)
    assert bench.converged()
    assert [effect.previous for effect in bench.hosts["a"].effects(MemberAlive)][-1] is DEAD


def test_rule_25_after_a_long_partition_somebody_still_tries() -> None:
    bench = pair()
    bench.partition("a", "b")
    bench.run(3600)
    bench.partition()
    bench.run(31)
    assert bench.converged()


def test_rule_25_after_they_have_forgotten_each_other_the_seed_is_still_known() -> None:
    bench = pair(SwimOptions(reclaim_ns=60 * SECOND))
    bench.partition("a", "b")
    bench.run(300)
    assert (bench.sees("a", "b"), bench.sees("b", "a")) == (None, None)
    bench.partition()
    bench.run(31)
    assert bench.converged()


@pytest.mark.parametrize(("deaf", "other"), [("a", "b"), ("b", "a")])
def test_rule_19_a_link_that_is_cut_one_way_heals(deaf: str, other: str) -> None:
    bench = pair()
    bench.cuts = {(other, deaf): None}
    bench.run(60)
    assert bench.sees(deaf, other) is DEAD
    bench.cuts = {}
    bench.run(31)
    assert bench.converged()


def test_rule_27_a_goodbye_is_no_failure() -> None:
    bench = pair()
    bench.leave("b")
    bench.run(2)
    assert kinds(bench, "a")[-1] == "MemberLeft"
    assert kinds(bench, "b")[-1] == "Departed"
    bench.crash("b")
    bench.run(60)
    assert kinds(bench, "a")[-1] == "MemberLeft"
    assert len(bench.hosts["a"].effects(MemberLeft)) == len(bench.hosts["b"].effects(Departed)) == 1


def test_rule_27_who_missed_the_goodbye_hears_it_on_asking() -> None:
    bench = pair()
    bench.partition("a", "b")
    bench.leave("b")
    bench.run(1)
    bench.partition()
    bench.run(3)
    assert bench.sees("a", "b") is LEFT
    assert "MemberDead" not in kinds(bench, "a")


def test_rule_1_a_restarted_process_replaces_the_old_one_at_once() -> None:
    bench = pair()
    bench.crash("b")
    bench.add("b", "a", generation=2, payload=b"again")
    bench.run(0.1)
    assert kinds(bench, "a")[-2:] == ["MemberDead", "MemberAlive"]
    assert bench.hosts["a"].effects(MemberDead)[0].replaced
    assert bench.view("a")["b"].payload == b"again"


def test_rule_7_a_process_that_restarts_as_itself_is_alive_again() -> None:
    """The same generation, and no memory of its incarnation."""
    bench = pair()
    bench.hosts["b"].machine.handle(UpdatePayload(b"later"), bench.now)
    bench.run(2)
    bench.crash("b")
    bench.run(20)
    assert bench.sees("a", "b") is DEAD
    bench.add("b", "a", payload=b"of b")
    bench.run(5)
    assert bench.converged()
    assert bench.view("a")["b"].incarnation > 1


def test_rule_9_the_old_process_learns_that_it_was_replaced() -> None:
    """It was only cut off. Its successor runs elsewhere in the same name."""
    bench = pair()
    old = bench.hosts["b"]
    bench.partition("a", "b")
    bench.run(5)
    bench.add("b", "a", generation=2)
    bench.partition()
    bench.run(5)
    ping = Ping(old.machine.me.identity, 1, bench.view("a")["a"].identity)
    (answer,) = bench.hosts["a"].machine.handle(Received("old:1", ping), bench.now)
    assert isinstance(answer, Send)
    effects = old.machine.handle(Received("a:1", answer.message), bench.now)
    assert [effect.generation for effect in effects if isinstance(effect, Defunct)] == [2]
    assert old.machine.deadline() is None


def test_rule_2_a_payload_is_replaced_everywhere() -> None:
    bench = pair()
    bench.feed("a", UpdatePayload(b"new"))
    bench.run(2)
    assert bench.view("b")["a"].payload == b"new"
    assert [effect.member.payload for effect in bench.hosts["b"].effects(MemberUpdated)] == [b"new"]


@pytest.mark.parametrize("loss", [0.1, 0.3])
def test_rule_7_on_a_link_that_loses_messages_nobody_dies(loss: float) -> None:
    """S-23: more loss makes more doubt, and longer periods."""
    bench = pair(loss=loss)
    bench.run(300)
    assert bench.count(MemberDead) == 0
    bench.loss = 0
    bench.run(20)
    assert bench.converged()
