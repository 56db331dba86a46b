"""The local door: what a driver or an application says that makes no sense.

Such an event cannot be made, or it is rejected or noted; the state is what it was before.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import Any

import pytest
from attrs import evolve, fields

from casty_proto.machine import SECOND, Persisted, Severity
from casty_proto.raft import (
    AddLearner,
    AddVoter,
    AppendEntries,
    Ballot,
    ChangeMembership,
    CloseSession,
    Command,
    Configuration,
    Entry,
    NoOp,
    OpenSession,
    Proposable,
    Proposal,
    Propose,
    Raft,
    RaftEvent,
    RaftOptions,
    Received,
    Remove,
    RenewSession,
    RequestVote,
    Restore,
    Role,
    SaveSnapshot,
    Snapshot,
    SnapshotTaken,
    Start,
    TransferLeadership,
    Unreachable,
    bootstrap,
)
from casty_proto.raft.configuration import is_name
from casty_proto.raft.entries import NOT_ENTRIES, PAYLOADS, PROPOSABLES, examined
from casty_proto.raft.options import BYTES_MAX, COUNT_MAX, DURATION_MAX, FACTOR_MAX, SPREAD
from casty_proto.raft.sessions import Sessions

from .script import Server, notes, replies


class Name(StrEnum):
    N2 = "n2"


class Order(Command):
    """A command of somebody who wanted more of it."""


class Renewal(RenewSession):
    """The same of a session's."""


class Bid(Proposal):
    """The same of a proposal."""


class Welcome(AddVoter):
    """The same of a change."""


class Digits(int):
    """A number that is more than one."""


class Page(bytes):
    """Data that is more than that."""


