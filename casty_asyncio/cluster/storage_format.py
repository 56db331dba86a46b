"""The records of a node as bytes.

A record is a msgpack list: the version of the format, the tag of the record, and its fields in order. Nothing in it
names a type or a module, and reading it imports nothing.

1.  `encode_record` writes a record in one way, and refuses one that is not well-formed.
2.  `decode_record` builds a record from the bytes, and then has it encoded: what does not come out as the same bytes is
    refused. So it accepts exactly what `encode_record` returns, and equal records are equal bytes.
3.  No tag ever stands for another thing. What another version adds has a tag of its own, or a version of its own.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, assert_never

import msgpack  # type: ignore[import-untyped]

from casty_proto.cluster.commands import node_of, node_row
from casty_proto.cluster.disk import Membership, NodeRecord
from casty_proto.cluster.records import NodeInfo
from casty_proto.machine import shown
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
    Payload,
    RenewSession,
    SaveSnapshot,
    Snapshot,
)
from casty_proto.raft.configuration import is_name
from casty_proto.raft.entries import NOT_ENTRIES, examined
from casty_proto.raft.sessions import Sessions

RECORD_VERSION = 1
_NUMBER_MAX = 2**63 - 1


class RecordError(ValueError):
    """A record that cannot be written, or bytes that are none. Says why."""


class _Tag(IntEnum):
    """Which record it is."""

    MEMBERSHIP = 1
    BALLOT = 2
    APPEND = 3
    SNAPSHOT = 4
    BASE = 5


class _Payload(IntEnum):
    """What is in an entry."""

    NO_OP = 0
    COMMAND = 1
    OPEN_SESSION = 2
    RENEW_SESSION = 3
    CLOSE_SESSION = 4
    CONFIGURATION = 5


def encode_record(record: NodeRecord) -> bytes:
    """The bytes for a record. Raises `RecordError` for what is no record, or one that nobody can have meant."""
    try:
        packed: bytes = msgpack.packb([RECORD_VERSION, *_parts(record)])
    except Exception as error:
        raise RecordError(f"{shown(record)} cannot be written: {error}") from error
    return packed


def decode_record(data: bytes) -> NodeRecord:
    """The record that was encoded. Raises `RecordError` for bytes that `encode_record` never returns."""
    try:
        found = msgpack.unpackb(data, max_map_len=0, max_ext_len=0)
        record = _record(found)
        is_exact = encode_record(record) == data
    except Exception as error:
        raise RecordError(f"{len(data)} bytes are no record: {error}") from error
    if not is_exact:
        raise RecordError(f"{len(data)} bytes are a record that is not written in the one way in which it can be")
    return record


# Writing -------------------------------------------------------------------------------------------------------------


def _parts(record: NodeRecord) -> list[Any]:
    match record:
        case Membership(cluster, node):
            if type(node) is not NodeInfo:
                raise TypeError(f"a node must be a NodeInfo, not {shown(node)}")
            return [_Tag.MEMBERSHIP, _text(cluster), node_row(node)]
        case Ballot(term, vote):
            return [_Tag.BALLOT, _number(term), None if vote is None else _name(vote)]
        case Append(entries):
            if not entries or examined(entries, entries[0].index, 0, _NUMBER_MAX) == NOT_ENTRIES:
                raise ValueError("these are no entries that can follow one another")
            return [_Tag.APPEND, [_entry_row(entry) for entry in entries]]
        case SaveSnapshot(snapshot):
            return [_Tag.SNAPSHOT, *_snapshot_row(snapshot)]
        case Base(index, term, configuration):
            return [_Tag.BASE, _number(index), _number(term), _configuration_row(configuration)]
        case _:
            assert_never(record)


def _entry_row(entry: Entry) -> list[Any]:
    # Their order was examined, and with it that they are whole numbers.
    return [_number(entry.index), _number(entry.term), entry.time_ns, *_payload_row(entry.payload)]


def _payload_row(payload: Payload) -> list[Any]:
    match payload:
        case NoOp():
            return [_Payload.NO_OP]
        case Command(data, session, serial, floor):
            return [_Payload.COMMAND, data, session, serial, floor]
        case OpenSession(ttl_ns):
            return [_Payload.OPEN_SESSION, ttl_ns]
        case RenewSession(session):
            return [_Payload.RENEW_SESSION, session]
        case CloseSession(session):
            return [_Payload.CLOSE_SESSION, session]
        case Configuration():
            return [_Payload.CONFIGURATION, _configuration_row(payload)]
        case _:
            assert_never(payload)


def _snapshot_row(snapshot: Snapshot) -> list[Any]:
    if not snapshot.configuration.voters:
        raise ValueError("a snapshot in whose configuration nobody votes")
    Sessions.decode(snapshot.sessions, snapshot.index)
    return [
        _number(snapshot.index),
        _number(snapshot.term),
        _configuration_row(snapshot.configuration),
        _bytes(snapshot.sessions),
        _bytes(snapshot.data),
    ]


def _configuration_row(configuration: Configuration) -> list[Any]:
    if type(configuration) is not Configuration:
        raise TypeError(f"a configuration must be a Configuration, not {shown(configuration)}")
    return [list(configuration.voters), list(configuration.learners)]


def _number(thing: object) -> int:
    if type(thing) is not int or not 0 <= thing <= _NUMBER_MAX:
        raise ValueError(f"a number must be from 0 to 2**63 - 1, not {shown(thing)}")
    return thing


def _text(thing: object) -> str:
    if type(thing) is not str:
        raise TypeError(f"a text must be a str, not {shown(thing)}")
    return thing


def _name(thing: object) -> str:
    if not is_name(thing):
        raise ValueError(f"a name must be a text that can be sent, not {shown(thing)}")
    return _text(thing)


def _bytes(thing: object) -> bytes:
    if type(thing) is not bytes:
        raise TypeError(f"bytes must be bytes, not {shown(thing)}")
    return thing


# Reading: it only has to build. What is wrong with the result is found when that is encoded. -------------------------


def _record(found: Any) -> NodeRecord:
    match found:
        case [_, _Tag.MEMBERSHIP, cluster, node]:
            return Membership(cluster, node_of(node))
        case [_, _Tag.BALLOT, term, vote]:
            return Ballot(term, vote)
        case [_, _Tag.APPEND, list(rows)]:
            return Append(tuple([_entry(row) for row in rows]))
        case [_, _Tag.SNAPSHOT, index, term, configuration, sessions, data]:
            return SaveSnapshot(Snapshot(index, term, _configuration(configuration), sessions, data))
        case [_, _Tag.BASE, index, term, configuration]:
            return Base(index, term, _configuration(configuration))
    raise ValueError("they are none that this version of the program knows")


def _entry(row: Any) -> Entry:
    index, term, time_ns, tag, *fields = row
    return Entry(index, term, _payload(tag, fields), time_ns)


def _payload(tag: Any, fields: list[Any]) -> Payload:
    match tag, fields:
        case _Payload.NO_OP, []:
            return NoOp()
        case _Payload.COMMAND, [data, session, serial, floor]:
            return Command(data, session, serial, floor)
        case _Payload.OPEN_SESSION, [ttl_ns]:
            return OpenSession(ttl_ns)
        case _Payload.RENEW_SESSION, [session]:
            return RenewSession(session)
        case _Payload.CLOSE_SESSION, [session]:
            return CloseSession(session)
        case _Payload.CONFIGURATION, [configuration]:
            return _configuration(configuration)
    raise ValueError("an entry has something in it that this version of the program does not know")


def _configuration(row: Any) -> Configuration:
    voters, learners = row
    return Configuration(voters, learners)
