"""What lies between two control states: `cluster/changes.py`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.cluster import (
    Assign,
    Change,
    ControlState,
    Forget,
    Gift,
    Join,
    Leave,
    Left,
    MarkDown,
    MarkUp,
    MemberDown,
    MemberJoined,
    MemberLeaving,
    MemberRemoved,
    MemberReturned,
    MemberUpdated,
    NameEntry,
    NameFreed,
    NameTaken,
    RegionAdded,
    RegionRemoved,
    Removal,
    RemoveRegion,
    ShardsMoved,
    Status,
    UnregisterName,
    Update,
)
from casty_proto.cluster.changes import difference

from .kit import Server, entities, named, node, running
from .test_state import CHOICES, Choice, command_of


class User:
    """Somebody who knows nothing but what changes say."""

    def __init__(self, state: ControlState) -> None:
        self.members = {one.key: (one.node, one.status) for one in state.members()}
        self.owners = {one.name: dict(enumerate(one.owners)) for one in state.regions()}
        self.epochs = {one.name: dict(enumerate(one.epochs)) for one in state.regions()}
        self.names: dict[str, NameEntry] = dict(state.names())

    def hear(self, change: Change) -> None:
        match change:
            case MemberJoined(member):
                assert member.key not in self.members
                assert member.node.node_id not in [one.node_id for one, _ in self.members.values()]
                self.members[member.key] = (member.node, Status.UP)
            case MemberUpdated(member):
                self.members[member.key] = (member.node, self.members[member.key][1])
            case MemberLeaving(member):
                assert self.members[member.key][1] is Status.UP
                self.members[member.key] = (self.members[member.key][0], Status.LEAVING)
            case MemberDown(member):
                assert self.members[member.key][1] is not Status.DOWN
                self.members[member.key] = (self.members[member.key][0], Status.DOWN)
            case MemberReturned(member):
                assert self.members[member.key][1] is Status.DOWN
                self.members[member.key] = (self.members[member.key][0], Status.UP)
            case MemberRemoved(member, _):
                del self.members[member.key]
            case _:
                self._hear_of_others(change)

    def _hear_of_others(self, change: Change) -> None:
        match change:
            case RegionAdded(region):
                assert region not in self.owners
                self.owners[region], self.epochs[region] = {}, {}
            case RegionRemoved(region):
                del self.owners[region], self.epochs[region]
            case ShardsMoved(region, to, epoch, shards):
                for shard, before, _ in shards:
                    assert self.owners[region].get(shard) == before
                    assert self.epochs[region].get(shard, 0) < epoch
                    self.owners[region][shard], self.epochs[region][shard] = to, epoch
            case NameTaken(name, entry):
                assert name not in self.names
                assert entry.node in self.members
                self.names[name] = entry
            case NameFreed(name, entry):
                assert self.names.pop(name) == entry

    def check(self, state: ControlState) -> None:
        """What it knows is so. Shards that nobody has ever owned need not be spoken of."""
        assert self.members == {one.key: (one.node, one.status) for one in state.members()}
        assert self.names == dict(state.names())
        assert sorted(self.owners) == [one.name for one in state.regions()]
        for region in state.regions():
            for shard, owner in enumerate(region.owners):
                assert self.owners[region.name].get(shard) == owner
                assert self.epochs[region.name].get(shard, region.registered) == region.epoch(shard)


@settings(max_examples=120, deadline=None)
@given(CHOICES, st.integers(0, 60))
def test_the_difference_describes_the_later_state_to_whoever_knew_the_earlier_one(
    choices: list[Choice], cut: int
) -> None:
    server, entries = Server("a", "b"), [b""]
    before = ControlState()
    for number, choice in enumerate(choices):
        if number == cut:
            before = ControlState.decode(server.state.encode())
        entries.append(command_of(choice, server.state, entries))
        server.apply(entries[-1])
    user = User(before)
    for change in difference(before, server.state):
        user.hear(change)
    user.check(server.state)


@settings(max_examples=60, deadline=None)
@given(CHOICES)
def test_nothing_lies_between_a_state_and_itself_and_all_of_it_between_none_and_itself(choices: list[Choice]) -> None:
    server, entries = Server("a", "b"), [b""]
    for choice in choices:
        entries.append(command_of(choice, server.state, entries))
        server.apply(entries[-1])
    assert difference(server.state, ControlState.decode(server.state.encode())) == ()
    user = User(ControlState())
    for change in difference(ControlState(), server.state):
        user.hear(change)
    user.check(server.state)


def between(server: Server, *commands: object) -> tuple[Change, ...]:
    """The difference that commands make."""
    before = ControlState.decode(server.state.encode())
    for command in commands:
        server.changes(command)  # type: ignore[arg-type]
    return difference(before, server.state)


def test_who_was_replaced_goes_before_the_newer_generation_comes() -> None:
    first, second = between(running(), Join(node("b", 2)))[:2]
    assert isinstance(first, MemberRemoved)
    assert (first.member.key, first.reason) == ("b.1", Removal.REPLACED)
    assert isinstance(second, MemberJoined)
    assert second.member.key == "b.2"


def test_who_was_leaving_and_is_gone_has_left_and_anybody_else_was_forgotten() -> None:
    server = Server("a", "b", "c")
    server.changes(Leave("b.1"))
    server.changes(MarkDown("c.1"))
    reasons = [one.reason for one in between(server, Left("b.1"), Forget("c")) if isinstance(one, MemberRemoved)]
    assert reasons == [Removal.LEFT, Removal.FORGOTTEN]


def test_who_is_new_and_down_has_come_and_is_down() -> None:
    kinds = [type(one) for one in between(Server("a"), Join(node("b")), MarkDown("b.1"))]
    assert kinds == [MemberJoined, MemberDown]


def test_who_was_down_and_leaves_has_returned_before() -> None:
    server = Server("a", "b")
    server.changes(MarkDown("b.1"))
    kinds = [type(one) for one in between(server, MarkUp("b.1"), Leave("b.1"))]
    assert kinds == [MemberReturned, MemberLeaving]


def test_who_was_leaving_and_is_up_was_down_and_has_returned() -> None:
    server = Server("a", "b")
    server.changes(Leave("b.1"))
    kinds = [type(one) for one in between(server, MarkDown("b.1"), MarkUp("b.1"))]
    assert kinds == [MemberDown, MemberReturned]


def test_what_happened_and_was_undone_nobody_hears_of() -> None:
    server = running()
    assert between(server, MarkDown("b.1"), MarkUp("b.1")) == ()
    assert between(server, named(), UnregisterName("boss", "a.1", 1)) == ()
    kinds = [type(one) for one in between(server, Update(node("b", 1, "db")))]
    assert kinds == [MemberUpdated]


def test_new_members_come_in_the_order_in_which_they_joined() -> None:
    found = between(Server("x"), Join(node("c")), Join(node("a")), Join(node("b")))
    assert [one.member.key for one in found if isinstance(one, MemberJoined)] == ["c.1", "a.1", "b.1"]


def test_whatever_has_moved_counts_as_taken() -> None:
    """Nobody knows any more who gave what to whom: so it has no known epoch before."""
    server = running()
    epoch = server.state.epoch_of("accounts", 0)
    (moved,) = between(server, Assign((Gift("accounts", "b.1", ((0, epoch),)),)))
    assert moved == ShardsMoved("accounts", "b.1", server.index, ((0, "a.1", 0),), True)


def test_shards_that_moved_together_are_told_of_together_in_the_order_of_their_epochs() -> None:
    server = Server("a", "b")
    server.changes(entities())
    epoch = server.index
    gifts = (Gift("accounts", "a.1", ((0, epoch), (2, epoch))), Gift("accounts", "b.1", ((1, epoch),)))
    found = between(server, Assign(gifts[1:]), Assign(gifts[:1]))
    assert [one.shards for one in found if isinstance(one, ShardsMoved)] == [
        ((1, None, 0),),
        ((0, None, 0), (2, None, 0)),
    ]


def test_a_region_that_was_removed_and_registered_again_is_another_one() -> None:
    server = Server("a", "b")
    server.changes(entities())
    found = between(server, RemoveRegion("accounts", server.index), entities())
    assert found == (RegionRemoved("accounts"), RegionAdded("accounts"))


def test_a_name_that_is_somebody_elses_was_freed_before_it_was_taken() -> None:
    server = Server("a", "b")
    server.changes(named(by="a.1"))
    kinds = [type(one) for one in between(server, UnregisterName("boss", "a.1", 1), named(by="b.1"))]
    assert kinds == [NameFreed, NameTaken]
