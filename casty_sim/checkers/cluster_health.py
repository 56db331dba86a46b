"""Whether all is well with a cluster: one leader, one view, every shard owned and open, all copies complete.

That holds as well where a node is gone for good, once the others have seen to it: it is held to be down, owns nothing,
and is missed by nobody but those who keep a copy for it until it is forgotten.

What is missing is said in words, so that a run that does not get there says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from casty_proto.cluster.checks import NodeKey
from casty_proto.cluster.events import Standing
from casty_proto.cluster.node import Node
from casty_proto.cluster.records import Status
from casty_proto.shard.homes import Phase

if TYPE_CHECKING:
    from ..scenarios.cluster_host import ClusterProgram


class Seen(Protocol):
    """A node, and whether it has everything that it is to have. `host.now()` is its clock."""

    @property
    def node(self) -> Node: ...
    @property
    def ready(self) -> bool: ...
    @property
    def host(self) -> Any: ...


def sick_shards(programs: Sequence[Seen], regions: Iterable[str], dead: Iterable[NodeKey] = ()) -> list[str]:
    """The shards that are not open where the newest of all views has them, and copies that are not complete."""
    if not programs:
        return ["nobody is there"]
    nodes = {program.node.key: program for program in programs}
    state = max((program.node.state for program in programs), key=lambda state: state.version)
    found: list[str] = []
    for name in regions:
        region = state.region(name)
        if region is None:
            found.append(f"there is no region {name}")
            continue
        for shard, owner in enumerate(region.owners):
            there = None if owner is None else nodes.get(owner)
            if there is None:
                found.append(f"{name}/{shard} is owned by {owner}, who is not there")
                continue
            phase = there.node.phase_of(name, shard)
            if phase is not Phase.OPEN or there.node.owns(name, shard, there.host.now()) is None:
                found.append(f"{name}/{shard} is {phase} at {owner}")
    for program in programs:
        gaps = program.node.gaps()
        found += [f"{program.node.key}: {gap}" for gap in gaps if not any(gap.endswith(f" at {key}") for key in dead)]
    return found


def is_whole(programs: Sequence[Seen], regions: Iterable[str], nodes: int) -> bool:
    """Whether the loss of one node would now lose nothing that is kept at two."""
    if len(programs) < nodes or not all(program.ready for program in programs):
        return False
    state = max((program.node.state for program in programs), key=lambda state: state.version)
    members = state.members()
    keys = {program.node.key: None for program in programs}
    if len(members) != len(keys) or any(one.status is Status.DOWN or one.key not in keys for one in members):
        return False
    return not sick_shards(programs, regions)


def missing(
    programs: list[ClusterProgram], hosts: list[str], regions: Iterable[str], dead: list[ClusterProgram]
) -> list[str]:
    """What is not as it should be with all these hosts up and connected. `dead` are gone for good."""
    running = {program.name: program for program in programs}
    found = [f"{name} is not there" for name in hosts if name not in running]
    for program in programs:
        if program.node.standing is not Standing.MEMBER:
            found.append(f"{program.node.key} is {program.node.standing.value}")
        elif not program.ready:
            found.append(f"{program.node.key} has not registered its regions")
    found += _leaders(programs)
    found += _voters(programs)
    found += _misplaced(programs)
    gone = [program.node.key for program in dead]
    found += _views(programs, gone)
    found += sick_shards(programs, regions, gone)
    found += _registries(programs)
    return found


def _leaders(programs: list[ClusterProgram]) -> list[str]:
    leading = [program.node.key for program in programs if program.node.is_leader]
    if len(leading) != 1:
        return [f"{len(leading)} nodes lead: {leading}"]
    return [
        f"{program.node.key} takes {program.node.leader} for the leader, and not {leading[0]}"
        for program in programs
        if program.node.leader != leading[0]
    ]


def _voters(programs: list[ClusterProgram]) -> list[str]:
    """As many vote as should, and nobody who is gone while somebody else could."""
    found: list[str] = []
    for program in programs:
        node = program.node
        status = {one.key: one.status for one in node.state.members()}
        wanted = min(program.cluster.options.max_voters, len(status))
        if len(node.voters) != wanted - 1 + wanted % 2:
            found.append(f"{node.key} has the voters {node.voters}, of {len(status)} members")
        gone = [key for key in node.voters if status.get(key) is not Status.UP]
        free = [key for key in status if status[key] is Status.UP and key not in node.voters]
        if gone and free:
            found.append(f"{node.key} has {gone} among the voters, and not {free}")
    return found


def _views(programs: list[ClusterProgram], dead: list[NodeKey]) -> list[str]:
    found: list[str] = []
    keys = sorted(program.node.key for program in programs)
    first = programs[0].node if programs else None
    for program in programs:
        node = program.node
        members = [one.key for one in node.state.members()]
        if members != sorted(keys + dead):
            found.append(f"{node.key} has the members {members}, and there are {keys}, and were {dead}")
        found += [
            f"{node.key} has {one.key} {one.status.name}"
            for one in node.state.members()
            if one.status is not (Status.DOWN if one.key in dead else Status.UP)
        ]
        if sorted(node.members_alive()) != keys:
            found.append(f"{node.key} holds {node.members_alive()} to be alive")
        if first is not None and node.state.encode() != first.state.encode():
            found.append(f"{node.key} has another state (version {node.state.version}) than {first.key}")
    return found


def _misplaced(programs: list[ClusterProgram]) -> list[str]:
    """Nodes that are not known as what they are, and entities where they may not live."""
    found: list[str] = []
    for program in programs:
        node = program.node
        for other in programs:
            member = node.state.member(other.node.key)
            if member is not None and member.node != other.node.info:
                found.append(f"{node.key} takes {other.node.info} for {member.node}")
        for region, shard in program.app.shards:
            role = program.cluster.roles.role_of(region)
            if role is not None and role not in node.info.roles:
                found.append(f"{region}/{shard} lives at {node.key}, which is no {role}")
    return found


def _registries(programs: list[ClusterProgram]) -> list[str]:
    """What is offered by those that are there is listed everywhere, and nothing else."""
    wanted: dict[str, list[tuple[str, int, str]]] = {}
    for program in programs:
        for number, (key, path) in program.registered.items():
            wanted.setdefault(key, []).append((program.node.key, number, path))
    keys = dict.fromkeys(["k0", "k1", "k2", *wanted])
    return [
        f"{program.node.key} lists {program.node.listing(key)} under {key}, and not {wanted.get(key, [])}"
        for program in programs
        for key in keys
        if sorted(program.node.listing(key)) != sorted(wanted.get(key, []))
    ]


def unanswered(programs: list[ClusterProgram], before: int) -> list[str]:
    """What was told to a node, or left by a handler, before that instant, and has no answer."""
    found: list[str] = []
    for program in programs:
        late = [number for number, since in program.asks.told.items() if since < before]
        if late:
            found.append(f"{program.node.key} does not say what became of {len(late)} messages, {late[0]} among them")
        asked = [number for number, since in program.conferring.items() if since < before]
        if asked:
            found.append(f"{program.node.key} does not say whether it knows all that is known")
        owed = [saving for saving in program.app.saving.values() if saving[3] < before]
        if owed:
            found.append(f"{program.node.key} does not say whether {len(owed)} writes are durable: {owed[0][0].spot}")
    return found
