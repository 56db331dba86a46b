"""Rules 5, 6, 7, 9 and 10: how a link comes to a connection."""

from __future__ import annotations

import pytest

from casty_proto.link import (
    Accepted,
    Attached,
    Busy,
    Closed,
    Dial,
    Dialed,
    DialFailed,
    Drop,
    Interest,
    LinkLost,
    LinkOptions,
    Refreshed,
    Resume,
    Resumed,
    SayBusy,
    SayFresh,
    SayResumed,
    Wanted,
    Write,
)
from casty_proto.machine import MILLISECOND, SECOND, Wake

from .kit import Bench

FORGOTTEN = "the peer has begun anew, and its log should say why"
PLACE_TAKEN = Drop("c", "another connection took its place")


def cut(bench: Bench, connection: str = "c") -> None:
    """The attached connection is gone."""
    bench.feed(Closed(connection, "cut"))
    assert bench.link.attached is None


def test_rule_10_a_link_without_need_does_nothing() -> None:
    bench = Bench()
    assert bench.feed(Wanted()) == ()
    assert bench.feed(Interest(False)) == ()
    assert bench.feed(Wake()) == ()
    assert bench.link.deadline() is None


def test_rule_06_who_dials_says_what_it_knows_and_goes_on_from_there() -> None:
    bench = Bench()
    bench.push("x")
    assert bench.feed(Wanted()) == (Dial(),)
    assert bench.feed(Wanted()) == ()
    assert bench.feed(Dialed("d")) == (Write("d", Resume(0, 0)),)
    assert bench.feed(Wanted()) == ()
    assert bench.feed(Refreshed("d", 9)) == (Attached("d"),)
    assert (bench.link.attached, bench.link.session.number) == ("d", 9)
    assert [kept[1] for kept in bench.link.session.left()] == ["x"]
    bench.link.session.take(100)
    bench.heard(4)
    assert bench.feed(Closed("d", "cut")) == (Dial(),)
    assert bench.feed(Dialed("e")) == (Write("e", Resume(9, 4)),)
    assert bench.feed(Resumed("e", 9, 0)) == (Attached("e"),)
    assert bench.link.session.take(100) == [b"   "]
    assert bench.link.session.told == 4


def test_rule_06_a_listener_that_knows_the_session_says_how_many_have_come() -> None:
    bench = Bench().attach()
    number = bench.link.session.number
    bench.push("x", "y")
    bench.link.session.take(100)
    bench.heard(3)
    cut(bench)
    assert bench.feed(Accepted("e", number, 1)) == (Write("e", SayResumed(number, 3)), Attached("e"))
    assert [kept[1] for kept in bench.link.session.left()] == ["y"]
    assert bench.link.session.told == 3


def test_rules_05_and_07_a_listener_that_knows_no_session_begins_one_and_loses_nothing() -> None:
    bench = Bench()
    bench.push("x")
    write, attached = bench.feed(Accepted("c", 0, 0))
    number = bench.link.session.number
    assert number > 0
    assert (write, attached) == (Write("c", SayFresh(number)), Attached("c"))
    assert len(bench.link.session) == 1
    assert Bench().feed(Accepted("c", 5, 9))[0] == Write("c", SayFresh(number))


@pytest.mark.parametrize("session", [0, 77])
def test_rule_07_a_listener_that_knows_another_session_loses_it(session: int) -> None:
    bench = Bench().attach()
    before = bench.link.session.number
    bench.push("x")
    left = bench.link.session.left()
    cut(bench)
    effects = bench.feed(Accepted("e", session, 0))
    number = bench.link.session.number
    assert effects == (LinkLost(FORGOTTEN, False, left), Write("e", SayFresh(number)), Attached("e"))
    assert number not in (0, before, session)
    assert len(bench.link.session) == 0


