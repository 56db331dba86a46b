"""Members of the control state: rules 1 to 6, and what follows for shards and names (11, 14)."""

from __future__ import annotations

import pytest

from casty_proto.cluster import (
    AlreadySo,
    Applied,
    Assign,
    Command,
    Forget,
    Join,
    Leave,
    Left,
    MarkDown,
    MarkUp,
    MemberDown,
    MemberInfo,
    MemberJoined,
    MemberLeaving,
    MemberRemoved,
    MemberReturned,
    MemberUpdated,
    NameFreed,
    NodeInfo,
    Outdated,
    Removal,
    Status,
    UnregisterName,
    Update,
    node_key,
    split_key,
)
from casty_proto.cluster.checks import GRAVES_MAX, MEMBERS_MAX

from .kit import Server, down, gift, named, node, running


def test_rule_1_a_member_is_a_node_id_and_a_generation() -> None:
    server = Server()
    info = MemberInfo(node("a"), Status.UP, 1, 1)
    assert server.changes(Join(node("a"))) == (MemberJoined(info),)
    assert server.state.member("a.1") == info
    assert server.state.key_of("a") == "a.1"
    assert server.state.members() == (info,)


def test_rule_1_a_key_is_taken_apart_at_its_last_dot() -> None:
    assert split_key(node_key("10.0.0.1:80\n.7", 2**63 - 1)) == ("10.0.0.1:80\n.7", 2**63 - 1)


@pytest.mark.parametrize("text", ["", "a", ".1", "a.", "a.01", "a.-1", "a.1 ", "a.\u0661", "a.9999999999999999999", 7])
def test_rule_1_what_is_no_key_is_told_from_one(text: str) -> None:
    with pytest.raises((ValueError, TypeError), match="node key"):
        split_key(text)


def test_rule_2_a_newer_generation_replaces_an_older_one_at_once() -> None:
    server = Server("a", "b")
    old = server.member("a.1")
    joined, new = Join(node("a", 5)), MemberInfo(node("a", 5), Status.UP, 3, 3)
    assert server.changes(joined) == (MemberRemoved(old, Removal.REPLACED), MemberJoined(new))
    assert [member.key for member in server.state.members()] == ["a.5", "b.1"]
    assert server.state.key_of("a") == "a.5"


def test_rule_2_an_older_generation_is_told_who_took_its_place() -> None:
    server = Server()
    server.changes(Join(node("a", 5)))
    assert "a.5 has taken its place" in server.reason(Join(node("a", 4)))
    assert server.state.is_removed("a.4")
    assert not server.state.is_removed("a.5")
    assert not server.state.is_removed("a.6")


@pytest.mark.parametrize("how", ["left", "forgotten"])
def test_rule_2_who_was_removed_cannot_join_again_but_a_newer_generation_can(how: str) -> None:
    server = Server("a", "b")
    if how == "left":
        server.changes(Leave("a.1"))
        server.changes(Left("a.1"))
    else:
        down(server, "a.1")
        server.changes(Forget("a"))
    assert "a.1 was removed from the cluster at index 4" in server.reason(Join(node("a")))
    assert server.state.is_removed("a.1")
    assert server.state.is_removed("a.0")
    assert not server.state.is_removed("b.1")
    assert "removed" in server.reason(MarkUp("a.1"))
    assert [type(change) for change in server.changes(Join(node("a", 2)))] == [MemberJoined]
    assert "a.2 has taken its place" in server.reason(Join(node("a")))


def test_rule_2_who_says_other_things_of_itself_does_not_join_twice() -> None:
    server = Server("a")
    assert server.apply(Join(node("a"))) == AlreadySo()
    assert "update" in server.reason(Join(node("a", 1, "web")))


