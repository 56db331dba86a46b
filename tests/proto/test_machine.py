"""The shared parts of the machine contract: units, and values that cannot change under a driver's hands."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.machine import (
    MILLISECOND,
    SECOND,
    Machine,
    Note,
    Persist,
    Persisted,
    Rejected,
    Reply,
    Severity,
    Wake,
    nanoseconds,
    seconds,
    shown,
)


@pytest.mark.parametrize(
    ("given_seconds", "expected_ns"),
    [
        (0, 0),
        (1, SECOND),
        (0.001, MILLISECOND),
        (0.1, 100_000_000),
        (1e-9, 1),
        (1.001, 1_001_000_000),  # 1.001 * 10**9 is 1000999999.9999999
        (-1.5, -1_500_000_000),
        (86_400, 86_400 * SECOND),
    ],
)
def test_seconds_become_whole_nanoseconds_by_rounding(given_seconds: float, expected_ns: int) -> None:
    converted = nanoseconds(given_seconds)
    assert converted == expected_ns
    assert type(converted) is int


def test_nanoseconds_become_float_seconds() -> None:
    assert seconds(1_500_000_000) == 1.5
    assert seconds(MILLISECOND) == 0.001
    assert isinstance(seconds(SECOND), float)


@given(st.integers(-(10**15), 10**15))
def test_lengths_of_up_to_eleven_days_survive_the_way_to_seconds_and_back(duration_ns: int) -> None:
    assert nanoseconds(seconds(duration_ns)) == duration_ns


@pytest.mark.parametrize("bad", ["1", 1.0, None])
def test_a_ticket_is_an_integer(bad: Any) -> None:
    with pytest.raises(TypeError, match="ticket"):
        Persist(bad, b"record")
    with pytest.raises(TypeError, match="ticket"):
        Persisted(bad)


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        (Persist(1, b"record"), "ticket"),
        (Persisted(1), "ticket"),
        (Note(Severity.INFO, "text"), "text"),
        (Rejected("reason"), "reason"),
        (Reply(7, "result"), "result"),
    ],
)
def test_effects_and_events_are_frozen_for_the_type_checker_and_cannot_be_extended(
    value: object, attribute: str
) -> None:
    """That mypy refuses a change is tested in `tests/asyncio/typing_cases/values.txt`."""
    assert hasattr(value, attribute)
    with pytest.raises(AttributeError):
        setattr(value, "another", 2)  # noqa: B010 - mypy would not let an assignment stand
    assert not hasattr(value, "__dict__")


def test_effects_and_events_are_values() -> None:
    assert Wake() == Wake()
    assert Persist(1, b"a") == Persist(1, b"a")
    assert Persist(1, b"a") != Persist(2, b"a")
    assert hash(Reply(7, "x")) == hash(Reply(7, "x"))
    assert Rejected("why") == Rejected("why")


def test_severities_have_the_values_of_the_standard_librarys_log_levels_and_their_order() -> None:
    assert {severity.name: int(severity) for severity in Severity} == {
        name: logging.getLevelNamesMapping()[name] for name in ("DEBUG", "INFO", "WARNING", "ERROR")
    }
    assert Severity.DEBUG < Severity.INFO < Severity.WARNING < Severity.ERROR


class Echo:
    """The smallest machine: a request is answered with itself."""

    def handle(self, event: Reply, now: int) -> tuple[Reply, ...]:
        return (event,)

    def deadline(self) -> int | None:
        return None

    def invariants(self) -> None:
        return None


def test_a_class_with_the_three_methods_is_a_machine_without_inheriting_anything() -> None:
    machine: Machine[Reply, Reply] = Echo()
    assert machine.handle(Reply(1, "a"), 0) == (Reply(1, "a"),)
    assert machine.deadline() is None


def test_rubbish_is_quoted_short_and_what_cannot_be_shown_by_its_type() -> None:
    deep: object = ()
    for _ in range(100_000):
        deep = (deep,)
    assert shown("x") == "'x'"
    assert shown("x" * 500) == "'" + "x" * 199 + "..."
    assert shown(10**5000) == "a int that cannot be shown"
    assert shown(deep) == "a tuple that cannot be shown"
