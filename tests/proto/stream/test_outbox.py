"""The outbox against a slow and obvious one: every element that was ever accepted, and three marks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from casty_proto.stream import MAX_DEMAND, StreamElement, StreamElements
from casty_proto.stream.outbox import Outbox

STEPS = st.lists(
    st.tuples(st.sampled_from(["offer", "request", "send", "acknowledge", "rewind"]), st.integers(-1, 12)), max_size=40
)


@given(steps=STEPS, retain=st.integers(0, 5), batch=st.booleans())
def test_rule_29_the_outbox_is_a_list_with_marks(steps: list[tuple[str, int]], retain: int, batch: bool) -> None:
    outbox: Outbox[int] = Outbox()
    outbox.open(0, retain, batch=batch)
    everything: list[int] = []
    held = sent = demand = 0
    for step, n in steps:
        match step:
            case "offer":
                everything.append(len(everything))
                outbox.buffer.append(everything[-1])
            case "request":
                outbox.request(abs(n))
                demand += abs(n)
            case "send":
                count = min(max(n, 1), len(everything) - sent, demand)
                if count:
                    assert flat(outbox.next_messages(count)) == [(m, m) for m in range(sent, sent + count)]
                    sent, demand = sent + count, demand - count
                    held = max(held, sent - retain)
            case "acknowledge":
                assert outbox.acknowledge(n) == (n <= sent or not retain)
                held = max(held, n) if retain and n <= sent else held
            case _:
                possible = retain > 0 and held <= n <= sent
                assert outbox.rewind(n, 3) == possible
                if possible:
                    sent, demand, held = n, 3, n
        outbox.invariants()
        assert (outbox.sent, outbox.demand, outbox.first_retained) == (sent, demand, held)
        assert list(outbox.buffer) == everything[sent:]


def flat(messages: tuple[StreamElements[int] | StreamElement[int], ...]) -> list[tuple[int, int]]:
    """Numbers and elements."""
    pairs = []
    for message in messages:
        match message:
            case StreamElement():
                pairs.append((message.sequence, message.element))
            case StreamElements():
                pairs.extend(enumerate(message.elements, message.first))
    return pairs


def test_rule_8_a_resumed_demand_saturates_as_well() -> None:
    outbox: Outbox[int] = Outbox()
    outbox.open(0, 4, batch=True)
    assert outbox.rewind(0, MAX_DEMAND * 2)
    outbox.invariants()
