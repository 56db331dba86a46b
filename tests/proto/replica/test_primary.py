"""The owner's end, alone: what it sends, what it counts, and when it answers."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from casty_proto.machine import MILLISECOND, SECOND, Note, Rejected, Reply, Severity, Wake
from casty_proto.replica import (
    ALL,
    Backups,
    Disown,
    Dropped,
    Durable,
    Failed,
    Flush,
    Gone,
    Keep,
    Lost,
    Overtaken,
    Primary,
    Recovered,
    Refused,
    ReplicaOptions,
    ReplicaSettings,
    Send,
    Superseded,
    Update,
    UpToDate,
    delta,
)

from .script import (
    LIFE,
    Script,
    ack,
    changed,
    complete,
    deleted,
    drop,
    fetch,
    needs,
    own,
    page,
    ready,
    update,
    waiting,
    whole,
)

BOTH = (Send("b", update("x", 1, b"one")), Send("c", update("x", 1, b"one")))


def updates(effects: tuple[Any, ...], to: str) -> list[Update]:
    return [e.message for e in effects if type(e) is Send and e.to == to and type(e.message) is Update]


# Rules 1 to 7 ---------------------------------------------------------------------------------------------------------


def test_rule_1_without_sync_count_a_write_is_durable_at_once() -> None:
    script = ready(sync=0)
    assert script.do(changed("x", b"one", 7)) == (*BOTH, Durable(7))


def test_rule_1_a_write_waits_for_as_many_backups_as_are_asked_for() -> None:
    script = ready(sync=2)
    assert script.do(changed("x", b"one", 7)) == BOTH
    assert script.hear("b", ack("x", 1)) == ()
    assert script.hear("b", ack("x", 1)) == ()
    assert script.hear("c", ack("x", 1)) == (Durable(7),)


def test_rule_2_all_current_backups_are_counted_until_they_are_not_named_any_more() -> None:
    script = ready(sync=ALL)
    script.do(changed("x", b"one", 7))
    assert script.hear("b", ack("x", 1)) == ()
    assert Durable(7) in script.do(Backups("r", 0, ("b",)))


def test_rule_3_where_there_never_were_enough_as_many_as_there_could_be_are_required() -> None:
    script = Script(Primary("a"))
    script.do(own(backups="b", sync=3))
    script.hear("a", page())
    script.hear("b", complete())
    send, note = script.do(changed("x", b"one", 7))
    assert send == Send("b", update("x", 1, b"one"))
    assert (note.severity, "a write waits for" in note.text) == (Severity.WARNING, True)
    assert script.hear("b", ack("x", 1)) == (Durable(7),)
    assert script.do(changed("x", b"two", 8)) == (Send("b", update("x", 2, b"two")),)


@pytest.mark.parametrize("known_before", [True, False])
def test_rule_3_fewer_than_there_were_is_not_enough(known_before: bool) -> None:
    script = Script(Primary("a"))
    script.do(own(backups="b" if known_before else "bc", sync=2, possible=2 if known_before else 0))
    script.hear("a", page())
    script.do(Backups("r", 0, ("b",)))
    stage = 1 if known_before else 2
    script.hear("b", complete(stage))
    script.hear("c", Dropped("r", 0, 5, stage))
    assert script.do(changed("x", b"one", 7)) == (Send("b", update("x", 1, b"one", stage)),)
    assert script.hear("b", ack("x", 1, stage)) == ()
    effects: tuple[Any, ...] = ()
    while script.now < 5 * SECOND:
        effects += script.wake()
    assert [effect.request for effect in effects if type(effect) is Failed] == [7]


def test_rule_4_a_deletion_has_a_sequence_and_a_name_that_is_used_again_goes_on_above_it() -> None:
    script = ready()
    script.do(changed("x", b"one"))
    script.hear("b", ack("x", 1))
    assert updates(script.do(deleted("x", 8)), "b") == [update("x", 2, None)]
    assert script.hear("b", ack("x", 2)) == (Durable(8),)
    assert updates(script.do(changed("x", b"new")), "b") == [update("x", 3, b"new")]


def test_rule_5_of_a_backlog_the_newest_is_sent_and_answers_all() -> None:
    script = ready()
    script.do(changed("x", b"one", 1))
    for number in (2, 3, 4):
        assert script.do(changed("x", b"%d" % number, number)) == ()
    assert script.hear("b", ack("x", 1)) == (Durable(1), Send("b", update("x", 4, b"4")))
    assert script.hear("b", ack("x", 4)) == (Durable(2), Durable(3), Durable(4))


def test_rule_6_a_write_that_is_not_acknowledged_in_time_has_failed() -> None:
    script = ready(retry_ns=60 * SECOND, retry_max_ns=60 * SECOND)
    script.do(changed("x", b"one", 7))
    [failed] = script.wake()
    assert script.now == 5 * SECOND
    assert failed.request == 7
    assert failed.reason == "r/0/x: 0 of 1 backups have the write after 5.0 s; it may become durable later"
    assert script.hear("b", ack("x", 1)) == ()


def test_rule_6_a_write_whose_shard_is_lost_has_failed() -> None:
    script = ready()
    script.do(changed("x", b"one", 7))
    script.do(Flush("r", 0, "b", 8))
    first, second, kept = script.do(Disown("r", 0))
    assert (first.request, second.request) == (7, 8)
    assert type(first) is type(second) is Failed
    assert kept == Keep("r", 0, 5, 2, (5, 1), (("x", 5, 1, b"one"),))
    assert script.machine.deadline() is None


def test_rule_6_writes_that_wait_are_bounded() -> None:
    script = ready(waiting_max=1)
    script.do(changed("x", b"one", 1))
    [failed] = script.do(changed("x", b"two", 2))
    assert type(failed) is Failed
    assert "wait already" in failed.reason


def test_rule_7_an_unchanged_state_is_not_sent_and_waits_for_the_present_one() -> None:
    script = ready()
    script.do(changed("x", b"one", 1))
    assert script.do(changed("x", b"one", 2)) == ()
    assert script.hear("b", ack("x", 1)) == (Durable(1), Durable(2))
    assert script.do(changed("x", b"one", 3)) == (Durable(3),)
    assert script.do(deleted("never there", 4)) == (Durable(4),)


# Rules 8 to 11 --------------------------------------------------------------------------------------------------------


def test_rule_8_what_is_not_acknowledged_is_sent_again_at_growing_intervals() -> None:
    script = ready()
    script.hear("c", ack("x", 1))
    script.do(changed("x", b"one"))
    script.hear("c", ack("x", 1))
    times = []
    for _ in range(5):
        assert script.wake() == (Send("b", update("x", 1, b"one")),)
        times.append(script.now // MILLISECOND)
    assert times == [100, 300, 700, 1100, 1500]
    script.hear("b", ack("x", 1))
    assert script.do(Wake()) == ()


def test_rule_8_what_is_sent_again_is_the_newest() -> None:
    script = ready()
    script.do(changed("x", b"one", 1))
    script.hear("c", ack("x", 1))
    script.do(changed("x", b"two", 2))
    script.hear("c", ack("x", 2))
    assert script.wake() == (Send("b", update("x", 2, b"two")),)


def test_rule_8_a_silent_node_gets_one_message_at_a_time_and_the_rest_when_it_is_back() -> None:
    script = ready(sync=2)
    for name in "xyz":
        script.do(changed(name, b"one"))
        script.hear("c", ack(name, ord(name) - ord("x") + 1))
    assert len(script.wake()) == 3
    assert [len(script.wake()) for _ in range(5)] == [1] * 5
    assert len(script.hear("b", ack("x", 1))) == 2


def test_rule_9_only_the_acknowledgement_of_that_write_counts() -> None:
    script = ready()
    script.do(changed("x", b"one"))
    script.hear("b", ack("x", 1))
    script.do(changed("x", b"two", 7))
    for late in (ack("x", 1), ack("y", 1), ack("x", 2, epoch=4), ack("x", 1, epoch=6)):
        assert Durable(7) not in script.hear("b", late)
    assert script.hear("q", ack("x", 2)) == ()
    assert script.hear("b", ack("x", 2)) == (Durable(7),)


def test_rule_9_an_acknowledgement_of_what_was_never_written_is_rubbish() -> None:
    script = ready()
    script.do(changed("x", b"one", 7))
    script.do(changed("y", b"one", 8))
    for impossible in (ack("x", 2), ack("z", 3), ack("x", 1, stage=2)):
        before = script.state()
        [note] = script.hear("b", impossible)
        assert type(note) is Note
        assert script.state() == before


def test_rule_9_an_acknowledgement_from_the_last_time_as_a_backup_does_not_count() -> None:
    script = ready()
    script.do(changed("x", b"one", 7))
    script.do(Backups("r", 0, ("c",)))
    script.do(Backups("r", 0, ("c", "b")))
    assert script.hear("b", ack("x", 1, stage=1)) == ()
    assert Durable(7) in script.hear("b", ack("x", 1, stage=3))


def test_rule_10_what_changed_since_the_acknowledged_state_is_sent() -> None:
    script = ready()
    old, new = bytes(range(200)), bytes(range(100)) + b"!" + bytes(range(101, 200))
    script.do(changed("x", old))
    script.hear("b", ack("x", 1))
    effects = script.do(changed("x", new))
    assert effects == (Send("b", update("x", 2, delta.encode(old, new), base=(5, 1))),)
    assert len(effects[0].message.state) < 12
    assert script.hear("b", needs("x", 2)) == (Send("b", update("x", 2, new)),)
    assert script.hear("b", ack("x", 2)) == (Durable(None),)


def test_rule_10_a_delta_that_is_no_smaller_is_not_sent() -> None:
    script = ready()
    script.do(changed("x", bytes(range(100))))
    script.hear("b", ack("x", 1))
    new = bytes(range(255, 155, -1))
    assert updates(script.do(changed("x", new)), "b") == [update("x", 2, new)]


def test_rule_10_a_late_request_for_the_whole_changes_nothing() -> None:
    script = ready()
    script.do(changed("x", b"one"))
    script.hear("b", ack("x", 1))
    assert script.hear("b", needs("x", 1)) == ()


def test_rule_10_old_states_are_kept_for_those_only_who_may_get_a_delta() -> None:
    script = ready()
    record = None
    for number in range(1, 30):
        script.do(changed("x", b"%d" % number))
        script.hear("c", ack("x", number))
        record = script.machine._shards["r", 0].records["x"]
        assert len(record.older) <= 4
    assert record is not None
    while script.now < 3 * SECOND:
        script.wake()
    script.do(changed("x", b"again"))
    script.hear("c", ack("x", 30))
    assert record.older == {}


def test_rule_11_what_is_under_way_is_bounded() -> None:
    script = ready(sync=0, window_bytes=1000, window_messages=4)
    sent = [len(updates(script.do(changed(f"e{n}", bytes(10))), "b")) for n in range(8)]
    assert sent == [1, 1, 1, 1, 0, 0, 0, 0]
    assert updates(script.hear("b", ack("e0", 1)), "b") == [update("e4", 5, bytes(10))]
    script = ready(sync=0, window_bytes=1000)
    sent = [len(updates(script.do(changed(f"e{n}", bytes(400))), "b")) for n in range(4)]
    assert sent == [1, 1, 1, 0]


def test_rule_11_bringing_up_to_date_leaves_room_for_what_was_just_written() -> None:
    script = ready(sync=0, window_messages=4)
    for n in range(6):
        script.do(changed(f"e{n}", b"."))
        for node in "bc":
            script.hear(node, ack(f"e{n}", n + 1))
    effects = script.do(Backups("r", 0, ("b", "c", "d")))
    assert [message.entity for message in updates(effects, "d")] == ["e0", "e1"]
    assert [message.entity for message in updates(script.do(changed("new", b".")), "d")] == ["new"]


# Rules 12, 14, 15, 23, 24 ---------------------------------------------------------------------------------------------


def test_rule_12_an_owner_that_is_refused_is_none_any_more() -> None:
    script = ready()
    script.do(changed("x", b"one", 7))
    failed, kept, superseded = script.hear("b", Refused("r", 0, 9))
    assert (type(failed), failed.request) == (Failed, 7)
    assert type(kept) is Keep
    assert superseded == Superseded("r", 0, 9)
    assert script.do(changed("x", b"two", 8)) == (Reply(8, Rejected("r/0 is not owned here")),)
    assert script.hear("b", Refused("r", 0, 9)) == ()


def test_rule_12_a_refusal_counts_also_from_one_that_is_no_backup_any_more() -> None:
    script = ready()
    assert script.hear("q", Refused("r", 0, 9))[-1] == Superseded("r", 0, 9)


@pytest.mark.parametrize("epoch", [4, 5])
def test_rule_12_a_refusal_by_an_epoch_that_is_not_later_is_old(epoch: int) -> None:
    script = ready()
    assert script.hear("b", Refused("r", 0, epoch)) == ()
    assert script.do(Overtaken("r", 0, epoch)) == ()


def test_rule_14_a_new_backup_is_brought_up_to_date_and_then_the_old_copy_is_dropped() -> None:
    script = ready()
    script.do(changed("x", b"one"))
    for node in "bc":
        script.hear(node, ack("x", 1))
    effects = script.do(Backups("r", 0, ("b", "d")))
    assert effects == (Send("b", whole(2, 1, 1, life=LIFE)), Send("d", update("x", 1, b"one", stage=2)))
    assert script.hear("b", complete(2)) == ()
    assert script.hear("d", ack("x", 1, stage=2)) == (Send("d", whole(2, 2, 1, life=LIFE)),)
    assert script.hear("d", complete(2)) == (UpToDate("r", 0, "d"), Send("c", drop(2)))
    assert script.wake() == (Send("c", drop(2)),)
    assert script.hear("c", Dropped("r", 0, 5, 2)) == ()
    assert script.machine.deadline() is None


def test_rule_14_backups_that_stay_are_told_of_every_change_of_the_members() -> None:
    script = ready()
    assert script.do(Backups("r", 0, ("b", "c"), 2, 9)) == (
        Send("b", evolve(whole(2, 1, 0, life=LIFE), index=9)),
        Send("c", evolve(whole(2, 1, 0, life=LIFE), index=9)),
    )
    assert script.hear("b", complete(2)) == script.hear("c", complete(2)) == ()
    assert script.do(Backups("r", 0, ("b", "c"), 2, 9)) == (), "it is no change"
    assert script.machine.deadline() is None


def test_rule_14_where_no_write_waits_for_backups_they_are_not_told_of_other_members() -> None:
    script = ready(sync=0)
    assert script.do(Backups("r", 0, ("b", "c"), 2, 9)) == ()


def test_rule_14_a_slow_answer_ends_what_was_to_be_said_again() -> None:
    script = ready()
    script.do(Flush("r", 0, "b", 7))
    script.hear("c", complete(2))
    script.do(changed("x", b"one", 8))
    script.hear("c", ack("x", 1, stage=2))
    assert set(script.wake()) == {Send("b", whole(2, 1, 0, life=LIFE)), Send("b", update("x", 1, b"one", stage=2))}
    while script.wake() != (Send("b", update("x", 1, b"one", stage=2)),):
        assert script.now < 4 * SECOND
    assert script.hear("b", complete(2)) == (Durable(7),)
    assert script.hear("b", ack("x", 1, stage=2)) == ()
    assert script.machine.deadline() is None


def test_rule_14_who_is_gone_for_good_is_not_told_to_drop_its_copy() -> None:
    script = ready()
    script.do(Backups("r", 0, ("b",)))
    script.hear("b", complete(2))
    script.do(Gone("c"))
    assert script.machine.deadline() is None


def test_rule_14_a_backup_can_be_flushed() -> None:
    script = ready(sync=0)
    script.do(changed("x", b"one"))
    assert script.do(Flush("r", 0, "b", 7)) == ()
    assert script.hear("b", ack("x", 1)) == (Send("b", whole(2, 1, 1, life=LIFE)),)
    assert script.hear("b", complete(2)) == (Durable(7),)
    assert script.do(Flush("r", 0, "q", 8)) == (Reply(8, Rejected("q is no backup of r/0")),)
    script.do(Flush("r", 0, "b", 9))
    [failed] = script.do(Backups("r", 0, ("c",)))
    assert (type(failed), failed.request) == (Failed, 9)


def test_rule_14_a_backup_is_complete_when_it_has_all_that_there_was_and_not_something_older() -> None:
    script = ready(sync=0)
    script.do(changed("x", b"one"))
    script.do(changed("x", b"two"))
    script.do(Flush("r", 0, "b", 7))
    assert script.hear("b", ack("x", 1)) == (Send("b", update("x", 2, b"two", stage=2)),)
    script.do(changed("x", b"three"))
    assert script.hear("b", ack("x", 2, stage=2)) == (
        Send("b", update("x", 3, b"three", stage=2)),
        Send("b", whole(2, 1, 2, life=LIFE)),
    )
    assert script.hear("b", complete(2)) == (Durable(7),)


def test_rule_15_an_owner_without_anything_knows_that_there_is_nothing() -> None:
    script = ready(sync=0)
    script.do(changed("x", b"one"))
    script.do(deleted("x"))
    [kept] = script.do(Disown("r", 0))
    assert kept == Keep("r", 0, 5, 1, (5, 2), (("x", 5, 2, None),))
    assert script.do(Disown("r", 0)) == ()


def test_rule_23_an_epoch_is_owned_once() -> None:
    script = ready()
    assert script.do(own()) == ()
    script.do(Disown("r", 0))
    assert script.do(own()) == (Superseded("r", 0, 5),)
    assert script.do(own(epoch=4)) == (Superseded("r", 0, 5),)
    assert script.do(own(epoch=6)) == (Send("a", fetch(epoch=6)),)


def test_rule_23_a_later_epoch_replaces_an_earlier_one() -> None:
    script = ready()
    script.do(changed("x", b"one", 7))
    failed, kept, send = script.do(own(epoch=6))
    assert (failed.request, type(kept), send) == (7, Keep, Send("a", fetch(epoch=6)))


@pytest.mark.parametrize("told", [True, False])
def test_rule_24_a_backup_that_was_started_again_begins_anew(told: bool) -> None:
    script = ready()
    script.do(changed("x", b"one"))
    script.hear("b", ack("x", 1))
    if told:
        effects = script.do(Lost("b"))
    else:
        script.do(changed("y", b"two", 7))
        effects = script.hear("b", ack("y", 2, life=1))
        assert Durable(7) not in effects
    assert update("x", 1, b"one", stage=2) in updates(effects, "b")
    assert "x" in script.machine._shards["r", 0].links["b"].behind
    assert script.hear("b", ack("x", 1, stage=1)) == ()
    assert "x" in script.machine._shards["r", 0].links["b"].behind
    script.hear("b", ack("x", 1, stage=2, life=1))
    assert "x" not in script.machine._shards["r", 0].links["b"].behind


def test_rule_20_deletions_that_all_have_are_cleared_away_in_a_new_stage() -> None:
    script = ready(sync=0, tombstones_max=2)
    for number, name in enumerate("xy"):
        script.do(changed(name, b"one"))
        script.do(deleted(name))
        for node in "bc":
            script.hear(node, ack(name, 2 * number + 1))
            script.hear(node, ack(name, 2 * number + 2))
    # When the second came, the first was at both: it was cleared away, and both learn the new stage.
    owned = script.machine._shards["r", 0]
    assert list(owned.records) == ["y"]
    assert script.wake() == (Send("b", whole(2, 1, 4, life=LIFE)), Send("c", whole(2, 1, 4, life=LIFE)))
    assert script.hear("b", ack("x", 1)) == ()
    assert len(updates(script.do(changed("x", b"again")), "b")) == 1


def test_rule_20_to_delete_what_is_not_there_is_durable_at_once_where_enough_copies_are_complete() -> None:
    script = ready(sync=2)
    assert script.do(deleted("x", 7)) == (Durable(7),)


def test_rule_20_to_delete_what_is_not_there_is_a_write_while_too_few_copies_are_complete() -> None:
    """An older copy may have it, and the two that know that it was deleted before may be lost."""
    script = waiting(sync=2)
    script.hear("a", page())
    script.hear("b", complete())
    effects = script.do(deleted("x", 7))
    assert effects == (Send("b", update("x", 1, None)), Send("c", update("x", 1, None)))
    assert script.hear("b", ack("x", 1)) == ()
    assert script.hear("c", ack("x", 1)) == (Durable(7),)
    # It is there still, as something that was deleted.
    assert script.do(deleted("x", 8)) == (Durable(8),)
    script = waiting(sync=0)
    script.hear("a", page())
    assert script.do(deleted("x", 7)) == (Durable(7),)


def test_rule_20_a_silent_backup_does_not_keep_deletions_from_being_cleared_away() -> None:
    script = ready(sync=0, tombstones_max=4)
    script.do(changed("alive", b"alive"))
    script.hear("c", ack("alive", 1))
    for number in range(2, 200):
        script.do(changed(f"e{number // 2}", b".") if number % 2 == 0 else deleted(f"e{number // 2}"))
        script.hear("c", ack(f"e{number // 2}", number))
        while script.now < number * 100 * MILLISECOND:
            script.wake()
    owned = script.machine._shards["r", 0]
    assert len(owned.records) < 16
    stage = owned.stage
    effects = script.hear("b", ack("alive", 1, stage=stage))
    assert owned.links["b"].behind
    while owned.links["b"].behind:
        for entity in list(owned.links["b"].behind):
            sequence = owned.records[entity].version[1]
            effects += script.hear("b", ack(entity, sequence, stage=stage))
    assert Send("b", whole(stage, owned.links["b"].since, owned.mark, life=LIFE)) in effects


# Rule 25 --------------------------------------------------------------------------------------------------------------


def test_rule_25_a_write_to_a_shard_that_is_not_ready_is_rejected() -> None:
    script = Script(Primary("a"))
    assert script.do(changed("x", b"one", 7)) == (Reply(7, Rejected("r/0 is not owned here")),)
    script.do(own())
    assert script.do(changed("x", b"one", 8)) == (Reply(8, Rejected("r/0 is being recovered")),)
    assert script.do(deleted("x", 9)) == (Reply(9, Rejected("r/0 is being recovered")),)
    assert script.do(Backups("q", 0, ("b",))) == ()
    assert script.hear("a", page())[0] == Recovered("r", 0, 5, ())


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: ReplicaSettings(sync_count=-2), ValueError),
        (lambda: ReplicaSettings(timeout_ns=0), ValueError),
        (lambda: ReplicaSettings(sync_count=True), TypeError),
        (lambda: ReplicaOptions(window_messages=1), ValueError),
        (lambda: ReplicaOptions(page_bytes=1.5), TypeError),  # type: ignore[arg-type]
    ],
)
def test_rule_25_options_that_make_no_sense_are_refused(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="must be"):
        make()
