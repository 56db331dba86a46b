"""Section 7: what a whole cluster does, with crashes, partitions, loss and pauses, on a simulated clock."""

from __future__ import annotations

import pytest

from casty_proto.machine import SECOND
from casty_proto.swim import (
    Gossip,
    Joined,
    MemberAlive,
    MemberDead,
    MemberLeft,
    MemberSuspected,
    State,
    SwimOptions,
    UpdatePayload,
    retransmit_limit,
)

from .bench import Bench

ALIVE, SUSPECT, DEAD, LEFT = State


def cluster(count: int, seed: int = 1, *, settle: float = 20, watched: bool = True, **options: int) -> Bench:
    """A cluster that has been quiet for a while."""
    bench = Bench(seed, SwimOptions(**options), watched=watched)  # type: ignore[arg-type]
    bench.grow(count)
    bench.run_until(bench.converged, 30)
    bench.run(settle)
    return bench


# Joining -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 5, 16, 40])
def test_rule_26_all_join_through_one_seed_and_know_each_other(count: int) -> None:
    bench = Bench(watched=count < 20)
    bench.grow(count)
    assert bench.run_until(bench.converged, 10) < 3
    assert bench.count(Joined) == count
    assert bench.count(MemberAlive) == count * (count - 1)


def test_rule_21_the_largest_payloads_make_no_larger_messages() -> None:
    bench = Bench()
    for number in range(16):
        bench.add(f"n{number}", "n0", payload=bytes([number]) * 1024)
    bench.run_until(bench.converged, 30)
    assert all(len(member.payload) == 1024 for member in bench.view("n3").values())
    largest = max(host.watch.largest_message for host in bench.hosts.values())
    assert 1000 < largest <= 1400


@pytest.mark.parametrize("seed", range(3))
def test_rule_26_a_newcomer_is_known_everywhere_within_a_few_gossip_rounds(seed: int) -> None:
    """Section 4: 2.85 rounds for 10 members at fan-out 3, 5 at most; the round that is going on comes on top."""
    bench = cluster(10, seed)
    bench.add("x", "n5")
    assert bench.run_until(lambda: bench.all_see("x", ALIVE), 5) <= 6 * 0.2


def test_rule_26_a_cluster_forms_while_messages_are_lost() -> None:
    bench = Bench(3, loss=0.25)
    bench.grow(10)
    assert bench.run_until(bench.converged, 120) < 60
    assert bench.count(Joined) == 10


def test_rule_25_two_clusters_that_share_a_seed_become_one() -> None:
    bench = Bench()
    for number in range(4):
        bench.add(f"a{number}", "a0")
        bench.add(f"b{number}", "b0")
    bench.run(20)
    assert not bench.converged()
    bench.add("x", "a0", "b0")
    bench.run_until(bench.converged, 120)


# Crashes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [3, 10, 24])
def test_p_1_a_crash_is_known_everywhere_within_its_bound(count: int, seed: int) -> None:
    """Two rounds of probes at most until one fails, a period for it, the longest suspicion, and the dissemination."""
    bench = cluster(count, seed, watched=count < 20)
    longest = max(4.0, 4 * 1.39) * 6
    bench.crash("n1")
    took = bench.run_until(lambda: bench.all_see("n1", DEAD), 120)
    assert 4 <= took <= 2 * (count - 1) + 1 + longest + 2
    bench.run(5)
    dead = [effect for host in bench.hosts.values() if host.up for effect in host.effects(MemberDead)]
    assert [(effect.member.identity.node_id, effect.replaced) for effect in dead] == [("n1", False)] * (count - 1)


def test_p_1_with_confirmations_a_crash_is_known_near_the_minimum() -> None:
    """N = 10: 1.5 s until it is noticed, 4 s with all confirmations instead of 24 s, and 0.6 s to spread."""
    times = []
    for seed in range(6):
        bench = cluster(10, seed, watched=False, settle=10 + seed / 7)
        bench.crash("n1")
        times.append(bench.run_until(lambda bench=bench: bench.all_see("n1", DEAD), 60))  # type: ignore[misc]
    assert 5 < sum(times) / len(times) < 10


def test_p_1_half_of_a_cluster_crashes_at_once() -> None:
    bench = cluster(12)
    for number in range(6):
        bench.crash(f"n{number}")
    bench.run_until(bench.converged, 120)
    assert bench.count(MemberDead) == 6 * 6


def test_rule_1_a_crashed_node_that_restarts_replaces_itself_at_once() -> None:
    bench = cluster(8)
    bench.crash("n3")
    bench.add("n3", "n0", generation=2)
    assert bench.run_until(bench.converged, 5) < 2
    assert all(effect.replaced for host in bench.hosts.values() for effect in host.effects(MemberDead))


def test_rule_28_a_dead_name_may_come_back() -> None:
    bench = cluster(5, reclaim_ns=60 * SECOND)
    bench.crash("n3")
    bench.run_until(lambda: bench.all_see("n3", DEAD), 60)
    bench.run(61)
    assert bench.all_see("n3", None)
    bench.add("n3", "n0")
    bench.run_until(bench.converged, 5)