def test_rule_3_leaving_down_and_up_again() -> None:
    server = Server("a", "b")
    assert server.changes(Leave("a.1")) == (MemberLeaving(MemberInfo(node("a"), Status.LEAVING, 1, 3)),)
    assert server.apply(MarkUp("a.1")) == AlreadySo()
    assert server.changes(MarkDown("a.1")) == (MemberDown(MemberInfo(node("a"), Status.DOWN, 1, 5)),)
    assert "held to be down" in server.reason(Leave("a.1"))
    assert server.changes(MarkUp("a.1")) == (MemberReturned(MemberInfo(node("a"), Status.UP, 1, 7)),)


@pytest.mark.parametrize("command", [Leave("c.1"), MarkDown("c.1"), MarkUp("c.1"), Update(node("c"))])
def test_rule_3_nothing_is_said_of_a_stranger(command: Command) -> None:
    assert "c.1 is no member; it must join first" in Server("a").reason(command)


def test_rule_3_a_member_can_change_what_it_says_of_itself() -> None:
    server = Server("a")
    new = NodeInfo("a", 1, "elsewhere:2", ("web", "api", "web"), 3, b"x")
    assert server.changes(Update(new)) == (MemberUpdated(MemberInfo(new, Status.UP, 1, 2)),)
    assert new.roles == ("api", "web")
    assert server.apply(Update(new)) == AlreadySo()
    assert server.state.up_members("web") == ("a.1",)
    assert server.state.up_members("db") == ()


def test_rule_4_a_member_that_is_down_counts_for_durability_until_it_is_forgotten() -> None:
    server = Server("a", "b", "c")
    down(server, "c.1")
    assert server.state.counting_members() == ("a.1", "b.1", "c.1")
    assert server.state.up_members() == ("a.1", "b.1")
    gone = server.member("c.1")
    assert server.changes(Forget("c")) == (MemberRemoved(gone, Removal.FORGOTTEN),)
    assert server.state.counting_members() == ("a.1", "b.1")


def test_rule_4_a_member_that_leaves_does_not_count_and_one_that_is_replaced_counts_once() -> None:
    server = Server("a", "b", "c")
    server.changes(Leave("b.1"))
    down(server, "c.1")
    server.changes(Join(node("c", 2)))
    assert server.state.counting_members() == ("a.1", "c.2")


def test_rule_4_only_one_that_is_down_can_be_forgotten() -> None:
    server = Server("a", "b")
    assert "it is UP" in server.reason(Forget("a"))
    server.changes(Leave("b.1"))
    assert "it is LEAVING" in server.reason(Forget("b"))
    assert server.apply(Forget("nobody")) == AlreadySo()


def test_rule_5_a_member_that_leaves_goes_when_it_owns_nothing() -> None:
    server = running()
    assert "it is UP" in server.reason(Left("a.1"))
    server.changes(Leave("a.1"))
    assert "it owns 2 shards" in server.reason(Left("a.1"))
    server.give("b.1", 0, 1)
    leaving = server.member("a.1")
    assert server.changes(Left("a.1")) == (MemberRemoved(leaving, Removal.LEFT),)
    assert server.apply(Left("a.1")) == AlreadySo()


def test_rule_5_the_last_that_could_own_something_can_leave_too() -> None:
    server = running()
    for key in ("a.1", "b.1"):
        server.changes(Leave(key))
    server.give(None, 0, 1, 2, 3)
    server.changes(Left("a.1"))
    server.changes(Left("b.1"))
    assert server.state.members() == ()
    assert server.state.former_owners() == ()


@pytest.mark.parametrize(
    "command",
    [
        Update(node("a", 1, "web"), since=1),
        Leave("a.1", since=1),
        MarkDown("a.1", since=1),
    ],
)
def test_rule_6_what_is_said_of_a_member_that_has_changed_since_does_nothing(command: Command) -> None:
    server = Server("a")
    server.changes(Update(node("a", address="b:2")))
    outcome = server.apply(command)
    assert outcome == Outdated("a.1 has changed at index 2, after 1; look at it again")


