"""The verdict rules of the network, by their numbers."""

from __future__ import annotations

from casty_proto.machine import MILLISECOND, SECOND
from casty_sim.network import Link, Network
from casty_sim.tape import Tape

MS = MILLISECOND
PLAIN = Link(delay_ns=MS, spread_ns=0)


def network(link: Link = PLAIN, *, ordered: bool = False, seed: int = 1) -> Network:
    return Network(Tape(seed), ordered=ordered, link=link)


def test_rule_1_a_cut_loses_in_its_direction_only() -> None:
    net = network()
    net.cut("a", "b")
    assert net.verdict("a", "b", 1, 0) == ()
    assert net.verdict("b", "a", 1, 0) == (MS,)
    net.mend("a", "b")
    assert net.verdict("a", "b", 1, 0) == (MS,)


def test_rule_1_overlapping_partitions_heal_one_by_one() -> None:
    net = network()
    first, second = net.partition("a", "bc"), net.partition("ab", "c")
    for way in first:
        net.mend(*way)
    assert net.verdict("a", "b", 1, 0) == (MS,)
    assert net.verdict("a", "c", 1, 0) == ()
    for way in second:
        net.mend(*way)
    assert net.verdict("a", "c", 1, 0) == (MS,)


def test_rule_1_a_one_way_partition_leaves_the_other_way_open() -> None:
    net = network()
    net.partition("a", "b", one_way=True)
    assert net.is_cut("a", "b")
    assert not net.is_cut("b", "a")


def test_rule_2_a_clog_delivers_when_it_is_over() -> None:
    net = network()
    net.clog("a", "b", 50 * MS)
    assert net.verdict("a", "b", 1, 10 * MS) == (51 * MS,)
    assert net.verdict("a", "b", 1, 60 * MS) == (61 * MS,)


def test_rule_3_loss_is_as_frequent_as_it_should_be() -> None:
    net = network(Link(loss=0.25))
    arrived = sum(bool(net.verdict("a", "b", 1, 0)) for _ in range(4000))
    assert 2850 < arrived < 3150
    assert net.lost == 4000 - arrived


def test_rule_4_delays_lie_within_the_links_bounds_and_have_a_tail() -> None:
    net = network(Link(delay_ns=MS, spread_ns=MS, tail=0.1, tail_ns=100 * MS))
    delays = [net.verdict("a", "b", 1, 0)[0] for _ in range(2000)]
    assert min(delays) >= MS
    assert max(delays) <= 102 * MS
    late = sum(delay > 2 * MS for delay in delays)
    assert 100 < late < 220


def test_rule_4_packets_queue_for_a_narrow_wire() -> None:
    net = network(Link(delay_ns=MS, spread_ns=0, bytes_per_second=1000))
    assert net.verdict("a", "b", 500, 0) == (SECOND // 2 + MS,)
    assert net.verdict("a", "b", 500, 0) == (SECOND + MS,)
    assert net.verdict("a", "c", 500, 0) == (SECOND // 2 + MS,)


def test_rule_5_duplicates_come_by_another_delay() -> None:
    net = network(Link(duplicate=1.0))
    arrivals = net.verdict("a", "b", 1, 0)
    assert len(arrivals) == 2
    assert net.duplicated == 1


def test_an_ordered_network_lets_nothing_overtake_and_duplicates_nothing() -> None:
    net = network(Link(spread_ns=50 * MS, duplicate=1.0, tail=0.5), ordered=True)
    arrivals = [net.verdict("a", "b", 1, n * MS) for n in range(200)]
    flat = [at for each in arrivals for at in each]
    assert len(flat) == 200
    assert flat == sorted(flat)


def test_an_unordered_network_lets_packets_overtake() -> None:
    net = network(Link(spread_ns=50 * MS))
    flat = [net.verdict("a", "b", 1, n * MS)[0] for n in range(200)]
    assert flat != sorted(flat)


def test_one_links_behavior_does_not_concern_another_and_heal_ends_it() -> None:
    net = network()
    net.shape("a", "b", Link(delay_ns=9 * MS, spread_ns=0))
    assert net.verdict("a", "b", 1, 0) == (9 * MS,)
    assert net.verdict("a", "c", 1, 0) == (MS,)
    net.cut("a", "c")
    net.clog("c", "a", SECOND)
    net.heal()
    assert net.verdict("a", "b", 1, 0) == net.verdict("a", "c", 1, 0) == net.verdict("c", "a", 1, 0) == (MS,)


def test_the_same_seed_gives_the_same_verdicts() -> None:
    def run(seed: int) -> list[tuple[int, ...]]:
        net = network(Link(loss=0.2, duplicate=0.2, tail=0.2), seed=seed)
        return [net.verdict("a", "bcd"[n % 3], 1, n) for n in range(300)]

    assert run(5) == run(5)
    assert run(5) != run(6)
