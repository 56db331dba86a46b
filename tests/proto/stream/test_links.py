"""Rules 12 to 14, 29 and 30: gaps, repetitions, and streams that resume over a new link."""

from __future__ import annotations

import pytest

from casty_proto.machine import SECOND, Note
from casty_proto.stream import (
    CONSUMED,
    EMPTY,
    FULL,
    INPUT_READY,
    Begin,
    Completed,
    Ended,
    Failed,
    InputClosed,
    LinkLost,
    LinkRestored,
    Open,
    Publisher,
    PublisherOptions,
    Received,
    Room,
    Send,
    StreamCancel,
    StreamCompleted,
    StreamDemand,
    StreamElements,
    StreamFailed,
    StreamRefused,
    StreamResume,
    StreamResumed,
    StreamSubscribed,
    Subscribe,
)

from .bench import CONSUMER, PRODUCER, Bench
from .opened import RESUMABLE, flowing, retaining


def test_rule_29_demand_acknowledges_what_was_received() -> None:
    subscriber = flowing(2)
    subscriber.handle(Received("p", StreamElements(0, (10, 11))), 0)
    subscriber.take()
    assert subscriber.handle(CONSUMED, 0) == (Send("p", StreamDemand(1, received=2)),)


def test_rule_29_f_2_what_was_not_acknowledged_is_sent_again() -> None:
    publisher = retaining(6, demand=5)
    publisher.handle(Received("c", StreamDemand(1, received=2)), 0)
    publisher.handle(LinkLost(), 0)
    assert publisher.handle(Received("c", StreamResume("c", 3, 7, 1)), 0) == (
        Send("c", StreamResumed(3, 1)),
        Send("c", StreamElements(3, (3, 4, 5))),
    )
    publisher.invariants()


def test_rule_29_never_more_is_retained_than_was_agreed() -> None:
    publisher = Publisher[int]("p", PublisherOptions(max_retained=3))
    assert publisher.handle(Received("c", Subscribe("c", demand=9, retain=8)), 0)[0] == Send(
        "c", StreamSubscribed("p", 3)
    )
    for n in range(9):
        publisher.offer(n)
    publisher.handle(INPUT_READY, 0)
    publisher.invariants()
    # Elements 6, 7 and 8 are held, so a resume from 5 is impossible, and the stream must not pretend.
    refusal, closed, ended = publisher.handle(Received("c", StreamResume("c", 5, 4, 1)), 0)
    assert isinstance(refusal, Send)
    assert isinstance(refusal.message, StreamRefused)
    assert isinstance(closed, InputClosed)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Failed)


def test_rule_29_acknowledging_what_was_never_sent_is_rubbish() -> None:
    publisher = retaining(2, demand=2)
    for received in (3, "1", None):
        [note] = publisher.handle(Received("c", StreamDemand(1, received)), 0)  # type: ignore[arg-type]
        assert isinstance(note, Note)
    publisher.offer(2)
    assert publisher.handle(INPUT_READY, 0) == (), "the demand of a dropped message does not count"


def test_rule_30_a_resume_states_the_demand_afresh() -> None:
    publisher = retaining(9, demand=5)
    publisher.handle(LinkLost(), 0)
    publisher.handle(Received("c", StreamDemand(3, received=5)), 0)
    assert publisher.handle(Received("c", StreamResume("c", 2, 4, 1)), 0) == (
        Send("c", StreamResumed(2, 1)),
        Send("c", StreamElements(2, (2, 3, 4, 5))),
    )


def test_rule_30_a_consumer_with_a_full_buffer_resumes_without_demand() -> None:
    publisher = retaining(3, demand=2)
    assert publisher.handle(Received("c", StreamResume("c", 2, 0, 1)), 0) == (Send("c", StreamResumed(2, 1)),)
    publisher.invariants()


def test_rule_30_an_old_resume_is_ignored() -> None:
    publisher = retaining(2, demand=2)
    assert publisher.handle(Received("c", StreamResume("c", 1, 3, 2)), 0)[0] == Send("c", StreamResumed(1, 2))
    assert publisher.handle(Received("c", StreamResume("c", 0, 4, 1)), 0) == ()
    assert publisher.handle(Received("c", StreamResume("c", 0, 4, 2)), 0) == ()


def test_rule_30_the_consumer_resumes_from_the_first_element_that_it_lacks() -> None:
    subscriber = flowing(4)
    subscriber.handle(Received("p", StreamElements(0, (0, 1, 2))), 0)
    assert [subscriber.take(), subscriber.take()] == [0, 1]
    assert subscriber.handle(LinkLost(), 0) == ()
    assert subscriber.handle(CONSUMED, 0) == (), "demand waits for the link"
    assert subscriber.handle(LinkRestored(), 0) == (Send("p", StreamResume("c", received=3, demand=3, attempt=1)),)
    subscriber.invariants()
    assert subscriber.handle(Received("p", StreamResumed(3, 1)), 0) == ()
    subscriber.handle(Received("p", StreamElements(3, (3, 4, 5))), 0)
    assert [subscriber.take() for _ in range(4)] == [2, 3, 4, 5]
    subscriber.invariants()


def test_rule_30_demand_that_fell_due_while_resuming_is_sent_after_it() -> None:
    subscriber = flowing(4)
    subscriber.handle(Received("p", StreamElements(0, (0, 1, 2, 3))), 0)
    subscriber.handle(LinkLost(), 0)
    subscriber.handle(LinkRestored(), 0)
    assert [subscriber.take(), subscriber.take()] == [0, 1]
    assert subscriber.handle(CONSUMED, 0) == ()
    assert subscriber.handle(Received("p", StreamResumed(4, 1)), 0) == (Send("p", StreamDemand(2, 4)),)


