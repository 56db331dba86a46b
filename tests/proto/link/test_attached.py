"""Rules 3, 8, 11 and 12: what is done while there is a connection."""

from __future__ import annotations

from casty_proto.link import Ack, Closed, Dial, Drop, Idle, Interest, LinkOptions, Ping, Wanted, Write
from casty_proto.machine import MILLISECOND, SECOND, Wake

from .kit import Bench

SMALL = LinkOptions(ack_every=4)


def test_rule_03_an_acknowledgement_is_due_after_so_many_frames() -> None:
    bench = Bench(SMALL).attach()
    assert bench.heard(3) is None
    assert bench.heard(1) == Ack(4)
    assert bench.heard(9) == Ack(13)
    assert bench.wait(SECOND) == ()


def test_rule_03_an_acknowledgement_is_due_after_so_much_time() -> None:
    bench = Bench(SMALL).attach()
    bench.heard(1)
    bench.wait(bench.options.ack_after_ns - 1)
    assert bench.heard(1) is None
    assert bench.wait(1) == (Write("c", Ack(2)),)
    assert bench.link.session.told == 2
    assert bench.wait(SECOND) == ()


def test_rule_03_an_acknowledgement_is_due_after_so_many_bytes() -> None:
    bench = Bench(LinkOptions(ack_bytes=100)).attach()
    assert bench.heard(1, 99) is None
    assert bench.heard(0, 50) is None
    assert bench.heard(1, 1) == Ack(2)
    assert bench.heard(1, 99) is None
    assert bench.wait(bench.options.ack_after_ns) == (Write("c", Ack(3)),)
    assert bench.heard(1, 99) is None
    bench.attach("e")
    assert bench.heard(1, 99) is None


def test_rule_03_nothing_is_acknowledged_twice() -> None:
    bench = Bench(SMALL).attach()
    bench.heard(1)
    assert bench.link.acknowledgement() == Ack(1)
    assert bench.link.acknowledgement() is None
    assert bench.heard(0) is None
    assert bench.wait(SECOND) == ()


def test_rule_03_nothing_is_acknowledged_without_a_connection() -> None:
    # The connection was given up because of what came in one piece with the frames.
    bench = Bench(SMALL).attach()
    bench.feed(Closed("c", "the peer needs it no longer", idle=True))
    assert bench.heard(9) is None
    assert bench.link.acknowledgement() is None
    assert bench.link.deadline() is None


def test_rule_03_what_was_to_be_acknowledged_is_said_by_the_next_connection() -> None:
    bench = Bench(SMALL).attach()
    bench.heard(1)
    bench.feed(Closed("c", "cut"))
    assert bench.wait(SECOND) == ()
    bench.attach("e")
    assert bench.wait(SECOND) == ()
    assert bench.link.session.told == 1


def test_rule_08_what_happens_to_an_old_connection_matters_no_more() -> None:
    bench = Bench().attach("c").attach("e")
    assert bench.feed(Closed("c", "cut")) == ()
    assert bench.link.attached == "e"


def test_rule_08_a_connection_that_is_needed_and_closed_is_replaced_at_once() -> None:
    bench = Bench().attach()
    bench.feed(Interest(True))
    assert bench.feed(Wanted()) == ()
    assert bench.feed(Closed("c", "cut")) == (Dial(),)


def test_rule_11_the_peer_is_asked_for_signs_and_then_cut_off() -> None:
    bench = Bench().attach()
    bench.feed(Interest(True))
    assert bench.wait(2 * SECOND - 1) == ()
    assert bench.wait(1) == (Ping(1),)
    assert bench.wait(7 * SECOND) == (Ping(2), Ping(3), Ping(4))
    assert bench.wait(SECOND) == (Drop("c", "nothing was heard for 10 s"), Dial())
    assert bench.link.attached is None


