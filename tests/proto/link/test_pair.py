"""Two links over a network: what the rules are for."""

from __future__ import annotations

import pytest

from casty_proto.link import Dialed, LinkOptions
from casty_proto.machine import MILLISECOND, SECOND

from .pair import Dialling, Pair

BOTH = pytest.mark.parametrize("which", [0, 1], ids=["a", "b"])


def met(**options: object) -> Pair:
    """Both have said something, over a connection that `a` has dialled."""
    pair = Pair(**options)  # type: ignore[arg-type]
    pair.a.push()
    pair.advance(SECOND)
    pair.b.push()
    pair.advance(SECOND)
    pair.check_settled()
    assert len(pair.connections) == 1
    return pair


def no_losses(pair: Pair) -> bool:
    return not pair.a.losses and not pair.b.losses


@BOTH
def test_rule_06_who_has_something_to_say_dials_and_says_it(which: int) -> None:
    pair = Pair()
    pair.sides[which].push(3)
    pair.advance(100 * MILLISECOND)
    pair.check_settled()
    assert [len(side.delivered) for side in pair.sides] == ([0, 3] if which == 0 else [3, 0])
    assert no_losses(pair)


def test_rule_09_when_both_dial_at_once_one_connection_is_left() -> None:
    pair = Pair()
    pair.a.push(2)
    pair.b.push(2)
    pair.advance(100 * MILLISECOND)
    pair.check_settled()
    assert [connection.is_open for connection in pair.connections] == [[True, True], [False, False]]
    assert pair.a.link.attached is pair.connections[0]
    assert no_losses(pair)


@BOTH
def test_rule_09_when_the_connection_that_counts_is_dead_the_other_one_insists(which: int) -> None:
    pair = Pair()
    pair.a.push()
    pair.advance(MILLISECOND)
    pair.cut(pair.connections[0])
    pair.sides[which].push()
    pair.b.push()
    pair.advance(SECOND)
    pair.check_settled()
    assert pair.a.link.attached is pair.connections[-1]
    assert pair.connections[-1].dialler == 1


@BOTH
def test_rules_08_and_09_a_side_that_still_believes_in_a_dead_connection_lets_it_go(which: int) -> None:
    pair = met()
    pair.sides[which].push(2)
    pair.cut(pair.connections[0], a_hears=which == 0, b_hears=which == 1)
    pair.sides[which].push(2)
    pair.sides[1 - which].push(2)
    pair.advance(SECOND)
    pair.check_settled()
    assert no_losses(pair)


@BOTH
def test_rule_11_a_connection_that_is_dead_for_both_is_found_out(which: int) -> None:
    pair = met()
    pair.cut(pair.connections[0])
    pair.sides[which].push(2)
    pair.advance(9 * SECOND)
    assert pair.sides[which].link.attached is pair.connections[0]
    pair.advance(4 * SECOND)
    pair.check_settled()
    assert no_losses(pair)


@BOTH
def test_rule_11_a_connection_that_is_dead_one_way_is_found_out(which: int) -> None:
    pair = met()
    pair.connections[0].passes[which] = False
    pair.sides[which].push(2)
    pair.sides[1 - which].push(2)
    pair.advance(15 * SECOND)
    pair.check_settled()
    assert no_losses(pair)


