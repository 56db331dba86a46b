"""Plans: who should own and back up what, as it follows from the applied members. `cluster/plans.py`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.cluster import (
    Command,
    Forget,
    Join,
    Leave,
    MarkDown,
    MarkUp,
    NodeInfo,
    Region,
    RegionKind,
    RegionSettings,
    RegisterRegion,
    Update,
)
from casty_proto.cluster.core import Core
from casty_proto.cluster.plans import Plans

from .kit_parts import core_of, execute

UP, LEAVING, DOWN = "up", "leaving", "down"
NAMES = "abcdef"
STATUSES = st.lists(st.sampled_from([UP, UP, LEAVING, DOWN]), min_size=1, max_size=6)


def cluster(*statuses: str, factor: int = 2, role: str | None = None) -> tuple[Core, Plans, Region]:
    """Members `a`, `b` and so on, of these statuses. Every second one has the role `db`. Eight shards."""
    core = core_of()
    for name, status in zip(NAMES, statuses, strict=False):
        roles = ("db",) if NAMES.index(name) % 2 else ()
        execute(core, Join(NodeInfo(name, 1, name, roles)))
        if status != UP:
            execute(core, Leave(f"{name}.1") if status == LEAVING else MarkDown(f"{name}.1"))
    settings = RegionSettings(num_shards=8, factor=factor, role=role)
    execute(core, RegisterRegion("r", RegionKind.ENTITIES, settings, "a.1"))
    plans = Plans(core)
    plans.refresh()
    region = core.state.region("r")
    assert region is not None
    return core, plans, region


@settings(max_examples=80, deadline=None)
@given(STATUSES, st.integers(1, 4), st.sampled_from([None, "db"]))
def test_homes_are_members_that_are_up_and_have_the_role(statuses: list[str], factor: int, role: str | None) -> None:
    core, plans, region = cluster(*statuses, factor=factor, role=role)
    able = core.state.up_members(role)
    homes = plans.homes(region)
    assert len(homes) == 8
    assert homes == tuple([plans.home(region, shard) for shard in range(8)])
    assert all(home in able if able else home is None for home in homes)


@settings(max_examples=80, deadline=None)
@given(STATUSES, st.integers(1, 4), st.sampled_from([None, "db"]))
def test_backups_are_others_than_the_owner_each_once_and_nobody_who_leaves(
    statuses: list[str], factor: int, role: str | None
) -> None:
    core, plans, region = cluster(*statuses, factor=factor, role=role)
    counting, up = core.state.counting_members(role), core.state.up_members(role)
    for shard in range(8):
        owner = plans.home(region, shard)
        if owner is None:
            continue
        backups = plans.backups(region, shard, owner)
        assert owner not in backups
        assert len(dict.fromkeys(backups)) == len(backups)
        assert all(one in counting for one in backups)
        alive = [one for one in backups if one in up]
        assert len(alive) == min(factor, len(up)) - 1, "who is down does not take the place of anybody who is up"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([UP, DOWN]), min_size=2, max_size=6), st.integers(2, 4))
def test_who_is_down_stays_a_backup_of_what_it_would_hold_if_it_were_up(statuses: list[str], factor: int) -> None:
    core, plans, region = cluster(*statuses, factor=factor)
    all_up, all_plans, all_region = cluster(*[UP] * len(statuses), factor=factor)
    down = [one for one in core.state.counting_members(None) if one not in core.state.up_members()]
    for shard in range(8):
        owner = plans.home(region, shard)
        if owner is None:
            continue
        first = all_plans.home(all_region, shard)
        assert first is not None
        holders = (first, *all_plans.backups(all_region, shard, first))
        backups = plans.backups(region, shard, owner)
        assert [one for one in down if one in backups] == [one for one in down if one in holders]
    assert all_up.state.up_members() == all_up.state.counting_members()


def test_who_is_forgotten_or_leaves_is_no_backup_any_more() -> None:
    core, plans, region = cluster(UP, UP, UP, factor=3)
    assert plans.backups(region, 0, "a.1") in (("b.1", "c.1"), ("c.1", "b.1"))
    execute(core, MarkDown("c.1"))
    plans.refresh()
    assert sorted(plans.backups(region, 0, "a.1")) == ["b.1", "c.1"], "it counts while it is down"
    execute(core, Forget("c"))
    plans.refresh()
    assert plans.backups(region, 0, "a.1") == ("b.1",)
    execute(core, Leave("b.1"))
    plans.refresh()
    assert plans.backups(region, 0, "a.1") == ()


def test_while_a_shard_is_on_its_way_home_there_is_one_holder_more() -> None:
    _, plans, region = cluster(UP, UP, UP, factor=2)
    for shard in range(8):
        home = plans.home(region, shard)
        assert home is not None
        (backup,) = plans.backups(region, shard, home)
        (other,) = [one for one in ("a.1", "b.1", "c.1") if one not in (home, backup)]
        assert plans.backups(region, shard, other) == (home, backup)


def test_without_replication_nobody_backs_anything_up() -> None:
    _, plans, region = cluster(UP, UP, UP, factor=1)
    assert [plans.backups(region, shard, "a.1") for shard in range(8)] == [()] * 8


def test_a_newer_generation_has_the_homes_of_the_older_one() -> None:
    core, plans, region = cluster(UP, UP, UP)
    before = plans.homes(region)
    execute(core, Join(NodeInfo("b", 5, "elsewhere", ("db",))))
    assert plans.refresh()
    assert plans.homes(region) == tuple(["b.5" if one == "b.1" else one for one in before])


def test_refresh_says_whether_any_plan_may_be_another_one() -> None:
    core, plans, _ = cluster(UP, UP, UP)

    def changed_by(command: Command) -> bool:
        execute(core, command)
        return plans.refresh()

    assert not plans.refresh()
    assert not changed_by(Update(NodeInfo("a", 1, "elsewhere")))
    assert changed_by(Update(NodeInfo("a", 1, "a", ("db",)))), "its role"
    assert changed_by(Update(NodeInfo("a", 1, "a", ("db",), weight=3)))
    assert changed_by(MarkDown("b.1"))
    assert changed_by(MarkUp("b.1"))
    assert changed_by(Leave("c.1"))
    assert changed_by(Join(NodeInfo("b", 2, "b"))), "its generation"
