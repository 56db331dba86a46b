"""The deadline table, rule by rule as its file numbers them, and against a sorted list."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from casty_proto import timers
from casty_proto.timers import _SLACK, Deadlines


def table(**instants: int) -> Deadlines[str]:
    deadlines: Deadlines[str] = Deadlines()
    for key, at in instants.items():
        deadlines.set(key, at)
    return deadlines


def test_a_new_table_is_empty_and_wants_nothing() -> None:
    deadlines = table()
    assert len(deadlines) == 0
    assert "a" not in deadlines
    assert deadlines.earliest() is None
    assert list(deadlines.due(10**18)) == []
    deadlines.invariants()


def test_rule_1_setting_a_key_again_replaces_its_deadline_by_a_later_one() -> None:
    deadlines = table(a=10, b=20)
    deadlines.set("a", 30)
    assert len(deadlines) == 2
    assert deadlines.earliest() == 20
    assert list(deadlines.due(29)) == ["b"]
    assert deadlines.earliest() == 30
    assert list(deadlines.due(30)) == ["a"]


def test_rule_1_setting_a_key_again_replaces_its_deadline_by_an_earlier_one() -> None:
    deadlines = table(a=10, b=20)
    deadlines.set("b", 5)
    assert deadlines.earliest() == 5
    assert list(deadlines.due(100)) == ["b", "a"]
    assert len(deadlines) == 0


def test_rule_2_a_deadline_at_now_is_due_and_one_after_now_is_not() -> None:
    deadlines = table(a=10, b=11)
    assert list(deadlines.due(9)) == []
    assert list(deadlines.due(10)) == ["a"]
    assert "a" not in deadlines
    assert "b" in deadlines
    assert list(deadlines.due(10)) == []
    assert deadlines.earliest() == 11


def test_rule_2_the_earliest_comes_first() -> None:
    assert list(table(c=3, a=1, b=2).due(3)) == ["a", "b", "c"]


def test_rule_2_among_equal_deadlines_the_one_set_first_comes_first() -> None:
    assert list(table(z=7, a=7, m=7).due(7)) == ["z", "a", "m"]


def test_rule_2_setting_a_key_again_to_the_same_instant_puts_it_behind_its_equals() -> None:
    deadlines = table(z=7, a=7)
    deadlines.set("z", 7)
    assert list(deadlines.due(7)) == ["a", "z"]


def test_rule_2_keys_need_a_hash_but_no_order() -> None:
    class Key:
        """Equal to itself only, and not comparable."""

    first, second = Key(), Key()
    deadlines: Deadlines[Key] = Deadlines()
    deadlines.set(second, 1)
    deadlines.set(first, 1)
    assert list(deadlines.due(1)) == [second, first]


def test_rule_2_a_key_set_while_iterating_is_seen_when_it_is_due_and_kept_when_it_is_not() -> None:
    deadlines = table(a=1)
    seen = []
    for key in deadlines.due(5):
        seen.append(key)
        if key == "a":
            deadlines.set("b", 5)
            deadlines.set("c", 6)
    assert seen == ["a", "b"]
    assert deadlines.earliest() == 6


def test_rule_2_a_key_cancelled_while_iterating_is_not_yielded() -> None:
    deadlines = table(a=1, b=2, c=3)
    seen = []
    for key in deadlines.due(3):
        seen.append(key)
        deadlines.cancel("b")
    assert seen == ["a", "c"]


def test_rule_2_an_iteration_that_is_given_up_leaves_the_rest_in_place() -> None:
    deadlines = table(a=1, b=2, c=3)
    assert next(deadlines.due(3)) == "a"
    assert len(deadlines) == 2
    assert deadlines.earliest() == 2
    assert list(deadlines.due(3)) == ["b", "c"]


def test_rule_3_a_cancelled_key_is_forgotten_and_cancelling_says_whether_there_was_one() -> None:
    deadlines = table(a=1, b=2)
    assert deadlines.cancel("a") is True
    assert deadlines.cancel("a") is False
    assert deadlines.cancel("never set") is False
    assert "a" not in deadlines
    assert deadlines.earliest() == 2
    assert list(deadlines.due(9)) == ["b"]


def test_rule_3_a_key_set_after_it_was_cancelled_has_its_new_deadline_only() -> None:
    deadlines = table(a=1)
    deadlines.cancel("a")
    deadlines.set("a", 5)
    assert list(deadlines.due(4)) == []
    assert list(deadlines.due(5)) == ["a"]


def test_clear_forgets_everything() -> None:
    deadlines = table(a=1, b=2)
    deadlines.clear()
    assert len(deadlines) == 0
    assert deadlines.earliest() is None
    assert len(deadlines._heap) == 0
    deadlines.set("a", 3)
    assert list(deadlines.due(3)) == ["a"]


# -- memory (rule 3) ---------------------------------------------------------------------------------------------------


def set_and_cancel(deadlines: Deadlines[int], step: int) -> None:
    deadlines.set(step, 1_000_000 + step)
    deadlines.cancel(step)


def replace(deadlines: Deadlines[int], step: int) -> None:
    deadlines.set(-1 - step % 10, 1_000_000 + step)


def largest_heap(cycle: Callable[[Deadlines[int], int], None]) -> int:
    deadlines: Deadlines[int] = Deadlines()
    for standing in range(10):
        deadlines.set(-1 - standing, 2_000_000)
    largest = 0
    for step in range(100_000):
        cycle(deadlines, step)
        largest = max(largest, len(deadlines._heap))
    deadlines.invariants()
    return largest


def test_rule_3_a_hundred_thousand_cancelled_deadlines_keep_the_heap_small() -> None:
    assert largest_heap(set_and_cancel) <= 2 * 11 + _SLACK


def test_rule_3_a_hundred_thousand_replaced_deadlines_keep_the_heap_small() -> None:
    assert largest_heap(replace) <= 2 * 10 + _SLACK


def test_rule_3_cancelling_everything_frees_the_heap_without_another_set() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for key in range(10_000):
        deadlines.set(key, key)
    for key in range(10_000):
        assert deadlines.cancel(key)
        assert len(deadlines._heap) <= 2 * len(deadlines) + _SLACK


def test_rule_3_draining_what_is_due_frees_the_garbage_of_what_is_not() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for key in range(1000):
        deadlines.set(key, key)
    for key in range(1000, 1900):
        deadlines.set(key, 10_000)
        deadlines.cancel(key)
    for _ in deadlines.due(999):
        deadlines.invariants()
    assert len(deadlines._heap) <= _SLACK


# -- against the obvious version ---------------------------------------------------------------------------------------


class Obvious:
    """The same table as a list, sorted whenever it matters."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, str]] = []
        self.count = 0

    def set(self, key: str, at: int) -> None:
        self.cancel(key)
        self.count += 1
        self.entries = sorted([*self.entries, (at, self.count, key)])

    def cancel(self, key: str) -> bool:
        rest = [entry for entry in self.entries if entry[2] != key]
        had, self.entries = len(rest) < len(self.entries), rest
        return had

    def clear(self) -> None:
        self.entries = []

    def earliest(self) -> int | None:
        return self.entries[0][0] if self.entries else None

    def due(self, now: int) -> list[str]:
        ready = [entry for entry in self.entries if entry[0] <= now]
        self.entries = self.entries[len(ready) :]
        return [key for _, _, key in ready]


keys = st.text("abcdefgh", min_size=1, max_size=2)
instants = st.integers(0, 20)
operations = st.one_of(
    st.tuples(st.just("set"), keys, instants),
    st.tuples(st.just("set"), keys, instants),
    st.tuples(st.just("cancel"), keys),
    st.tuples(st.just("due"), instants),
    st.tuples(st.just("clear")),
)


@given(st.lists(operations, max_size=60), st.integers(0, 8))
def test_the_table_does_what_a_sorted_list_does(script: list[tuple[object, ...]], slack: int) -> None:
    # A small slack, so that short scripts rebuild the heap too.
    with patch.object(timers, "_SLACK", slack):
        deadlines: Deadlines[str] = Deadlines()
        obvious = Obvious()
        for name, *arguments in script:
            expected = getattr(obvious, str(name))(*arguments)
            outcome = getattr(deadlines, str(name))(*arguments)
            assert (list(outcome) if name == "due" else outcome) == expected
            deadlines.invariants()
            assert len(deadlines) == len(obvious.entries)
            assert deadlines.earliest() == obvious.earliest()
            for _, _, key in obvious.entries:
                assert key in deadlines
