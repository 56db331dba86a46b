"""The rules of the disk, by their numbers."""

from __future__ import annotations

from casty_proto.machine import MILLISECOND
from casty_sim.disk import Disk, DiskProfile
from casty_sim.tape import Stream

MS = MILLISECOND


def disk(profile: DiskProfile | None = None, *, seed: int = 1, plain: bool = False) -> Disk:
    return Disk(Stream("disk", seed, [], then_zero=plain), profile)


def test_rule_1_writes_end_in_order_and_are_durable_then() -> None:
    one = disk(DiskProfile(slow=0.5))
    ends = [one.write(ticket, f"r{ticket}", ticket * MS // 10) for ticket in range(50)]
    assert all(end is not None for end in ends)
    assert ends == sorted(end for end in ends if end is not None)
    one.written(10)
    assert one.records() == [f"r{ticket}" for ticket in range(11)]


def test_rule_2_a_power_cut_loses_what_had_not_ended() -> None:
    one = disk(plain=True)
    for ticket in range(3):
        one.write(ticket, ticket, 0)
    one.written(0)
    one.power_cut()
    assert one.records() == [0]


def test_rule_2_what_was_under_way_may_be_there_after_all_but_never_with_a_gap() -> None:
    lengths = {}
    for seed in range(60):
        one = disk(seed=seed)
        for ticket in range(4):
            one.write(ticket, ticket, 0)
        one.written(0)
        one.power_cut()
        records = one.records()
        assert records == list(range(len(records)))
        lengths[len(records)] = True
    assert sorted(lengths) == [1, 2, 3, 4]


def test_rule_4_after_a_failing_write_nothing_is_written_until_the_restart() -> None:
    one = disk(DiskProfile(failing=1.0))
    assert one.write(0, "a", 0) is None
    one.profile = DiskProfile()
    assert one.write(1, "b", 0) is None
    one.power_cut()
    assert one.records() == []
    assert one.write(2, "c", 0) is not None


def test_rule_4_a_full_disk_takes_nothing() -> None:
    one = disk()
    one.full = True
    assert one.write(0, "a", 0) is None
    assert one.failed


def test_rule_5_a_wiped_disk_is_empty_and_works() -> None:
    one = disk()
    one.write(0, "a", 0)
    one.written(0)
    one.full = True
    one.wipe()
    assert one.records() == []
    assert one.write(1, "b", 0) is not None


def test_rule_2_a_write_that_was_lost_holds_up_none_after_the_restart() -> None:
    one = disk(DiskProfile(delay_ns=10_000 * MS, spread_ns=0))
    assert one.write(1, "lost", 0) == 10_000 * MS
    one.power_cut()
    one.profile = DiskProfile(delay_ns=1, spread_ns=0)
    assert one.write(1, "new", MS) == MS + 1
