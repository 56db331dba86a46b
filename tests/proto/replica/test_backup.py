"""A copy: whom it obeys, what it keeps, and what it says."""

from __future__ import annotations

from random import Random

from attrs import evolve

from casty_proto.replica import (
    NEVER,
    Ack,
    Began,
    Dropped,
    Ended,
    InUse,
    Keep,
    NeedsWhole,
    Page,
    Pull,
    Refused,
    ReplicaOptions,
    Send,
    States,
    WholeAck,
    delta,
)
from casty_proto.replica.backup import Backup

from .script import LIFE, Script, copy, drop, fetch, life_of, update, whole


def listed(script: Script, epoch: int = 9) -> list[tuple[str, int, int, bool]]:
    """What a new owner is told."""
    [send] = script.hear("z", fetch(epoch=epoch))
    return list(send.message.entries)


def states(script: Script, *names: str, epoch: int = 9) -> dict[str, bytes | None]:
    [send] = script.hear("z", Pull("r", 0, epoch, names))
    return {entry[0]: entry[3] for entry in send.message.entries}


def acked(script: Script, entity: str, sequence: int, stage: int = 1, epoch: int = 5) -> tuple[Send, ...]:
    return (Send("a", Ack("r", 0, epoch, stage, life_of(script), entity, sequence)),)


def test_rule_13_an_update_is_kept_and_acknowledged() -> None:
    script = copy()
    assert script.hear("a", update("x", 1, b"one")) == acked(script, "x", 1)
    assert listed(script) == [("x", 5, 1, False)]
    assert states(script, "x", "y") == {"x": b"one"}


def test_rule_13_an_older_sequence_changes_nothing_and_learns_what_is_there() -> None:
    script = copy()
    script.hear("a", update("x", 2, b"two"))
    assert script.hear("a", update("x", 1, b"one")) == acked(script, "x", 2)
    assert script.hear("a", update("x", 2, b"two")) == acked(script, "x", 2)
    assert listed(script) == [("x", 5, 2, False)]
    assert states(script, "x") == {"x": b"two"}


def test_rule_13_what_is_from_an_older_stage_is_dropped_without_a_word() -> None:
    script = copy()
    script.hear("a", update("x", 2, b"two", stage=3))
    assert script.hear("a", update("y", 1, b"one", stage=2)) == ()
    assert script.hear("a", whole(stage=2)) == ()
    assert script.hear("a", drop(stage=2)) == ()
    assert listed(script) == [("x", 5, 2, False)]


def test_rule_12_an_earlier_owner_is_refused_and_told_why() -> None:
    script = copy()
    script.hear("a", update("x", 1, b"one", epoch=5))
    script.hear("z", update("x", 1, b"new", epoch=8))
    before = script.state()
    for message in (update("x", 9, b"old"), whole(), drop(), fetch(epoch=7), Pull("r", 0, 7, ("x",))):
        assert script.hear("a", message) == (Send("a", Refused("r", 0, 8)),)
    assert script.state() == before


def test_rule_16_a_fetch_fences_off_earlier_owners() -> None:
    script = copy()
    script.hear("z", fetch(epoch=6))
    assert script.hear("a", update("x", 1, b"one", epoch=5)) == (Send("a", Refused("r", 0, 6)),)


def test_rule_12_regions_and_shards_have_epochs_of_their_own() -> None:
    script = copy()
    script.hear("z", fetch(epoch=6))
    for other in (evolve(update("x", 1, b"one"), shard=1), evolve(update("x", 1, b"one"), region="q")):
        [send] = script.hear("a", other)
        assert type(send.message) is Ack


def test_rule_10_a_delta_is_applied_to_its_base() -> None:
    script = copy()
    script.hear("a", update("x", 1, b"one" * 50))
    difference = delta.encode(b"one" * 50, b"one" * 40)
    assert script.hear("a", update("x", 2, difference, base=(5, 1))) == acked(script, "x", 2)
    listed(script)
    assert states(script, "x") == {"x": b"one" * 40}


def test_rule_10_without_the_base_the_whole_state_is_asked_for() -> None:
    script = copy()
    script.hear("a", update("x", 1, b"one"))
    difference = delta.encode(b"two", b"three")
    assert script.hear("a", update("x", 3, difference, base=(5, 2))) == (
        Send("a", NeedsWhole("r", 0, 5, 1, life_of(script), "x", 3)),
    )
    assert listed(script) == [("x", 5, 1, False)]


