"""Rules 4 and 13 to 16: how a link ends, and what is rubbish."""

from __future__ import annotations

import pytest

from casty_proto.link import (
    Accepted,
    Attached,
    Broken,
    Busy,
    Closed,
    Dial,
    Dialed,
    DialFailed,
    Drop,
    Farewell,
    Interest,
    LinkEvent,
    LinkLost,
    LinkOptions,
    Refreshed,
    Resume,
    Resumed,
    Superseded,
    Wanted,
    Write,
)
from casty_proto.machine import SECOND, Note, Severity, Wake

from .kit import START, Bench, entry

PATIENT = LinkOptions(backoff_min_ns=SECOND, backoff_max_ns=SECOND, refused_after_ns=3 * SECOND)


def test_rules_13_and_15_a_link_that_was_cut_off_for_so_long_is_lost_with_all_it_kept() -> None:
    bench = Bench(can_dial=False).attach()
    bench.push("x", "y")
    bench.link.session.take(3)
    left = bench.link.session.left()
    assert bench.feed(Closed("c", "the cable")) == ()
    assert bench.wait(30 * SECOND - 1) == ()
    assert bench.wait(1) == (LinkLost("it was out of reach for 30 s: the cable", False, left),)
    assert [kept[1] for kept in left] == ["x", "y"]
    assert (len(bench.link.session), bench.link.session.number) == (0, 0)
    assert bench.link.deadline() is None


def test_rule_13_the_time_begins_with_the_need() -> None:
    bench = Bench(can_dial=False)
    bench.wait(100 * SECOND)
    bench.push("x")
    bench.feed(Wanted())
    assert bench.wait(30 * SECOND - 1) == ()
    assert isinstance(bench.wait(1)[0], LinkLost)


def test_rule_13_time_without_a_need_does_not_count() -> None:
    bench = Bench(can_dial=False)
    bench.feed(Interest(True))
    bench.wait(20 * SECOND)
    bench.feed(Interest(False))
    assert bench.link.deadline() is None
    bench.wait(100 * SECOND)
    bench.feed(Interest(True))
    assert bench.wait(30 * SECOND - 1) == ()


def test_rule_13_a_connection_in_time_saves_the_link() -> None:
    bench = Bench(can_dial=False)
    bench.push("x")
    bench.feed(Wanted())
    bench.wait(29 * SECOND)
    bench.attach()
    assert not any(isinstance(effect, LinkLost) for effect in bench.wait(5 * SECOND))


def test_rule_13_who_asks_when_the_time_is_over_asks_no_more() -> None:
    bench = Bench(LinkOptions(lost_after_ns=5 * SECOND)).ask("d")
    text = "it was out of reach for 5 s: nobody has connected yet"
    assert bench.wait(5 * SECOND) == (LinkLost(text, False, ()), Drop("d", text))
    assert bench.link.deadline() is None


def test_rule_13_a_peer_that_refuses_connections_is_lost_sooner() -> None:
    bench = Bench(PATIENT)
    bench.push("x")
    left = bench.link.session.left()
    assert bench.feed(Wanted()) == (Dial(),)
    start = bench.now
    effects = bench.feed(DialFailed("refused", refused=True))
    while not effects:
        assert bench.ring() == (Dial(),)
        effects = bench.feed(DialFailed("refused", refused=True))
    assert effects == (LinkLost(f"refused, for {(bench.now - start) / SECOND:.3g} s", False, left),)
    assert 3 * SECOND <= bench.now - start <= 4 * SECOND
    assert bench.link.deadline() is None


def test_rule_13_only_refusals_without_another_failure_between_them_count() -> None:
    bench = Bench(PATIENT)
    bench.feed(Interest(True))
    for turn in range(12):
        assert bench.feed(DialFailed("no", refused=bool(turn % 2))) == ()
        assert bench.ring() == (Dial(),)


def test_rule_13_refusals_of_long_ago_do_not_count() -> None:
    bench = Bench(PATIENT)
    bench.feed(Interest(True))
    bench.feed(DialFailed("refused", refused=True))
    bench.feed(Interest(False))
    bench.wait(100 * SECOND)
    assert bench.feed(Interest(True)) == (Dial(),)
    assert bench.feed(DialFailed("refused", refused=True)) == ()