def test_rule_02_a_cut_at_any_moment_loses_nothing_and_repeats_nothing() -> None:
    for moment in range(12):
        pair = met(delay_ns=2 * MILLISECOND)
        pair.a.push(3)
        pair.b.push(3)
        pair.advance(moment * MILLISECOND // 2)
        pair.a.push(2)
        pair.cut(pair.connections[0], a_hears=True, b_hears=bool(moment % 3))
        pair.b.push(2)
        pair.advance(SECOND)
        pair.check_settled()
        assert no_losses(pair)
        assert len(pair.delivered) == 12


def test_rule_06_an_old_question_that_comes_late_does_not_hide_what_has_come_since() -> None:
    pair = met(options=LinkOptions(ack_after_ns=SECOND // 2))
    pair.delay_ns = 15 * SECOND
    late = pair.connect(0)
    pair.delay_ns = MILLISECOND
    # Its question is on its way for 15 s, so `a` gives it up after 10, and another connection carries three frames.
    pair.connections[0].close(0, aborted=True)
    pair.a.feed(Dialed(late))
    pair.a.set_interest(True)
    pair.advance(11 * SECOND)
    quick = pair.connections[-1]
    assert pair.a.link.attached is pair.b.link.attached is quick is not late
    pair.advance(4 * SECOND - 5 * MILLISECOND)
    pair.b.push(3)
    pair.advance(2 * MILLISECOND)
    assert len(pair.a.delivered) == 4
    # That one is cut before they are acknowledged; then the old question comes, and `b` writes only one frame again.
    pair.a.dialling = pair.b.dialling = Dialling.FAILS
    pair.cut(quick, a_hears=True, b_hears=True)
    pair.b.stalled = True
    late.is_open[0] = False
    pair.advance(4 * MILLISECOND)
    assert pair.b.link.attached is late
    pair.cut(late, b_hears=True)
    # The true number is more than was written to the last connection, and yet it can be.
    pair.heal()
    pair.advance(5 * SECOND)
    pair.check_settled()
    assert no_losses(pair)
    assert not pair.a.notes
    assert not pair.b.notes


def test_rule_07_whoever_has_forgotten_everything_begins_anew_and_the_peer_is_told() -> None:
    pair = met()
    pair.a.push(2)
    pair.forget(1, peer_hears=True)
    pair.advance(SECOND)
    assert [loss.text for loss in pair.a.losses] == ["the peer has begun anew, and its log should say why"]
    assert len(pair.a.losses[0].left) == 2
    pair.a.push()
    pair.b.push()
    pair.advance(SECOND)
    pair.check_settled()


def test_rule_12_a_connection_that_nobody_needs_is_closed_and_the_session_goes_on_later() -> None:
    pair = met()
    number = pair.a.link.session.number
    pair.advance(301 * SECOND)
    assert pair.a.link.attached is pair.b.link.attached is None
    pair.b.push()
    pair.advance(SECOND)
    pair.check_settled()
    assert pair.b.link.session.number == number
    assert no_losses(pair)


@BOTH
def test_rule_12_a_connection_that_one_of_them_needs_stays(which: int) -> None:
    pair = met()
    pair.sides[which].set_interest(True)
    pair.advance(1_000 * SECOND)
    assert pair.a.link.attached is pair.b.link.attached is pair.connections[0]


@BOTH
def test_rules_13_and_15_a_peer_out_of_reach_is_lost_and_what_it_did_not_get_is_returned(which: int) -> None:
    pair = met()
    side = pair.sides[which]
    pair.a.dialling = pair.b.dialling = Dialling.FAILS
    pair.cut(pair.connections[0], a_hears=True, b_hears=True)
    side.push(4)
    pushed = list(side.pushed)
    pair.advance(31 * SECOND)
    assert [entry[0] for entry in side.losses[0].left] == pushed[1:]
    pair.heal()
    pair.a.push()
    pair.b.push()
    pair.advance(5 * SECOND)
    pair.check_settled()
    assert len(pair.a.losses) == len(pair.b.losses) == 1


def test_rule_13_a_peer_that_refuses_is_lost_soon() -> None:
    pair = met()
    pair.a.dialling = Dialling.REFUSED
    pair.forget(1, peer_hears=True)
    pair.a.push()
    pair.advance(5 * SECOND)
    assert [len(loss.left) for loss in pair.a.losses] == [1]


@BOTH
def test_rule_10_it_heals_where_only_one_side_can_dial(which: int) -> None:
    pair = Pair(can_dial=(which == 0, which == 1))
    pair.sides[which].push()
    pair.advance(SECOND)
    for hears in (True, False):
        connection = pair.connections[-1]
        pair.cut(connection, a_hears=hears == (which == 0), b_hears=hears == (which == 1))
        pair.sides[1 - which].push(2)
        pair.advance(15 * SECOND)
        pair.check_settled()
    assert no_losses(pair)


def test_rule_04_what_waits_is_limited_while_the_peer_is_away() -> None:
    pair = met(options=LinkOptions(ack_every=2, max_frames=8, reserve=2))
    pair.a.dialling = pair.b.dialling = Dialling.FAILS
    pair.cut(pair.connections[0], a_hears=True, b_hears=True)
    assert pair.a.push(20) == 8
    assert pair.a.push(20, ahead=True) == 8
    assert [len(loss.left) for loss in pair.a.losses] == [16]


def test_rule_02_a_connection_without_room_carries_all_in_the_end() -> None:
    pair = met()
    pair.a.stalled = True
    pair.a.push(6)
    pair.advance(10 * MILLISECOND)
    assert len(pair.b.delivered) == 2
    pair.connections[0].close(0, aborted=True)
    pair.a.unstall()
    pair.advance(SECOND)
    pair.check_settled()
    assert len(pair.b.delivered) == 7
