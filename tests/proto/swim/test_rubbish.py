"""Rule 29: what is no message, or no good one, is dropped whole and noted. S-43, S-36"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.machine import Note, Severity
from casty_proto.swim import (
    ADDRESS_MAX,
    NODE_ID_MAX,
    NUMBER_MAX,
    PAYLOAD_MAX,
    Ack,
    Digest,
    Gossip,
    Identity,
    IndirectAck,
    Nack,
    Ping,
    PingRequest,
    Received,
    Records,
    State,
    Swim,
    SyncReply,
    SyncRequest,
    Update,
)

from .script import ME, Script, alive, at, dead, who

P, X = who("p"), who("x")
MESSAGES = (Ping, Ack, PingRequest, IndirectAck, Nack, Gossip, SyncRequest, Records, SyncReply)

BAD: list[Any] = [
    None,
    b"",
    "ping",
    object(),
    Ping,
    P,
    alive("x"),
    Ping(None, 1, ME),  # type: ignore[arg-type]
    Ping("p", 1, ME),  # type: ignore[arg-type]
    Ping(P, -1, ME),
    Ping(P, NUMBER_MAX + 1, ME),
    Ping(P, True, ME),
    Ping(P, 1.0, ME),  # type: ignore[arg-type]
    Ping(P, 1, "me"),  # type: ignore[arg-type]
    Ping(P, 1, ME, None),  # type: ignore[arg-type]
    Ping(P, 1, ME, [alive("x")]),  # type: ignore[arg-type]
    Ping(P, 1, ME, (alive("x"), "alive")),  # type: ignore[arg-type]
    Ack(P, None),  # type: ignore[arg-type]
    IndirectAck(P, "1"),  # type: ignore[arg-type]
    Nack(P, -1),
    PingRequest(P, 1, "x", at("x")),  # type: ignore[arg-type]
    PingRequest(P, 1, X, ""),
    PingRequest(P, 1, X, "a" * (ADDRESS_MAX + 1)),
    PingRequest(P, 1, X, "é" * ADDRESS_MAX),
    PingRequest(P, 1, X, "\ud800:1"),
    PingRequest(P, 1, X, 5),  # type: ignore[arg-type]
    PingRequest(P, -1, X, at("x")),
    PingRequest(P, 1, P, at("p")),  # S-36: the target is the sender
    PingRequest(P, 1, ME, at("me")),  # S-36: the target is the helper
    PingRequest(ME, 1, X, at("x")),  # S-36: the origin is the helper
    Gossip(P, (X,)),  # type: ignore[arg-type]
    Ack(ME, 1),
    Records(ME, (dead("x"),)),
    Gossip(who("me/2"), (alive("x"),)),
    Records(P, None),  # type: ignore[arg-type]
    SyncRequest(P, -1, "", None, ()),
    SyncRequest(P, 1, "a" * (NODE_ID_MAX + 1), None, ()),
    SyncReply(P, 1, (), "a" * 5000),
    SyncReply(P, 1, (), "\ud800"),
    SyncReply(P, 1, ("\ud800",), None),
    SyncRequest(P, 1, None, None, ()),  # type: ignore[arg-type]
    SyncRequest(P, 1, "b", "b", ()),
    SyncRequest(P, 1, "b", "a", ()),
    SyncRequest(P, 1, "b", 3, ()),  # type: ignore[arg-type]
    SyncRequest(P, 1, "", None, [Digest(X, 0, State.ALIVE)]),  # type: ignore[arg-type]
    SyncRequest(P, 1, "", None, (alive("x"),)),  # type: ignore[arg-type]
    SyncRequest(P, 1, "x", None, (Digest(X, 0, State.ALIVE),)),
    SyncRequest(P, 1, "", "w", (Digest(X, 0, State.ALIVE),)),
    SyncRequest(P, 1, "", None, (Digest(X, 0, State.ALIVE), Digest(P, 0, State.ALIVE))),
    SyncRequest(P, 1, "", None, (Digest(X, 0, State.ALIVE), Digest(X, 0, State.ALIVE))),
    SyncReply(P, -1, (), None),
    SyncReply(P, 1, ["x"], None),  # type: ignore[arg-type]
    SyncReply(P, 1, (1,), None),  # type: ignore[arg-type]
    SyncReply(P, 1, (), 5),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("rubbish", BAD, ids=repr)
def test_rule_29_s_43_rubbish_is_noted_and_changes_nothing(rubbish: object) -> None:
    script = Script("p", "x")
    before, deadline = script.machine.members, script.machine.deadline()
    (note,) = script.receive(rubbish)
    assert isinstance(note, Note)
    assert note.severity is Severity.WARNING
    assert note.text.startswith("dropped from p:1: ")
    assert len(note.text) < 400
    assert script.machine.members == before
    assert script.machine.deadline() == deadline
    assert script.news() == []


def test_rule_29_one_bad_update_spoils_the_message() -> None:
    script = Script("p", "x")
    script.receive(Gossip(P, (dead("x"), "rubbish")))  # type: ignore[arg-type]
    assert script.state("x") == (State.ALIVE, 0)


@pytest.mark.parametrize("thing", ["x", None, Ping(P, 1, ME), Received], ids=repr)
def test_what_is_no_event_is_a_bug_of_the_caller_and_is_named(thing: Any) -> None:
    script = Script("p")
    before, deadline = script.machine.members, script.machine.deadline()
    with pytest.raises(AssertionError, match="not an event: "):
        script.machine.handle(thing, 0)
    assert (script.machine.members, script.machine.deadline()) == (before, deadline)


VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.binary(max_size=3)),
    *(st.just(P), st.just(X), st.just(ME), st.just(())),
    *(st.just((alive("x"),)), st.just((dead("x"), None)), st.just((Digest(X, 0, State.ALIVE),))),
)


@given(st.sampled_from(MESSAGES), st.lists(VALUES, min_size=6, max_size=6))
def test_rule_29_s_43_fuzz(kind: Any, values: list[Any]) -> None:
    """Whatever stands in the fields: a note, or a good message; never an exception."""
    script = Script("p", "x")
    count = len(kind.__attrs_attrs__)
    script.receive(kind(*values[:count]))
    assert {member.identity.node_id for member in script.machine.members} == {"me", "p", "x"}


# What cannot be built ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node_id", "generation"),
    [("", 1), ("x" * (NODE_ID_MAX + 1), 1), ("ü" * (NODE_ID_MAX // 2 + 1), 1), ("x", -1), ("x", NUMBER_MAX + 1)],
)
def test_no_identity_is_made_of_nonsense(node_id: str, generation: int) -> None:
    with pytest.raises(ValueError, match="must"):
        Identity(node_id, generation)


@pytest.mark.parametrize(("node_id", "generation"), [(None, 1), (b"x", 1), ("x", None), ("x", 1.0), ("x", True)])
def test_no_identity_is_made_of_other_types(node_id: Any, generation: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="must"):
        Identity(node_id, generation)


def test_no_identity_is_made_of_half_a_character() -> None:
    with pytest.raises(UnicodeEncodeError):
        Identity("\ud800", 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"identity": "x"},
        {"incarnation": -1},
        {"incarnation": NUMBER_MAX + 1},
        {"incarnation": True},
        {"state": 0},
        {"by": "p" * (NODE_ID_MAX + 1)},
        {"by": None},
        {"address": ""},
        {"address": "x" * (ADDRESS_MAX + 1)},
        {"payload": b"x" * (PAYLOAD_MAX + 1)},
        {"payload": "x"},
        {"state": State.DEAD},
        {"state": State.LEFT, "address": "", "payload": b"x"},
        {"state": State.SUSPECT, "address": ""},
    ],
    ids=str,
)
def test_no_update_is_made_of_nonsense(fields: dict[str, Any]) -> None:
    good: dict[str, Any] = {"identity": X, "incarnation": 1, "state": State.ALIVE, "address": at("x")}
    Update(**good)
    with pytest.raises((TypeError, ValueError)):
        Update(**{**good, **fields})


@pytest.mark.parametrize(
    "fields",
    [{"address": ""}, {"address": "x" * (ADDRESS_MAX + 1)}, {"payload": bytes(PAYLOAD_MAX + 1)}, {"incarnation": -1}],
    ids=str,
)
def test_no_member_is_made_that_others_would_refuse(fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Swim(**{"identity": ME, "address": at("me"), "rng": Random(1), **fields})


def test_updates_read_well() -> None:
    assert str(alive("x", 3, b"a")) == "alive x/1.3 at x:1 with b'a'"
    assert str(dead("x", 3)) == "dead x/1.3 by p"
