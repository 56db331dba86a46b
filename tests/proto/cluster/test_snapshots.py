"""Snapshots of the control state: rule 16, and rule 21 in them."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.cluster import (
    ControlState,
    Forget,
    Join,
    Leave,
    MarkDown,
    RegisterName,
    RemoveRegion,
    StateError,
    Update,
)

from .kit import Server, down, entities, named, node, running, singleton


def furnished() -> ControlState:
    """Something of everything: indexes 1 to 13."""
    server = running("c", "d")
    server.changes(named())
    server.changes(singleton())
    server.give("b.1", 0, region="clock")
    server.changes(RemoveRegion("clock", 9))
    down(server, "c.1")
    server.changes(Forget("c"))
    server.changes(Leave("d.1"))
    return server.state


def rows_of(data: bytes) -> list[Any]:
    rows = msgpack.Unpacker()
    rows.feed(data)
    return list(rows)


def bytes_of(rows: list[Any]) -> bytes:
    return b"".join([msgpack.packb(row) for row in rows])


def test_rule_16_a_state_comes_out_of_its_bytes_as_it_went_in() -> None:
    state = furnished()
    copy = ControlState.decode(state.encode())
    assert copy.encode() == state.encode()
    assert copy.members() == state.members()
    assert copy.names() == state.names()
    assert [region.owners for region in copy.regions()] == [region.owners for region in state.regions()]
    assert [region.peak for region in copy.regions()] == [region.peak for region in state.regions()] == [4, 4]
    assert [region.rises for region in copy.regions()] == [region.rises for region in state.regions()] != [[], []]
    assert copy.former_owners() == state.former_owners()
    assert copy.is_removed("c.1")
    assert (copy.version, copy.changed) == (state.version, state.changed)


def test_rule_16_an_empty_state_has_bytes_too() -> None:
    assert ControlState.decode(ControlState().encode()).encode() == ControlState().encode()


def test_rule_16_equal_states_have_equal_bytes_whatever_came_first() -> None:
    # The same entries at the same indexes, but inserted again in another order by way of removal.
    one, other = ControlState(), ControlState()
    one.execute(Join(node("b")), 1)
    other.execute(Join(node("b")), 1)
    for state, index in ((one, 2), (other, 2)):
        state.execute(Join(node("a")), index)
        state.execute(RegisterName("z", "a.1", 1, "/z"), 3)
        state.execute(RegisterName("y", "a.1", 2, "/y"), 4)
    copy = ControlState.decode(other.encode())
    assert [name for name, _ in copy.names()] == ["y", "z"]
    for state in (one, copy):
        state.execute(RegisterName("x", "b.1", 3, "/x"), 5)
    assert one.encode() == copy.encode()
    assert one.execute(MarkDown("a.1"), 6) == copy.execute(MarkDown("a.1"), 6)


def test_rule_16_a_snapshot_that_is_cut_off_or_goes_on_is_none() -> None:
    data = furnished().encode()
    for end in range(len(data)):
        with pytest.raises(StateError):
            ControlState.decode(data[:end])
    with pytest.raises(StateError):
        ControlState.decode(data + b"\x90")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_rule_16_a_changed_byte_makes_another_state_or_none(at: int, byte: int) -> None:
    data = furnished().encode()
    at %= len(data)
    changed = data[:at] + bytes([byte]) + data[at + 1 :]
    try:
        state = ControlState.decode(changed)
    except StateError:
        return
    state.invariants()
    assert state.encode() == changed


HEADER, A, B, D, GRAVE, OWNER_A, OWNER_B, ACCOUNTS, CLOCK, BOSS = range(10)


@pytest.mark.parametrize(
    ("row", "place", "thing", "text"),
    [
        (HEADER, 1, 2, "no that this version"),
        (HEADER, 2, 12, "the last change was at 12"),
        (HEADER, 3, 12, "changed at 14, and the version is 12"),
        (HEADER, 3, True, "no number"),
        (A, 2, 4, "4 is not a valid Status"),
        (A, 2, 3, "'boss' is that of a.1, which is not there"),
        (A, 4, 99, "changed at 99"),
        (A, 4, 0, "since must be from 1"),
        (B, 3, 1, "two members came or went at one index"),
        (HEADER, 4, 8, "not written in the one way"),
        (B, 1, ["a", 2, "host:1", [], 1, b""], "two members have one node id"),
        (B, 1, ["b", 1, "host:1", ["y", "x"], 1, b""], "not written in the one way"),
        (GRAVE, 1, "a", "'a' was removed at 13"),
        (GRAVE, 3, 99, "'c' was removed at 99"),
        (GRAVE, 1, "x" * 65, "cannot have been a member"),
        (OWNER_A, 1, "a", "no node key"),
        (OWNER_A, 1, "b.1", "not written in the one way"),
        (ACCOUNTS, 1, "", "name must have 1 to 512 bytes"),
        (ACCOUNTS, 2, 2, "a singleton has one shard"),
        (ACCOUNTS, 6, 99, "epochs that do not lie between"),
        (ACCOUNTS, 8, 1, "'accounts' had 1 members at most, and has 2"),
        (ACCOUNTS, 8, -1, "'accounts' had -1 members at most, and has 2"),
        (ACCOUNTS, 8, 1025, "'accounts' had 1025 members at most"),
        (ACCOUNTS, 8, True, "True is no number"),
        (ACCOUNTS, 8, None, "None is no number"),
        (ACCOUNTS, 9, bytes(15), "unpack requires"),
        (ACCOUNTS, 9, b"\x00\x00\x00\x09" * 4, "index out of range"),
        (ACCOUNTS, 10, (b"\x00" * 7 + b"\x05") * 4, "a shard that was never given, and an owner of it"),
        (ACCOUNTS, 10, (b"\x00" * 7 + b"\x63") * 4, "epochs that do not lie between"),
        (ACCOUNTS, 11, b"", "had 4 members at most, and came to have them at"),
        (ACCOUNTS, 11, b"\x00" * 7 + b"\x04", "had 4 members at most, and came to have them at"),
        (ACCOUNTS, 11, b"\x00" * 7 + b"\x63", "had 4 members at most, and came to have them at"),
        (CLOCK, 7, 1, "no that this version"),
        (CLOCK, 9, bytes(4), "is to be removed, and is there without an owner"),
        (BOSS, 2, "x.1", "'boss' is that of x.1, which is not there"),
        (BOSS, 5, 99, "was taken at 99"),
        (BOSS, 0, 6, "none that this version"),
    ],
)
def test_rule_16_what_no_commands_can_have_led_to_is_not_decoded(row: int, place: int, thing: Any, text: str) -> None:
    rows = rows_of(furnished().encode())
    rows[row][place] = thing
    with pytest.raises(StateError, match=text.replace("no that", "none that")):
        ControlState.decode(bytes_of(rows))


def test_rules_16_and_21_who_owns_a_shard_counted_once() -> None:
    server = Server("a")
    server.changes(Join(node("b", 1, "db")))
    server.changes(entities(role="db"))
    server.give("b.1", 0)
    server.changes(Update(node("b")))
    rows = rows_of(server.state.encode())
    assert (rows[-1][1], rows[-1][8]) == ("accounts", 1)
    rows[-1][8] = 0
    with pytest.raises(StateError, match="'accounts' had 0 members at most, and has 0"):
        ControlState.decode(bytes_of(rows))


@pytest.mark.parametrize("swapped", [(A, B), (OWNER_A, OWNER_B), (ACCOUNTS, CLOCK), (HEADER, BOSS)])
def test_rule_16_rows_in_another_order_are_not_decoded(swapped: tuple[int, int]) -> None:
    rows = rows_of(furnished().encode())
    one, other = swapped
    rows[one], rows[other] = rows[other], rows[one]
    with pytest.raises(StateError):
        ControlState.decode(bytes_of(rows))


@pytest.mark.parametrize("row", [HEADER, A, GRAVE, OWNER_A, CLOCK, BOSS])
def test_rule_16_a_row_that_stands_twice_is_not_decoded(row: int) -> None:
    rows = rows_of(furnished().encode())
    with pytest.raises(StateError):
        ControlState.decode(bytes_of([*rows[: row + 1], *rows[row:]]))


@pytest.mark.parametrize(
    "data", [b"", b"\xdd\xff\xff\xff\xff", b"\xdc\x00\x20" * 10_000, b"\x91" * 10_000, b"\xc1", None]
)
def test_rule_16_rubbish_is_no_state(data: Any) -> None:
    with pytest.raises(StateError):
        ControlState.decode(data)