def test_rule_07_who_is_told_to_begin_anew_loses_what_it_had() -> None:
    bench = Bench().attach()
    bench.push("x")
    left = bench.link.session.left()
    cut(bench)
    assert bench.feed(Dialed("e")) == (Write("e", Resume(bench.link.session.number, 0)),)
    assert bench.feed(Refreshed("e", 9)) == (LinkLost(FORGOTTEN, False, left), Attached("e"))
    assert (bench.link.session.number, len(bench.link.session)) == (9, 0)


@pytest.mark.parametrize("insists", [False, True])
def test_rule_09_a_connection_that_meets_an_attached_one_must_insist(insists: bool) -> None:
    bench = Bench().attach()
    number = bench.link.session.number
    effects = bench.feed(Accepted("e", number, 0, insists))
    if insists:
        assert effects == (PLACE_TAKEN, Write("e", SayResumed(number, 0)), Attached("e"))
    else:
        assert effects == (Write("e", SayBusy()), Drop("e", "there is another connection"))
        assert bench.link.attached == "c"


def test_rule_09_when_both_dial_the_one_with_the_lower_identity_is_busy() -> None:
    bench = Bench(goes_first=True).ask("d")
    assert bench.feed(Accepted("e", 0, 0)) == (Write("e", SayBusy()), Drop("e", "there is another connection"))
    assert bench.feed(Refreshed("d", 9)) == (Attached("d"),)


@pytest.mark.parametrize(("goes_first", "insists"), [(False, False), (False, True), (True, True)])
def test_rule_09_when_both_dial_the_other_one_gives_way_and_so_does_who_meets_one_that_insists(
    goes_first: bool, insists: bool
) -> None:
    bench = Bench(goes_first=goes_first).ask("d")
    effects = bench.feed(Accepted("e", 0, 0, insists))
    number = bench.link.session.number
    place_taken = Drop("d", "another connection took its place")
    assert effects == (place_taken, Write("e", SayFresh(number)), Attached("e"))
    assert bench.feed(Closed("d", "late")) == ()
    assert bench.link.attached == "e"


def test_rule_09_a_connection_is_taken_while_a_dial_is_under_way_and_that_one_dropped() -> None:
    bench = Bench()
    assert bench.feed(Interest(True)) == (Dial(),)
    assert bench.feed(Accepted("e", 0, 0))[-1] == Attached("e")
    assert bench.feed(Dialed("d")) == (Drop("d", "it is not needed any more"),)
    assert bench.feed(DialFailed("late", refused=True)) == ()
    assert bench.link.attached == "e"


def test_rule_09_who_was_told_busy_dials_again_and_insists() -> None:
    bench = Bench().ask("d")
    assert bench.feed(Busy("d")) == (Drop("d", "the peer is busy with another connection"),)
    at = bench.link.deadline()
    assert at is not None
    assert 25 * MILLISECOND <= at - bench.now <= 50 * MILLISECOND
    assert bench.ring() == (Dial(),)
    assert bench.feed(Dialed("e")) == (Write("e", Resume(0, 0, insists=True)),)
    assert bench.feed(Refreshed("e", 9)) == (Attached("e"),)
    assert bench.feed(Closed("e", "cut")) == (Dial(),)
    assert bench.feed(Dialed("f")) == (Write("f", Resume(9, 0)),)


def test_rule_09_who_was_told_busy_waits_for_no_answer_any_more() -> None:
    # The time for an answer must not go on, and end some other connection's.
    bench = Bench().ask("d")
    bench.feed(Busy("d"))
    assert bench.ring() == (Dial(),)
    assert bench.wait(bench.options.mute_after_ns) == ()


def test_rule_09_who_was_told_busy_and_has_been_found_meanwhile_needs_nothing() -> None:
    bench = Bench().ask("d")
    bench.feed(Busy("d"))
    bench.attach("e")
    assert bench.wait(SECOND) == ()
    assert bench.link.attached == "e"


