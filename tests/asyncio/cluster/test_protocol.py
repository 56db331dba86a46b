"""How the messages of nodes travel: each of them can be sent, is read as what it was, and has a lane."""

from __future__ import annotations

from typing import Any

import pytest

from casty_asyncio.cluster.protocol import lane_of, node_types, weight_of
from casty_proto.cluster.doors import Door, door_of
from casty_proto.cluster.messages import Envelope, Routed, Seek
from casty_proto.shard.channel import Post
from casty_proto.wire import Decoder, Encoder, Kind, WireOptions
from casty_proto.wire.frame import HEADER_SIZE

from ...proto.cluster.kit_rubbish import KINDS, example, routed


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_that_a_node_takes_can_be_sent(kind: type[Any]) -> None:
    sent = Envelope("b.1", "127.0.0.1:1", "a.1", "a.1", routed(example(kind)))
    assert isinstance(door_of(sent.body), Door)
    assert lane_of(sent) in (Kind.CLUSTER, Kind.SHARDS)
    options = WireOptions()
    frame = Encoder(node_types(), options).encode_frame(sent)
    read = Decoder(node_types(), options)
    assert read.decode(frame[HEADER_SIZE:]) == sent


def test_what_is_no_message_of_nodes_cannot_be_sent() -> None:
    class Stranger:
        """Nobody knows it."""

    with pytest.raises(Exception, match="Stranger"):
        Encoder(node_types(), WireOptions()).encode_frame(Stranger())


def test_the_weight_of_a_message_is_about_what_it_carries() -> None:
    light = Envelope("b.1", "127.0.0.1:1", "a.1", None, Seek(("127.0.0.1:2",), 0))
    heavy = Envelope("b.1", "127.0.0.1:1", "a.1", "a.1", Routed("r", 0, Post(1, 1, 1, (b"x" * 5000, b"y" * 5000))))
    assert weight_of(light) < 500
    assert 10_000 < weight_of(heavy) < 10_500