def test_rule_10_a_base_of_an_earlier_epoch_is_good() -> None:
    script = copy()
    script.hear("a", update("x", 3, b"state"))
    script.hear("z", fetch(epoch=6))
    same = delta.encode(b"state", b"state")
    [send] = script.hear("z", update("x", 1, same, epoch=6, base=(5, 3)))
    assert send == Send("z", Ack("r", 0, 6, 1, life_of(script), "x", 1))
    assert listed(script) == [("x", 6, 1, False)]


def test_rule_20_a_deletion_is_kept_until_the_copy_is_complete() -> None:
    script = copy()
    script.hear("a", update("x", 1, b"one"))
    script.hear("a", update("x", 2, None))
    script.hear("a", update("y", 3, b"y"))
    assert script.hear("a", update("x", 1, b"one")) == acked(script, "x", 2)
    assert script.hear("a", whole(stage=2, since=1, sequence=3)) == (
        Send("a", WholeAck("r", 0, 5, 2, life_of(script))),
    )
    assert script.hear("a", update("x", 1, b"one", stage=1)) == ()
    [send] = script.hear("z", fetch(epoch=9))
    assert send.message.entries == (("y", 5, 3, False),)
    assert send.message.whole == (5, 3)


def test_rule_20_a_deletion_beyond_the_mark_is_kept() -> None:
    script = copy()
    script.hear("a", update("x", 2, None))
    script.hear("a", whole(sequence=1))
    assert listed(script) == [("x", 5, 2, True)]


def test_rule_14_what_was_not_confirmed_since_it_became_a_backup_is_removed() -> None:
    script = copy()
    script.hear("a", update("old", 1, b"1", epoch=4))
    script.hear("a", update("gone", 2, b"2", stage=1))
    script.hear("a", update("there", 3, b"3", stage=1))
    script.hear("a", update("there", 3, b"3", stage=4))
    script.hear("a", whole(stage=5, since=4, sequence=3))
    assert listed(script) == [("there", 5, 3, False)]


def test_rule_14_a_copy_that_nothing_was_added_to_is_complete_as_of_a_later_membership_when_its_owner_says_so() -> None:
    script = copy()
    script.hear("a", update("x", 1, b"one"))
    script.hear("a", evolve(whole(sequence=1), index=7))
    script.hear("a", evolve(whole(stage=2, sequence=1), index=9))
    [send] = script.hear("z", fetch(epoch=6))
    assert send.message.index == 9


def test_rule_14_a_dropped_copy_has_nothing_and_still_refuses() -> None:
    script = copy()
    script.hear("a", update("x", 1, b"one"))
    script.hear("a", whole(sequence=1))
    assert script.hear("a", drop(stage=2)) == (Send("a", Dropped("r", 0, 5, 2)),)
    assert script.hear("a", drop(stage=2)) == (Send("a", Dropped("r", 0, 5, 2)),)
    assert script.hear("q", update("x", 1, b"one", epoch=4)) == (Send("q", Refused("r", 0, 5)),)
    assert script.hear("z", fetch(epoch=9)) == (Send("z", Page("r", 0, 9, life_of(script), (0, 0), 0, (), 0)),)


def test_rule_14_a_late_drop_does_not_touch_the_copy_of_a_later_stage() -> None:
    script = copy()
    script.hear("a", update("x", 1, b"one", stage=3))
    assert script.hear("a", drop(stage=2)) == ()
    assert listed(script) == [("x", 5, 1, False)]


def test_rule_21_lists_and_states_come_in_pages() -> None:
    script = Script(Backup(Random(1), ReplicaOptions(page_entries=2, page_bytes=10)))
    for number, name in enumerate("vwxyz"):
        script.hear("a", update(name, number + 1, bytes(6)))
    [first], [second] = script.hear("z", fetch(epoch=6)), script.hear("z", fetch(2, epoch=6))
    assert [entry[0] for entry in first.message.entries] == ["v", "w"]
    assert (first.message.following, second.message.following) == (2, 4)
    [third] = script.hear("z", fetch(4, epoch=6))
    assert ([entry[0] for entry in third.message.entries], third.message.following) == (["z"], 0)
    assert script.hear("z", fetch(epoch=6)) == (first,)
    [some] = script.hear("z", Pull("r", 0, 6, tuple("nvwxyz")))
    assert some == Send("z", States("r", 0, 6, life_of(script), (("v", 5, 1, bytes(6)),)))
    [beyond] = script.hear("z", fetch(70, epoch=6))
    assert (beyond.message.entries, beyond.message.following) == ((), 0)


