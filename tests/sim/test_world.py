"""The rules of the world, by their numbers, shown on toys."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from zlib import crc32

import pytest

from casty_proto.machine import MILLISECOND, SECOND
from casty_sim.faults import KINDS, FaultOptions, FaultPlan, Nemesis, draw_plan
from casty_sim.network import Link
from casty_sim.trace import Trace, plain

from .toy import TICK, Count, Toy, toy, world

MS = MILLISECOND


def test_time_passes_only_from_one_event_to_the_next() -> None:
    made = world()
    made.run(10 * TICK)
    assert made.now == 10 * TICK
    assert [toy(host).count for host in made.hosts.values()] == [10, 10, 10]


def test_rule_1_a_fast_clock_ticks_more_often_and_a_jump_brings_deadlines_near() -> None:
    made = world()
    fast, slow, jumping = made.hosts.values()
    fast.drift(2.0)
    slow.drift(0.5)
    made.run(10 * TICK)
    assert (toy(fast).count, toy(slow).count) in [(20, 5), (20, 4), (19, 5), (19, 4)]
    jumping.jump(TICK // 2)
    made.run(10 * TICK + TICK // 2)
    assert toy(jumping).count == 11


def test_rule_1_a_clock_that_drifted_goes_on_from_where_it_was() -> None:
    made = world()
    host = made.hosts["a"]
    made.run(SECOND)
    host.drift(1.5)
    assert host.now() == SECOND
    made.run(2 * SECOND)
    assert host.now() == SECOND + SECOND * 3 // 2
    host.drift(1.0)
    made.run(3 * SECOND)
    assert host.now() == 2 * SECOND + SECOND * 3 // 2


def test_rule_2_a_crash_loses_what_was_not_written_and_keeps_what_was() -> None:
    made = world()
    host = made.hosts["a"]
    made.run(7 * TICK)
    assert toy(host).durable == 5
    host.crash()
    made.run(9 * TICK)
    host.start()
    assert toy(host).found == [5]
    assert toy(host).count == 5


def test_rule_2_a_host_that_is_scrap_never_starts_again() -> None:
    made = world()
    host = made.hosts["a"]
    made.after(TICK, host.start)
    host.scrap()
    made.run(2 * TICK)
    assert not host.up


def test_rule_2_nothing_of_an_earlier_life_reaches_the_next() -> None:
    made = world()
    host = made.hosts["a"]
    called: list[str] = []
    host.local(5 * TICK, lambda: called.append("before the crash"))
    host.crash()
    host.start()
    host.local(5 * TICK, lambda: called.append("after the restart"))
    made.run(20 * TICK)
    assert called == ["after the restart"]
    assert toy(host).count == 20, "the alarm of the first life is void"


def test_rule_2_a_packet_is_for_whoever_runs_when_it_arrives() -> None:
    made = world(link=Link(delay_ns=SECOND, spread_ns=0))
    a, b = made.hosts["a"], made.hosts["b"]
    a.send("b", Count(99))
    b.crash()
    b.start()
    made.run(SECOND)
    assert toy(b).heard[0] == ("a", 99)


def test_a_packet_to_a_host_that_is_down_is_lost() -> None:
    made = world(link=Link(delay_ns=MS, spread_ns=0))
    made.hosts["b"].crash()
    made.hosts["a"].send("b", Count(99))
    made.run(2 * MS)
    made.hosts["b"].start()
    made.run(3 * MS)
    assert toy(made.hosts["b"]).heard == []


def test_rule_3_a_paused_host_handles_nothing_and_then_everything_in_order() -> None:
    made = world(link=Link(delay_ns=MS, spread_ns=0))
    a, b = made.hosts["a"], made.hosts["b"]
    b.pause(2 * SECOND)
    for n in range(1000, 1010):
        made.after(n * MS // 10, lambda n=n: a.send("b", Count(n)))  # type: ignore[misc]
    made.run(2 * SECOND - 1)
    assert toy(b).heard == []
    assert toy(b).count == 0
    made.run(2 * SECOND + 10 * TICK)
    assert [value for peer, value in toy(b).heard if value >= 1000] == list(range(1000, 1010))
    assert toy(b).count > 20, "late ticks are caught up with"


def test_rule_3_a_pause_that_is_extended_keeps_the_order_and_a_host_that_goes_on_early_handles_all_at_once() -> None:
    made = world(link=Link(delay_ns=MS, spread_ns=0))
    a, b = made.hosts["a"], made.hosts["b"]
    b.pause(SECOND)
    for n, at in ((1000, SECOND // 2), (1001, 9 * SECOND // 10), (1002, 11 * SECOND // 10)):
        made.at(at, lambda n=n: a.send("b", Count(n)))  # type: ignore[misc]
    made.at(8 * SECOND // 10, lambda: b.pause(2 * SECOND))
    made.run(2 * SECOND)
    assert toy(b).heard == []
    b.resume()
    made.run(2 * SECOND + MS)
    assert [value for _, value in toy(b).heard if value >= 1000] == [1000, 1001, 1002]
    assert toy(b).count >= 1, "its alarm rings again"


def test_rule_3_what_was_put_off_is_gone_with_a_power_cut() -> None:
    made = world(link=Link(delay_ns=MS, spread_ns=0))
    a, b = made.hosts["a"], made.hosts["b"]
    b.pause(SECOND)
    a.send("b", Count(1000))
    made.run(SECOND // 2)
    b.crash()
    b.start()
    made.run(3 * SECOND)
    assert 1000 not in [value for _, value in toy(b).heard]
    assert toy(b).count > 20


def test_rule_4_an_alarm_that_has_become_too_early_is_put_off_and_the_program_hears_nothing_of_it() -> None:
    made = world()
    host = made.hosts["a"]
    woken: list[int] = []
    program = toy(host)
    wake = program.wake

    def watched() -> None:
        woken.append(made.now)
        wake()

    program.wake = watched  # type: ignore[method-assign]
    program._due = 5 * TICK
    made.run(5 * TICK - 1)
    assert woken == []
    made.run(5 * TICK)
    assert woken == [5 * TICK]


def test_rule_5_whoever_watches_is_told_of_a_host_that_stopped_by_itself() -> None:
    made = world()
    stopped: list[str] = []
    made.on_stopped = lambda host: stopped.append(host.name)
    made.hosts["a"].disk.full = True
    made.hosts["b"].crash()
    made.run(20 * TICK)
    assert stopped == ["a"]


def test_rule_5_a_failing_write_stops_the_host() -> None:
    made = world()
    host = made.hosts["a"]
    host.disk.full = True
    made.run(20 * TICK)
    assert [each.name for each in made.hosts.values() if not each.up] == ["a"]
    host.disk.full = False
    host.start()
    made.run(40 * TICK)
    assert host.up
    assert toy(host).durable >= 5


def test_invariants_are_checked_after_every_event() -> None:
    made = world()
    toy(made.hosts["a"]).durable = 10**9
    with pytest.raises(AssertionError, match="durable before it was written"):
        made.run(SECOND)


def faulty(seed: int, *, keep: bool = False) -> str:
    """The digest of a toy world under all kinds of faults."""
    trace = Trace(keep=keep)
    made = world(seed, "abcde", trace=trace)
    hosts = list(made.hosts.values())
    options = FaultOptions(every_ns=200 * MS, longest_ns=SECOND, down_at_once=2)
    plan = draw_plan(made.tape.stream("plan"), options, Link())
    nemesis = Nemesis(made, hosts, plan, options)
    nemesis.begin()
    made.run(10 * SECOND)
    core = hosts[:3]
    nemesis.end(core, Link())
    counts = [toy(host).count for host in core]
    made.run(20 * SECOND)
    assert all(toy(host).count > before for host, before in zip(core, counts, strict=True)), "the core makes progress"
    made.digest_states()
    return trace.digest


def test_the_same_seed_gives_the_same_digest_and_another_seed_another() -> None:
    digests = [faulty(seed) for seed in range(10)]
    assert digests == [faulty(seed) for seed in range(10)]
    assert len(dict.fromkeys(digests)) == 10


def test_keeping_lines_does_not_change_what_happens() -> None:
    assert faulty(3) == faulty(3, keep=True)


def test_the_digest_is_the_same_in_another_process_under_another_hash_seed() -> None:
    program = "from tests.sim.test_world import faulty; print(faulty(4), faulty(5))"
    for hash_seed in ("0", "1", "977"):
        command = [sys.executable, "-c", program]
        out = subprocess.run(command, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True)
        assert out.stdout.split() == [faulty(4), faulty(5)]


def test_every_kind_of_fault_is_drawn_by_some_run_and_none_by_all() -> None:
    drawn = dict.fromkeys(KINDS, 0)
    for seed in range(100):
        made = world(seed)
        for kind in draw_plan(made.tape.stream("plan"), FaultOptions(), Link()).enabled:
            drawn[kind] += 1
    assert all(20 < count < 80 for count in drawn.values()), drawn


def test_losing_a_disk_is_another_question_than_losing_power() -> None:
    made = world()
    plan = FaultPlan(("wipe",), Link())
    nemesis = Nemesis(made, list(made.hosts.values()), plan, FaultOptions(), lambda _: True, lambda _: False)
    nemesis.begin()
    made.run(20 * SECOND)
    assert not plan.log
    nemesis = Nemesis(made, list(made.hosts.values()), plan, FaultOptions(), lambda _: False, lambda _: True)
    nemesis.begin()
    made.run(40 * SECOND)
    assert made.reached["a disk was wiped"]


def test_a_tape_of_zeros_draws_no_faults_at_all() -> None:
    from casty_sim.tape import Tape

    plan = draw_plan(Tape(1, edited=True).stream("plan"), FaultOptions(), Link())
    assert plan.enabled == ()
    assert plan.words() == "none"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        ((1, [2, "x"]), (1, (2, "x"))),
        (Count(3), (crc32(b"Count"), 3)),
        ({"b": 1, "a": Count(2)}, (("b", 1), ("a", (crc32(b"Count"), 2)))),
        (ValueError("no"), (crc32(b"ValueError"), "no")),
    ],
)
def test_payloads_become_plain_values(value: Any, expected: Any) -> None:
    assert plain(value) == expected


def test_what_has_no_plain_form_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Toy cannot be part of a digest"):
        plain(Toy())
