"""Owning alone: lease, shards and states of one node, told what was applied. The rules of `cluster/owning.py`."""

from __future__ import annotations

import pytest

from casty_proto.cluster import Applied, Assign, Gift, Leave, MarkDown, ShardsMoved
from casty_proto.cluster import events as ev
from casty_proto.cluster.core import STALE
from casty_proto.cluster.handover import NAME, Handover, decode_handover, encode_handover, part_name
from casty_proto.cluster.knocking import BYTES_MOST, MOST, Knocking
from casty_proto.cluster.messages import Routed
from casty_proto.machine import SECOND, Rejected
from casty_proto.replica import messages as replica
from casty_proto.shard.channel import Accepted, Hello, Moved, Post, Record, Welcome
from casty_proto.shard.homes import Phase
from casty_proto.shard.leases import LeaseRequest
from casty_proto.shard.steward import Released
from casty_proto.swim import State

from .kit_owning import LEASE, Bench
from .kit_parts import FAST, execute, replies, sent, take

# Rule 1: nothing without a lease -------------------------------------------------------------------------------------


def test_rule_1_a_shard_is_opened_when_there_is_a_lease_and_not_before() -> None:
    bench = Bench()
    epoch = bench.give("a.1", bench.home)
    assert [one for one in bench.core.out if isinstance(one, ev.OpenShard)] == []
    assert bench.owning.owns("r", bench.home, bench.core.now) is None
    bench.lease()
    assert [type(one) for one in take(bench.core)] == [ev.OpenShard]
    assert bench.owning.owns("r", bench.home, bench.core.now) == epoch


def test_rule_1_a_message_of_an_owner_is_delivered_and_answered() -> None:
    bench = Bench()
    epoch = bench.owned()
    bench.routed(Post(epoch, 1, 1, (b"x", b"y")))
    delivered, answer = take(bench.core)
    assert delivered == ev.Deliver("r", bench.home, epoch, "c.1", (b"x", b"y"))
    assert isinstance(answer, ev.Send)
    assert answer.message.body == Routed("r", bench.home, Accepted(epoch, 1, 2))
    bench.routed(Post(epoch, 1, 1, (b"x", b"y")))
    assert sent(bench.core) == [("c", Routed("r", bench.home, Accepted(epoch, 1, 2)))], "and not twice"


def test_rule_1_when_the_lease_ends_the_shard_is_halted_and_nothing_is_delivered() -> None:
    bench = Bench()
    epoch = bench.owned()
    bench.core.now += LEASE
    bench.owning.expire()
    (halt,) = [one for one in take(bench.core) if not isinstance(one, ev.Send)]
    assert isinstance(halt, ev.HaltShard)
    bench.routed(Post(epoch, 1, 1, (b"x",)))
    assert take(bench.core) == []
    assert bench.owning.acts("r", bench.home, bench.core.now) is None


def test_rule_1_a_lease_counts_from_the_question_and_no_moment_longer() -> None:
    bench = Bench()
    epoch = bench.owned()
    for now, expected in ((LEASE - 1, epoch), (LEASE, None)):
        assert bench.owning.owns("r", bench.home, now) == expected
        assert bench.owning.may_act(now) is (expected is not None)


def test_rule_1_a_shard_that_was_halted_goes_on_with_another_lease() -> None:
    bench = Bench()
    epoch = bench.owned()
    bench.core.now += LEASE
    bench.owning.expire()
    bench.owning.wake()
    bench.lease()
    assert take(bench.core) == [ev.ResumeShard("r", bench.home, epoch)]


def backed_up_too_late(**settings: int) -> tuple[Bench, int]:
    """The lease is over when a backup says that it has the write `w`. Returns the epoch as well."""
    bench = Bench(factor=2, sync_count=1, **settings)
    bench.lease()
    epoch = bench.give("a.1", bench.home)
    take(bench.core)
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"1", "w"))
    ((to, update),) = sent(bench.core, replica.Update)
    bench.core.now += LEASE
    bench.owning.expire()
    bench.owning.wake()
    ack = replica.Ack("r", bench.home, epoch, update.stage, 7, update.entity, update.sequence)
    bench.owning.on_replica(f"{to}.1", ack)
    bench.owning.invariants()
    return bench, epoch


