"""Who of those who hold a shard is missing, when a new owner looks for what was acknowledged."""

from __future__ import annotations

from casty_proto.replica.counting import Counting


def test_rule_17_without_anybody_who_counts_nobody_is_missing() -> None:
    assert Counting().missing({"a": 0}) == ()
    assert not Counting().are_too_many((), {})


def test_rule_17_whoever_has_not_answered_is_missing() -> None:
    counting = Counting(((3, ("a", "b", "c")),), bearable=1, several=(0,))
    assert counting.missing({"a": 3, "b": 3}) == ("c",)
    assert counting.missing({"a": 3}) == ("b", "c")
    assert not counting.are_too_many(("c",), {"a": 3, "b": 3})
    assert counting.are_too_many(("b", "c"), {"a": 3})


def test_rule_17_a_process_that_began_later_and_has_no_complete_copy_is_missing_although_it_answers() -> None:
    counting = Counting(((3, ("a", "b")),), owners=((5, "a"),), began={"b": 9, "c": 1})
    assert counting.missing({"b": 0, "c": 0}) == ("a", "b")


def test_rule_17_a_process_that_was_there_all_the_time_is_believed_whatever_it_has() -> None:
    counting = Counting(((3, ("a", "b")),), owners=((5, "a"),), began={"b": 4})
    assert counting.missing({"b": 0}) == ("a",)


def test_rule_17_a_process_that_was_there_when_it_came_to_hold_the_shard_is_believed() -> None:
    counting = Counting(
        ((3, ("a", "b")), (9, ("b", "c", "a"))), owners=((4, "a"),), began={"b": 1, "c": 7}, bearable=1, several=(0,)
    )
    assert counting.missing({"b": 5, "c": 0}) == ("a",)


def test_rule_17_a_process_that_began_after_it_came_to_hold_the_shard_is_missing() -> None:
    counting = Counting(((3, ("a", "b")), (9, ("b", "c", "a"))), owners=((4, "a"),), began={"b": 1, "c": 11})
    assert counting.missing({"b": 5, "c": 0}) == ("a", "c")


def test_rule_17_a_process_that_began_between_two_times_of_holding_the_shard_is_missing() -> None:
    counting = Counting(((3, ("a", "b", "c")), (6, ("a", "b")), (9, ("a", "b", "c"))), began={"c": 7})
    assert counting.missing({"a": 5, "b": 5, "c": 0}) == ("c",)
    assert counting.missing({"a": 6, "b": 6, "c": 0}) == ()


def test_rule_17_an_owner_that_was_there_when_it_was_given_the_shard_is_believed() -> None:
    counting = Counting(((3, ("b",)),), owners=((4, "b"), (8, "a")), began={"a": 7, "b": 1})
    assert counting.missing({"a": 0, "b": 5}) == ()
    late = Counting(((3, ("b",)),), owners=((4, "b"), (8, "a")), began={"a": 9, "b": 1})
    assert late.missing({"a": 0, "b": 5}) == ("a",)


def test_rule_17_who_held_the_shard_before_a_copy_was_complete_counts_no_more() -> None:
    counting = Counting(((3, ("a", "b")), (7, ("a", "c"))), owners=((4, "z"), (6, "a")))
    assert counting.missing({"c": 8}) == ("a",)
    assert counting.missing({"c": 5}) == ("a", "b", "z")


def test_rule_17_owners_that_followed_one_another_and_got_nothing_do_not_hide_the_one_before_them() -> None:
    counting = Counting(((3, ("a", "b")),), owners=((4, "a"), (9, "b"), (11, "d")), bearable=1, several=(0,))
    assert counting.missing({"c": 0, "e": 0}) == ("a", "b", "d")


def test_rule_17_where_all_backups_have_a_write_one_complete_copy_is_enough() -> None:
    counting = Counting(((3, ("a", "b", "c")),), bearable=-1)
    assert not counting.are_too_many(counting.missing({"b": 3}), {"b": 3})
    assert counting.are_too_many(counting.missing({"b": 0}), {"b": 0})


def test_rule_17_while_no_backup_was_possible_the_owner_alone_may_have_what_was_acknowledged() -> None:
    counting = Counting(((2, ("a",)), (6, ("a", "b"))), owners=((4, "a"),), bearable=1, several=(6,))
    assert counting.are_too_many(counting.missing({"b": 0, "c": 0}), {"b": 0, "c": 0})
    # A copy that is complete as of a time when a backup was required has all that was acknowledged before that.
    assert counting.missing({"b": 6, "c": 0}) == ("a",)
    assert not counting.are_too_many(("a",), {"b": 6, "c": 0})


def test_rule_17_as_many_may_be_missing_as_backups_were_possible_at_the_time() -> None:
    counting = Counting(((3, ("a", "b", "c")),), owners=((3, "a"),), bearable=2, several=(3, 8))
    assert not counting.are_too_many(("a",), {"b": 5})
    assert counting.are_too_many(("a", "c"), {"b": 5})
    assert not counting.are_too_many(("a", "c"), {"b": 8})


def test_rule_24_whoever_says_that_it_began_later_than_is_known_is_missing_without_a_complete_copy() -> None:
    counting = Counting(((3, ("a", "b")),), owners=((4, "a"),), began={"b": 2})
    assert counting.missing({"b": 0}) == ("a",)
    assert counting.with_began("b", 1) is counting
    assert counting.with_began("b", 7).missing({"b": 0}) == ("a", "b")
    assert counting.with_began("b", 7).missing({"b": 8}) == ("a",)


def test_rule_17_where_there_were_owners_of_which_nothing_is_known_nobody_may_be_missing_without_a_complete_copy() -> (
    None
):
    counting = Counting(((0, ("a", "b", "c")), (3, ("a", "b"))), owners=((8, "a"),), bearable=1, several=(2,))
    assert counting.missing({"a": 0, "b": 0}) == ("c",)
    assert counting.are_too_many(("c",), {"a": 0, "b": 0})
    assert counting.missing({"a": 0, "b": 4}) == ()
