"""Rules 1 to 4, 6 and 15, in the direct lane alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.link import LinkOptions, Session

from .kit import entry

OPTIONS = LinkOptions(ack_every=1, max_frames=4, max_bytes=20, reserve=2)
ALL = 2**20


def marks(session: Session) -> list[object]:
    session.invariants()
    return [kept[1] for kept in session.left()]


# A type checker believes that a property that was true stays true. These are calls.


def waits(session: Session) -> bool:
    return session.has_waiting


def roomy(session: Session) -> bool:
    return session.has_room


def holding(*names: str) -> Session:
    session = Session(OPTIONS)
    for name in names:
        assert session.push((name.encode(), name, None))
    return session


def test_rule_02_a_frame_is_kept_until_it_is_acknowledged() -> None:
    session = holding("a", "b", "c")
    assert waits(session)
    assert session.take(ALL) == [b"a", b"b", b"c"]
    assert not waits(session)
    assert session.take(ALL) == []
    assert (len(session), session.bytes_kept) == (3, 3)
    assert session.acknowledge(2)
    assert marks(session) == ["c"]
    assert session.acknowledge(2)
    assert session.acknowledge(3)
    assert (len(session), session.bytes_kept) == (0, 0)


def test_rule_02_what_was_not_written_or_is_forgotten_cannot_be_acknowledged() -> None:
    session = holding("a", "b", "c")
    assert not session.acknowledge(1)
    session.take(2)
    assert session.acknowledge(1)
    assert not session.acknowledge(0)
    assert not session.acknowledge(3)
    assert marks(session) == ["b", "c"]


def test_rule_04_a_frame_beyond_the_limit_is_not_taken() -> None:
    session = Session(OPTIONS)
    assert all(session.push(entry(1)) for _ in range(4))
    assert not session.push(entry(0))
    assert len(session) == 4
    session.take(ALL)
    assert not session.push(entry(0))
    assert session.acknowledge(1)
    assert session.push(entry(0))


def test_rule_04_bytes_are_limited_too() -> None:
    session = Session(OPTIONS)
    assert not session.push(entry(21))
    assert session.push(entry(19))
    assert not session.push(entry(2))
    assert session.push(entry(1))
    assert session.bytes_kept == 20


def test_rule_04_news_may_go_to_the_second_limit() -> None:
    session = Session(OPTIONS)
    assert all(session.push_ahead(entry(1)) for _ in range(8))
    assert not session.push_ahead(entry(0))
    session = Session(OPTIONS)
    assert session.push_ahead(entry(40))
    assert not session.push_ahead(entry(1))
    assert session.bytes_kept == 40


def test_rule_04_there_is_room_while_half_is_free() -> None:
    session = Session(OPTIONS)
    assert roomy(session)
    assert session.push(entry(1))
    assert session.push(entry(9))
    assert roomy(session)
    assert session.push(entry(1))
    assert not roomy(session)


def test_rule_06_a_new_connection_goes_on_after_what_has_arrived() -> None:
    session = holding("a", "b", "c", "d")
    session.take(3)
    assert session.can_rewind(3)
    assert not session.can_rewind(4)
    assert session.rewind(1)
    assert marks(session) == ["b", "c", "d"]
    assert session.take(ALL) == [b"b", b"c", b"d"]


def test_rule_06_a_connection_cannot_begin_where_none_was() -> None:
    session = holding("a", "b")
    assert not session.rewind(1)
    session.take(1)
    assert session.acknowledge(1)
    assert not session.rewind(0)
    assert not session.rewind(2)
    assert marks(session) == ["b"]


def test_rule_06_what_was_written_to_any_connection_may_have_arrived() -> None:
    # All was written to the first connection, and has arrived there. The second began with an older number, and was
    # cut before anything was written to it.
    session = holding("a", "b", "c")
    session.take(ALL)
    assert session.rewind(0)
    assert session.take(1) == [b"a"]
    assert session.can_rewind(3)
    assert session.rewind(2)
    assert marks(session) == ["c"]
    assert session.take(ALL) == [b"c"]
    assert session.acknowledge(3)
    assert not session.rewind(4)


def test_a_frame_that_was_written_is_found_by_its_number() -> None:
    session = holding("a", "b", "c")
    assert session.sent(1) is None
    session.take(2)
    assert session.acknowledge(1)
    assert session.sent(0) is None
    assert session.sent(1) is None
    assert session.sent(2) == (b"b", "b", None)
    assert session.sent(3) is None


def test_rule_03_what_was_refused_is_not_settled_before_the_refusal_is_written() -> None:
    session = holding("a")
    session.received = 5
    assert session.settled == 5
    session.refuse(4)
    assert session.settled == 3
    session.take(ALL)
    assert session.settled == 5
    # The connection is cut, and so the refusal has not been heard.
    assert session.rewind(0)
    assert session.settled == 3
    session.take(ALL)
    assert session.acknowledge(1)
    assert session.push(entry(1))
    assert session.settled == 5


def test_rule_03_what_arrived_with_the_last_connection_may_yet_be_refused_until_more_is_acknowledged() -> None:
    session = holding("a", "b", "c")
    session.take(ALL)
    assert session.rewind(2)
    assert [session.sent(number) for number in (0, 1, 2, 3)] == [None, (b"a", "a", None), (b"b", "b", None), None]
    session.take(ALL)
    assert session.acknowledge(3)
    assert session.sent(1) is None
    assert session.sent(3) is None


def test_rule_04_what_may_yet_be_refused_is_limited() -> None:
    session = Session(OPTIONS)
    for turn in range(1, 11):
        assert session.push(entry(9, turn))
        session.take(ALL)
        assert session.rewind(turn)
        session.invariants()
    assert [number for number in range(11) if session.sent(number)] == [7, 8, 9, 10]


def test_at_most_so_many_bytes_are_taken_and_at_least_one_frame() -> None:
    session = Session(OPTIONS)
    for _ in range(4):
        assert session.push(entry(4))
    assert len(session.take(1)) == 1
    assert len(session.take(5)) == 2
    assert len(session.take(0)) == 0
    assert len(session.take(16)) == 1


def test_rule_15_what_is_left_is_the_oldest_first() -> None:
    session = holding("a", "b", "c")
    session.take(1)
    assert marks(session) == ["a", "b", "c"]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["push", "ahead", "take", "ack", "rewind"]), st.integers(0, 9))))
def test_rules_01_to_06_it_does_what_a_list_of_all_frames_would(steps: list[tuple[str, int]]) -> None:
    session = Session(OPTIONS)
    pushed: list[bytes] = []
    acked = place = written = 0
    for what, count in steps:
        kept = pushed[acked:]
        size = sum(map(len, kept))
        match what:
            case "push" | "ahead":
                times = 1 if what == "push" else OPTIONS.reserve
                taken = session.push(entry(count)) if what == "push" else session.push_ahead(entry(count))
                assert taken == (len(kept) < times * OPTIONS.max_frames and size + count <= times * OPTIONS.max_bytes)
                pushed += [b" " * count] * taken
            case "take":
                frames = session.take(count)
                assert frames == pushed[place : place + len(frames)]
                place += len(frames)
                written = max(written, place)
            case "ack":
                possible = acked <= acked + count - 2 <= place
                assert session.acknowledge(acked + count - 2) == possible
                acked += count - 2 if possible else 0
            case "rewind":
                possible = acked <= acked + count - 2 <= written
                assert session.can_rewind(acked + count - 2) == possible
                assert session.rewind(acked + count - 2) == possible
                if possible:
                    place = acked = acked + count - 2
        session.invariants()
        assert [kept[0] for kept in session.left()] == pushed[acked:]
        assert session.has_waiting == (place < len(pushed))


def test_rule_04_there_is_room_for_so_many_frames_until_half_of_what_may_be_kept_is_used() -> None:
    session = Session(LinkOptions(max_frames=256, max_bytes=1000))
    assert session.room == 128
    assert session.push((b"x" * 100, None, None))
    assert session.room == 127
    assert session.push((b"x" * 400, None, None))
    assert session.room == 0
