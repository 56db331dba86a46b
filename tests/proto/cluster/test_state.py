"""The control state as a whole: rules 8, 9, 13, 15, 16, 18 to 21 over all sequences of commands, and its snapshots."""

from __future__ import annotations

from typing import Any, assert_never

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.cluster import (
    AlreadySo,
    Applied,
    Assign,
    Change,
    Command,
    ControlState,
    DropNames,
    Forget,
    Gift,
    HostsChanged,
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
    MemberRestarted,
    MemberReturned,
    MemberUpdated,
    NameEntry,
    NameFreed,
    NameTaken,
    Outcome,
    Outdated,
    RegionAdded,
    RegionClosing,
    RegionRemoved,
    RegisterName,
    RegisterRegion,
    RemoveRegion,
    ShardsMoved,
    Taken,
    UnregisterName,
    Update,
    decode_command,
    encode_command,
)

from .kit import Server, entities, gift, named, node, running, singleton

IDS = ("a", "b", "c")
REGIONS = ("accounts", "carts", "clock")

type Choice = tuple[int, int, int, int]
CHOICES = st.lists(
    st.tuples(st.integers(0, 19), st.integers(0, 8), st.integers(0, 3), st.integers(0, 3)), min_size=10, max_size=80
)


def command_of(choice: Choice, state: ControlState, done: list[bytes]) -> bytes:
    """What a choice means in this state: mostly what makes sense there, sometimes what is late, or rubbish."""
    kind, who, what, how = choice
    node_id, region, shard = IDS[who % 3], REGIONS[what % 3], how
    key = state.key_of(node_id) or f"{node_id}.1"
    if kind == 18:
        return done[(who * 16 + what * 4 + how) % len(done)] if done else b""
    if kind == 19:
        return bytes(choice) * 3
    return encode_command(_command(kind, key, node_id, region, shard, choice, state))


