"""The rules of connections, by their numbers, between two ends and a wire that does as it is told."""

from __future__ import annotations

import pytest

from casty_proto.machine import SECOND, Instant
from casty_sim.stack.tcp import ACK_NS, BUFFER, GIVE_UP_NS, RETRANSMIT_NS, SEGMENT

from .bench import DELAY, Bench, Fate, Packet, open_pair


def losing(*words: str, by: str = "ab", times: int = 1 << 30) -> Fate:
    """Packets of these kinds are lost, the first so many."""
    left = [times]

    def fate(name: str, packet: Packet) -> tuple[Instant, ...]:
        if name in by and packet.word in words and left[0] > 0:
            left[0] -= 1
            return ()
        return (DELAY,)

    return fate


def nothing_arrives(name: str, packet: Packet) -> tuple[Instant, ...]:
    return ()


# -- rule 1 ------------------------------------------------------------------------------------------------------------


def test_rule_1_asking_is_repeated_and_given_up() -> None:
    bench = Bench(nothing_arrives)
    bench.connect()
    bench.run(100)
    assert bench.times("a", "ask") == [0, 1, 3, 7, 15]
    assert isinstance(bench.users["a"].error, TimeoutError)
    assert bench.forgotten == {"a"}


def test_rule_1_it_is_given_up_after_exactly_that_time() -> None:
    bench = Bench(nothing_arrives)
    bench.connect()
    bench.run(GIVE_UP_NS / SECOND - 0.001)
    assert bench.users["a"].error is None
    bench.run(0.002)
    assert isinstance(bench.users["a"].error, TimeoutError)


def test_rule_1_where_nobody_listens_it_is_refused_at_once() -> None:
    bench = Bench()
    bench.is_listening = False
    bench.connect()
    bench.run(0.01)
    assert isinstance(bench.users["a"].error, ConnectionRefusedError)


@pytest.mark.parametrize("lost", ["ask", "agree", "ack"])
def test_rule_1_each_packet_of_the_beginning_may_be_lost(lost: str) -> None:
    bench = Bench(losing(lost, times=2))
    bench.connect()
    bench.run(10)
    assert bench.accepted == 1
    assert bench.users["a"].has_connected
    bench.write("b", b"good day")
    bench.run(1)
    assert bench.users["a"].got == b"good day"


def test_rule_1_what_is_written_with_the_first_packets_shows_the_number_as_well() -> None:
    bench = Bench(losing("ack", by="a"))
    bench.connect()
    bench.run(0.003)
    bench.write("a", b"hello")
    bench.run(0.5)
    assert bench.accepted == 1
    assert bench.users["b"].got == b"hello"


def test_rule_1_one_that_asks_and_never_takes_it_up_is_not_accepted_and_forgotten() -> None:
    bench = Bench(losing("agree"))
    bench.connect()
    bench.run(100)
    assert bench.accepted == 0
    assert bench.forgotten == {"a", "b"}


def test_rule_1_packets_that_ask_twice_make_one_connection() -> None:
    bench = Bench(lambda name, packet: (DELAY, 2 * DELAY, 700 * DELAY))
    bench.connect()
    bench.run(0.1)
    bench.write("a", b"once")
    bench.run(3)
    assert bench.accepted == 1
    assert bench.users["b"].got == b"once"
    assert bench.users["a"].error is None


def test_rule_1_a_packet_that_asks_and_comes_when_all_is_over_makes_none() -> None:
    late = 5 * SECOND
    bench = Bench(lambda name, packet: (DELAY, late) if packet.word == "ask" else (DELAY,))
    bench.connect()
    bench.run(0.1)
    for name in "ab":
        bench.ends[name].let_go()
    bench.run(1)
    assert bench.forgotten == {"a", "b"}
    bench.run(60)
    assert bench.accepted == 1
    assert bench.forgotten == {"a", "b"}, "the other end did not know of the answer, and said so"


def test_rule_1_a_host_that_starts_anew_gets_nothing_of_what_was_written_to_its_former_life() -> None:
    late = 2 * SECOND
    bench = Bench(lambda name, packet: (DELAY, late) if packet.word == "ask" else (DELAY,))
    bench.connect()
    bench.run(1.9)
    bench.crash("b")
    bench.fate = lambda name, packet: () if packet.word == "data" else (DELAY,)
    bench.write("a", b"to the former life")
    bench.run(0.15)
    bench.fate = lambda name, packet: (DELAY,)
    bench.run(60)
    assert bench.accepted == 1
    assert isinstance(bench.users["a"].error, ConnectionResetError)