# Loss, slowness, partitions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "periods"), [(0.05, 1000), (0.25, 300)])
def test_p_2_without_a_crash_nobody_dies_of_lost_messages(loss: float, periods: int) -> None:
    """3000 to 10,000 member periods. Suspicions there are, and they are refuted."""
    bench = cluster(10)
    bench.loss = loss
    bench.run(periods)
    assert bench.count(MemberDead) == 0
    assert bench.count(MemberSuspected) > 0
    bench.loss = 0
    bench.run_until(bench.converged, 60)


def test_rule_15_a_member_that_pauses_again_and_again_accuses_nobody() -> None:
    bench = cluster(8)
    for _ in range(10):
        bench.pause("n3")
        bench.run(3)
        bench.resume("n3", wake_first=True)
        bench.run(1)
    assert bench.hosts["n3"].effects(MemberDead) == []
    bench.run_until(bench.converged, 30)


@pytest.mark.parametrize("seconds", [20, 60, 600])
@pytest.mark.parametrize("size", [1, 5])
def test_p_4_after_a_partition_the_views_become_one_again(seconds: float, size: int) -> None:
    """Within one full-state interval of 30 s, whether gossip still crosses to the dead (30 s) or not.

    20 s are less than the longest suspicion, 60 s more than twice as long as that.
    """
    for seed in range(1, 5):
        bench = cluster(10, seed, watched=seed == 1, settle=20 + 7 * seed)
        names = list(bench.hosts)
        bench.partition(names[:size], names[size:])
        bench.run(seconds)
        assert not bench.converged()
        bench.partition()
        assert bench.run_until(bench.converged, 120) <= 30
        bench.run(30)
        assert bench.converged()


def test_p_4_after_many_changes_the_views_become_one_again() -> None:
    bench = cluster(9, seed=5)
    names = list(bench.hosts)
    bench.loss = 0.2
    bench.partition(names[:4], names[4:])
    bench.run(15)
    bench.crash("n2")
    bench.feed("n6", UpdatePayload(b"new"))
    bench.partition(names[:7], names[7:])
    bench.run(15)
    bench.add("n2", "n0", generation=2)
    bench.leave("n8")
    bench.cuts = {("n1", "n5"): None, ("n3", "n0"): None}
    bench.run(30)
    bench.partition()
    bench.cuts = {}
    bench.loss = 0
    bench.run_until(bench.converged, 120)
    assert bench.view("n0")["n6"].payload == b"new"


def test_rule_11_a_link_that_is_cut_between_two_is_made_up_for_by_helpers() -> None:
    """S-20: the others still reach both, so nobody is declared dead."""
    bench = cluster(8)
    bench.cuts = {("n1", "n2"): None, ("n2", "n1"): None}
    bench.run(120)
    assert bench.count(MemberDead) == bench.count(MemberSuspected) == 0


# Leaving -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_rule_27_a_goodbye_spreads_and_is_never_a_failure(loss: float, seed: int) -> None:
    bench = cluster(10, seed)
    bench.loss = loss
    bench.leave("n4")
    bench.run(1)
    bench.crash("n4")
    bench.run_until(lambda: bench.all_see("n4", LEFT), 60)
    bench.run(60)
    others = [host for node_id, host in bench.hosts.items() if node_id != "n4"]
    assert [len(host.effects(MemberLeft)) for host in others] == [1] * 9
    gone = [effect for host in others for effect in host.effects(MemberDead)]
    assert [effect for effect in gone if effect.member.identity.node_id == "n4"] == []


def test_rule_27_everybody_leaves() -> None:
    bench = cluster(6)
    for node_id in list(bench.hosts):
        bench.leave(node_id)
        bench.run(1)
    assert bench.running() == []
    assert bench.count(MemberDead) == 0


# Load ----------------------------------------------------------------------------------------------------------------


def test_p_5_messages_per_member_and_period_do_not_grow() -> None:
    """2 for the probe and its answer, and a little for comparing states."""
    rates = []
    for count in (8, 32, 96):
        bench = cluster(count, watched=False, settle=5)
        bench.sent = 0
        bench.run(30)
        rates.append(bench.sent / count / 30)
    assert all(2 <= rate < 2.3 for rate in rates)


@pytest.mark.parametrize(("count", "rounds"), [(10, 5), (100, 7)])
def test_section_4_an_item_of_news_is_everywhere_within_its_rounds(count: int, rounds: int) -> None:
    """Section 4: at most 5 rounds of gossip for 10 members and 7 for 100; the one that is going on comes on top."""
    bench = cluster(count, watched=False, settle=5)
    bench.feed("n7", UpdatePayload(b"news"))
    took = bench.run_until(lambda: all(bench.view(n)["n7"].payload == b"news" for n in bench.hosts), 5)
    assert took <= (rounds + 1) * 0.2


def test_p_5_one_item_of_news_costs_each_member_a_bounded_number_of_messages() -> None:
    bench = cluster(30, watched=False)
    carried: dict[str, int] = {}

    def watch(sender: str, _: str, message: object) -> None:
        if isinstance(message, Gossip):
            carried[sender] = carried.get(sender, 0) + 1

    bench.forwarded = watch
    bench.feed("n7", UpdatePayload(b"news"))
    assert bench.run_until(lambda: all(bench.view(n)["n7"].payload == b"news" for n in bench.hosts), 5) < 2
    bench.run(10)
    assert max(carried.values()) <= retransmit_limit(4, 30)