def test_rule_13_refusals_before_a_connection_do_not_count() -> None:
    bench = Bench(PATIENT)
    bench.feed(Interest(True))
    bench.feed(DialFailed("refused", refused=True))
    bench.attach()
    bench.now += 100 * SECOND
    assert bench.feed(Closed("c", "cut")) == (Dial(),)
    assert bench.feed(DialFailed("refused", refused=True)) == ()


def test_rule_13_who_keeps_the_connection_goes_on_after_refusals() -> None:
    bench = Bench(PATIENT, keeps=True)
    assert bench.feed(Wanted()) == (Dial(),)
    effects = bench.feed(DialFailed("refused", refused=True))
    while not effects:
        bench.ring()
        effects = bench.feed(DialFailed("refused", refused=True))
    assert isinstance(effects[0], LinkLost)
    assert bench.ring() == (Dial(),)


def test_rule_13_who_is_refused_while_it_asks_asks_no_more() -> None:
    bench = Bench(PATIENT)
    assert bench.feed(Interest(True)) == (Dial(),)
    bench.feed(DialFailed("refused", refused=True))
    assert bench.ring() == (Dial(),)
    bench.feed(Dialed("d"))
    bench.now = START + 5 * SECOND
    text = "refused, for 5 s"
    assert bench.feed(DialFailed("refused", refused=True)) == (LinkLost(text, False, ()), Drop("d", text))
    assert bench.link.deadline() is None


def test_rule_13_a_later_connection_begins_anew() -> None:
    bench = Bench().attach()
    bench.push("x")
    bench.feed(Closed("c", "cut"))
    bench.feed(DialFailed("no"))
    bench.feed(Broken("too much"))
    assert bench.link.gone is None
    bench.push("y")
    assert bench.feed(Wanted()) == (Dial(),)
    assert bench.feed(Dialed("d")) == (Write("d", Resume(0, 0)),)
    assert bench.feed(Refreshed("d", 9)) == (Attached("d"),)
    assert [kept[1] for kept in bench.link.session.left()] == ["y"]


@pytest.mark.parametrize("attached", [True, False])
def test_rule_14_a_farewell_ends_the_link_for_good(attached: bool) -> None:
    bench = Bench().attach("c") if attached else Bench().ask("c")
    bench.push("x")
    left = bench.link.session.left()
    assert bench.feed(Farewell("c", "good night")) == (
        LinkLost("it has ended: good night", True, left),
        Drop("c", "the peer has ended"),
    )
    assert bench.link.gone == "it has ended: good night"
    assert bench.link.deadline() is None


def test_rule_14_another_process_in_its_place_ends_the_link_for_good() -> None:
    bench = Bench().attach()
    bench.push("x")
    left = bench.link.session.left()
    assert bench.feed(Superseded("b.2")) == (LinkLost("b.2", True, left), Drop("c", "b.2"))
    bench = Bench().ask("d")
    assert bench.feed(Superseded("b.2")) == (LinkLost("b.2", True, ()), Drop("d", "b.2"))
    assert Bench().feed(Superseded("b.2")) == (LinkLost("b.2", True, ()),)


def test_rule_14_a_link_that_is_gone_lets_every_connection_go_and_does_nothing_else() -> None:
    bench = Bench().attach()
    bench.feed(Superseded("b.2"))
    dropped: list[tuple[LinkEvent, Drop]] = [
        (Dialed("d"), Drop("d", "it is not needed any more")),
        (Accepted("d", 0, 0, insists=True), Drop("d", "the peer is gone: b.2")),
    ]
    for event, drop in dropped:
        assert bench.feed(event) == (drop,)
    silent: list[LinkEvent] = [
        Wanted(),
        Interest(True),
        DialFailed("no", refused=True),
        Closed("c", "cut"),
        Farewell("c", "x"),
        Superseded("b.3"),
        Broken("x"),
        Wake(),
    ]
    for event in silent:
        assert bench.feed(event) == ()
    assert bench.link.gone == "b.2"