def answered(bench: Bench) -> list[object]:
    return [one for one in bench.core.out if isinstance(one, ev.Durable | ev.NotDurable)]


def test_rule_1_a_write_that_is_backed_up_without_a_lease_is_acknowledged_with_the_next_one() -> None:
    bench, epoch = backed_up_too_late()
    assert answered(bench) == []
    bench.lease()
    assert take(bench.core) == [ev.Durable("w"), ev.ResumeShard("r", bench.home, epoch)]


def test_rule_1_a_write_that_is_backed_up_without_a_lease_is_never_acknowledged_when_the_shard_is_taken() -> None:
    bench, _ = backed_up_too_late()
    bench.give("c.1", bench.home, forced=True)
    (answer,) = answered(bench)
    assert answer == ev.NotDurable("w", "the lease of this node was over, and the shard is not its own now")
    bench.lease()
    assert ev.Durable("w") not in take(bench.core)


def test_rule_1_a_write_waits_for_a_lease_no_longer_than_for_backups() -> None:
    bench, _ = backed_up_too_late(timeout_ns=SECOND)
    due = bench.core.now + SECOND
    bench.core.now = due - 1
    bench.owning.wake()
    assert answered(bench) == []
    bench.core.now = due
    bench.owning.wake()
    (answer,) = answered(bench)
    assert answer == ev.NotDurable("w", "the lease of this node is over, and it has got no other one in time")


def test_rule_1_a_node_that_ends_says_of_a_write_that_waits_for_a_lease_that_nobody_knows() -> None:
    bench, _ = backed_up_too_late()
    bench.owning.end()
    assert [type(one) for one in answered(bench)] == [ev.NotDurable]


def test_a_write_that_nobody_backs_up_is_durable_at_once() -> None:
    bench = Bench()
    epoch = bench.owned()
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"1", "w"))
    assert take(bench.core) == [ev.Durable("w")]
    assert bench.owning.state_of("r", bench.home, "e") == b"1"
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", None, "d"))
    assert take(bench.core) == [ev.Durable("d")]
    assert bench.owning.state_of("r", bench.home, "e") is None


# Messages for shards that are not open yet ---------------------------------------------------------------------------


def test_what_comes_before_the_shard_is_open_is_heard_in_order_when_it_is() -> None:
    bench = Bench()
    epoch = bench.give("a.1", bench.home)
    for body in (Post(epoch, 1, 1, (b"x",)), Post(epoch, 1, 2, (b"y",)), Post(epoch, 1, 1, (b"x",))):
        bench.routed(body)
    bench.routed(Post(epoch, 1, 1, (b"z",)), "d.1")
    bench.lease()
    opened, *heard = [one for one in take(bench.core) if not isinstance(one, ev.Send)]
    assert isinstance(opened, ev.OpenShard)
    assert heard == [
        ev.Deliver("r", bench.home, epoch, "c.1", (b"x",)),
        ev.Deliver("r", bench.home, epoch, "c.1", (b"y",)),
        ev.Deliver("r", bench.home, epoch, "d.1", (b"z",)),
    ]


def test_what_comes_while_the_lease_is_late_is_heard_with_the_next_one() -> None:
    bench = Bench()
    epoch = bench.owned()
    bench.core.now += LEASE
    bench.owning.expire()
    bench.owning.wake()
    bench.routed(Post(epoch, 1, 1, (b"x",)))
    bench.lease()
    heard = [one for one in take(bench.core) if not isinstance(one, ev.Send)]
    assert heard == [ev.ResumeShard("r", bench.home, epoch), ev.Deliver("r", bench.home, epoch, "c.1", (b"x",))]