def test_rule_1_where_there_is_no_place_it_is_accepted_when_there_is() -> None:
    bench = Bench()
    bench.has_place = False
    bench.connect()
    bench.run(2)
    assert bench.accepted == 0
    bench.has_place = True
    bench.run(10)
    assert bench.accepted == 1


def test_rule_1_whoever_no_longer_wants_it_takes_it_back() -> None:
    bench = Bench(losing("agree", times=1))
    bench.connect()
    bench.run(0.01)
    bench.ends["a"].reset()
    bench.run(60)
    assert bench.accepted == 0
    assert bench.forgotten == {"a", "b"}


# -- rule 2 ------------------------------------------------------------------------------------------------------------


def test_rule_2_what_overtakes_waits_and_what_comes_twice_is_dropped() -> None:
    delays = iter([50, 20, 30, 10])
    bench = open_pair(lambda name, packet: (d := next(delays, 1) * DELAY, 3 * d) if packet.word == "data" else (DELAY,))
    for piece in (b"one ", b"two ", b"three ", b"four"):
        bench.write("a", piece)
    bench.run(5)
    assert bench.users["b"].got == b"one two three four"


def test_rule_2_what_is_not_read_fills_a_buffer_and_no_more_is_sent() -> None:
    bench = open_pair()
    bench.ends["b"].read(on=False)
    bench.write("a", bytes(5 * BUFFER))
    bench.run(30)
    carried = sum(len(packet.body) for name, packet in bench.packets if name == "a")
    assert BUFFER <= carried <= BUFFER + SEGMENT
    assert bench.users["a"].error is None, "who is asked for room, and answers, is there"
    assert bench.users["b"].got == b""


def test_rule_2_what_waited_is_read_without_a_pause() -> None:
    bench = open_pair()
    bench.ends["b"].read(on=False)
    bench.write("a", bytes(3 * BUFFER))
    bench.run(5)
    bench.ends["b"].read(on=True)
    bench.run(0.05)
    assert len(bench.users["b"].got) == 3 * BUFFER