def test_rule_09_who_was_told_busy_and_has_no_need_any_more_leaves_it() -> None:
    bench = Bench().ask("d")
    bench.feed(Interest(False))
    bench.feed(Busy("d"))
    assert bench.link.deadline() is None


def test_rule_10_the_pause_between_two_attempts_doubles_up_to_a_limit() -> None:
    options = LinkOptions(backoff_min_ns=100, backoff_max_ns=500)
    bench = Bench(options)
    assert bench.feed(Interest(True)) == (Dial(),)
    for longest in (100, 200, 400, 500, 500):
        assert bench.feed(DialFailed("no way")) == ()
        at = bench.link.deadline()
        assert at is not None
        assert longest // 2 <= at - bench.now <= longest
        assert bench.feed(Wanted()) == ()
        assert bench.ring() == (Dial(),)


def test_rule_10_a_pause_is_never_nothing() -> None:
    bench = Bench(LinkOptions(backoff_min_ns=1, backoff_max_ns=1))
    bench.feed(Interest(True))
    bench.feed(DialFailed("no way"))
    assert bench.link.deadline() == bench.now + 1


def test_rule_10_the_pauses_begin_anew_after_a_connection() -> None:
    bench = Bench(LinkOptions(backoff_min_ns=100, backoff_max_ns=10_000))
    bench.feed(Interest(True))
    for _ in range(3):
        bench.feed(DialFailed("no way"))
        assert bench.ring() == (Dial(),)
    bench.attach("c")
    bench.feed(Closed("c", "cut"))
    bench.feed(DialFailed("no way"))
    at = bench.link.deadline()
    assert at is not None
    assert at - bench.now <= 100


def test_rule_10_it_is_not_tried_again_when_there_is_no_need() -> None:
    bench = Bench()
    bench.feed(Interest(True))
    bench.feed(DialFailed("no way"))
    assert bench.feed(Interest(False)) == ()
    assert bench.wait(100 * SECOND) == ()
    assert bench.link.deadline() is None
    assert bench.feed(Interest(True)) == (Dial(),)


def test_rule_10_a_failure_that_nobody_minds_is_not_repeated() -> None:
    bench = Bench()
    bench.feed(Interest(True))
    bench.feed(Interest(False))
    assert bench.feed(DialFailed("no way")) == ()
    assert bench.link.deadline() is None


def test_rule_10_who_cannot_dial_waits() -> None:
    bench = Bench(can_dial=False)
    assert bench.feed(Interest(True)) == ()
    assert bench.link.deadline() == bench.now + bench.options.lost_after_ns
    assert bench.feed(Accepted("c", 0, 0))[-1] == Attached("c")
    assert bench.feed(Closed("c", "cut")) == ()


def test_rule_10_a_connection_that_closes_before_the_answer_is_an_attempt_that_failed() -> None:
    bench = Bench().ask("d")
    assert bench.feed(Closed("d", "cut")) == ()
    assert bench.ring() == (Dial(),)
    assert bench.feed(Dialed("e")) == (Write("e", Resume(0, 0)),)


def test_rule_10_a_connection_without_an_answer_is_an_attempt_that_failed() -> None:
    bench = Bench().ask("d")
    start = bench.now
    assert bench.ring() == (Drop("d", "it did not answer on its connection"),)
    assert bench.now - start == bench.options.mute_after_ns
    assert bench.ring() == (Dial(),)


def test_a_second_connection_is_dropped_while_the_first_is_asked() -> None:
    bench = Bench().ask("d")
    assert bench.feed(Dialed("e")) == (Drop("e", "it is not needed any more"),)
    assert bench.feed(Refreshed("d", 9)) == (Attached("d"),)


def test_a_connection_dialled_for_another_reason_is_used() -> None:
    bench = Bench()
    assert bench.feed(Dialed("d")) == (Write("d", Resume(0, 0)),)
    assert bench.feed(Interest(True)) == ()
    assert bench.feed(Closed("d", "cut")) == ()
    assert bench.ring() == (Dial(),)