def test_what_came_again_while_the_lease_was_late_is_not_heard_again_when_its_sender_is_gone() -> None:
    bench = Bench()
    epoch = bench.owned()
    post = Post(epoch, 1, 1, (b"x",))
    bench.routed(post)
    take(bench.core)
    bench.core.now += LEASE
    bench.owning.expire()
    bench.owning.wake()
    bench.routed(post)
    bench.routed(Post(epoch, 1, 1, (b"y",)), "d.1")
    bench.owning.members_changed(("c.1",))
    bench.lease()
    heard = [one for one in take(bench.core) if not isinstance(one, ev.Send)]
    assert heard == [ev.ResumeShard("r", bench.home, epoch), ev.Deliver("r", bench.home, epoch, "d.1", (b"y",))]


def test_what_came_for_a_shard_that_was_never_opened_is_forgotten_with_it() -> None:
    bench = Bench()
    epoch = bench.give("a.1", bench.home)
    bench.routed(Post(epoch, 1, 1, (b"x",)))
    bench.give("c.1", bench.home, forced=True)
    bench.lease()
    assert not any(isinstance(one, ev.Deliver) for one in take(bench.core))
    assert bench.owning._knocking.take(("r", bench.home)) == []


def test_no_more_is_kept_for_shards_that_are_not_open_than_there_is_room_for() -> None:
    spot, knocking = ("r", 1), Knocking()
    for number in range(MOST + 5):
        knocking.keep(spot, "c.1", Post(1, 1, number, (b"x",)))
    knocking.invariants()
    assert len(knocking.take(spot)) == MOST
    for number in range(5):
        knocking.keep(spot, "c.1", Post(1, 1, number, (bytes(BYTES_MOST // 4),)))
    knocking.invariants()
    assert len(knocking.take(spot)) == 4


# Messages of other epochs --------------------------------------------------------------------------------------------


def test_who_does_not_own_the_shard_says_who_does() -> None:
    bench = Bench()
    bench.lease()
    before = bench.core.state.epoch_of("r", bench.home)
    epoch = bench.give("c.1", bench.home)
    take(bench.core)
    bench.routed(Post(before, 1, 1, (b"x",)))
    bench.routed(Hello(epoch, 1, before))
    assert sent(bench.core) == [
        ("c", Routed("r", bench.home, Moved(before, "c.1", epoch))),
        ("c", Routed("r", bench.home, Moved(epoch, "c.1", epoch))),
    ]


def test_who_is_behind_says_nothing_and_is_asked_again() -> None:
    bench = Bench()
    epoch = bench.owned()
    bench.routed(Post(epoch + 1, 1, 1, (b"x",)))
    assert take(bench.core) == []


def test_a_new_owner_without_a_record_does_not_know_what_was_accepted_before() -> None:
    bench = Bench()
    bench.lease()
    first = bench.give("c.1", bench.home)
    epoch = bench.give("a.1", bench.home, forced=True)
    for _, fetch in sent(bench.core, replica.Fetch):
        assert fetch.epoch == epoch
    for peer in ("b.1", "c.1"):
        bench.owning.on_replica(peer, replica.Page("r", bench.home, epoch, 7, (0, 0), 0, (), 0))
    assert bench.owning.phase_of("r", bench.home) is Phase.OPEN
    take(bench.core)
    bench.routed(Hello(epoch, 1, first))
    assert sent(bench.core) == [("c", Routed("r", bench.home, Welcome(epoch, 1, None)))]


def answer(bench: Bench, epoch: int, first: int, left: bytes, questions: list[ev.Send]) -> None:
    """The others say what they have of `home`: `c` what it has left as the owner at the epoch `first`."""
    for one in questions:
        body = one.message.body
        if isinstance(body, replica.Fetch):
            entries, whole = (((NAME, first, 1, False),), (first, 1)) if one.to == "c" else ((), replica.NEVER)
            page = replica.Page("r", bench.home, epoch, 7, whole, 0, entries, 0)
            bench.owning.on_replica(f"{one.to}.1", page)
        elif isinstance(body, replica.Pull):
            states = replica.States("r", bench.home, epoch, 7, ((NAME, first, 1, left),))
            bench.owning.on_replica(f"{one.to}.1", states)


@pytest.mark.parametrize("forced", [False, True])
def test_what_the_last_owner_has_left_counts_only_where_that_one_has_given_the_shard(forced: bool) -> None:
    """`handover.py`: who takes a shard by force knows nothing of what its last owner had accepted."""
    bench = Bench(factor=2)
    bench.lease()
    first = bench.give("c.1", bench.home)
    epoch = bench.give("a.1", bench.home, forced=forced)
    [(_, left)] = encode_handover(Handover(first, Record(first, (("c.1", 1, 2),)), (b"y",)), 100)
    opened: list[ev.OpenShard] = []
    while not opened:
        effects = take(bench.core)
        opened = [one for one in effects if isinstance(one, ev.OpenShard)]
        answer(bench, epoch, first, left, [one for one in effects if isinstance(one, ev.Send)])
        assert effects, "nobody is asked any more"
    assert [one.waiting for one in opened] == [() if forced else (b"y",)]
    take(bench.core)
    bench.routed(Hello(epoch, 1, first))
    assert sent(bench.core) == [("c", Routed("r", bench.home, Welcome(epoch, 1, None if forced else 2)))]


# Closing, and what is left -------------------------------------------------------------------------------------------


def moving(bench: Bench) -> int:
    """`home` is owned here and is to go elsewhere. Returns the epoch."""
    epoch = bench.owned()
    bench.routed(Post(epoch, 1, 1, (b"x", b"y")))
    take(bench.core)
    execute(bench.core, Leave("a.1"))
    assert bench.plans.refresh()
    bench.owning.plans_changed()
    bench.owning.members_changed(())
    assert take(bench.core) == [ev.CloseShard("r", bench.home, epoch)]
    return epoch


def test_a_shard_that_is_to_move_is_closed_and_released_with_what_is_left() -> None:
    bench = Bench()
    epoch = moving(bench)
    assert bench.owning.owns("r", bench.home, bench.core.now) is None
    assert bench.owning.acts("r", bench.home, bench.core.now) == epoch
    bench.owning.on_closed(ev.Closed("r", bench.home, epoch, (("e", b"1"),), (b"y",)))
    assert sent(bench.core) == [("b", Released("r", ((bench.home, epoch),)))]
    assert bench.owning.state_of("r", bench.home, "e") == b"1"
    left = bench.owning.state_of("r", bench.home, NAME) or b""
    assert decode_handover({NAME: left}) == Handover(epoch, Record(epoch, (("c.1", 1, 2),)), (b"y",))


def test_of_many_messages_that_are_left_no_part_is_longer_than_a_post_and_none_of_an_earlier_one_stays() -> None:
    bench = Bench()
    epoch = moving(bench)
    for number in range(6):
        bench.owning._keeping.put(("r", bench.home), part_name(number), b"of an earlier one")
    most = bench.core.options.post_bytes
    waiting = tuple([bytes([number]) * (most // 2) for number in range(7)])
    bench.owning.on_closed(ev.Closed("r", bench.home, epoch, (), waiting))
    found = {part_name(number): bench.owning.state_of("r", bench.home, part_name(number)) for number in range(7)}
    parts = {name: data for name, data in found.items() if data is not None}
    assert list(parts) == [part_name(number) for number in range(4)]
    assert max(map(len, parts.values())) < most + 100
    handover = decode_handover(parts)
    assert handover is not None
    assert (handover.epoch, handover.waiting) == (epoch, waiting)


def test_what_is_left_can_be_said_in_parts_and_the_shard_is_released_with_the_last_one() -> None:
    bench = Bench()
    epoch = moving(bench)
    bench.owning.on_closed(ev.Closed("r", bench.home, epoch, (("e", b"1"),), is_last=False))
    bench.owning.on_closed(ev.Closed("r", bench.home, epoch - 1, (("e", b"0"),), is_last=False))
    assert sent(bench.core, Released) == []
    bench.owning.on_closed(ev.Closed("r", bench.home, epoch, (("f", b"2"),), (b"y",)))
    assert sent(bench.core, Released) == [("b", Released("r", ((bench.home, epoch),)))]
    assert [bench.owning.state_of("r", bench.home, entity) for entity in "ef"] == [b"1", b"2"]


def test_while_it_is_closed_nothing_new_is_delivered() -> None:
    bench = Bench()
    epoch = moving(bench)
    bench.routed(Post(epoch, 1, 3, (b"z",)))
    assert take(bench.core) == []


def test_what_is_released_is_said_again_until_the_shard_has_moved() -> None:
    bench = Bench()
    epoch = moving(bench)
    bench.owning.on_closed(ev.Closed("r", bench.home, epoch))
    take(bench.core)
    bench.renew(FAST.homes.repeat_ns + 1)
    assert ("b", Released("r", ((bench.home, epoch),))) in sent(bench.core, Released)
    bench.give("c.1", bench.home)
    assert ev.DropShard("r", bench.home, epoch) in take(bench.core)
    bench.renew(FAST.homes.repeat_ns * 4)
    assert sent(bench.core, Released) == []
    assert not bench.owning.is_empty(), "the copy is kept for the next owner until that has it"


def test_a_copy_without_replicas_is_kept_for_whoever_was_given_the_shard_and_not_for_who_has_taken_it() -> None:
    for forced in (False, True):
        bench = Bench()
        epoch = bench.owned()
        bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"state", 1))
        bench.give("b.1", bench.home, forced=forced)
        assert bench.owning.is_empty() is forced


def test_a_close_that_was_not_asked_for_or_of_another_epoch_changes_nothing() -> None:
    bench = Bench()
    epoch = bench.owned()
    bench.owning.on_closed(ev.Closed("r", bench.home, epoch, (("e", b"1"),)))
    bench.owning.on_closed(ev.Closed("q", 99, epoch))
    assert bench.owning.owns("r", bench.home, bench.core.now) == epoch
    moved = Bench()
    epoch = moving(moved)
    moved.owning.on_closed(ev.Closed("r", moved.home, epoch - 1))
    assert sent(moved.core, Released) == []
    moved.owning.on_closed(ev.Closed("r", moved.home, epoch))
    moved.owning.on_closed(ev.Closed("r", moved.home, epoch))
    assert len(sent(moved.core, Released)) == 1


def test_a_handler_that_ends_while_the_shard_is_closed_is_heard_and_afterwards_not() -> None:
    bench = Bench()
    epoch = moving(bench)
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"1", "w"))
    assert take(bench.core) == [ev.Durable("w")]
    bench.owning.on_closed(ev.Closed("r", bench.home, epoch))
    take(bench.core)
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"2", "late"))
    ((request, result),) = replies(bench.core)
    assert request == "late"
    assert isinstance(result, Rejected)


# Rule 2: an earlier process ------------------------------------------------------------------------------------------


def test_rule_2_what_was_given_to_an_earlier_process_is_given_back_and_not_opened() -> None:
    bench = Bench()
    bench.owning.await_life()
    epoch = bench.give("a.1", bench.home)
    bench.lease()
    assert not [one for one in take(bench.core) if isinstance(one, ev.OpenShard)]
    bench.owning.life_began(epoch + 1)
    assert sent(bench.core) == [("b", Released("r", ((bench.home, epoch),)))]
    assert STALE in bench.core.deadlines, "until the shard has moved"
    assert not bench.owning.is_empty()


def test_rule_2_what_is_given_after_its_beginning_was_marked_is_opened() -> None:
    bench = Bench()
    bench.owning.await_life()
    old = bench.give("a.1", bench.home)
    bench.owning.life_began(old + 1)
    bench.lease()
    take(bench.core)
    execute(bench.core, Leave("c.1"))
    epoch = bench.give("a.1", bench.home)
    assert epoch > old + 1
    assert bench.owning.phase_of("r", bench.home) in (Phase.FILLING, Phase.OPEN)
    bench.renew(FAST.homes.repeat_ns * 3)
    assert sent(bench.core, Released) == []


def test_rule_2_it_is_told_again_whoever_leads() -> None:
    bench = Bench()
    bench.owning.await_life()
    epoch = bench.give("a.1", bench.home)
    bench.owning.life_began(epoch + 1)
    take(bench.core)
    bench.core.leader = "c.1"
    bench.owning.leader_known("c.1")
    assert ("c", Released("r", ((bench.home, epoch),))) in sent(bench.core)
    bench.give("c.1", bench.home)
    bench.owning.give_back()
    assert sent(bench.core, Released) == []


def test_who_ends_halts_everything_and_asks_for_nothing_more() -> None:
    bench = Bench()
    bench.owned()
    bench.owning.end()
    assert [type(one) for one in take(bench.core)] == [ev.HaltShard]
    assert not bench.owning.may_act(bench.core.now)
    bench.core.now += SECOND
    bench.owning.wake()
    assert sent(bench.core, LeaseRequest) == []


@pytest.mark.parametrize("forced", [True, False])
def test_what_was_given_is_kept_for_the_next_owner_and_what_was_taken_for_nobody(forced: bool) -> None:
    bench = Bench()
    epoch = bench.owned()
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, "e", b"1", "w"))
    bench.core.now += LEASE
    bench.owning.expire()
    bench.give("b.1", bench.home, forced=forced)
    assert bench.owning.is_empty() is forced


