"""Rule 7 of `cluster/node.py`: what goes straight to its parts leads to the same effects as by the long way."""

from __future__ import annotations

from typing import Any

import pytest

from casty_proto.cluster import events as ev
from casty_proto.cluster.messages import Envelope, Routed
from casty_proto.cluster.node import Node
from casty_proto.machine import MILLISECOND, Note, Reply
from casty_proto.shard.channel import Accepted, Post

from . import kit_node
from .kit_node import Process, World

SHARDS = 4


class TheLongWay(Node):
    """Looks at everything after every event."""

    __slots__ = ()

    def _goes_straight(self, event: ev.NodeEvent) -> bool:
        return False


class Counting(Node):
    """Counts what went straight."""

    __slots__ = ()
    straight = 0

    def _goes_straight(self, event: ev.NodeEvent) -> bool:
        went = super()._goes_straight(event)
        Counting.straight += went
        return went


def tell_all(process: Process, number: int) -> None:
    for shard in range(SHARDS):
        texts = [f"e:{process.address}{number + more}" for more in range(3)]
        entries = tuple([(text.encode(), (text, shard), shard % 2 == 0) for text in texts])
        process.feed(ev.Tells("r", shard, entries))


def run(seed: int) -> list[Any]:
    """Messages from everybody to everybody under loss, while a node joins, one is cut off, and one crashes."""
    world = World(seed, loss=0.02, pace_ms=1)
    world.form("abc")
    world.add_region(world["a"], num_shards=SHARDS)
    for round_ in range(60):
        for process in list(world.processes.values()):
            if process.node.standing is ev.Standing.MEMBER:
                tell_all(process, 100 + 3 * round_)
        if round_ == 10:
            world.start("d", "abc")
        if round_ == 25:
            world.isolate("b")
        if round_ == 40:
            world.heal()
        if round_ == 45:
            world.crash("c")
        world.run(0.01)
    world.loss = 0.0
    world.run(2.0)
    return [(one.key, at, effect) for one in world.everybody for at, effect in one.log if not _is_of_kit(effect)]


def _is_of_kit(effect: ev.NodeEffect) -> bool:
    """Answers to what the kit itself has asked for, by tokens that are new in every run."""
    return type(effect) is Reply and type(effect.request) is object


@pytest.mark.parametrize("seed", range(6))
def test_rule_7_the_straight_way_leads_to_the_same_effects_as_the_long_one(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit_node, "Node", Counting)
    Counting.straight = 0
    straight = run(seed)
    assert Counting.straight > 500
    monkeypatch.setattr(kit_node, "Node", TheLongWay)
    assert run(seed) == straight
    assert sum(type(effect) is ev.Deliver for _, _, effect in straight) > 200


def post_for(world: World) -> tuple[Process, Process, Envelope]:
    """A message that is as it should be, from a member to an owner, in a cluster at rest."""
    world.form("ab")
    world.add_region(world["a"], num_shards=SHARDS)
    b = world["b"]
    shard = b.node.state.region("r").shards_of(b.key)[0]  # type: ignore[union-attr]
    epoch = b.node.state.region("r").epoch(shard)  # type: ignore[union-attr]
    body = Routed("r", shard, Post(epoch, 2**40, 1, (b"e:x",)))
    return world["a"], b, Envelope(world["a"].key, "a", b.node.cluster, b.key, body)


def test_rule_7_a_lease_that_is_over_ends_before_anything_is_delivered() -> None:
    world = World()
    _, b, envelope = post_for(world)
    effects = b.node.handle(ev.Received(envelope), b.now + 10_000 * MILLISECOND)
    assert any(type(effect) is ev.HaltShard for effect in effects)
    assert not any(type(effect) is ev.Deliver for effect in effects)


def test_rule_7_what_is_rubbish_or_of_strangers_is_none_of_its_business() -> None:
    world = World()
    a, b, good = post_for(world)
    routed = good.body
    rubbish: list[Any] = [
        Envelope(a.key, "a", good.cluster, b.key, Routed("r", routed.shard, Post(1, 1, 1, ("text",)))),
        Envelope(a.key, "a", good.cluster, b.key, Routed("r", routed.shard, "text")),  # type: ignore[arg-type]
        Envelope(a.key, "a", good.cluster, b.key, Routed("r", None, routed.body)),  # type: ignore[arg-type]
        Envelope([], "a", good.cluster, b.key, routed),  # type: ignore[arg-type]
        Envelope("x.1", "x", good.cluster, b.key, routed),
        Envelope(a.key, "a", "x.1", b.key, routed),
        Envelope(a.key, "a", good.cluster, "x.1", routed),
        Envelope(a.key, "a", good.cluster, b.key, Routed("r", 99, routed.body)),
        Envelope(a.key, "a", good.cluster, b.key, Routed("none", 0, routed.body)),
        Envelope(a.key, "a", good.cluster, b.key, Routed("r", routed.shard, Accepted(1, 1, 1))),
    ]
    for message in rubbish:
        effects = b.node.handle(ev.Received(message), b.now)
        assert {type(effect) for effect in effects} <= {Note}, message
        b.node.invariants()
    effects = b.node.handle(ev.Received(good), b.now)
    assert [effect.items for effect in effects if type(effect) is ev.Deliver] == [(b"e:x",)]