def _command(
    kind: int, key: str, node_id: str, region: str, shard: int, choice: Choice, state: ControlState
) -> Command:
    _, who, what, how = choice
    up = state.up_members()
    at = key if key in up or how == 3 or not up else up[0]
    there = state.region(region)
    member = state.member(key)
    since = None if how < 2 or member is None else max(1, member.since - (how == 3))
    commands: tuple[Command, ...] = (
        Join(node(node_id, who // 3, *("db",) * (how % 2))),
        Join(node(node_id, int(key.rpartition(".")[2]) + (how == 3), "db")),
        Update(node(node_id, int(key.rpartition(".")[2]), *("db",) * (what % 2)), since),
        Leave(key, since),
        Left(key, since),
        MarkDown(key, since),
        MarkUp(key, since),
        Forget(node_id, since),
        singleton(region, at) if region == "clock" else entities(region, 4, at, "db" if who > 6 else None),
        RemoveRegion(region, 1 if there is None else there.registered),
        RegisterName(f"name{what}", at, how, "/p"),
        UnregisterName(f"name{what}", key, how),
        DropNames(key, max(1, state.changed - who)),
    )
    if kind < len(commands):
        return commands[kind]
    # The rest are assignments: with the right epoch, or one that it could have had.
    last = 0 if there is None else there.num_shards - 1
    pairs = tuple([(one, state.epoch_of(region, one)) for one in range(min(shard, last) + 1)] if there else [(0, 1)])
    first = Gift(region, None if kind == 17 else at, pairs, forced=what == 3)
    if kind < 16:
        return Assign((first,))
    late = tuple([(one, max(1, epoch - what)) for one, epoch in pairs])
    return Assign((first, Gift(REGIONS[who % 3], at, late)))


class Log:
    """A sequence of commands: the bytes, what became of them, and the state at the end."""

    def __init__(self, choices: list[Choice]) -> None:
        server = Server("a", "b")
        self.entries = [encode_command(Join(node("a"))), encode_command(Join(node("b")))]
        self.outcomes: list[Outcome] = []
        for choice in choices:
            self.entries.append(command_of(choice, server.state, self.entries))
            self.outcomes.append(server.apply(self.entries[-1]))
        self.server = server

    def changes(self) -> list[Change]:
        return [change for outcome in self.outcomes if isinstance(outcome, Applied) for change in outcome.changes]


@settings(max_examples=150, deadline=None)
@given(CHOICES, st.integers(0, 60))
def test_rules_15_and_16_every_server_agrees_also_from_a_snapshot_on(choices: list[Choice], cut: int) -> None:
    log = Log(choices)
    other, restored = ControlState(), ControlState()
    for index, data in enumerate(log.entries, 1):
        if index == cut:
            restored = ControlState.decode(other.encode())
            restored.invariants()
        outcome = other.apply(data, index)
        if index > 2:
            assert outcome == log.outcomes[index - 3]
        if 0 < cut <= index:
            assert restored.apply(data, index) == outcome
            assert restored.encode() == other.encode()
    assert other.encode() == log.server.state.encode()


class Listener:
    """What somebody knows who hears of the changes alone. Asserts that each makes sense after those before."""

    def __init__(self, server: Server) -> None:
        self.members = {member.key: member for member in server.state.members()}
        self.hosts: dict[str, dict[str, None]] = {}
        self.names: dict[str, NameEntry] = {}
        self.owners: dict[tuple[str, int], str | None] = {}
        self.epochs: dict[tuple[str, int], int] = {}
        self.regions: dict[str, bool] = {}
        self.now: dict[tuple[str, int], int] = {}
        """The epochs of shards of regions that are there."""

    def hear(self, change: Change) -> None:
        match change:
            case MemberJoined(member):
                assert member.node.node_id not in [other.node.node_id for other in self.members.values()]
                self.members[member.key] = member
            case MemberUpdated(member) | MemberLeaving(member) | MemberDown(member) | MemberReturned(member):
                assert self.members[member.key] != member
                self._turns(change, self.members[member.key])
                self.members[member.key] = member
            case MemberRestarted(member):
                assert member == evolve(self.members[member.key], since=member.since, started=member.since)
                self.members[member.key] = member
            case MemberRemoved(member):
                assert self.members.pop(member.key) == member
            case RegionAdded(name):
                assert name not in self.regions
                self.regions[name] = False
            case RegionClosing(name):
                assert self.regions[name] is False
                self.regions[name] = True
            case RegionRemoved(name):
                del self.regions[name]
                self.now = {spot: epoch for spot, epoch in self.now.items() if spot[0] != name}
                assert not [spot for spot, owner in self.owners.items() if spot[0] == name and owner is not None]
            case ShardsMoved():
                self._moved(change)
            case HostsChanged(name, node, can):
                assert (node in self.hosts.setdefault(name, {})) != can
                if can:
                    assert node in self.members
                    self.hosts[name][node] = None
                else:
                    del self.hosts[name][node]
            case NameTaken(name, entry):
                assert name not in self.names
                assert entry.node in self.members
                self.names[name] = entry
            case NameFreed(name, entry):
                assert self.names.pop(name) == entry
            case _:
                assert_never(change)

    def _turns(self, change: Change, before: MemberInfo) -> None:
        assert isinstance(change, MemberUpdated) == (change.member.status is before.status)  # type: ignore[union-attr]

    def _moved(self, change: ShardsMoved) -> None:
        assert change.region in self.regions
        if change.to is not None:
            assert self.members[change.to].status == 1
        for shard, before, epoch in change.shards:
            spot = (change.region, shard)
            assert self.owners.get(spot) == before
            assert self.now.get(spot, epoch) == epoch, "the epoch before is that of the last move"
            assert self.epochs.get(spot, 0) <= epoch < change.epoch, "epochs rise"
            self.owners[spot], self.epochs[spot], self.now[spot] = change.to, change.epoch, change.epoch


@settings(max_examples=150, deadline=None)
@given(CHOICES)
def test_rules_9_18_and_20_the_changes_tell_all_and_epochs_rise(choices: list[Choice]) -> None:
    listener = Listener(Server("a", "b"))
    log = Log(choices)
    for change in log.changes():
        listener.hear(change)
    state = log.server.state
    assert listener.members == {member.key: member for member in state.members()}
    assert listener.names == dict(state.names())
    assert listener.regions == {region.name: region.closing for region in state.regions()}
    owned = {spot: owner for spot, owner in listener.owners.items() if owner is not None}
    assert owned == {
        (region.name, shard): owner
        for region in state.regions()
        for shard, owner in enumerate(region.owners)
        if owner is not None
    }
    for (name, shard), owner in owned.items():
        assert state.owner_of(name, shard) == owner
        assert state.epoch_of(name, shard) == listener.epochs[name, shard]
        assert (name, shard) in state.shards_of(owner)
        assert (owner in state.former_owners()) == (state.member(owner) is None)


@settings(max_examples=60, deadline=None)
@given(CHOICES)
def test_rule_20_a_move_is_forced_when_the_gift_that_it_came_of_was(choices: list[Choice]) -> None:
    log = Log(choices)
    for data, outcome in zip(log.entries[2:], log.outcomes, strict=True):
        command = decode_command(data)
        if not isinstance(command, Assign) or not isinstance(outcome, Applied):
            continue
        moves = [change for change in outcome.changes if isinstance(change, ShardsMoved)]
        # Gifts that did nothing are left out; the others come in the same order.
        gifts = iter([(gift.region, gift.to, gift.forced) for gift in command.gifts])
        for move in moves:
            assert (move.region, move.to, move.forced) in gifts


@settings(max_examples=40, deadline=None)
@given(CHOICES)
def test_rule_19_a_command_that_is_applied_twice_does_nothing_the_second_time(choices: list[Choice]) -> None:
    server, done = Server("a", "b"), list[bytes]()
    for choice in choices:
        done.append(command_of(choice, server.state, done))
        server.apply(done[-1])
        assert not isinstance(server.apply(done[-1]), Applied)


@settings(max_examples=150, deadline=None)
@given(CHOICES, st.randoms(use_true_random=False))
def test_rule_19_what_says_what_it_is_based_on_does_nothing_when_it_comes_again_late(
    choices: list[Choice], order: Any
) -> None:
    log = Log(choices)
    applied = [data for data, done in zip(log.entries[2:], log.outcomes, strict=True) if isinstance(done, Applied)]
    late = [data for data in applied if _is_based(decode_command(data))]
    order.shuffle(late)
    before = log.server.state.encode()
    for data in late:
        assert not isinstance(log.server.apply(data), Applied), decode_command(data)
    assert log.server.state.encode() == before


def _is_based(command: Command | None) -> bool:
    if isinstance(command, Assign):
        # Where both gifts could be given, one of them may have been; the other is then no repetition.
        return len(command.gifts) == 1
    return isinstance(command, Join | RemoveRegion | DropNames) or getattr(command, "since", None) is not None


@settings(max_examples=40, deadline=None)
@given(st.permutations(["a.1", "b.1", "c.1", None]), st.integers(1, 20))
def test_rule_8_of_conflicting_assignments_exactly_one_does_something(to: list[str | None], epoch: int) -> None:
    server = running("c")
    current = server.state.epoch_of("accounts", 1)
    outcomes = [server.apply(Assign((gift(each, (1, epoch)),))) for each in to]
    winners = [each for each, outcome in zip(to, outcomes, strict=True) if isinstance(outcome, Applied)]
    assert winners == (to[:1] if epoch == current else [])
    assert server.state.owner_of("accounts", 1) == (to[0] if epoch == current else "a.1")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(IDS), st.integers(1, 3)), min_size=1, max_size=8))
