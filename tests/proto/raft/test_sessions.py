"""Sessions: a retry is applied at most once (thesis 6.3)."""

from __future__ import annotations

from random import Random
from struct import pack
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.machine import SECOND
from casty_proto.raft import (
    CloseSession,
    Command,
    Committed,
    Duplicate,
    OpenSession,
    RenewSession,
    SessionUnknown,
    Unknown,
)
from casty_proto.raft.entries import TIME_MAX
from casty_proto.raft.sessions import DUPLICATE, ENDED, FRESH, MAX_APART, UNKNOWN, Sessions

from .bench import ELECTION, HEARTBEAT, OPTIONS, Cluster

TTL = 10 * SECOND


def opened(cluster: Cluster, name: str = "n1") -> int:
    """A session."""
    (result,) = cluster.commit(name, OpenSession(TTL))
    assert isinstance(result, Committed)
    return result.index


def three() -> tuple[Cluster, int]:
    cluster = Cluster("n1", "n2", "n3").elect("n1")
    return cluster, opened(cluster)


def test_r_80_the_same_command_twice_is_applied_once_and_its_answer_is_kept() -> None:
    cluster, session = three()
    command = Command(b"x=1", session, 1)
    assert cluster.commit("n1", command, command) == [Committed(3, 1), Duplicate(session, 1)]
    cluster.advance(HEARTBEAT)
    cluster.converged()
    for name in ("n1", "n2", "n3"):
        assert cluster.executed(name) == [b"x=1"]
        assert cluster.hosts[name].application.answers == {session: {1: 1}}


def test_r_80_a_retry_with_another_leader_is_applied_once() -> None:
    """The first leader fails after it committed and before it answered."""
    cluster, session = three()
    command = Command(b"x=1", session, 1)
    cluster.propose("n1", command)
    cluster.drop = lambda packet: packet.target == "n1"
    cluster.settle()
    cluster.crash("n1")
    cluster.hosts["n3"].ahead += ELECTION
    cluster.elect("n2")
    assert cluster.commit("n2", command) == [Duplicate(session, 1)]
    assert cluster.executed("n2") == [b"x=1"]


def test_r_80_sessions_survive_in_snapshots() -> None:
    cluster = Cluster("n1", "n2", "n3", options=evolve(OPTIONS, trailing_entries=0)).elect("n1")
    session = opened(cluster)
    cluster.isolate("n3")
    command = Command(b"x=1", session, 1)
    cluster.commit("n1", command)
    cluster.snapshot("n1")
    cluster.heal()
    cluster.advance(3 * HEARTBEAT)
    assert cluster["n3"].log.base_index == 3
    cluster.transfer("n1", "n3")
    cluster.settle()
    assert cluster.commit("n3", command) == [Duplicate(session, 1)]
    cluster.crash("n3")
    cluster.restart("n3")
    cluster.advance(10 * ELECTION)
    cluster.converged()
    assert cluster.executed("n3") == [b"x=1"]


def test_r_80_a_command_of_no_session_is_not_applied() -> None:
    cluster, session = three()
    assert cluster.commit("n1", Command(b"x=1", session + 7, 1)) == [SessionUnknown(session + 7)]
    assert cluster.commit("n1", CloseSession(session), Command(b"x=2", session, 1)) == [
        Committed(4, 1),
        SessionUnknown(session),
    ]
    assert cluster.executed("n1") == []


def test_r_80_a_session_that_is_not_used_is_over_and_all_servers_agree_on_it() -> None:
    """Time is in the entries: it does not matter when a server applies them."""
    cluster, session = three()
    cluster.commit("n1", Command(b"x=1", session, 1))
    cluster.advance(TTL + SECOND)
    assert cluster.commit("n1", Command(b"x=2", session, 2)) == [SessionUnknown(session)]
    cluster.advance(HEARTBEAT)
    for name in ("n1", "n2", "n3"):
        assert session not in cluster[name].sessions
        assert cluster.hosts[name].application.answers == {}
    tables = [cluster[name].sessions.encode() for name in ("n1", "n2", "n3")]
    assert tables[0] == tables[1] == tables[2]


