"""Rules 25 to 28: the producer's input."""

from __future__ import annotations

from casty_proto.machine import Rejected, Reply
from casty_proto.stream import (
    ACCEPTED,
    CLOSED,
    FULL,
    ILLEGAL,
    INPUT_READY,
    NUDGE,
    Complete,
    ConsumerLost,
    Fail,
    InputClosed,
    Publisher,
    PublisherOptions,
    Received,
    Room,
    Send,
    StreamCancel,
    StreamDemand,
    StreamElement,
    StreamElements,
    Subscribe,
    SubscriberOptions,
)

from .bench import Bench


def publishing(size: int = 4, demand: int = 0, *, batch: bool = False) -> Publisher[int]:
    publisher = Publisher[int]("p", PublisherOptions(buffer_size=size))
    publisher.handle(Received("c", Subscribe("c", demand=demand, batch=batch)), 0)
    return publisher


def test_rule_25_the_buffer_is_bounded() -> None:
    publisher = publishing(2)
    assert [publisher.offer(n) for n in range(4)] == [ACCEPTED, ACCEPTED, FULL, FULL]
    publisher.invariants()


def test_rule_25_a_size_of_zero_is_no_bound() -> None:
    publisher = publishing(0)
    assert {publisher.offer(n) for n in range(10_000)} == {ACCEPTED}


def test_rule_25_rs_2_13_none_is_refused_and_nothing_changes() -> None:
    publisher: Publisher[int | None] = Publisher("p")
    publisher.handle(Received("c", Subscribe("c", demand=1)), 0)
    assert publisher.offer(None) == ILLEGAL
    assert publisher.handle(INPUT_READY, 0) == ()


def test_rule_25_rs_2_13_elements_that_are_false_are_elements() -> None:
    bench = Bench().open()
    bench.put_all(0, "", False, (), 0.0)
    assert bench.drain() == [0, "", False, (), 0.0]


def test_rule_25_f_3_a_slow_consumer_never_fills_the_producer_beyond_its_buffer() -> None:
    bench = Bench(PublisherOptions(buffer_size=32), SubscriberOptions(window=32)).open()
    for n in range(50_000):
        bench.put(n)
        if bench.blocked:
            assert len(bench.accepted) - len(bench.taken) <= 32 + 32
            bench.run()
            bench.take()
    assert len(bench.accepted) > 49_000
    assert bench.taken == list(range(len(bench.taken)))


def test_rule_26_who_was_turned_away_is_told_of_room_as_it_appears() -> None:
    publisher = publishing(2)
    assert [publisher.offer(n) for n in range(5)] == [ACCEPTED, ACCEPTED, FULL, FULL, FULL]
    assert publisher.handle(Received("c", StreamDemand(1)), 0) == (Send("c", StreamElement(0, 0)), Room(1))
    assert publisher.offer(2) == ACCEPTED
    assert publisher.handle(Received("c", StreamDemand(9)), 0) == (
        Send("c", StreamElement(1, 1)),
        Send("c", StreamElement(2, 2)),
        Room(2),
    )
    assert [publisher.offer(n) for n in (3, 4)] == [NUDGE, ACCEPTED]
    assert publisher.handle(INPUT_READY, 0) == (Send("c", StreamElement(3, 3)), Send("c", StreamElement(4, 4)))


def test_rule_26_an_element_that_was_turned_away_is_nowhere() -> None:
    publisher = publishing(1, batch=True)
    publisher.offer(0)
    assert publisher.offer(1) == FULL
    assert publisher.handle(Received("c", StreamDemand(9)), 0) == (Send("c", StreamElements(0, (0,))), Room(1))
    assert publisher.handle(INPUT_READY, 0) == (), "its owner has left"


def test_rule_26_one_who_is_turned_away_again_is_told_again() -> None:
    publisher = publishing(1)
    assert [publisher.offer(n) for n in range(2)] == [ACCEPTED, FULL]
    assert Room(1) in publisher.handle(Received("c", StreamDemand(1)), 0)
    assert publisher.offer(7) == ACCEPTED, "somebody else was faster"
    assert publisher.offer(1) == FULL
    assert Room(1) in publisher.handle(Received("c", StreamDemand(1)), 0)
    assert publisher.offer(1) == ACCEPTED
    assert publisher.handle(Received("c", StreamDemand(1)), 0) == (Send("c", StreamElement(1, 2)),)


def test_rule_26_a_crowd_at_a_small_buffer_gets_through_in_order() -> None:
    bench = Bench(PublisherOptions(buffer_size=2), SubscriberOptions(window=3)).open()
    bench.put_all(*range(200))
    assert bench.drain() == list(range(200))
    assert not bench.blocked


