"""Entities that nobody needs at the moment, at the node that owns them: `cluster/keeping.py` and `shard/idling.py`."""

from __future__ import annotations

from casty_proto.cluster import events as ev
from casty_proto.machine import SECOND

from .kit_owning import Bench
from .kit_parts import take


def test_an_entity_that_nobody_needs_is_asked_to_rest_and_its_state_is_kept() -> None:
    bench = Bench(idle_timeout_ns=SECOND)
    epoch = bench.owned()
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"1", None))
    take(bench.core)
    bench.renew(SECOND)
    assert [one for one in take(bench.core) if isinstance(one, ev.Rest)] == [ev.Rest("r", bench.home, epoch, "e")]
    bench.owning.on_rested(ev.Rested("r", bench.home, epoch, "e", b"2"))
    assert bench.owning.state_of("r", bench.home, "e") == b"2"
    bench.renew(3 * SECOND)
    assert not [one for one in take(bench.core) if isinstance(one, ev.Rest)]


def test_an_entity_that_is_touched_does_not_rest() -> None:
    bench = Bench(idle_timeout_ns=SECOND)
    epoch = bench.owned()
    for _ in range(5):
        bench.owning.on_touched(ev.Touched("r", bench.home, epoch, "e"))
        bench.renew(SECOND * 9 // 10)
    assert not [one for one in take(bench.core) if isinstance(one, ev.Rest)]


def test_an_entity_whose_state_is_nowhere_else_does_not_rest() -> None:
    bench = Bench(idle_timeout_ns=SECOND, factor=2, sync_count=0)
    bench.lease()
    epoch = bench.give("a.1", bench.home)
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"1", None))
    bench.renew(3 * SECOND)
    assert not [one for one in take(bench.core) if isinstance(one, ev.Rest)]


def test_an_entity_that_cannot_rest_yet_is_not_looked_at_all_the_time() -> None:
    bench = Bench(idle_timeout_ns=1, factor=2, sync_count=0)
    bench.lease()
    epoch = bench.give("a.1", bench.home)
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"1", None))
    wakes, began = 0, bench.core.now
    while bench.core.now < began + SECOND:
        at = bench.owning.deadline()
        assert at is not None
        bench.core.now = max(at, bench.core.now)
        bench.owning.expire()
        bench.owning.wake()
        wakes += 1
        assert wakes < 200


def test_an_entity_that_was_idle_while_the_shard_was_halted_is_asked_when_it_is_resumed() -> None:
    bench = Bench(idle_timeout_ns=SECOND)
    epoch = bench.owned()
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"1", None))
    bench.core.now += 3 * SECOND // 2
    bench.owning.expire()
    bench.owning.wake()
    assert not [one for one in bench.core.out if isinstance(one, ev.Rest)]
    bench.lease()
    assert [one for one in take(bench.core) if isinstance(one, ev.ResumeShard)]
    bench.renew(SECOND)
    assert [one for one in take(bench.core) if isinstance(one, ev.Rest)] == [ev.Rest("r", bench.home, epoch, "e")]


def test_without_an_idle_timeout_nothing_rests() -> None:
    bench = Bench()
    epoch = bench.owned()
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"1", None))
    bench.renew(5 * SECOND)
    assert not [one for one in take(bench.core) if isinstance(one, ev.Rest)]