def test_rule_11_a_sign_is_enough() -> None:
    bench = Bench().attach()
    bench.feed(Interest(True))
    for number in range(1, 20):
        assert bench.wait(2 * SECOND) == (Ping(number),)
        bench.heard()
    bench.wait(SECOND)
    bench.heard()
    assert bench.wait(2 * SECOND - 1) == ()
    assert bench.wait(1) == (Ping(20),)


def test_rule_11_who_was_not_asked_is_not_cut_off() -> None:
    # The link itself was not woken for long.
    bench = Bench().attach()
    bench.feed(Interest(True))
    bench.now += 60 * SECOND
    assert bench.feed(Wake()) == (Ping(1),)
    bench.heard()
    assert bench.wait(2 * SECOND) == (Ping(2),)
    assert bench.link.attached == "c"


def test_rule_11_a_question_on_an_old_connection_is_none_on_the_next() -> None:
    bench = Bench().attach()
    bench.feed(Interest(True))
    assert bench.wait(2 * SECOND) == (Ping(1),)
    bench.attach("e")
    assert bench.wait(9 * SECOND) == (Ping(2), Ping(3), Ping(4), Ping(5))
    assert bench.link.attached == "e"


def test_rule_11_a_frame_under_way_is_a_need() -> None:
    bench = Bench().attach()
    bench.push("x")
    assert bench.wait(2 * SECOND) == (Ping(1),)
    bench.link.session.take(100)
    assert bench.link.session.acknowledge(1)
    bench.heard()
    assert bench.wait(100 * SECOND) == ()


def test_rule_12_a_connection_that_nobody_needs_is_closed_and_the_session_stays() -> None:
    bench = Bench().attach()
    number = bench.link.session.number
    assert bench.wait(300 * SECOND - 1) == ()
    assert bench.wait(1) == (Write("c", Idle()), Drop("c", "nobody needs it"))
    assert bench.link.attached is None
    assert bench.link.deadline() is None
    assert bench.link.session.number == number


def test_rule_12_the_time_begins_when_the_need_ends() -> None:
    bench = Bench().attach()
    bench.feed(Interest(True))
    for _ in range(200):
        bench.wait(2 * SECOND)
        bench.heard()
    bench.feed(Interest(False))
    assert bench.wait(298 * SECOND) == ()
    assert bench.wait(2 * SECOND) == (Write("c", Idle()), Drop("c", "nobody needs it"))


def test_rule_12_what_is_heard_is_a_need_of_the_peer() -> None:
    # It asks for signs, as it has something to lose. Closing its connection would only make it dial again.
    bench = Bench().attach()
    for _ in range(400):
        assert bench.wait(2 * SECOND) == ()
        bench.heard()
    assert bench.link.attached == "c"


def test_rule_12_who_is_the_only_one_to_dial_keeps_the_connection() -> None:
    bench = Bench(keeps=True).attach()
    assert bench.wait(2 * SECOND) == (Ping(1),)
    assert bench.feed(Closed("c", "idle", idle=True)) == (Dial(),)


def test_rule_12_an_idle_connection_is_left_closed_unless_there_is_a_need() -> None:
    bench = Bench().attach()
    assert bench.feed(Closed("c", "idle", idle=True)) == ()
    assert bench.link.deadline() is None
    bench.push("x")
    assert bench.feed(Wanted()) == (Dial(),)


def test_rule_12_an_idle_connection_is_replaced_when_something_was_under_way() -> None:
    bench = Bench().attach()
    bench.push("x")
    bench.link.session.take(100)
    assert bench.feed(Closed("c", "idle", idle=True)) == (Dial(),)


def test_an_early_wake_changes_nothing() -> None:
    bench = Bench().attach()
    bench.feed(Interest(True))
    bench.heard(1)
    for _ in range(3):
        before = bench.link.deadline()
        assert bench.feed(Wake()) == ()
        assert bench.link.deadline() == before
        bench.now += MILLISECOND