def test_rule_27_one_nudge_until_it_is_handled() -> None:
    publisher = publishing(8, demand=8)
    assert [publisher.offer(n) for n in range(3)] == [NUDGE, ACCEPTED, ACCEPTED]
    assert publisher.handle(INPUT_READY, 0) == tuple(Send("c", StreamElement(n, n)) for n in range(3))
    assert [publisher.offer(n) for n in (3, 4)] == [NUDGE, ACCEPTED]


def test_rule_27_demand_that_overtakes_the_nudge_does_not_make_a_second_one() -> None:
    publisher = publishing(8, demand=1)
    assert publisher.offer(0) == NUDGE
    assert publisher.handle(Received("c", StreamDemand(5)), 0) == (Send("c", StreamElement(0, 0)),)
    assert publisher.offer(1) == ACCEPTED, "the first nudge is still under way"
    publisher.invariants()
    assert publisher.handle(INPUT_READY, 0) == (Send("c", StreamElement(1, 1)),)


def test_rule_27_no_nudge_without_a_consumer_or_without_demand() -> None:
    publisher = Publisher[int]("p")
    assert publisher.offer(0) == ACCEPTED
    publisher.handle(Received("c", Subscribe("c")), 0)
    assert publisher.offer(1) == ACCEPTED


def test_rule_27_a_nudge_that_nobody_asked_for_is_harmless() -> None:
    publisher = Publisher[int]("p")
    publisher.offer(0)
    assert publisher.handle(INPUT_READY, 0) == ()


def test_rule_36_elements_come_singly_unless_batches_were_asked_for() -> None:
    single, batched = publishing(), publishing(batch=True)
    for n in range(3):
        single.offer(n)
        batched.offer(n)
    assert single.handle(Received("c", StreamDemand(2)), 0) == (
        Send("c", StreamElement(0, 0)),
        Send("c", StreamElement(1, 1)),
    )
    assert batched.handle(Received("c", StreamDemand(2)), 0) == (Send("c", StreamElements(0, (0, 1))),)


def test_rule_28_a_completed_input_takes_nothing_more_and_says_why() -> None:
    publisher = publishing()
    publisher.offer(1)
    assert publisher.handle(Complete("r"), 0) == (Reply("r", None), InputClosed("the stream was completed"))
    assert publisher.offer(2) == CLOSED
    assert publisher.closed_reason == "the stream was completed"
    assert publisher.handle(Complete("again"), 0) == (Reply("again", None),)
    publisher.invariants()


def test_rule_28_completion_flushes_what_was_accepted() -> None:
    bench = Bench(subscriber=SubscriberOptions(window=1)).open()
    bench.put_all(*range(10))
    bench.complete()
    assert bench.drain() == list(range(10))


def test_rule_28_an_input_that_the_consumer_closed_says_so() -> None:
    publisher = publishing()
    publisher.handle(Received("c", StreamCancel("enough")), 0)
    assert publisher.offer(1) == CLOSED
    assert publisher.closed_reason == "enough"
    assert publisher.handle(Complete("r"), 0) == (Reply("r", Rejected("enough")),)
    assert publisher.handle(Fail("x", request="s"), 0) == (Reply("s", Rejected("enough")),)
    assert publisher.handle(Fail("x", flush=False, request="t"), 0) == (Reply("t", Rejected("enough")),)


def test_rule_28_a_failed_input_cannot_be_completed_nor_the_reverse() -> None:
    failed, completed = publishing(), publishing()
    for publisher in (failed, completed):
        publisher.offer(1)
    failed.handle(Fail("broken"), 0)
    assert failed.handle(Complete("r"), 0) == (Reply("r", Rejected("the stream was failed: broken")),)
    completed.handle(Complete(), 0)
    assert completed.handle(Fail("x", request="r"), 0) == (Reply("r", Rejected("the stream was completed")),)


def test_rule_28_whoever_waits_for_room_learns_that_the_input_was_closed() -> None:
    publisher = publishing(1)
    assert [publisher.offer(n) for n in range(2)] == [ACCEPTED, FULL]
    assert InputClosed("gone") in publisher.handle(ConsumerLost("gone"), 0)
    assert publisher.offer(1) == CLOSED


def test_rule_28_nobody_is_called_to_a_closed_input() -> None:
    publisher = publishing(1)
    assert [publisher.offer(n) for n in range(2)] == [ACCEPTED, FULL]
    publisher.handle(Complete(), 0)
    effects = publisher.handle(Received("c", StreamDemand(1)), 0)
    assert not [effect for effect in effects if isinstance(effect, Room)]