def test_rule_14_frames_that_came_in_one_piece_with_the_farewell_are_not_acknowledged() -> None:
    bench = Bench().attach()
    bench.feed(Farewell("c", "good night"))
    assert bench.link.heard(bench.now, 3, 9) is None
    bench.link.invariants()
    assert bench.link.deadline() is None


def rubbish(bench: Bench, what: str, connection: str) -> tuple[Note, Drop]:
    note = Note(Severity.WARNING, f"{bench.link.peer}: {what}; its connection is closed")
    return note, Drop(connection, what)


@pytest.mark.parametrize("event", [Resumed("d", 1, 0), Refreshed("d", 1), Busy("d")])
def test_rule_16_an_answer_to_what_was_not_asked_is_rubbish(event: LinkEvent) -> None:
    bench = Bench().attach()
    number = bench.link.session.number
    assert bench.feed(event) == rubbish(bench, "it answers a question that was not asked", "d")
    assert (bench.link.attached, bench.link.session.number) == ("c", number)


@pytest.mark.parametrize("event", [Resumed("c", 1, 0), Refreshed("c", 1), Busy("c")])
def test_rule_16_an_answer_on_the_attached_connection_closes_it_and_keeps_the_session(event: LinkEvent) -> None:
    bench = Bench().attach()
    bench.push("x")
    number = bench.link.session.number
    assert bench.feed(event) == (*rubbish(bench, "it answers a question that was not asked", "c"), Dial())
    assert (bench.link.attached, bench.link.session.number, len(bench.link.session)) == (None, number, 1)


@pytest.mark.parametrize(("session", "received"), [(0, 0), (8, 0), (7, 2)])
def test_rule_16_who_resumes_what_cannot_be_is_tried_again_later(session: int, received: int) -> None:
    bench = Bench()
    bench.feed(Interest(True))
    bench.feed(Dialed("c"))
    bench.feed(Refreshed("c", 7))
    bench.push("x")
    bench.link.session.take(100)
    bench.feed(Closed("c", "cut"))
    bench.feed(Dialed("d"))
    what = f"it resumes {session} after {received} frames, which cannot be"
    assert bench.feed(Resumed("d", session, received)) == rubbish(bench, what, "d")
    assert (bench.link.attached, bench.link.session.number) == (None, 7)
    assert bench.ring() == (Dial(),)


def test_rule_16_a_resumption_without_a_session_is_rubbish() -> None:
    bench = Bench().ask("d")
    what = "it resumes 0 after 0 frames, which cannot be"
    assert bench.feed(Resumed("d", 0, 0)) == rubbish(bench, what, "d")


@pytest.mark.parametrize("insists", [False, True])
def test_rule_16_who_has_received_what_was_not_sent_is_not_accepted(insists: bool) -> None:
    bench = Bench().attach()
    number = bench.link.session.number
    what = "it has received 1 frames, which cannot be"
    assert bench.feed(Accepted("d", number, 1, insists)) == rubbish(bench, what, "d")
    assert bench.link.attached == "c"


def test_rule_16_a_farewell_of_a_stranger_is_rubbish() -> None:
    bench = Bench().attach()
    assert bench.feed(Farewell("d", "x")) == rubbish(bench, "it says farewell without having been met", "d")
    assert (bench.link.attached, bench.link.gone) == ("c", None)


def test_rule_16_a_frame_that_cannot_be_ends_the_session() -> None:
    bench = Bench().attach()
    bench.push("x")
    left = bench.link.session.left()
    assert bench.feed(Broken("nonsense")) == (LinkLost("nonsense", False, left), Drop("c", "nonsense"))
    assert (bench.link.attached, bench.link.gone, bench.link.deadline()) == (None, None, None)
    assert Bench(keeps=True).attach().feed(Broken("nonsense"))[-1] == Dial()


def test_rule_04_who_reaches_the_second_limit_loses_the_link_and_asks_no_more() -> None:
    bench = Bench(LinkOptions(ack_every=1, max_frames=2, reserve=1)).ask("d")
    assert [bench.link.session.push_ahead(entry()) for _ in range(3)] == [True, True, False]
    left = bench.link.session.left()
    assert bench.feed(Broken("too much")) == (LinkLost("too much", False, left), Drop("d", "too much"))
    assert len(bench.link.session) == 0
    assert bench.link.deadline() is None
