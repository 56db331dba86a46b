"""Routing alone: how messages get to the owners of shards. `cluster/routing.py`; numbers are those of the rules of
`shard/channel.py`."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from casty_proto.cluster import Applied, Assign, Gift, RegionKind, RegionSettings, RegisterRegion, ShardsMoved
from casty_proto.cluster.core import Core
from casty_proto.cluster.events import Done, Entry, Standing, Tell, Tells, Unknown
from casty_proto.cluster.messages import Routed
from casty_proto.cluster.routing import Routing
from casty_proto.machine import SECOND, Rejected, Reply
from casty_proto.shard.channel import Accepted, Hello, Moved, Post, Welcome

from .kit_parts import FAST, execute, member_core, replies, sent

C = 2
"""The first channel that is used: a sender begins a new one when it has an owner."""


class Bench:
    """The channels of the node `a`, besides the members `b` and `c`; region `r` has four shards without an owner."""

    def __init__(self) -> None:
        self.core: Core = member_core("b", "c")
        settings = RegionSettings(num_shards=4)
        execute(self.core, RegisterRegion("r", RegionKind.ENTITIES, settings, "a.1"))
        self.routing = Routing(self.core)

    def tell(self, request: Any, shard: int = 0, region: str = "r") -> None:
        self.routing.on_tell(Tell(request, region, shard, f"{request}".encode()))
        self.routing.invariants()

    def give(self, to: str | None, *shards: int, forced: bool = False) -> int:
        """Shards get another owner. Returns the epoch."""
        state = self.core.state
        pairs = tuple([(shard, state.epoch_of("r", shard)) for shard in shards])
        outcome = execute(self.core, Assign((Gift("r", to, pairs, forced),)))
        assert isinstance(outcome, Applied)
        for change in outcome.changes:
            assert isinstance(change, ShardsMoved)
            self.routing.moved(change)
        self.routing.invariants()
        return state.changed

    def answer(self, peer: str, body: Any, shard: int = 0) -> None:
        self.routing.on_routed(peer, "r", shard, body)
        self.routing.invariants()

    def sent(self) -> list[tuple[str, Any]]:
        return [(to, body.body) for to, body in sent(self.core, Routed)]


def test_a_message_goes_to_the_owner_and_is_done_when_that_has_it() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.tell("x")
    assert bench.sent() == [("b", Post(epoch, C, 1, (b"x",)))]
    bench.answer("b.1", Accepted(epoch, C, 1))
    assert replies(bench.core) == [("x", Done(bench.core.state.changed))]


def entries(names: str, *, wants_done: bool = True) -> tuple[Entry, ...]:
    return tuple([(name.encode(), name, wants_done) for name in names])


def test_several_messages_for_a_shard_travel_together_in_their_order() -> None:
    bench = Bench()
    first, second = bench.give("b.1", 0), bench.give("c.1", 1)
    for region, shard, names in (("r", 0, "xz"), ("r", 1, "y"), ("none", 0, "n"), ("r", 4, "fg")):
        bench.routing.on_tells(Tells(region, shard, entries(names)))
        bench.routing.invariants()
    refused = [(one.request, type(one.result)) for one in bench.core.out if isinstance(one, Reply)]
    assert refused == [("n", Rejected), ("f", Rejected), ("g", Rejected)]
    assert bench.sent() == [("b", Post(first, C, 1, (b"x", b"z"))), ("c", Post(second, C, 1, (b"y",)))]
    bench.answer("b.1", Accepted(first, C, 2))
    assert [request for request, _ in replies(bench.core)] == ["x", "z"]


def test_who_wants_to_hear_only_of_what_is_lost_hears_nothing_of_what_is_done() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.routing.on_tells(Tells("r", 0, entries("xy", wants_done=False)))
    bench.routing.on_tells(Tells("r", 4, entries("f", wants_done=False)))
    bench.answer("b.1", Accepted(epoch, C, 1))
    bench.routing.end("over")
    assert [(request, type(result)) for request, result in replies(bench.core)] == [("f", Rejected), ("y", Unknown)]


def test_a_message_that_is_accepted_in_time_leaves_nothing_to_be_sent_again() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.tell("x")
    bench.answer("b.1", Accepted(epoch, C, 1))
    bench.sent()
    # It may be woken early, once, since it is not told of every message that its deadline has moved.
    deadline = bench.routing.deadline()
    assert deadline is not None
    bench.core.now = deadline
    bench.routing.wake()
    bench.routing.invariants()
    assert bench.sent() == []
    assert bench.routing.deadline() is None


def test_rule_6_of_several_messages_those_are_returned_for_which_there_is_no_room() -> None:
    bench = Bench()
    bench.core.options = evolve(FAST, channels=evolve(FAST.channels, max_waiting=2))
    epoch = bench.give("b.1", 0)
    bench.routing.on_tells(Tells("r", 0, entries("xyz")))
    bench.routing.invariants()
    refused = [(one.request, type(one.result)) for one in bench.core.out if isinstance(one, Reply)]
    assert refused == [("z", Rejected)]
    assert bench.sent() == [("b", Post(epoch, C, 1, (b"x", b"y")))]


def test_rule_2_a_message_for_a_shard_without_an_owner_waits_for_one_and_is_returned_in_the_end() -> None:
    bench = Bench()
    bench.tell("x")
    assert bench.sent() == []
    deadline = bench.routing.deadline()
    assert deadline == bench.core.now + FAST.channels.patience_ns
    bench.core.now = deadline
    bench.routing.wake()
    ((request, result),) = replies(bench.core)
    assert request == "x"
    assert isinstance(result, Rejected)
    assert bench.routing.deadline() is None


def test_what_waited_goes_when_the_shard_has_an_owner_in_order() -> None:
    bench = Bench()
    for one in "xyz":
        bench.tell(one)
    epoch = bench.give("c.1", 0)
    assert bench.sent() == [("c", Post(epoch, C, 1, (b"x", b"y", b"z")))]


def test_rule_3_what_is_not_answered_is_sent_again() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.tell("x")
    bench.core.now += FAST.channels.resend_ns
    bench.routing.wake()
    assert bench.sent() == [("b", Post(epoch, C, 1, (b"x",)))] * 2


def test_each_shard_has_a_channel_of_its_own() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0, 1)
    bench.tell("x", shard=0)
    bench.tell("y", shard=1)
    assert bench.sent() == [("b", Post(epoch, C, 1, (b"x",))), ("b", Post(epoch, C, 1, (b"y",)))]
    bench.answer("b.1", Accepted(epoch, C, 1), shard=1)
    assert replies(bench.core) == [("y", Done(bench.core.state.changed))]


def test_rule_4_the_next_owner_is_asked_and_what_it_has_is_not_sent_again() -> None:
    bench = Bench()
    first = bench.give("b.1", 0)
    bench.tell("x")
    bench.tell("y")
    bench.sent()
    second = bench.give("c.1", 0)
    assert bench.sent() == [("c", Hello(second, C, first))]
    bench.tell("z")
    assert bench.sent() == [], "nothing goes before that is answered"
    bench.answer("c.1", Welcome(second, C, 1))
    done = bench.core.state.changed
    out = bench.core.out
    assert [(one.request, one.result) for one in out if isinstance(one, Reply)] == [("x", Done(done))]
    assert bench.sent() == [("c", Post(second, C, 2, (b"y",))), ("c", Post(second, C, 3, (b"z",)))]


def test_rule_8_where_the_next_owner_knows_nothing_what_was_sent_is_unknown_and_the_rest_goes() -> None:
    bench = Bench()
    bench.give("b.1", 0)
    bench.tell("x")
    second = bench.give("c.1", 0, forced=True)
    bench.tell("y")
    bench.sent()
    bench.answer("c.1", Welcome(second, C, None))
    out = list(bench.core.out)
    assert bench.sent() == [("c", Post(second, C + 1, 1, (b"y",)))], "on a new channel"
    bench.core.out = out
    ((request, result),) = replies(bench.core)
    assert request == "x"
    assert isinstance(result, Unknown)


def test_moved_leads_to_a_newer_owner_and_never_to_an_older_one() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.tell("x")
    bench.sent()
    bench.answer("b.1", Moved(epoch, "a.1", epoch - 1))
    assert bench.sent() == []
    bench.answer("b.1", Moved(epoch, "c.1", epoch + 5))
    assert bench.sent() == [("c", Hello(epoch + 5, C, epoch))]


@pytest.mark.parametrize("liar", ["b.1", "x.1", None])
def test_an_owner_that_only_one_has_told_of_is_not_believed_in_for_ever(liar: str | None) -> None:
    """Otherwise nothing would ever come to the real one again: no epoch is later than the one that was made up."""
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.tell("x")
    bench.answer("b.1", Accepted(epoch, C, 1))
    bench.answer("c.1", Moved(epoch, liar, 2**62))
    bench.core.now += FAST.channels.patience_ns
    bench.sent()
    bench.tell("y")
    ((to, post),) = bench.sent()
    assert (to, post.epoch, post.items) == ("b", epoch, (b"y",))
    bench.answer("b.1", Accepted(epoch, post.channel, post.first))
    assert replies(bench.core) == [("y", Done(bench.core.state.changed))]


def test_what_was_sent_to_an_owner_that_does_not_exist_is_asked_about_and_sent_to_the_real_one() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.tell("x")
    bench.answer("c.1", Moved(epoch, "c.1", 2**62))
    end = bench.core.now + FAST.channels.patience_ns + SECOND
    while bench.core.now < end:
        at = bench.routing.deadline()
        assert at is not None
        bench.core.now = at
        bench.routing.wake()
        bench.routing.invariants()
    to, hello = bench.sent()[-1]
    assert (to, hello) == ("b", Hello(epoch, C, epoch))
    bench.answer("b.1", Welcome(epoch, C, 0))
    assert bench.sent() == [("b", Post(epoch, C, 1, (b"x",)))]


def test_a_later_owner_that_is_there_is_believed_in_although_this_node_is_behind() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.tell("x")
    bench.answer("b.1", Moved(epoch, "c.1", epoch + 5))
    bench.answer("c.1", Welcome(epoch + 5, C, 1))
    bench.core.now += 2 * FAST.channels.patience_ns
    bench.sent()
    bench.tell("y")
    assert [to for to, _ in bench.sent()] == ["c"]


def test_that_nobody_owns_a_shard_at_the_epoch_of_its_owner_is_a_lie() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.tell("x")
    bench.sent()
    bench.answer("c.1", Moved(epoch, None, epoch))
    bench.tell("y")
    assert [to for to, _ in bench.sent()] == ["b"]


def test_answers_of_somebody_else_or_of_another_epoch_change_nothing() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.tell("x")
    bench.answer("c.1", Accepted(epoch, C, 1))
    bench.answer("b.1", Accepted(epoch + 1, C, 1))
    bench.answer("b.1", Accepted(epoch, C + 1, 1))
    bench.answer("b.1", Accepted(epoch, C, 2))
    bench.answer("b.1", Accepted(epoch, C, 1), shard=3)
    assert replies(bench.core) == []


def test_rule_6_what_waits_is_limited() -> None:
    bench = Bench()
    most = FAST.channels.max_waiting
    for number in range(most + 1):
        bench.tell(number)
    ((request, result),) = replies(bench.core)
    assert request == most
    assert isinstance(result, Rejected)


@pytest.mark.parametrize(("region", "shard", "says"), [("q", 0, "no 'q'"), ("r", 4, "4 shards"), ("r", -1, "4 shards")])
def test_what_cannot_be_sent_is_rejected_with_a_reason(region: str, shard: int, says: str) -> None:
    bench = Bench()
    bench.tell("x", shard, region)
    ((request, result),) = replies(bench.core)
    assert request == "x"
    assert isinstance(result, Rejected)
    assert says in result.reason


@pytest.mark.parametrize("standing", [Standing.SEEKING, Standing.DEPARTED, Standing.EXPELLED])
def test_who_belongs_to_no_cluster_sends_nothing(standing: Standing) -> None:
    bench = Bench()
    bench.core.standing = standing
    bench.tell("x")
    ((_, result),) = replies(bench.core)
    assert isinstance(result, Rejected)


def test_a_message_without_a_request_is_answered_by_nobody() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.tell(None)
    bench.answer("b.1", Accepted(epoch, C, 1))
    bench.tell(None, region="q")
    assert replies(bench.core) == []


def test_a_process_on_its_disk_uses_no_channel_that_an_earlier_one_has_used() -> None:
    bench = Bench()
    epoch = bench.give("b.1", 0)
    bench.routing.await_life()
    bench.tell("x")
    ((_, result),) = replies(bench.core)
    assert isinstance(result, Rejected), "not before it is known which are used up"
    bench.routing.life_began(150)
    bench.tell("y")
    assert bench.sent() == [("b", Post(epoch, 150 * 2**24 + 1, 1, (b"y",)))]
    bench.routing.await_life()
    bench.routing.life_began(151)
    bench.tell("z", shard=1)
    bench.give("b.1", 1)
    channels = [post.channel for _, post in bench.sent()]
    assert channels == [151 * 2**24 + 1]


def test_who_ends_says_of_what_was_sent_that_nobody_knows_and_returns_the_rest() -> None:
    bench = Bench()
    bench.give("b.1", 0)
    bench.tell("x", shard=0)
    bench.tell("y", shard=1)
    bench.routing.end("it is over")
    found = dict(replies(bench.core))
    assert isinstance(found["x"], Unknown)
    assert found["y"] == Rejected("it is over")
    assert bench.routing.deadline() is None
    bench.core.now += 100 * SECOND
    bench.tell("z")
    assert isinstance(dict(replies(bench.core))["z"], Rejected)


def test_what_is_too_much_for_one_message_is_sent_in_parts_that_follow_each_other() -> None:
    bench = Bench()
    bench.core.options = evolve(FAST, post_bytes=4)
    for request in ("a", "bb", "ccc", "too long", "d", "e"):
        bench.tell(request)
    epoch = bench.give("b.1", 0)
    posts = [(body.first, body.items) for _, body in bench.sent() if type(body) is Post]
    assert posts == [(1, (b"a", b"bb")), (3, (b"ccc",)), (4, (b"too long",)), (5, (b"d", b"e"))]
    bench.answer("b.1", Accepted(epoch, C, 6))
    assert len(replies(bench.core)) == 6
