"""Regions of the control state: rules 7 to 12, 20 and 21, and the names of actors, rule 13."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from casty_proto.cluster import (
    AlreadySo,
    Applied,
    Assign,
    DropNames,
    Forget,
    Gift,
    Join,
    Leave,
    Left,
    MarkDown,
    MemberRestarted,
    NameEntry,
    NameFreed,
    NameTaken,
    Outdated,
    RegionAdded,
    RegionClosing,
    RegionKind,
    RegionRemoved,
    RegionSettings,
    RegisterName,
    RegisterRegion,
    RemoveRegion,
    ShardsMoved,
    Taken,
    UnregisterName,
    Update,
)
from casty_proto.cluster.checks import REGIONS_MAX

from .kit import Server, down, entities, gift, named, node, running, singleton


def test_rule_7_a_region_is_there_once_it_is_registered() -> None:
    server = Server("a")
    assert server.changes(evolve(entities(num_shards=2), recipe=b"how")) == (RegionAdded("accounts"),)
    region = server.state.region("accounts")
    assert region is not None
    assert (region.kind, region.by, region.registered, region.recipe) == (RegionKind.ENTITIES, "a.1", 2, b"how")
    assert (region.owners, region.epochs) == ((None, None), (2, 2))
    assert server.state.owner_of("accounts", 0) is None
    assert server.state.owner_of("nothing", 0) is None
    assert server.state.epoch_of("nothing", 0) == 0


def test_rule_7_a_second_registration_with_equal_settings_finds_the_first_one() -> None:
    server = Server("a", "b")
    server.changes(entities())
    assert server.apply(evolve(entities(by="b.1"), recipe=b"other")) == AlreadySo()
    region = server.state.region("accounts")
    assert region is not None
    assert (region.by, region.recipe) == ("a.1", b"")


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"num_shards": 5}, "num_shards is 4, not 5"),
        ({"role": "web"}, "role is None, not 'web'"),
        ({"factor": 3}, "factor is 2, not 3"),
        ({"sync_count": -1}, "sync_count is 0, not -1"),
        ({"timeout_ns": 7}, "timeout_ns is 5000000000, not 7"),
        ({"idle_timeout_ns": 7}, "idle_timeout_ns is None, not 7"),
        ({"remember": True}, "remember is False, not True"),
    ],
)
def test_rule_7_another_setting_is_refused_by_its_name(changed: dict[str, Any], text: str) -> None:
    server = Server("a", "b")
    settings = RegionSettings(num_shards=4, factor=2)
    server.changes(RegisterRegion("accounts", RegionKind.ENTITIES, settings, "a.1"))
    second = RegisterRegion("accounts", RegionKind.ENTITIES, evolve(settings, **changed), "b.1")
    assert server.reason(second) == (f"'accounts' differs from what a.1 registered: its {text}; use the same settings")


def test_rule_7_an_entity_type_is_no_singleton() -> None:
    server = Server("a")
    server.changes(entities("clock", num_shards=1))
    assert "it is of kind ENTITIES" in server.reason(singleton())
    assert server.state.singleton_owner("clock") is None


def test_rule_7_only_members_register() -> None:
    assert "b.1 cannot register 'accounts'" in Server("a").reason(entities(by="b.1"))


def test_rule_8_an_assignment_moves_the_shards_that_have_the_expected_epoch() -> None:
    server = Server("a", "b")
    server.changes(entities())
    moved = ((0, None, 3), (2, None, 3))
    assert server.changes(Assign((gift("a.1", (0, 3), (1, 2), (2, 3)),))) == (ShardsMoved("accounts", "a.1", 4, moved),)
    assert [server.state.owner_of("accounts", shard) for shard in range(4)] == ["a.1", None, "a.1", None]
    assert [server.state.epoch_of("accounts", shard) for shard in range(4)] == [4, 3, 4, 3]


def test_rule_8_of_two_that_expect_one_epoch_the_second_does_nothing() -> None:
    server = running("c")
    epoch = server.state.epoch_of("accounts", 0)
    server.changes(Assign((gift("b.1", (0, epoch)),)))
    assert isinstance(server.apply(Assign((gift("c.1", (0, epoch)),))), Outdated)
    assert server.state.owner_of("accounts", 0) == "b.1"


def test_rule_8_one_command_gives_shards_of_many_regions_to_many() -> None:
    server = running()
    server.changes(singleton())
    gifts = (gift("b.1", (0, 4)), gift("a.1", (3, 5), (2, 4)), gift("a.1", (0, 6), region="clock"))
    assert server.changes(Assign(gifts)) == (
        ShardsMoved("accounts", "b.1", 7, ((0, "a.1", 4),)),
        ShardsMoved("accounts", "a.1", 7, ((3, "b.1", 5),)),
        ShardsMoved("clock", "a.1", 7, ((0, None, 6),)),
    )
    assert server.state.singleton_owner("clock") == "a.1"
    assert server.state.shards_of("a.1") == (("accounts", 1), ("accounts", 3), ("clock", 0))


def test_rule_8_what_cannot_be_given_does_not_hold_up_the_rest() -> None:
    server = running()
    gifts = (gift("c.1", (1, 4)), gift("b.1", (0, 4)), gift("b.1", (0, 1), region="nothing"))
    assert server.changes(Assign(gifts)) == (ShardsMoved("accounts", "b.1", 6, ((0, "a.1", 4),)),)


def test_rule_9_a_shard_that_stands_twice_in_a_command_moves_once() -> None:
    server = running()
    gifts = (gift("b.1", (0, 4), (0, 4), (0, 6)), gift("a.1", (0, 6)))
    assert server.changes(Assign(gifts)) == (ShardsMoved("accounts", "b.1", 6, ((0, "a.1", 4),)),)
    assert server.state.epoch_of("accounts", 0) == 6


def test_rule_9_the_same_owner_gets_a_new_epoch() -> None:
    server = running()
    assert server.give("a.1", 0) == (ShardsMoved("accounts", "a.1", 6, ((0, "a.1", 4),)),)
    assert server.state.epoch_of("accounts", 0) == 6


def test_rule_9_epochs_rise_over_removal_and_new_registration() -> None:
    server = running()
    server.changes(RemoveRegion("accounts", 3))
    server.give(None, 0, 1, 2, 3)
    server.changes(entities())
    assert server.state.epoch_of("accounts", 0) == 8
    assert isinstance(server.apply(Assign((gift("a.1", (0, 4), (1, 7)),))), Outdated)


@pytest.mark.parametrize("state", ["LEAVING", "DOWN"])
def test_rule_10_shards_are_given_to_a_member_that_is_up(state: str) -> None:
    server = running()
    if state == "DOWN":
        down(server, "b.1")
    else:
        server.changes(Leave("b.1"))
    assert f"b.1 cannot own shards of 'accounts': it is {state}" in server.reason(Assign((gift("b.1", (0, 4)),)))


def test_rule_10_shards_are_given_to_a_member_with_the_role_as_it_is_now() -> None:
    server = Server("a", "b")
    server.changes(entities(role="db"))
    assert "does not have the role 'db'" in server.reason(Assign((gift("b.1", (0, 3)),)))
    server.changes(Update(node("b", 1, "db")))
    server.give("b.1", 0)


def test_rule_10_shards_can_be_given_to_nobody() -> None:
    server = running()
    assert server.give(None, 0) == (ShardsMoved("accounts", None, 6, ((0, "a.1", 4),)),)
    assert server.state.owned_count("a.1") == 1


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (Gift("nothing", "a.1", ((0, 4),)), "there is no 'nothing'"),
        (Gift("accounts", "b.1", ((0, 4), (4, 4))), "'accounts' has no shard 4; it has 4"),
    ],
)
def test_rule_10_what_is_not_there_is_not_given(wrong: Gift, text: str) -> None:
    assert text in running().reason(Assign((wrong,)))


def test_rule_12_a_region_without_owners_goes_at_once() -> None:
    server = Server("a")
    server.changes(entities())
    assert server.changes(RemoveRegion("accounts", 2)) == (RegionRemoved("accounts"),)
    assert server.apply(RemoveRegion("accounts", 2)) == AlreadySo()
    assert server.state.region("accounts") is None


def test_rule_12_a_region_goes_with_its_last_owner_and_keeps_its_name_until_then() -> None:
    server = running()
    assert server.changes(RemoveRegion("accounts", 3)) == (RegionClosing("accounts"),)
    assert server.apply(RemoveRegion("accounts", 3)) == AlreadySo()
    assert "being removed" in server.reason(entities())
    assert "given to nobody" in server.reason(Assign((gift("b.1", (0, 4)),)))
    server.give(None, 0, 1, 2)
    moved = ShardsMoved("accounts", None, 11, ((3, "b.1", 5),))
    assert server.give(None, 3) == (moved, RegionRemoved("accounts"))
    server.changes(entities(num_shards=9))


def test_rule_12_a_late_removal_does_not_remove_what_was_registered_anew() -> None:
    server = Server("a")
    server.changes(entities())
    server.changes(RemoveRegion("accounts", 2))
    server.changes(entities())
    assert isinstance(server.apply(RemoveRegion("accounts", 2)), Outdated)


def test_rule_13_the_first_gets_the_name_and_the_second_learns_who_that_is() -> None:
    server = Server("a", "b")
    entry = NameEntry("a.1", 7, "/7", 3)
    assert server.changes(named(number=7)) == (NameTaken("boss", entry),)
    assert server.apply(named(by="b.1", number=7)) == Taken(entry)
    assert server.apply(named(number=8)) == Taken(entry)
    assert server.apply(named(number=7)) == AlreadySo()
    assert server.state.name("boss") == entry
    assert server.state.names_of("a.1") == ("boss",)


def test_rule_13_a_name_is_given_to_members_that_are_there() -> None:
    server = Server("a", "b")
    down(server, "b.1")
    assert "it is held to be down" in server.reason(named(by="b.1"))
    assert "it is no member" in server.reason(named(by="c.1"))
    server.changes(Leave("a.1"))
    server.changes(named())


def test_rule_14_the_owner_gives_a_name_up_and_nobody_else() -> None:
    server = Server("a", "b")
    server.changes(named())
    assert isinstance(server.apply(UnregisterName("boss", "b.1", 1)), Outdated)
    assert isinstance(server.apply(UnregisterName("boss", "a.1", 2)), Outdated)
    assert server.changes(UnregisterName("boss", "a.1", 1)) == (NameFreed("boss", NameEntry("a.1", 1, "/1", 3)),)
    server.changes(named(by="b.1"))


def test_rule_14_a_process_that_started_again_drops_the_names_of_its_earlier_life() -> None:
    server = Server("a", "b")
    server.changes(named("old"))
    server.changes(named("other", by="b.1"))
    server.changes(named("new"))
    freed = NameFreed("old", NameEntry("a.1", 1, "/1", 3))
    assert server.changes(DropNames("a.1", 5)) == (MemberRestarted(server.member("a.1")), freed)
    assert server.apply(DropNames("a.1", 5)) == AlreadySo()
    assert [name for name, _ in server.state.names()] == ["new", "other"]


def test_rule_17_there_are_at_most_so_many_shards() -> None:
    server = Server("a")
    for number in range(16):
        assert isinstance(server.state.execute(entities(f"type{number}", 2**16), number + 2), Applied)
    assert "choose a smaller num_shards" in str(server.state.execute(entities("more", 1), 20))


def test_rule_17_there_are_at_most_so_many_regions() -> None:
    server = Server("a")
    for number in range(REGIONS_MAX):
        assert isinstance(server.state.execute(singleton(f"s{number}"), number + 2), Applied)
    assert "there are 1024 types and singletons" in str(server.state.execute(singleton("more"), 2000))


def test_rule_17_there_are_at_most_so_many_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casty_proto.cluster.names.NAMES_MAX", 2)
    server = Server("a")
    for name in ("x", "y"):
        server.changes(RegisterName(name, "a.1", 1, "/p"))
    assert "2 names are taken; give some up first" in server.reason(named("z"))


def test_rule_20_a_move_says_who_owned_each_shard_and_at_which_epoch() -> None:
    server = running()
    server.give("b.1", 1)
    server.give(None, 3)
    pairs = tuple([(shard, server.state.epoch_of("accounts", shard)) for shard in range(4)])
    assert pairs == ((0, 4), (1, 6), (2, 5), (3, 7))
    before = ((0, "a.1", 4), (1, "b.1", 6), (2, "b.1", 5), (3, None, 7))
    assert server.changes(Assign((gift("a.1", *pairs),))) == (ShardsMoved("accounts", "a.1", 8, before),)


def test_rule_20_a_move_says_whether_it_was_forced_gift_by_gift() -> None:
    server = running()
    gifts = (gift("b.1", (0, 4)), evolve(gift("b.1", (1, 4)), forced=True))
    assert server.changes(Assign(gifts)) == (
        ShardsMoved("accounts", "b.1", 6, ((0, "a.1", 4),), forced=False),
        ShardsMoved("accounts", "b.1", 6, ((1, "a.1", 4),), forced=True),
    )


def test_rule_20_that_it_is_forced_changes_nothing_of_what_is_given() -> None:
    one, other = running(), running()
    for late in (False, True):
        wanted = gift("b.1", (0, 4), (3, 5))
        outcome, same = one.apply(Assign((wanted,))), other.apply(Assign((evolve(wanted, forced=True),)))
        assert isinstance(outcome, Outdated if late else Applied)
        assert type(outcome) is type(same)
        assert one.state.encode() == other.state.encode()


def peak(server: Server, region: str = "accounts") -> int:
    found = server.state.region(region)
    assert found is not None
    return found.peak


def test_rule_21_the_peak_begins_with_the_members_that_count_when_it_is_registered() -> None:
    server = Server("a", "b", "c", "d")
    down(server, "b.1")
    server.changes(Leave("c.1"))
    server.changes(entities())
    assert peak(server) == 3


def test_rule_21_the_peak_rises_with_the_members_and_never_falls() -> None:
    server = Server("a")
    server.changes(entities())
    seen = [peak(server)]
    for command in (
        Join(node("b")),
        Join(node("c")),
        MarkDown("c.1"),
        Forget("c"),
        Leave("b.1"),
        Left("b.1"),
        Join(node("d")),
        Join(node("d", 2)),
        Join(node("e")),
        Join(node("f")),
    ):
        server.changes(command)
        seen.append(peak(server))
    assert seen == [1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4]


def test_rule_21_it_is_known_when_the_peak_rose_to_as_many_as_there_are_copies() -> None:
    server = Server("a")
    server.changes(evolve(entities(), settings=RegionSettings(num_shards=4, factor=3, sync_count=1)))
    for command in (Join(node("b")), Leave("b.1"), Left("b.1"), Join(node("c")), Join(node("d")), Join(node("e"))):
        server.changes(command)
    region = server.state.region("accounts")
    assert region is not None
    assert (region.peak, region.rises) == (4, [2, 3, 7])


def test_rule_21_only_members_with_the_role_make_the_peak_as_it_is_now() -> None:
    server = Server("a")
    server.changes(entities(role="db"))
    server.changes(singleton())
    assert (peak(server), peak(server, "clock")) == (0, 1)
    server.changes(Join(node("b", 1, "db")))
    assert (peak(server), peak(server, "clock")) == (1, 2)
    server.changes(Update(node("a", 1, "db")))
    assert (peak(server), peak(server, "clock")) == (2, 2)
    server.changes(Update(node("b")))
    assert (peak(server), peak(server, "clock")) == (2, 2)


def test_rule_21_who_leaves_counts_again_when_it_is_held_to_be_down() -> None:
    server = Server("a", "b")
    server.changes(Leave("b.1"))
    server.changes(entities())
    assert peak(server) == 1
    down(server, "b.1")
    assert peak(server) == 2


def test_rule_21_a_region_that_is_registered_anew_has_a_new_peak() -> None:
    server = Server("a", "b")
    server.changes(entities())
    server.changes(Leave("b.1"))
    assert isinstance(server.apply(entities()), AlreadySo)
    assert peak(server) == 2
    server.changes(RemoveRegion("accounts", 3))
    server.changes(entities())
    assert peak(server) == 1


def test_rule_18_the_version_is_the_last_change_of_members_or_regions() -> None:
    server = running()
    assert (server.state.version, server.state.changed) == (5, 5)
    server.changes(named())
    server.apply(entities())
    assert (server.state.version, server.state.changed) == (5, 6)
    down(server, "a.1")
    assert (server.state.version, server.state.changed) == (8, 8)
