"""Random runs under random disasters (the recipes of hashicorp's fuzzy suite, and more).

After every event the invariants are checked, and the observer asserts election safety, log matching, leader
completeness, state machine safety, durability of promises, and that no command of a session is executed twice. Reads
must see whatever was known before they were asked for. At the end everything works again, and the cluster must agree on
everything that was ever acknowledged.
"""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.machine import MILLISECOND
from casty_proto.raft import AddVoter, Changed, Committed, Remove, SteppedDown

from .bench import ELECTION, HEARTBEAT, Cluster
from .chaos import SMALL, Chaos


@pytest.mark.parametrize("seed", range(40))
def test_section_n_three_to_five_servers_under_random_disasters(seed: int) -> None:
    Chaos(seed, size=[3, 3, 4, 5][seed % 4], spares=[0, 2, 1][seed % 3]).run(1500)


@settings(max_examples=30)
@given(
    st.integers(0, 2**32), st.integers(3, 5), st.integers(0, 2), st.booleans(), st.sampled_from(["no", "yes", "leases"])
)
def test_section_n_the_same_with_and_without_pre_votes_a_checked_quorum_and_leases(
    seed: int, size: int, spares: int, pre_vote: bool, quorum: str
) -> None:
    options = evolve(SMALL, pre_vote=pre_vote, check_quorum=quorum != "no", lease_reads=quorum == "leases")
    Chaos(seed, size, spares, options).run(800)


def test_runs_reach_what_they_are_meant_to_reach() -> None:
    """A run in which nothing happens proves nothing."""
    reached: dict[str, int] = {}
    for seed in range(30):
        chaos = Chaos(seed, size=3, spares=2)
        cluster = chaos.run(1200)
        for _, effect in cluster.effects:
            name = type(getattr(effect, "message", effect)).__name__
            if name == "Reply":
                name = type(getattr(effect, "result", None)).__name__
            reached[name] = reached.get(name, 0) + 1
    wanted = "AppendRejected InstallSnapshot Restore TakeSnapshot TimeoutNow Committed Duplicate Unknown ReadReady"
    wanted += " NotLeader Changed Forwarded SteppedDown ConfigurationChanged SessionUnknown"
    assert [name for name in wanted.split() if not reached.get(name)] == []
    assert reached["Committed"] > 500


def test_a_run_is_the_same_every_time() -> None:
    one, other = Chaos(7, 5).run(600), Chaos(7, 5).run(600)
    assert one.effects == other.effects


# The recipes of hashicorp's suite -------------------------------------------------------------------------------------


def work(cluster: Cluster, rounds: int, start: int = 0) -> list[bytes]:
    """Propose at whoever leads, for so many rounds. Returns what was acknowledged."""
    done: list[bytes] = []
    pending: dict[str, bytes] = {}
    for number in range(start, start + rounds):
        cluster.advance(HEARTBEAT)
        leader = cluster.leader
        if leader is not None:
            data = b"w%d" % number
            (request,) = cluster.propose(leader, data)
            pending[request] = data
        done += [data for request, data in pending.items() if isinstance(cluster.replies.get(request), Committed)]
        pending = {request: data for request, data in pending.items() if request not in cluster.replies}
    cluster.settle()
    return done


def verdict(cluster: Cluster, acknowledged: list[bytes]) -> None:
    cluster.advance(20 * ELECTION)
    cluster.commit(cluster.leader or "", b"end")
    cluster.advance(3 * HEARTBEAT)
    cluster.converged()
    executed = dict.fromkeys(cluster.executed(cluster.leader or ""))
    assert [data for data in acknowledged if data not in executed] == []


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_section_m_the_leader_and_some_followers_are_cut_off_again_and_again(cut: int) -> None:
    cluster = Cluster("n1", "n2", "n3", "n4", "n5", seed=cut)
    acknowledged = work(cluster, 20)
    for number in range(10):
        leader = cluster.leader
        assert leader is not None
        others = [name for name in cluster.hosts if name != leader]
        cluster.isolate(leader, *cluster.rng.sample(others, cut))
        acknowledged += work(cluster, 45, 100 * (number + 1))
        cluster.heal()
        acknowledged += work(cluster, 30, 100 * (number + 1) + 50)
    assert len(acknowledged) > 200
    verdict(cluster, acknowledged)


def test_section_m_members_come_and_go_under_load() -> None:
    names = [f"n{number}" for number in range(1, 6)]
    cluster = Cluster(*names, voters=names[:3])
    acknowledged = work(cluster, 30)
    steps = [AddVoter("n4"), AddVoter("n5"), Remove("n1"), Remove("n2")]
    for number, step in enumerate(steps):
        for attempt in range(10):
            request = cluster.change(cluster.leader or "n3", step)
            acknowledged += work(cluster, 10, 100 * (number + 1) + 10 * attempt)
            if isinstance(cluster.replies.get(request), Changed):
                break
        else:
            raise AssertionError(f"{step} is never made")
    for name in ("n1", "n2"):
        cluster.crash(name)
    verdict(cluster, acknowledged)
    assert len(acknowledged) > 40


def test_section_m_the_leadership_is_transferred_again_and_again_under_load() -> None:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    acknowledged = []
    moved = 0
    for number in range(12):
        acknowledged += work(cluster, 10, 10 * number)
        leader = cluster.leader
        assert leader is not None
        request = cluster.transfer(leader, cluster.rng.choice([name for name in cluster.hosts if name != leader]))
        cluster.settle()
        moved += isinstance(cluster.replies[request], SteppedDown)
    assert moved == 12
    verdict(cluster, acknowledged)


@pytest.mark.parametrize("held", ["n1", "n2"])
def test_section_m_a_disk_that_stalls_for_longer_than_an_election_timeout(held: str) -> None:
    """The leader goes on with the others' disks, and a follower is left behind; neither costs an election."""
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    cluster.advance(HEARTBEAT)
    cluster.hosts[held].disk.held = True
    acknowledged = work(cluster, 50)
    assert len(acknowledged) >= 49
    cluster.hosts[held].disk.held = False
    verdict(cluster, acknowledged)
    assert cluster.roles() == "L1 F1 F1"


def test_section_m_clocks_that_run_at_different_speeds() -> None:
    """One server's time passes ten times as fast. It may campaign in vain; with pre-votes nobody is deposed."""
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    for _ in range(200):
        cluster.hosts["n3"].ahead += 9 * MILLISECOND
        cluster.advance(MILLISECOND)
    assert cluster["n1"].role.value == "leader"
    verdict(cluster, [])