def test_rule_2_who_reads_a_piece_at_a_time_gets_more_without_being_asked_for_room() -> None:
    bench = open_pair()
    end, user = bench.ends["b"], bench.users["b"]
    end.read(on=False)
    bench.write("a", bytes(3 * BUFFER))
    bench.run(0.1)
    arrived = user.arrived

    def one_piece(data: bytes) -> None:
        arrived(data)
        end.read(on=False)

    user.arrived = one_piece  # type: ignore[method-assign]
    for _ in range(3 * BUFFER // SEGMENT):
        end.read(on=True)
        bench.run(0.01)
    assert len(user.got) == 3 * BUFFER
    assert "probe" not in bench.words("a")


def test_rule_2_news_of_room_may_be_lost() -> None:
    bench = open_pair()
    bench.ends["b"].read(on=False)
    bench.write("a", bytes(3 * BUFFER))
    bench.run(0.1)
    bench.fate = losing("ack", by="b", times=1)
    bench.ends["b"].read(on=True)
    bench.run(10)
    assert len(bench.users["b"].got) == 3 * BUFFER
    assert "probe" in bench.words("a")


# -- rule 3 ------------------------------------------------------------------------------------------------------------


def test_rule_3_what_arrived_is_acknowledged_within_a_time() -> None:
    bench = open_pair()
    at = bench.time
    bench.write("a", b"x")
    bench.run(1)
    assert bench.times("b", "ack") == [pytest.approx((at + DELAY + ACK_NS) / SECOND)]
    assert bench.ends["a"].is_drained


def test_rule_3_or_by_what_goes_the_other_way() -> None:
    bench = open_pair()
    bench.write("a", b"x")
    bench.run(0.01)
    bench.write("b", b"y")
    bench.run(1)
    assert bench.words("b") == ["data"]


def test_rule_3_or_at_once_when_it_is_much() -> None:
    bench = open_pair()
    bench.write("a", bytes(2 * SEGMENT))
    bench.run(0.005)
    assert bench.words("b") == ["ack"]


# -- rule 4 ------------------------------------------------------------------------------------------------------------


def test_rule_4_what_is_not_acknowledged_is_sent_again_later_and_later_until_it_breaks() -> None:
    bench = open_pair(nothing_arrives)
    at = bench.time / SECOND
    bench.write("a", b"x")
    bench.run(60)
    assert bench.times("a", "data") == [pytest.approx(at + each) for each in (0, 0.2, 0.6, 1.4, 3, 6.2, 11.2, 16.2)]
    assert isinstance(bench.users["a"].error, TimeoutError)
    assert not isinstance(bench.users["a"].error, ConnectionError)


def test_rule_4_three_packets_that_say_that_one_is_missing() -> None:
    bench = open_pair(losing("data", by="a", times=1))
    for _ in range(4):
        bench.write("a", bytes(SEGMENT))
        bench.run(0.001)
    bench.run(RETRANSMIT_NS / SECOND / 4)
    assert len(bench.users["b"].got) == 4 * SEGMENT


def test_rule_4_as_long_as_something_is_acknowledged_it_does_not_break() -> None:
    bench = open_pair()
    count = [0]

    def seldom(name: str, packet: Packet) -> tuple[Instant, ...]:
        count[0] += packet.word == "data"
        return () if packet.word == "data" and count[0] % 4 else (DELAY,)

    bench.fate = seldom
    bench.write("a", bytes(4 * BUFFER), then_end=True)
    bench.run(600)
    assert bench.users["a"].error is None
    assert len(bench.users["b"].got) == 4 * BUFFER
    assert bench.users["b"].has_ended


# -- rule 5 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["end", "ack", "data"])
def test_rule_5_the_end_comes_after_all_bytes_and_once(lost: str) -> None:
    bench = open_pair(losing(lost, times=2))
    bench.write("a", b"x" * 100_000, then_end=True)
    bench.run(20)
    assert len(bench.users["b"].got) == 100_000
    assert bench.users["b"].has_ended
    assert not bench.users["a"].has_ended


def test_rule_5_the_other_direction_goes_on() -> None:
    bench = open_pair()
    bench.write("a", b"question", then_end=True)
    bench.run(1)
    bench.write("b", b"y" * 200_000, then_end=True)
    bench.run(5)
    assert bench.users["a"].got == b"y" * 200_000
    assert bench.users["a"].has_ended
    assert bench.users["a"].error is None


def test_rule_5_what_was_written_before_closing_arrives_though_nobody_reads_for_long() -> None:
    bench = open_pair()
    bench.write("a", b"question", then_end=True)
    bench.run(1)
    bench.ends["a"].read(on=False)
    bench.write("b", b"y" * 2 * BUFFER)
    bench.ends["b"].let_go()
    bench.run(30)
    assert "b" not in bench.forgotten
    bench.ends["a"].read(on=True)
    bench.run(30)
    assert len(bench.users["a"].got) == 2 * BUFFER
    assert bench.users["a"].has_ended
    assert bench.users["a"].error is None


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("lost", ["nothing", "end", "ack"])
def test_rule_5_both_ends_are_forgotten_when_both_have_closed(first: str, lost: str) -> None:
    bench = open_pair(losing(lost, times=1))
    bench.ends[first].let_go()
    bench.run(1)
    bench.ends["ba"["ab".index(first)]].let_go()
    bench.run(30)
    assert bench.forgotten == {"a", "b"}
    assert bench.users["a"].error is None
    assert bench.users["b"].error is None


# -- rules 6 and 7 -----------------------------------------------------------------------------------------------------


def test_rule_6_a_host_that_started_anew_breaks_the_connection_when_it_hears_of_it() -> None:
    bench = open_pair()
    bench.crash("b")
    bench.run(100)
    assert bench.users["a"].error is None
    bench.write("a", b"x")
    bench.run(0.01)
    assert isinstance(bench.users["a"].error, ConnectionResetError)


def test_rule_6_a_reset_that_is_lost_comes_again() -> None:
    bench = open_pair(losing("reset", times=1))
    bench.crash("b")
    bench.write("a", b"x")
    bench.run(0.1)
    assert bench.users["a"].error is None
    bench.run(0.2)
    assert isinstance(bench.users["a"].error, ConnectionResetError)


def test_rule_6_bytes_that_nobody_wants_break_it() -> None:
    bench = open_pair()
    bench.ends["b"].let_go()
    bench.run(1)
    assert bench.users["a"].has_ended
    assert bench.users["a"].error is None
    bench.write("a", b"x")
    bench.run(1)
    assert isinstance(bench.users["a"].error, ConnectionResetError)


def test_rule_6_so_does_closing_with_bytes_that_were_not_read() -> None:
    bench = open_pair()
    bench.ends["b"].read(on=False)
    bench.write("a", b"x")
    bench.run(1)
    bench.ends["b"].let_go()
    bench.run(1)
    assert isinstance(bench.users["a"].error, ConnectionResetError)


def test_rule_7_a_connection_on_which_nobody_sends_anything_never_notices() -> None:
    bench = open_pair()
    bench.run(1)
    bench.crash("b")
    bench.run(1e6)
    assert bench.users["a"].error is None
    assert bench.sent == []