def test_rule_21_what_does_not_fit_into_an_answer_any_more_is_not_in_it_and_one_state_is_whatever_its_size() -> None:
    script = Script(Backup(Random(1), ReplicaOptions(page_entries=9, page_bytes=20)))
    for number, (name, size) in enumerate({"a": 9, "b": 9, "c": 1, "d": 50, "e": 1}.items()):
        script.hear("a", update(name, number + 1, bytes(size)))
    script.hear("z", fetch(epoch=6))
    for asked, found in {"abc": "ab", "ad": "a", "de": "d", "cea": "cea"}.items():
        [some] = script.hear("z", Pull("r", 0, 6, tuple(asked)))
        assert "".join([state[0] for state in some.message.entries]) == found


def test_rule_23_a_question_in_an_epoch_in_which_there_was_an_update_is_refused() -> None:
    script = copy()
    script.hear("z", fetch(epoch=6))
    script.hear("z", update("x", 1, b"one", epoch=6))
    assert script.hear("z", fetch(epoch=6)) == (Send("z", InUse("r", 0, 6)),)
    assert script.hear("z", Pull("r", 0, 6, ("x",))) == (Send("z", InUse("r", 0, 6)),)


def test_rule_15_what_the_owner_of_this_node_had_becomes_a_copy() -> None:
    script = copy()
    script.hear("a", update("mine", 1, b"1", epoch=3))
    script.hear("a", update("newer", 9, b"9", epoch=3))
    kept = (("x", 5, 4, b"x"), ("gone", 5, 6, None))
    assert script.do(Keep("r", 0, 5, 2, (5, 6), kept)) == ()
    assert script.hear("a", update("x", 9, b"old", epoch=4)) == (Send("a", Refused("r", 0, 5)),)
    [send] = script.hear("z", fetch(epoch=6))
    assert send.message.entries == (("x", 5, 4, False), ("gone", 5, 6, True))
    assert send.message.whole == (5, 6)


def test_rule_15_a_kept_state_does_not_replace_a_newer_one_nor_bring_back_what_was_deleted() -> None:
    script = copy()
    script.hear("z", update("x", 3, b"new", epoch=7))
    script.hear("z", whole(epoch=7, sequence=3))
    script.do(Keep("r", 0, 5, 2, (5, 6), (("x", 5, 4, b"old"), ("y", 5, 6, b"deleted since"))))
    assert listed(script) == [("x", 7, 3, False)]


def test_rule_14_a_process_that_was_started_again_is_not_complete_because_the_one_before_it_was() -> None:
    script = copy()
    [send] = script.hear("a", whole(sequence=3, life=LIFE))
    assert send.message == WholeAck("r", 0, 5, 1, life_of(script)), "its owner learns who answers"
    # Otherwise whatever it lacks would count as deleted.
    [send] = script.hear("z", fetch(epoch=6))
    assert send.message.whole == NEVER


def test_rule_26_of_a_region_that_is_no_more_nothing_is_kept() -> None:
    script = copy()
    script.hear("a", update("x", 1, b"one"))
    assert script.do(Ended("q", 99)) == ()
    assert script.do(Ended("r", 5)) == ()
    assert script.machine.copies() == (("r", 0),)
    script.do(Ended("r", 6))
    assert script.machine.copies() == ()
    assert listed(script) == []


def test_rule_26_what_is_of_a_later_region_of_that_name_stays() -> None:
    script = copy()
    script.hear("a", update("x", 1, b"old"))
    script.hear("b", update("y", 1, b"new", epoch=8))
    script.do(Ended("r", 7))
    assert listed(script) == [("y", 8, 1, False)]


def test_rule_24_a_process_that_does_not_know_when_it_began_answers_no_new_owner_and_then_says_it() -> None:
    script = copy()
    script.do(Began(None))
    assert script.hear("z", fetch(epoch=9)) == ()
    script.do(Began(12))
    [send] = script.hear("z", fetch(epoch=9))
    assert send.message.began == 12