def test_rule_13_a_name_has_exactly_one_winner(wanted: list[tuple[str, int]]) -> None:
    server = Server(*IDS)
    outcomes = [server.apply(named(by=f"{node_id}.1", number=number)) for node_id, number in wanted]
    entry = server.state.name("boss")
    assert entry is not None
    assert (entry.node, entry.number) == (f"{wanted[0][0]}.1", wanted[0][1])
    for each, outcome in zip(wanted[1:], outcomes[1:], strict=True):
        assert outcome == (AlreadySo() if each == wanted[0] else Taken(entry))


def test_rule_8_an_assignment_of_a_shard_that_came_late_is_told_so() -> None:
    server = running()
    assert server.apply(Assign((gift("b.1", (0, 3)),))) == Outdated(
        "all of these shards have another epoch by now; look at them again"
    )


def test_rule_15_a_command_at_an_index_that_was_applied_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="index 2 comes after 2"):
        Server("a", "b").state.execute(Join(node("c")), 2)


def test_rule_7_the_first_of_two_registrations_counts_also_of_singletons() -> None:
    server = Server("a", "b")
    assert isinstance(server.apply(singleton(by="b.1")), Applied)
    again: RegisterRegion = singleton(by="a.1")
    assert server.apply(again) == AlreadySo()
    region = server.state.region("clock")
    assert region is not None
    assert region.by == "b.1"