def test_r_80_a_session_is_kept_alive_by_its_commands_and_by_renewal() -> None:
    cluster, session = three()
    for number in range(1, 4):
        cluster.advance(TTL * 2 // 3)
        payload: Any = Command(b"x", session, number) if number % 2 else RenewSession(session)
        assert isinstance(cluster.commit("n1", payload)[0], Committed)
    cluster.advance(TTL + SECOND)
    assert cluster.commit("n1", RenewSession(session)) == [SessionUnknown(session)]


def test_r_80_the_clusters_clock_goes_on_with_the_next_leader_and_not_backwards() -> None:
    """Thesis 6.3: a new leader's clock begins where the last one's stands in the log, whatever its own one says."""
    cluster, session = three()
    cluster.advance(TTL // 2)
    cluster.commit("n1", RenewSession(session))
    before = cluster["n1"].log.time_ns
    assert before >= TTL // 2
    cluster.hosts["n2"].ahead -= cluster.now - 1
    cluster.transfer("n1", "n2")
    cluster.settle()
    assert cluster["n2"].log.time_ns == before
    assert isinstance(cluster.commit("n2", RenewSession(session))[0], Committed)


def test_r_80_the_clusters_clock_survives_a_compaction_that_leaves_no_entry() -> None:
    cluster = Cluster("n1", options=evolve(OPTIONS, trailing_entries=0)).elect("n1")
    cluster.advance(TTL)
    cluster.commit("n1", b"of no session")
    before = cluster["n1"].log.time_ns
    assert before >= TTL
    cluster.snapshot("n1")
    cluster.crash("n1")
    cluster.restart("n1")
    cluster.elect("n1")
    assert cluster["n1"].log.term(cluster["n1"].log.base_index + 1) == 2
    assert cluster["n1"].log.time_ns == before


def test_what_is_given_up_at_step_down_can_be_proposed_again_without_being_applied_twice() -> None:
    cluster, session = three()
    command = Command(b"x=1", session, 1)
    (request,) = cluster.propose("n1", command)
    cluster.isolate("n1")
    cluster.settle()
    cluster.advance(ELECTION)
    assert isinstance(cluster.replies[request], Unknown)
    cluster.heal()
    cluster.advance(10 * ELECTION)
    leader = cluster.leader
    assert leader is not None
    cluster.commit(leader, command, command)
    cluster.advance(HEARTBEAT)
    cluster.converged()
    assert cluster.executed(leader) == [b"x=1"]


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (Command(b"x", 2, 0), "begin at 1"),
        (Command(b"x", 2, 3, 4), "gives up its own answer"),
        (Command(b"x" * 101), "over the limit of 100"),
    ],
)
def test_a_command_that_could_not_be_answered_is_rejected(payload: Command, why: str) -> None:
    cluster = Cluster("n1", options=evolve(OPTIONS, max_command_bytes=100)).elect("n1")
    (request,) = cluster.propose("n1", payload)
    assert why in cluster.rejected(request)
    assert cluster["n1"].log.last_index == 1


def test_only_so_many_sessions_are_opened_but_those_that_are_over_are_in_nobodys_way() -> None:
    cluster = Cluster("n1", options=evolve(OPTIONS, max_sessions=3)).elect("n1")
    for _ in range(3):
        opened(cluster)
    (request,) = cluster.propose("n1", OpenSession(TTL))
    assert "3 sessions are open" in cluster.rejected(request)
    cluster.advance(60 * SECOND)
    opened(cluster)
    assert len(cluster["n1"].sessions) == 1


# The table ---------------------------------------------------------------------------------------------------------


def test_serials_may_come_in_any_order_and_the_floor_forgets_the_ones_below() -> None:
    table = Sessions()
    table.open(1, TTL, 0)
    for serial in (3, 1, 5):
        assert table.admit(Command(b"", 1, serial), 0) is FRESH
        assert table.admit(Command(b"", 1, serial), 0) is DUPLICATE
    assert table.admit(Command(b"", 1, 6, floor=5), 0) is FRESH
    for serial in (2, 4):
        assert table.admit(Command(b"", 1, serial), 0) is DUPLICATE
    table.invariants()


def test_a_client_that_never_closes_a_gap_loses_its_session() -> None:
    table = Sessions()
    table.open(1, TTL, 0)
    verdicts = [table.admit(Command(b"", 1, serial), 0) for serial in range(2, MAX_APART + 3)]
    assert verdicts == [FRESH] * MAX_APART + [ENDED]
    assert table.admit(Command(b"", 1, 1), 0) is UNKNOWN


def test_sessions_that_are_over_are_forgotten_when_another_is_opened_at_intervals() -> None:
    table = Sessions()
    for number in range(1, 11):
        assert table.open(number, 100 * SECOND if number == 3 else TTL, 0) == ()
    assert table.open(50, TTL, 60 * SECOND) == tuple(number for number in range(1, 11) if number != 3)
    assert table.open(51, TTL, 119 * SECOND) == ()
    assert table.open(52, TTL, 120 * SECOND) == (3, 50)
    assert len(table) == 2


@given(st.lists(st.integers(2, 9), unique=True), st.randoms(use_true_random=False))
def test_the_bytes_of_a_table_do_not_depend_on_the_order_of_the_serials(serials: list[int], rng: Random) -> None:
    """One server applied them itself, another got the first of them with a snapshot."""
    shuffled = rng.sample(serials, len(serials))
    tables = []
    for order in (serials, shuffled):
        table = Sessions()
        table.open(1, TTL, 0)
        for serial in order:
            table.admit(Command(b"", 1, serial), 5)
        tables.append(table.encode())
    assert tables[0] == tables[1]