@pytest.mark.parametrize(("is_down", "asked"), [(False, ["b", "c"]), (True, ["c"])])
def test_who_had_a_shard_before_is_asked_for_its_states_unless_it_is_down(is_down: bool, asked: list[str]) -> None:
    """It may have handed it over: a node that has the log from a snapshot does not know how it came to the shard."""
    bench = Bench()
    bench.lease()
    bench.give("b.1", bench.home)
    if is_down:
        execute(bench.core, MarkDown("b.1"))
    bench.core.seen["b.1"] = State.SUSPECT
    take(bench.core)
    bench.give("a.1", bench.home, forced=True)
    assert sorted([to for to, _ in sent(bench.core, replica.Fetch)]) == asked


def test_who_has_a_shard_from_a_snapshot_asks_everybody_who_is_not_known_to_be_down() -> None:
    """Whoever has given it away waits for that question before it leaves, and nobody says who that was."""
    bench = Bench()
    bench.lease()
    execute(bench.core, MarkDown("b.1"))
    bench.core.seen["c.1"] = State.SUSPECT
    take(bench.core)
    assert bench.region is not None
    outcome = execute(bench.core, Assign((Gift("r", "a.1", ((bench.home, bench.region.registered),)),)))
    assert isinstance(outcome, Applied)
    bench.owning.moved(ShardsMoved("r", "a.1", bench.core.state.changed, ((bench.home, None, 0),), True))
    assert [to for to, _ in sent(bench.core, replica.Fetch)] == ["c"]


