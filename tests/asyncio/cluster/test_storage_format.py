"""Records as bytes: what is written is read, and nothing else is."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_asyncio.cluster.storage_format import RecordError, decode_record, encode_record
from casty_proto.cluster.disk import Membership, NodeRecord
from casty_proto.cluster.records import NodeInfo
from casty_proto.raft import (
    Append,
    Ballot,
    Base,
    CloseSession,
    Command,
    Configuration,
    Entry,
    NoOp,
    OpenSession,
    RenewSession,
    SaveSnapshot,
    Snapshot,
)
from casty_proto.raft.entries import TIME_MAX
from casty_proto.raft.sessions import Sessions

NUMBER_MAX = 2**63 - 1
EMPTY_SESSIONS = Sessions().encode()

numbers = st.integers(0, NUMBER_MAX)
places = st.integers(1, NUMBER_MAX)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
nodes = st.builds(
    NodeInfo,
    node_id=texts,
    generation=st.integers(0, 2**53 - 1),
    address=texts,
    roles=st.lists(texts, max_size=3),
    weight=st.integers(1, 64),
    payload=st.binary(max_size=20),
)


@st.composite
def configurations(draw: st.DrawFn, least: int = 0) -> Configuration:
    names = draw(st.lists(texts, min_size=least, max_size=5, unique=True))
    voters = draw(st.integers(least, len(names)))
    return Configuration(tuple(names[:voters]), tuple(names[voters:]))


@st.composite
def appends(draw: st.DrawFn) -> Append:
    # One configuration at most: two of them have to follow from one another.
    payloads: list[Any] = draw(st.lists(plain_payloads, min_size=1, max_size=5))
    if draw(st.booleans()):
        payloads.insert(draw(st.integers(0, len(payloads))), draw(configurations(least=1)))
    count = len(payloads)
    first = draw(st.integers(1, NUMBER_MAX - count))
    terms = sorted(draw(st.lists(numbers, min_size=count, max_size=count)))
    times = sorted(draw(st.lists(st.integers(0, TIME_MAX), min_size=count, max_size=count)))
    return Append(tuple(map(Entry, range(first, first + count), terms, payloads, times)))


@st.composite
def sessions(draw: st.DrawFn) -> bytes:
    table = Sessions()
    for index, ttl_ns, serial in draw(st.lists(st.tuples(st.integers(1, 100), places, st.integers(2, 9)), max_size=3)):
        table.open(index, ttl_ns, 0)
        table.admit(Command(b"", index, serial), 0)
    return table.encode()


plain_payloads: st.SearchStrategy[Any] = st.one_of(
    st.builds(NoOp),
    st.builds(Command, st.binary(max_size=40), numbers, numbers, numbers),
    st.builds(OpenSession, places),
    st.builds(RenewSession, places),
    st.builds(CloseSession, places),
)
snapshots = st.builds(
    Snapshot, st.integers(100, NUMBER_MAX), numbers, configurations(least=1), sessions(), st.binary(max_size=40)
)
records: st.SearchStrategy[NodeRecord] = st.one_of(
    st.builds(Membership, texts, nodes),
    st.builds(Ballot, numbers, st.none() | texts),
    appends(),
    st.builds(SaveSnapshot, snapshots),
    st.builds(Base, numbers, numbers, configurations()),
)


@given(records)
def test_a_record_is_read_as_it_was_written(record: NodeRecord) -> None:
    assert decode_record(encode_record(record)) == record


@given(st.tuples(records, records))
def test_equal_records_are_equal_bytes_and_others_are_not(pair: tuple[NodeRecord, NodeRecord]) -> None:
    one, other = pair
    assert (encode_record(one) == encode_record(other)) == (one == other)


@given(records, st.data())
def test_bytes_with_another_byte_are_refused_or_another_record(record: NodeRecord, data: st.DataObject) -> None:
    encoded = bytearray(encode_record(record))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_record(bytes(encoded))
    except RecordError:
        return
    assert decoded != record
    assert encode_record(decoded) == encoded


@given(records, st.binary(min_size=1, max_size=5))
def test_bytes_that_are_cut_off_or_go_on_are_refused(record: NodeRecord, more: bytes) -> None:
    encoded = encode_record(record)
    for wrong in (encoded + more, encoded[: -len(more)], b""):
        with pytest.raises(RecordError, match="bytes are no record"):
            decode_record(wrong)


# What is on the disks of those who run an older version. A change here needs a new version of the format.
WRITTEN: list[tuple[NodeRecord, list[Any]]] = [
    (
        Membership("shop", NodeInfo("a", 7, "host:1", ("web",), 2, b"x")),
        [1, 1, "shop", ["a", 7, "host:1", ["web"], 2, b"x"]],
    ),
    (Ballot(3, "a.1"), [1, 2, 3, "a.1"]),
    (Ballot(3, None), [1, 2, 3, None]),
    (Append((Entry(4, 2, NoOp(), 9),)), [1, 3, [[4, 2, 9, 0]]]),
    (Append((Entry(4, 2, Command(b"x", 1, 2, 3), 9),)), [1, 3, [[4, 2, 9, 1, b"x", 1, 2, 3]]]),
    (Append((Entry(4, 2, OpenSession(5), 9),)), [1, 3, [[4, 2, 9, 2, 5]]]),
    (Append((Entry(4, 2, RenewSession(5), 9),)), [1, 3, [[4, 2, 9, 3, 5]]]),
    (Append((Entry(4, 2, CloseSession(5), 9),)), [1, 3, [[4, 2, 9, 4, 5]]]),
    (Append((Entry(4, 2, Configuration(("a",), ("b",)), 9),)), [1, 3, [[4, 2, 9, 5, [["a"], ["b"]]]]]),
    (
        SaveSnapshot(Snapshot(4, 2, Configuration(("a",)), EMPTY_SESSIONS, b"x")),
        [1, 4, 4, 2, [["a"], []], EMPTY_SESSIONS, b"x"],
    ),
    (Base(4, 2, Configuration(("a",))), [1, 5, 4, 2, [["a"], []]]),
]


@pytest.mark.parametrize(("record", "row"), WRITTEN)
def test_every_record_has_its_place_in_version_1(record: NodeRecord, row: list[Any]) -> None:
    assert encode_record(record) == msgpack.packb(row)
    assert decode_record(msgpack.packb(row)) == record


@pytest.mark.parametrize(
    "row",
    [
        pytest.param([2, 2, 3, None], id="another version"),
        pytest.param([1, 6, 3, None], id="an unknown record"),
        pytest.param([1, 2, 3], id="a field is missing"),
        pytest.param([1, 2, 3, None, 4], id="a field too many"),
        pytest.param([1, 2, True, None], id="a truth value as a number"),
        pytest.param([True, 2, 3, None], id="a truth value as the version"),
        pytest.param([1, 2, 3.0, None], id="a fraction"),
        pytest.param([1, 2, -1, None], id="a negative term"),
        pytest.param([1, 2, 2**63, None], id="too high a term"),
        pytest.param([1, 2, 3, ""], id="an empty name"),
        pytest.param([1, 2, 3, b"a"], id="a name of bytes"),
        pytest.param({1: 2}, id="a map"),
        pytest.param([1, 2, 3, msgpack.ExtType(5, b"")], id="an extension"),
        pytest.param([1, 2, msgpack.Timestamp(3), None], id="a timestamp"),
        pytest.param([1, 3, []], id="no entries"),
        pytest.param([1, 3, [[4, 2, 9, 0], [6, 2, 9, 0]]], id="a gap in the log"),
        pytest.param([1, 3, [[4, 2, 9, 0], [5, 1, 9, 0]]], id="a term that falls"),
        pytest.param([1, 3, [[4, 2, 9, 0], [5, 2, 8, 0]]], id="a clock that runs backwards"),
        pytest.param([1, 3, [[0, 2, 9, 0]]], id="an entry at 0"),
        pytest.param([1, 3, [[4, 2, 9, 6]]], id="an unknown payload"),
        pytest.param([1, 3, [[4, 2, 9, 5, [[], ["a"]]]]], id="a configuration without voters"),
        pytest.param([1, 5, 4, 2, [["b", "a"], []]], id="names that are not sorted"),
        pytest.param([1, 5, 4, 2, [["a"], ["a"]]], id="a name that stands twice"),
        pytest.param([1, 5, 4, 2, ["ab", []]], id="a text as names"),
        pytest.param([1, 4, 4, 2, [[], []], EMPTY_SESSIONS, b""], id="a snapshot without voters"),
        pytest.param([1, 4, 4, 2, [["a"], []], b"sessions", b""], id="no table of sessions"),
        pytest.param([1, 4, 4, 2, [["a"], []], EMPTY_SESSIONS, "text"], id="a text as data"),
        pytest.param([1, 1, "shop", ["a", -1, "host:1", [], 1, b""]], id="a node that cannot be"),
    ],
)
def test_what_no_version_1_writes_is_refused(row: Any) -> None:
    with pytest.raises(RecordError, match=r"are no record|in the one way"):
        decode_record(msgpack.packb(row))


def test_bytes_that_say_it_in_another_way_are_refused() -> None:
    assert decode_record(b"\x94\x01\x02\x03\xc0") == Ballot(3, None)
    with pytest.raises(RecordError, match="not written in the one way"):
        decode_record(b"\x94\x01\x02\xcc\x03\xc0")


@pytest.mark.parametrize(
    "record",
    [
        Ballot(-1, None),
        Ballot(1, ""),
        Ballot(1, "\ud800"),
        Append(()),
        Append((Entry(1, 1, NoOp()), Entry(3, 1, NoOp()))),
        Base(2**63, 1, Configuration()),
        SaveSnapshot(Snapshot(1, 1, Configuration(), EMPTY_SESSIONS, b"")),
        SaveSnapshot(Snapshot(1, 1, Configuration(("a",)), b"?", b"")),
        Membership("\ud800", NodeInfo("a", 1, "host:1")),
        "no record",
    ],
)
def test_what_could_not_be_read_is_not_written(record: Any) -> None:
    with pytest.raises(RecordError, match="cannot be written"):
        encode_record(record)