class Hidden:
    """Cannot be shown, compared or put into a table."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")


NO_NAMES: list[Any] = [None, 7, b"n2", ["n2"], {}, ("n2",), Name.N2, Hidden(), "", "\ud800"]
COMMAND = Command(b"x")
PROPOSAL = Proposal(1, COMMAND)


def state(server: Server) -> tuple[Any, ...]:
    """What is known of a server from outside, and when it wants to be woken."""
    raft = server.raft
    return (
        (raft.role, raft.term, raft.vote, raft.leader, raft.commit, raft.snapshot, raft.deadline()),
        (raft.log.last_index, raft.configurations.latest, raft.sessions.encode(), raft.journal.issued),
        raft._rng.getstate(),
    )


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NO_NAMES, ids=lambda name: type(name).__name__)
@pytest.mark.parametrize(
    "make",
    [
        Unreachable,
        lambda name: TransferLeadership("t", name),
        lambda name: ChangeMembership("c", (AddVoter(name),)),
        lambda name: ChangeMembership("c", (AddLearner(name),)),
        lambda name: ChangeMembership("c", (Remove(name),)),
        lambda name: Configuration((name,)),
        lambda name: Configuration(("n1",), (name,)),
    ],
)
def test_no_event_names_a_server_by_what_is_no_name(make: Callable[[Any], Any], name: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        make(name)


@pytest.mark.parametrize("name", NO_NAMES, ids=lambda name: type(name).__name__)
def test_no_server_is_called_what_is_no_name(name: Any) -> None:
    with pytest.raises(ValueError, match="cannot be named"):
        Raft(name, Random(1))


@pytest.mark.parametrize("name", ["n", "n2", "Zürich", "\U0001f6f0", "a b"])
def test_every_text_that_can_be_sent_is_a_name(name: str) -> None:
    assert is_name(name)
    assert TransferLeadership("t", name).target == Unreachable(name).peer == name


@pytest.mark.parametrize("peer", NO_NAMES, ids=lambda name: type(name).__name__)
@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.LEADER])
def test_a_message_of_a_peer_that_has_no_name_is_noted_and_changes_nothing(role: Role, peer: Any) -> None:
    server = Server()
    if role is Role.LEADER:
        server.lead()
    before = state(server)
    for message in (RequestVote(9, 9, 8), AppendEntries(9, 0, 0, (), 0), "no message", Hidden()):
        (note,) = server.feed(Received(peer, message))
        assert notes([note])[0].severity is Severity.ERROR
    assert state(server) == before


# Proposals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "proposals",
    [
        None,
        PROPOSAL,
        [PROPOSAL],
        {PROPOSAL: 1},
        (COMMAND,),
        (PROPOSAL, None),
        ((PROPOSAL,),),
        (Bid(1, COMMAND),),
        (Hidden(),),
        (each for each in [PROPOSAL]),
    ],
    ids=lambda proposals: type(proposals).__name__,
)
def test_only_a_tuple_of_proposals_is_proposed(proposals: Any) -> None:
    with pytest.raises(TypeError, match="proposals"):
        Propose(proposals)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        b"x",
        Command,
        NoOp(),
        Configuration(("n1",)),
        Entry(1, 1, COMMAND),
        Order(b"x"),
        Renewal(1),
        Hidden(),
    ],
    ids=lambda payload: type(payload).__name__,
)
def test_only_the_payloads_that_followers_take_from_clients_are_proposed(payload: Any) -> None:
    with pytest.raises(TypeError, match="payload"):
        Proposal(1, payload)


@pytest.mark.parametrize("payload", [COMMAND, OpenSession(1), RenewSession(1), CloseSession(1)])
def test_what_can_be_proposed_is_taken_by_a_follower_and_nothing_of_a_subclass_is(payload: Proposable) -> None:
    """Both sides go by the exact type, and the leader's list is a part of the followers'."""
    assert set(PAYLOADS) - set(PROPOSABLES) == {NoOp, Configuration}
    server = Server()
    server.lead()
    server.feed(Propose((Proposal(1, payload),)))
    taken = server.raft.log.slice(2, 2)
    assert taken == (Entry(2, 1, payload, taken[0].time_ns),)
    assert examined(taken, 2, 1, 1) == 0

    subclass: Any = type("Own", (type(payload),), {})
    own = object.__new__(subclass)
    assert examined((Entry(2, 1, own),), 2, 1, 1) == NOT_ENTRIES
    with pytest.raises(TypeError):
        Proposal(1, own)


def test_a_proposal_that_can_be_made_is_answered_whoever_it_is_made_to() -> None:
    assert list(replies(Server().feed(Propose((PROPOSAL,))))) == [1]
    server = Server(voters="n1")
    server.lead()
    assert list(replies(server.feed(Propose((PROPOSAL, Proposal(2, COMMAND)))))) == [1, 2]
    assert server.feed(Propose(())) == []


# Changes, snapshots, tickets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        None,
        AddVoter("n4"),
        [AddVoter("n4")],
        "n4",
        ("n4",),
        (AddVoter("n4"), None),
        ((AddVoter("n4"),),),
        (Configuration(("n4",)),),
        (AddVoter,),
        (Welcome("n4"),),
        (Hidden(),),
    ],
    ids=lambda changes: type(changes).__name__,
)
def test_only_a_tuple_of_changes_changes_the_membership(changes: Any) -> None:
    with pytest.raises(TypeError, match="changes"):
        ChangeMembership("c", changes)


@pytest.mark.parametrize(
    ("index", "data", "error"),
    [
        (None, b"", TypeError),
        ("1", b"", TypeError),
        (1.0, b"", TypeError),
        (True, b"", TypeError),
        (Digits(1), b"", TypeError),
        (-1, b"", ValueError),
        (2**63, b"", ValueError),
        (1, "state", TypeError),
        (1, bytearray(b"state"), TypeError),
        (1, [1], TypeError),
        (1, Page(b"state"), TypeError),
        (1, Hidden(), TypeError),
    ],
)
def test_only_bytes_at_an_index_are_a_snapshot(index: Any, data: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"index|data"):
        SnapshotTaken(index, data)


@pytest.mark.parametrize("ticket", [None, "1", 1.0, True, Digits(1), Hidden()], ids=lambda it: type(it).__name__)
def test_only_a_number_is_a_ticket(ticket: Any) -> None:
    with pytest.raises(TypeError, match="ticket"):
        Persisted(ticket)


@pytest.mark.parametrize("ticket", [-(2**70), -1, 0, 99, 2**70])
def test_a_ticket_that_was_never_issued_changes_nothing(ticket: int) -> None:
    server = Server()
    server.held = True
    server.time_out()
    before = state(server)
    assert server.feed(Persisted(ticket)) == notes(server.feed(Persisted(ticket)))
    assert state(server) == before


# Start ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("voters", ["n1 n2 n3", "n1"])
@pytest.mark.parametrize("role", list(Role))
def test_a_second_start_is_noted_and_changes_nothing(role: Role, voters: str) -> None:
    """It restores nothing, draws no timeout, and does not make a lone leader wait for an election."""
    server = Server(voters=voters, options=evolve(RaftOptions(), pre_vote=role is Role.PRE_CANDIDATE))
    if role is Role.LEADER or voters == "n1":
        server.lead()
        server.propose(b"x")
    elif role is not Role.FOLLOWER:
        server.time_out()
        assert server.raft.role is role
    before = state(server)
    server.now += SECOND // 10
    (note,) = server.feed(Start())
    assert notes([note])[0].severity is Severity.ERROR
    assert state(server) == before


def test_a_second_start_does_not_restore_the_snapshot_again() -> None:
    """By now the application may have gone on."""
    configuration = Configuration(("n1", "n2"))
    snapshot = Snapshot(5, 1, configuration, Sessions().encode(), b"state")
    records = (*bootstrap(configuration), Ballot(1, None), SaveSnapshot(snapshot))
    server = Server(records=records, options=RaftOptions(lease_reads=True))
    assert Restore(5, 1, b"state") in server.started
    before = state(server)
    server.now += SECOND
    effects = server.feed(Start())
    assert effects == notes(effects) != []
    assert state(server) == before


# Options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "is_sound"),
    [
        (150 * SECOND, 150 * SECOND, False),
        (150 * SECOND, 149 * SECOND, False),
        (150 * SECOND, 150 * SECOND + 1, False),
        (150 * SECOND, 155 * SECOND - 1, False),
        (150 * SECOND, 155 * SECOND, True),
        (150 * SECOND, 300 * SECOND, True),
        (2, 2, False),
        (2, 3, True),
    ],
)
def test_section_9_3_election_timeouts_are_spread_over_a_thirtieth_at_least(
    low: int, high: int, is_sound: bool
) -> None:
    """Paper 9.3: with 150 ms for all an election takes over 10 s, with 150 to 155 ms 287 ms. One is a 30th of that."""
    assert SPREAD == 30

    def make() -> RaftOptions:
        return RaftOptions(heartbeat_interval_ns=1, election_timeout_min_ns=low, election_timeout_max_ns=high)

    if is_sound:
        assert make().election_timeout_max_ns == high
    else:
        with pytest.raises(ValueError, match="election_timeout_max_ns"):
            make()


def with_option(base: RaftOptions, option: str, thing: Any) -> RaftOptions:
    changed: dict[str, Any] = {option: thing}
    return evolve(base, **changed)


BOUNDS = {
    "heartbeat_interval_ns": DURATION_MAX,
    "election_timeout_min_ns": DURATION_MAX,
    "election_timeout_max_ns": DURATION_MAX,
    "clock_drift_percent": FACTOR_MAX,
    "max_message_entries": COUNT_MAX,
    "max_message_bytes": BYTES_MAX,
    "max_inflight_messages": COUNT_MAX,
    "max_inflight_bytes": BYTES_MAX,
    "max_command_bytes": BYTES_MAX,
    "max_uncommitted_bytes": BYTES_MAX,
    "max_sessions": COUNT_MAX,
    "snapshot_entries": COUNT_MAX,
    "snapshot_factor": FACTOR_MAX,
    "trailing_entries": COUNT_MAX,
    "snapshot_chunk_bytes": BYTES_MAX,
    "max_snapshot_bytes": BYTES_MAX,
    "catch_up_rounds": COUNT_MAX,
    "read_timeout_ns": DURATION_MAX,
}
SWITCHES = ["pre_vote", "check_quorum", "lease_reads", "goes_on_alone"]


def test_every_option_is_bounded_so_that_64_bits_hold_what_is_computed_from_it() -> None:
    assert {*BOUNDS, *SWITCHES} == {attribute.name for attribute in fields(RaftOptions)}
    assert 2**62 + 2 * DURATION_MAX < 2**63
    assert 2**62 + COUNT_MAX < 2**63
    assert DURATION_MAX * (100 + FACTOR_MAX) < 2**63
    assert BYTES_MAX * FACTOR_MAX < 2**63


@pytest.mark.parametrize(("option", "bound"), BOUNDS.items())
def test_an_option_beyond_its_bound_or_of_another_type_is_refused(option: str, bound: int) -> None:
    widest = RaftOptions(election_timeout_min_ns=DURATION_MAX // 2, election_timeout_max_ns=DURATION_MAX)
    if "election" not in option and "heartbeat" not in option:
        assert getattr(with_option(widest, option, bound), option) == bound
    for number in (bound + 1, 2**63, 2**70, -1):
        with pytest.raises(ValueError, match=option):
            with_option(widest, option, number)
    for thing in (None, True, "1", 1.0, Digits(1), Hidden()):
        with pytest.raises(TypeError, match=option):
            with_option(widest, option, thing)


@pytest.mark.parametrize("option", SWITCHES)
def test_a_switch_is_on_or_off(option: str) -> None:
    for thing in (None, 1, 0, "yes"):
        with pytest.raises(TypeError, match=option):
            with_option(RaftOptions(), option, thing)


def test_with_the_widest_options_no_deadline_leaves_64_bits() -> None:
    options = RaftOptions(
        heartbeat_interval_ns=DURATION_MAX // 4,
        election_timeout_min_ns=DURATION_MAX // 2,
        election_timeout_max_ns=DURATION_MAX,
        read_timeout_ns=DURATION_MAX,
        pre_vote=False,
    )
    server = Server(options=options)
    server.now = 2**62
    server.time_out()
    assert 2**62 < (server.raft.deadline() or 0) < 2**63
    server.lead()
    assert 2**62 < (server.raft.deadline() or 0) < 2**63


# No event -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thing", ["x", None, 7, Start, PROPOSAL, RequestVote(1, 0, 0)])
def test_what_is_no_event_is_a_bug_of_the_driver_and_is_named(thing: Any) -> None:
    server = Server()
    before = state(server)
    event: RaftEvent = thing
    with pytest.raises(AssertionError) as raised:
        server.raft.handle(event, server.now)
    assert repr(thing) in str(raised.value)
    assert state(server) == before
    server.raft.invariants()


def test_the_data_of_a_command_are_bytes_and_nothing_derived_from_them() -> None:
    class Odd(bytes):
        def __len__(self) -> int:
            raise RuntimeError("whose length?")

    with pytest.raises(TypeError, match="data must be bytes, not Odd"):
        Command(Odd(b"x"))