def test_rule_6_a_late_word_does_not_undo_a_later_one() -> None:
    server = Server("a", "b")
    server.changes(MarkDown("a.1", since=1))
    server.changes(MarkUp("a.1", since=3))
    assert isinstance(server.apply(MarkDown("a.1", since=1)), Outdated)
    server.changes(MarkDown("a.1", since=4))
    assert isinstance(server.apply(MarkUp("a.1", since=3)), Outdated)
    assert isinstance(server.apply(Forget("a", since=3)), Outdated)
    server.changes(MarkUp("a.1", since=server.member("a.1").since))
    server.changes(Leave("a.1", since=server.member("a.1").since))
    assert isinstance(server.apply(Left("a.1", since=4)), Outdated)
    server.changes(Left("a.1", since=server.member("a.1").since))


def test_rule_11_who_was_replaced_owns_in_name_until_something_else_is_assigned() -> None:
    server = running()
    server.changes(Join(node("a", 2)))
    assert server.state.owner_of("accounts", 0) == "a.1"
    assert server.state.former_owners() == ("a.1",)
    assert server.state.shards_of("a.1") == (("accounts", 0), ("accounts", 1))
    assert "a.1 cannot own shards of 'accounts': it is no member" in server.reason(_assign("a.1", 2))
    server.give("a.2", 0)
    server.give("b.1", 1)
    assert server.state.former_owners() == ()
    assert server.state.owned_count("a.2") == 1


def _assign(to: str, shard: int) -> Command:
    return Assign((gift(to, (shard, 5)),))


def test_rule_11_who_was_forgotten_owns_in_name_too() -> None:
    server = running()
    down(server, "b.1")
    server.changes(Forget("b"))
    assert server.state.owner_of("accounts", 3) == "b.1"
    assert server.state.former_owners() == ("b.1",)


@pytest.mark.parametrize("how", ["down", "left", "replaced"])
def test_rule_14_names_are_dropped_with_their_node(how: str) -> None:
    server = Server("a", "b")
    for name in ("y", "x"):
        server.changes(named(name))
    server.changes(named("z", by="b.1"))
    entries = dict(server.state.names())
    freed = (NameFreed("x", entries["x"]), NameFreed("y", entries["y"]))
    if how == "left":
        server.changes(Leave("a.1"))
        last: Command = Left("a.1")
    else:
        last = MarkDown("a.1") if how == "down" else Join(node("a", 2))
    changes = server.changes(last)
    assert changes[1:3] == freed
    assert isinstance(changes[0], MemberDown | MemberRemoved)
    assert [type(change) for change in changes[3:]] == ([MemberJoined] if how == "replaced" else [])
    assert server.state.names() == (("z", entries["z"]),)
    assert server.apply(UnregisterName("x", "a.1", 1)) == AlreadySo()


def test_rule_17_there_are_at_most_so_many_members_and_a_newer_generation_needs_no_room() -> None:
    state = Server().state
    for number in range(MEMBERS_MAX):
        assert isinstance(state.execute(Join(node(f"n{number}")), number + 1), Applied)
    refused = state.execute(Join(node("more")), 2000)
    assert "there are 1024 members; let one leave" in str(refused)
    assert isinstance(state.execute(Join(node("n7", 2)), 2001), Applied)
    assert len(state.members()) == MEMBERS_MAX


def test_rule_17_the_removed_are_remembered_until_there_are_too_many() -> None:
    state, index = Server().state, 0
    for number in range(GRAVES_MAX + 1):
        for command in (Join(node(f"n{number}")), Leave(f"n{number}.1"), Left(f"n{number}.1")):
            index += 1
            assert isinstance(state.execute(command, index), Applied)
    assert not state.is_removed("n0.1")
    assert state.is_removed("n1.1")
    assert state.is_removed(f"n{GRAVES_MAX}.1")
    state.invariants()