@pytest.mark.parametrize("owners", [8, 9])
def test_where_there_were_more_owners_than_are_remembered_the_first_counts_all_the_same(
    owners: int,
) -> None:
    """None of those who followed may ever have opened it: then what was acknowledged is where it was, with `b`."""
    bench = Bench(factor=3, sync_count=1)
    assert bench.region is not None
    bench.plans.remember(bench.core.state.changed)
    first = bench.give("b.1", bench.home)
    bench.region.rises[1:] = [first + 1, first + 1]
    for _ in range(owners - 1):
        bench.give("c.1", bench.home, forced=True)
        bench.give(None, bench.home)
    execute(bench.core, MarkDown("b.1"))
    bench.owning.members_changed(())
    epoch = bench.give("a.1", bench.home, forced=True)
    bench.owning.on_replica("c.1", replica.Page("r", bench.home, epoch, 1, (0, 0), 0, (), 0))
    bench.lease()
    bench.renew(SECOND)
    assert not [one for one in take(bench.core) if isinstance(one, ev.OpenShard)]
    bench.owning.on_replica("b.1", replica.Page("r", bench.home, epoch, 1, (1, 1), 0, (), 0, 1))
    assert [one for one in take(bench.core) if isinstance(one, ev.OpenShard)]


def test_a_late_word_about_an_earlier_region_of_that_name_is_passed_over() -> None:
    bench = Bench(factor=2, sync_count=1)
    assert bench.region is not None
    for epoch, answers in ((bench.region.registered - 1, []), (bench.region.registered + 50, [replica.Ack])):
        bench.owning.on_replica("c.1", replica.Update("r", bench.home, epoch, 1, "e", 1, b"x"))
        assert [type(body) for _, body in sent(bench.core, replica.Ack)] == answers
