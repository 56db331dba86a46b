"""Connections over wires that lose, repeat and reorder: the bytes that were written arrive in order, or a beginning of
them and then an error."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.machine import MILLISECOND, SECOND, Instant
from casty_sim.stack.tcp import GIVE_UP_NS

from .bench import Bench, Packet, every

Outcome = tuple[Instant, ...]
delays = st.sampled_from([1, 1, 1, 2, 5, 50, 250, 900]).map(lambda ms: ms * MILLISECOND)
outcomes = st.one_of(st.tuples(delays), st.just(()), st.tuples(delays, delays), st.tuples(delays, delays, delays))
sizes = st.sampled_from([1, 7, 1000, 16384, 16385, 70_000, 200_000])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("ab"), sizes),
        st.tuples(st.just("read"), st.sampled_from("ab"), st.booleans()),
        st.tuples(st.just("wait"), st.just("a"), st.sampled_from([0.001, 0.05, 0.3, 2.0])),
        st.tuples(st.just("end"), st.sampled_from("ab"), st.none()),
    ),
    max_size=25,
)


def pattern(start: int, count: int) -> bytes:
    """Bytes of which each place is another."""
    return b"".join([(start + index).to_bytes(4, "big") for index in range(count // 4 + 1)])[:count]


def take(bench: Bench, todo: list[tuple[str, str, object]]) -> dict[str, bytes]:
    """Do all of it. Returns what was written at each end."""
    written = {"a": b"", "b": b""}
    closed: set[str] = set()
    for what, name, value in todo:
        if what == "wait":
            assert isinstance(value, float)
            bench.run(value)
        if name not in bench.ends or name in bench.forgotten or bench.ends[name].user is None:
            continue
        if what == "write" and name not in closed:
            assert isinstance(value, int)
            data = pattern(len(written[name]), value)
            written[name] += data
            bench.write(name, data)
        elif what == "read":
            bench.ends[name].read(on=bool(value))
        elif what == "end":
            closed.add(name)
            bench.write(name, b"", then_end=True)
    for name in "ab":
        if name in bench.ends and name not in bench.forgotten and bench.ends[name].user is not None:
            bench.ends[name].read(on=True)
            bench.write(name, b"", then_end=True)
    return written


@settings(max_examples=300, deadline=None)
@given(st.lists(outcomes, max_size=80), steps)
def test_on_a_wire_that_becomes_good_everything_arrives(
    fates: list[Outcome], todo: list[tuple[str, str, object]]
) -> None:
    bench = Bench()
    bench.connect()
    bench.run(0.1)
    bench.fate = every(*fates)
    written = take(bench, todo)
    bench.run(60)
    for one, other in ("ab", "ba"):
        assert bytes(bench.users[other].got) == written[one]
        assert bench.users[other].has_ended
        assert bench.users[other].error is None


@settings(max_examples=300, deadline=None)
@given(st.lists(outcomes, max_size=60), steps, st.sampled_from([1, 2, 3, 10**9]))
def test_on_any_wire_what_arrives_is_a_beginning_and_who_is_not_done_hears_of_an_error(
    fates: list[Outcome], todo: list[tuple[str, str, object]], period: int
) -> None:
    bench = Bench(every(*fates))
    bench.connect()
    bench.run(3)
    count = [0]
    good = every(*fates)

    def bad(name: str, packet: Packet) -> Outcome:
        count[0] += 1
        return () if count[0] % period == 0 else good(name, packet)

    bench.fate = bad
    written = take(bench, todo)
    bench.run(3 * GIVE_UP_NS / SECOND)
    for one, other in ("ab", "ba"):
        got = bytes(bench.users[other].got)
        assert written[one].startswith(got)
        assert not bench.users[other].has_ended or got == written[one]
        if one in bench.ends and not bench.users[other].has_ended and bench.users[one].error is None:
            # Whoever has written something that was not taken knows it by now.
            assert not bench.ends[one].is_drained or not written[one] or got == written[one]


@settings(max_examples=200, deadline=None)
@given(st.lists(outcomes, max_size=60), steps, st.sampled_from("ab"), st.integers(0, 20))
def test_an_end_that_starts_anew_takes_nothing_over_and_the_other_hears_of_it(
    fates: list[Outcome], todo: list[tuple[str, str, object]], which: str, when: int
) -> None:
    bench = Bench(every(*fates))
    bench.connect()
    bench.run(5)
    written = take(bench, todo[:when])
    other = "ba"["ab".index(which)]
    bench.crash(which)
    accepted = bench.accepted
    got = bytes(bench.users[which].got)
    bench.run(3 * GIVE_UP_NS / SECOND)
    assert bench.accepted == accepted or accepted == 0
    if accepted:
        assert bytes(bench.users[which].got) == got
    assert written[which].startswith(bytes(bench.users[other].got))
