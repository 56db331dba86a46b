"""Commands of the control state as bytes: rule 15, and the limits of rule 17."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.cluster import (
    Assign,
    Command,
    ControlState,
    DropNames,
    Forget,
    Gift,
    Join,
    Leave,
    Left,
    MarkDown,
    MarkUp,
    NodeInfo,
    Refused,
    RegionKind,
    RegionSettings,
    RegisterName,
    RegisterRegion,
    RemoveRegion,
    UnregisterName,
    Update,
    decode_command,
    encode_command,
)
from casty_proto.cluster.checks import ASSIGNED_MAX, GIFTS_MAX, NAME_MAX, NODE_ID_MAX
from casty_proto.cluster.commands import COMMAND_MAX

from .kit import Server, gift

FULL = NodeInfo("n\u00f6de.7", 2**63 - 1, "[::1]:9", ("a", "b"), 64, b"\x00\xff")
SETTINGS = RegionSettings(7, "db", 3, -1, 5, 2**62, True)
EXAMPLES: tuple[Command, ...] = (
    Join(FULL),
    Update(FULL, 7),
    Leave("a.1"),
    Left("a.1", 1),
    MarkDown("a.1", 2**63 - 1),
    MarkUp("a.0"),
    Forget("a.b", 3),
    RegisterRegion("r", RegionKind.ENTITIES, SETTINGS, "a.1", b"recipe"),
    RegisterRegion("s", RegionKind.SINGLETON, RegionSettings(1), "a.1"),
    RemoveRegion("r", 5),
    Assign((Gift("r", "a.1", ((0, 1), (65535, 2**63 - 1))), Gift("r", None, ((3, 3),), forced=True))),
    RegisterName("n", "a.1", 0, "/user/n"),
    UnregisterName("n", "a.1", 2**63 - 1),
    DropNames("a.1", 9),
)

BYTES_OF_EACH = tuple([encode_command(command) for command in EXAMPLES])


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_rule_15_a_command_comes_out_of_its_bytes_as_it_went_in(command: Command) -> None:
    decoded = decode_command(encode_command(command))
    assert decoded == command
    assert type(decoded) is type(command)


def test_rule_15_the_bytes_of_commands_stay_what_they_are() -> None:
    # They stand in logs on disk, and cross the network between versions.
    assert encode_command(Leave("a.1", 7)).hex() == "940103a3612e3107"
    assert encode_command(Assign((Gift("r", "a.1", ((2, 3),)),))).hex() == (
        "93010a9194a172a3612e31c40c000000020000000000000003c2"
    )
    assert encode_command(Assign((Gift("r", "a.1", ((2, 3),), forced=True),))).hex() == (
        "93010a9194a172a3612e31c40c000000020000000000000003c3"
    )


@pytest.mark.parametrize("data", BYTES_OF_EACH, ids=lambda data: data.hex()[:6])
def test_rule_15_a_command_that_is_cut_off_or_goes_on_is_none(data: bytes) -> None:
    assert decode_command(data + b"\x00") is None
    for end in range(len(data)):
        assert decode_command(data[:end]) is None


@pytest.mark.parametrize("data", BYTES_OF_EACH, ids=lambda data: data.hex()[:6])
def test_rule_15_a_command_with_a_field_too_many_or_too_few_is_none(data: bytes) -> None:
    parts: list[Any] = msgpack.unpackb(data)
    assert decode_command(msgpack.packb([*parts, None])) is None
    assert decode_command(msgpack.packb(parts[:-1])) is None


@pytest.mark.parametrize(
    "found",
    [
        [2, 3, "a.1", None],
        [True, 3, "a.1", None],
        [1, 99, "a.1", None],
        [1, 3.0, "a.1", None],
        [1, 3, "a", None],
        [1, 3, "a.1", 0],
        [1, 3, "a.1", True],
        [1, 3, b"a.1", None],
        [1, 1, ["a", 1, "h", "db", 1, b""]],
        [1, 1, ["a", 1, "h", ["db", 3], 1, b""]],
        [1, 1, ["a", 1, "h", [str(number) for number in range(17)], 1, b""]],
        [1, 1, ["", 1, "h", [], 1, b""]],
        [1, 1, ["a", -1, "h", [], 1, b""]],
        [1, 1, ["a", 1, "", [], 1, b""]],
        [1, 1, ["a", 1, "h", [], 0, b""]],
        [1, 1, ["a", 1, "h", [], 1, bytes(1025)]],
        [1, 7, "x" * (NODE_ID_MAX + 1), None],
        [1, 8, "r", 3, [1, None, 1, 0, 1, None, False], "a.1", b""],
        [1, 8, "r", True, [1, None, 1, 0, 1, None, False], "a.1", b""],
        [1, 8, "r", 1, [1, None, 1, 1, 1, None, False], "a.1", b""],
        [1, 8, "r", 1, [1, None, 1, 0, 1, None, 0], "a.1", b""],
        [1, 8, "r", 1, [2**16 + 1, None, 1, 0, 1, None, False], "a.1", b""],
        [1, 8, "r", 2, [2, None, 1, 0, 1, None, False], "a.1", b""],
        [1, 8, "r", 1, [1, None, 1, 0, 1, None, False], "a.1", bytes(16_385)],
        [1, 10, []],
        [1, 10, [["r", "a.1", b"", False]]],
        [1, 10, [["r", "a.1", bytes(11), False]]],
        [1, 10, [["r", "a.1", bytes(12), False]]],
        [1, 10, [["r", "a.1", b"\x00\x01\x00\x00" + bytes(7) + b"\x01", False]]],
        [1, 10, [["r", "a.1", bytes(4) + b"\xff" * 8, False]]],
        [1, 10, [["r", "a.1", bytes(11) + b"\x01"]]],
        [1, 10, [["r", "a.1", bytes(11) + b"\x01", None]]],
        [1, 10, [["r", "a.1", bytes(11) + b"\x01", 0]]],
        [1, 10, [["r", "a.1", bytes(11) + b"\x01", 1]]],
        [1, 10, [["r", "a.1", bytes(11) + b"\x01", False, False]]],
        [1, 11, "x" * (NAME_MAX + 1), "a.1", 0, "/p"],
        [1, 11, "x", "a.1", 0, ""],
        [1, 13, "a.1", 0],
        {},
        [],
        7,
        None,
    ],
    ids=repr,
)
def test_rule_15_what_is_not_exactly_a_command_is_none(found: Any) -> None:
    assert decode_command(msgpack.packb(found)) is None


def test_rule_15_bytes_that_announce_or_nest_without_end_are_none() -> None:
    assert decode_command(b"\xdd\xff\xff\xff\xff") is None
    assert decode_command(b"\xdc\x04\x00" * 100_000) is None
    assert decode_command(b"\x91" * COMMAND_MAX) is None
    assert decode_command(bytes(COMMAND_MAX + 1)) is None
    assert decode_command(bytearray(BYTES_OF_EACH[0])) is None  # type: ignore[arg-type]


def test_rule_15_rubbish_is_refused_and_changes_nothing() -> None:
    server = Server("a")
    assert server.reason(b"\xc1") == (
        "these bytes are no command that this version of the program knows; run one version of it"
    )


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_rule_15_no_bytes_make_it_raise(data: bytes) -> None:
    command = decode_command(data)
    outcome = ControlState().apply(data, 1)
    assert command is not None or isinstance(outcome, Refused)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(BYTES_OF_EACH), st.integers(0, 400), st.integers(0, 255))
def test_rule_15_what_a_changed_byte_makes_is_a_command_or_none(data: bytes, at: int, byte: int) -> None:
    at %= len(data)
    command = decode_command(data[:at] + bytes([byte]) + data[at + 1 :])
    assert command is None or decode_command(encode_command(command)) == command


def test_rule_17_one_command_has_at_most_so_many_shards() -> None:
    many = tuple([(number, 1) for number in range(ASSIGNED_MAX)])
    largest = Assign((Gift("r" * NAME_MAX, "a.1", many),))
    assert decode_command(encode_command(largest)) == largest
    with pytest.raises(ValueError, match="at most 65536 shards together"):
        Assign((*largest.gifts, gift("a.1", (0, 1))))


def test_rule_17_the_longest_command_has_a_limit() -> None:
    gifts = [Gift("r" * NAME_MAX, f"{'n' * NODE_ID_MAX}.{2**63 - 1}", ((0, 1),) * 64) for _ in range(GIFTS_MAX)]
    assert len(encode_command(Assign(tuple(gifts)))) <= COMMAND_MAX
    with pytest.raises(ValueError, match="1 to 1024"):
        Assign((*gifts, gifts[0]))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: RegionSettings(factor=2, sync_count=2), "sync_count 2 must be less than factor 2"),
        (lambda: RegisterRegion("s", RegionKind.SINGLETON, RegionSettings(2), "a.1"), "a singleton has one shard"),
        (lambda: NodeInfo("a", 1, "h", "db"), "not the one text 'db'"),
        (lambda: NodeInfo("\ud800", 1, "h"), "surrogates"),
        (lambda: Leave("a"), "node: 'a' is no node key"),
        (lambda: Gift("r", "a.1", ((True, 1),)), "numbers and epochs"),
        (lambda: Gift("r", "a.1", ((0, 1),), 1), "forced must be of type bool"),  # type: ignore[arg-type]
        (lambda: Assign((1,)), "must be gifts"),  # type: ignore[arg-type]
        (lambda: Join("a.1"), "must be of type NodeInfo"),  # type: ignore[arg-type]
    ],
)
def test_rule_17_a_command_cannot_be_made_of_what_makes_no_sense(make: Callable[[], object], text: str) -> None:
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_rule_15_what_is_no_command_is_refused_by_every_state_alike() -> None:
    one, other = ControlState(), Server("a").state
    assert one.apply(b"", 9) == other.apply(b"", 9)
    assert isinstance(one.apply(b"", 9), Refused)