def test_rule_30_nothing_counts_between_the_loss_and_the_answer() -> None:
    subscriber = flowing(4)
    stray = (StreamElements(0, (0,)), StreamElements(2, (2,)), StreamCompleted(0), StreamFailed("x"))
    subscriber.handle(LinkLost(), 0)
    for message in stray:
        assert subscriber.handle(Received("p", message), 0) == ()
    subscriber.handle(LinkRestored(), 0)
    for message in stray:
        assert subscriber.handle(Received("p", message), 0) == ()
    [note] = subscriber.handle(Received("p", StreamResumed(0, 7)), 0)
    assert isinstance(note, Note), "the answer to another attempt"
    subscriber.invariants()
    assert subscriber.take() is EMPTY
    assert subscriber.outcome is None


def test_rule_30_an_answer_from_elsewhere_breaks_the_protocol() -> None:
    subscriber = flowing(4)
    subscriber.handle(LinkLost(), 0)
    subscriber.handle(LinkRestored(), 0)
    _, cancel, ended = subscriber.handle(Received("p", StreamResumed(1, 1)), 0)
    assert isinstance(cancel, Send)
    assert isinstance(cancel.message, StreamCancel)
    assert isinstance(ended, Ended)


def test_rule_14_what_came_before_is_dropped_silently_after_a_resume() -> None:
    subscriber = flowing(4)
    subscriber.handle(Received("p", StreamElements(0, (0, 1))), 0)
    subscriber.handle(LinkLost(), 0)
    subscriber.handle(LinkRestored(), 0)
    subscriber.handle(Received("p", StreamResumed(2, 1)), 0)
    assert subscriber.handle(Received("p", StreamElements(0, (0, 1))), 0) == ()
    assert subscriber.handle(Received("p", StreamElements(1, (1, 2, 3))), 0) == ()
    assert [subscriber.take() for _ in range(4)] == [0, 1, 2, 3]
    subscriber.invariants()


def test_rule_12_elements_beyond_the_demand_break_the_protocol_after_a_resume_too() -> None:
    subscriber = flowing(2)
    subscriber.handle(LinkLost(), 0)
    subscriber.handle(LinkRestored(), 0)
    subscriber.handle(Received("p", StreamResumed(0, 1)), 0)
    *_, ended = subscriber.handle(Received("p", StreamElements(0, (0, 1, 2))), 0)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Failed)


def test_rule_14_a_repeated_element_breaks_the_protocol_where_nothing_was_resumed() -> None:
    subscriber = flowing(4)
    subscriber.handle(Received("p", StreamElements(0, (0, 1))), 0)
    _, cancel, ended = subscriber.handle(Received("p", StreamElements(1, (1,))), 0)
    assert isinstance(cancel, Send)
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Failed)
    assert "came again" in ended.outcome.reason


def test_rule_13_rs_1_3_a_gap_fails_the_stream() -> None:
    subscriber = flowing(4)
    subscriber.handle(Received("p", StreamElements(0, (0,))), 0)
    _, cancel, ended = subscriber.handle(Received("p", StreamElements(2, (2,))), 0)
    assert isinstance(cancel, Send)
    assert isinstance(cancel.message, StreamCancel)
    assert isinstance(ended, Ended)
    assert ended.outcome == Failed("element 2 came, 1 was expected (rule 13)")
    assert subscriber.take() == 0, "what is in order is the user's"
    assert subscriber.take() is EMPTY


@pytest.mark.parametrize("producer_notices", [True, False])
@pytest.mark.parametrize("cut_after", range(0, 160, 3))
def test_rule_30_a_stream_survives_a_cut_at_any_moment(cut_after: int, producer_notices: bool) -> None:
    bench = Bench(PublisherOptions(buffer_size=0), RESUMABLE, delay_ns=3)
    bench.to_subscriber(Open())
    bench.to_subscriber(Begin())
    bench.put_all(*range(30))
    bench.complete()
    for _ in range(cut_after):
        if not (bench.step_up() or bench.step_down() or bench.step_nudge()):
            bench.take()
            bench.pass_until(bench.now + 1)
    bench.cut(producer_notices=producer_notices)
    bench.mend()
    assert bench.drain() == list(range(30))
    assert bench.outcome == Completed()
    # Where the link took the acknowledgement of the end with it, the producer waits for it in vain.
    bench.advance(31 * SECOND)
    assert bench.ends == {PRODUCER: [Completed()], CONSUMER: [Completed()]}
    assert not bench.notes


def test_rule_30_a_link_may_break_again_while_the_stream_resumes() -> None:
    bench = Bench(subscriber=RESUMABLE, delay_ns=5).open()
    bench.put_all(*range(10))
    for _ in range(5):
        bench.cut().mend()
        bench.step_nudge()
        bench.pass_until(bench.now + 5)
        bench.step_up()
    assert bench.drain() == list(range(10))


def test_rule_29_a_suspended_producer_buffers_and_then_turns_away() -> None:
    publisher = retaining(3, demand=3, buffer_size=3)
    publisher.handle(LinkLost(), 0)
    assert publisher.handle(Received("c", StreamDemand(5, received=3)), 0) == ()
    assert [publisher.offer(n) for n in range(3, 7)][-1] == FULL
    assert publisher.handle(INPUT_READY, 0) == ()
    publisher.handle(Received("c", StreamResume("c", 0, 1, 1)), 0)
    publisher.invariants()
    assert publisher.offer(7) == FULL, "what came back counts as buffered"
    assert publisher.handle(Received("c", StreamDemand(2, received=1)), 0) == (Send("c", StreamElements(1, (1, 2))),), (
        "room for nobody yet"
    )
    assert publisher.handle(Received("c", StreamDemand(1, received=3)), 0) == (
        Send("c", StreamElements(3, (3,))),
        Room(1),
    )