steps = st.lists(
    st.tuples(
        st.sampled_from(["open", "command", "command", "command", "renew", "close"]),
        st.integers(1, 4),
        st.integers(1, 6),
        st.integers(0, 6),
        st.integers(0, 4),
    ),
    max_size=40,
)


@given(steps)
def test_the_table_does_what_a_slow_and_obvious_one_does_and_survives_being_encoded(
    made: list[tuple[str, int, int, int, int]],
) -> None:
    """The model keeps every serial that was ever applied, and the last use of every session that was ever opened."""
    table = Sessions()
    used: dict[int, int] = {}
    applied: dict[int, dict[int, None]] = {}
    floors: dict[int, int] = {}
    time_ns = 0
    for index, (kind, number, serial, floor, pause) in enumerate(made, 1):
        time_ns += pause
        alive = number in used and time_ns - used[number] <= 8
        if kind == "open":
            table.open(index + 100, 8, time_ns)
            if number not in used:
                table.open(number, 8, time_ns)
                used[number], applied[number], floors[number] = time_ns, {}, 0
        elif kind == "close":
            assert (table.close(number, time_ns) is ENDED) or not alive
            used.pop(number, None)
        elif kind == "renew":
            assert (table.renew(number, time_ns) is FRESH) is alive
        else:
            verdict = table.admit(Command(b"", number, serial, min(floor, serial)), time_ns)
            if alive:
                floors[number] = max(floors[number], min(floor, serial))
                known = serial in applied[number] or serial < floors[number]
                assert verdict is (DUPLICATE if known else FRESH)
                applied[number][serial] = None
            else:
                assert verdict in (UNKNOWN, ENDED)
        if alive and kind in ("renew", "command"):
            used[number] = time_ns
        elif kind != "open" and not alive:
            used.pop(number, None)
        table.invariants()
        again = Sessions.decode(table.encode())
        assert again.encode() == table.encode()
        table = again


@pytest.mark.parametrize("data", [b"", b"x" * 7, b"\0" * 24, b"\0" * 48 + b"\xff" * 8])
def test_bytes_that_are_no_table_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"table|serials"):
        Sessions.decode(data)


MAX = 2**63 - 1
"""The highest number that a client can send."""


def table_of(*numbers: int) -> bytes:
    return pack(f">{len(numbers)}Q", *numbers)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (table_of(5, 0, 3, 10, 6, 1, 0), "session 3 of the table was used in the future"),
        (table_of(5, 0, 3, 10, 5, 4, 1, 2), "session 3 of the table did not close up"),
        (table_of(5, 0, 3, 10, 5, 4, 1, 4), "session 3 of the table did not close up"),
        (table_of(5, 0, 3, 10, 5, 4, 1, MAX + 1), "session 3 of the table did not close up"),
        (table_of(5, 0, 3, 10, 5, 4, 2, 9, 8), "serials of session 3 are not in order"),
        (table_of(5, 0, 3, 10, 5, 4, 2, 9, 9), "serials of session 3 are not in order"),
        (table_of(5, 0, 3, 0, 5, 1, 0), "session 3 of the table lives for 0"),
        (table_of(5, 0, 3, MAX + 1, 5, 1, 0), "session 3 of the table lives for"),
        (table_of(5, 0, 3, 10, 5, 0, 0), "session 3 of the table has no serials from 0 on"),
        (table_of(5, 0, 3, 10, 5, MAX + 2, 0), "session 3 of the table has no serials from"),
        (table_of(5, 0, 0, 10, 5, 1, 0), "a session 0 cannot be in the table"),
        (table_of(5, 0, 10, 10, 5, 1, 0), "a session 10 cannot be in the table"),
        (table_of(5, 0, 3, 10, 5, 1, 0, 3, 10, 5, 1, 0), "a session 3 cannot be in the table, or only once"),
        (table_of(5, 5 + 60 * SECOND + 1), "the clock of the table stands at 5, its sweep"),
        (table_of(TIME_MAX + 1, 0), "the clock of the table stands at"),
    ],
)
def test_a_table_that_cannot_have_come_about_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Sessions.decode(data, 9)


@pytest.mark.parametrize(
    "data",
    [
        table_of(0, 0),
        table_of(TIME_MAX, TIME_MAX + 60 * SECOND),
        table_of(5, 5 + 60 * SECOND, 9, MAX, 5, MAX + 1, 0, 3, 1, 0, 1, 2, 3, MAX),
    ],
)
def test_a_table_at_the_limits_is_one(data: bytes) -> None:
    table = Sessions.decode(data, 9)
    table.invariants()
    assert table.encode() == data
