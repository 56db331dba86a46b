"""Rule 21: sizes are estimated from above, and the largest things fit. S-34"""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
from attrs import astuple
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.swim import (
    ADDRESS_MAX,
    MESSAGE_MIN,
    NODE_ID_MAX,
    NUMBER_MAX,
    PAYLOAD_MAX,
    Ack,
    Digest,
    Gossip,
    Identity,
    IndirectAck,
    Message,
    Nack,
    Ping,
    PingRequest,
    Records,
    State,
    SyncReply,
    SyncRequest,
    Update,
    message_size,
)
from casty_proto.swim.sizes import answer_overhead, gossip_overhead, ping_overhead, update_size

LONGEST = Identity("n" * NODE_ID_MAX, NUMBER_MAX)
LARGEST = Update(LONGEST, NUMBER_MAX, State.ALIVE, address="a" * ADDRESS_MAX, payload=bytes(PAYLOAD_MAX))
ACCUSATION = Update(LONGEST, NUMBER_MAX, State.SUSPECT, "b" * NODE_ID_MAX)

names = st.text(min_size=1, max_size=16)
identities = st.builds(Identity, names, st.integers(0, NUMBER_MAX))
numbers = st.integers(0, NUMBER_MAX)
updates = st.one_of(
    st.builds(Update, identities, numbers, st.just(State.ALIVE), address=names, payload=st.binary(max_size=600)),
    st.builds(Update, identities, numbers, st.sampled_from([State.SUSPECT, State.DEAD]), names),
)
lists = st.lists(updates, max_size=4).map(tuple)
digests = st.lists(st.builds(Digest, identities, numbers, st.sampled_from(State)), max_size=4).map(tuple)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, identities, numbers, identities, lists),
    *(st.builds(kind, identities, numbers, lists) for kind in (Ack, IndirectAck, Nack)),
    st.builds(PingRequest, identities, numbers, identities, names, lists),
    *(st.builds(kind, identities, lists) for kind in (Gossip, Records)),
    st.builds(SyncRequest, identities, numbers, names, st.none() | names, digests, lists),
    st.builds(SyncReply, identities, numbers, st.lists(names, max_size=4).map(tuple), st.none() | names, lists),
)


def packed(value: Any) -> Any:
    """As a codec would: an object is a list of a type number and its fields; an enum is an object too."""
    if isinstance(value, State):
        return [77, int(value)]
    if hasattr(value, "__attrs_attrs__"):
        return [300, *map(packed, astuple(value, recurse=False))]
    if isinstance(value, tuple):
        return list(map(packed, value))
    return value


@given(messages)
def test_rule_21_the_estimate_is_not_less_than_what_is_encoded(message: Message) -> None:
    encoded = len(msgpack.packb(packed(message)))
    assert encoded <= message_size(message)
    assert message_size(message) <= encoded + 60 + 50 * len(message.updates) + 200


@given(identities, identities, lists)
def test_rule_21_a_message_is_its_overhead_and_its_updates(
    source: Identity, target: Identity, said: tuple[Update]
) -> None:
    total = sum(map(update_size, said))
    assert message_size(Gossip(source, said)) == gossip_overhead(source) + total
    assert message_size(Records(source, said)) == gossip_overhead(source) + total
    assert message_size(Ack(source, 1, said)) == answer_overhead(source) + total
    assert message_size(Ping(source, 1, target, said)) == ping_overhead(source, target) + total


def test_rule_21_the_largest_update_fits_into_the_messages_that_have_to_carry_it() -> None:
    for message in (Gossip(LONGEST, (LARGEST,)), Records(LONGEST, (LARGEST,)), Ack(LONGEST, 0, (LARGEST,))):
        assert message_size(message) <= MESSAGE_MIN


def test_rule_21_an_accusation_fits_into_every_message() -> None:
    for message in (
        Ping(LONGEST, 0, LONGEST, (ACCUSATION,)),
        PingRequest(LONGEST, 0, LONGEST, "a" * ADDRESS_MAX, (ACCUSATION,)),
        SyncRequest(LONGEST, 0, "n" * NODE_ID_MAX, "n" * NODE_ID_MAX, (), (ACCUSATION,)),
        SyncReply(LONGEST, 0, (), "n" * NODE_ID_MAX, (ACCUSATION,)),
    ):
        assert message_size(message) <= MESSAGE_MIN
