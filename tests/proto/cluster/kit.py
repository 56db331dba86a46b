"""A control state under test: commands go through their bytes, and every step is checked."""

from __future__ import annotations

from casty_proto.cluster import (
    Applied,
    Assign,
    Change,
    Command,
    ControlState,
    Gift,
    Join,
    MarkDown,
    MemberInfo,
    NodeInfo,
    Outcome,
    Refused,
    RegionKind,
    RegionSettings,
    RegisterName,
    RegisterRegion,
    Status,
    encode_command,
)


def node(node_id: str, generation: int = 1, *roles: str, address: str = "host:1") -> NodeInfo:
    return NodeInfo(node_id, generation, address, roles)


def entities(name: str = "accounts", num_shards: int = 4, by: str = "a.1", role: str | None = None) -> RegisterRegion:
    return RegisterRegion(name, RegionKind.ENTITIES, RegionSettings(num_shards=num_shards, role=role), by)


def singleton(name: str = "clock", by: str = "a.1") -> RegisterRegion:
    return RegisterRegion(name, RegionKind.SINGLETON, RegionSettings(num_shards=1), by)


def gift(to: str | None, *shards: tuple[int, int], region: str = "accounts") -> Gift:
    return Gift(region, to, shards)


def named(name: str = "boss", by: str = "a.1", number: int = 1) -> RegisterName:
    return RegisterName(name, by, number, f"/{number}")


class Server:
    """A control state, and how far it has applied its log."""

    def __init__(self, *node_ids: str) -> None:
        self.state = ControlState()
        self.index = 0
        self.peaks: dict[tuple[str, int], int] = {}
        """Of each registration of a region the most members that counted, as it was after each command."""
        for node_id in node_ids:
            self.changes(Join(node(node_id)))

    def apply(self, command: Command | bytes) -> Outcome:
        """Apply the next command. What is not `Applied` must leave the bytes alone."""
        before = self.state.encode()
        self.index += 1
        data = command if isinstance(command, bytes) else encode_command(command)
        outcome = self.state.apply(data, self.index)
        self.state.invariants()
        assert (self.state.encode() != before) == isinstance(outcome, Applied)
        self._check_answers()
        return outcome

    def _check_answers(self) -> None:
        """Queries whose answers are kept, against the members themselves."""
        members = self.state.members()
        for role in (None, "db"):
            able = [one for one in members if role is None or role in one.node.roles]
            assert self.state.up_members(role) == tuple([one.key for one in able if one.status is Status.UP])
            counting = tuple([one.key for one in able if one.status is not Status.LEAVING])
            assert self.state.counting_members(role) == counting
        for region in self.state.regions():
            role, registration = region.settings.role, (region.name, region.registered)
            holders = self.state.counting_members(role)
            if region.settings.hosted:
                holders = tuple([one for one in holders if one in region.hosts])
            present = len(holders)
            self.peaks[registration] = max(self.peaks.get(registration, 0), present)
            assert region.peak == self.peaks[registration]

    def changes(self, command: Command) -> tuple[Change, ...]:
        """Apply a command that does something."""
        outcome = self.apply(command)
        assert isinstance(outcome, Applied), outcome
        return outcome.changes

    def reason(self, command: Command | bytes) -> str:
        """Apply a command that is refused."""
        outcome = self.apply(command)
        assert isinstance(outcome, Refused), outcome
        return outcome.reason

    def member(self, key: str) -> MemberInfo:
        """A member that is there."""
        found = self.state.member(key)
        assert found is not None, key
        return found

    def give(self, to: str | None, *shards: int, region: str = "accounts") -> tuple[Change, ...]:
        """Give shards at the epochs that they have."""
        pairs = tuple([(shard, self.state.epoch_of(region, shard)) for shard in shards])
        return self.changes(Assign((Gift(region, to, pairs),)))


def running(*node_ids: str) -> Server:
    """Members `a`, `b`, and the entities `accounts`; shards 0 and 1 are of `a`, 2 and 3 of `b`. The index is 5."""
    server = Server("a", "b", *node_ids)
    server.changes(entities())
    server.give("a.1", 0, 1)
    server.give("b.1", 2, 3)
    return server


def down(server: Server, key: str) -> None:
    server.changes(MarkDown(key))
