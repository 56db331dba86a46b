"""Waiting until a cluster has come to be something, as one of its nodes sees it.

All of these raise `ClusterTimeoutError` after `timeout` seconds, with what the node knows by then, `ExpelledError`
where it is no member any more, and `StorageError` where its disk has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from casty_proto.cluster.checks import NodeKey, split_key
from casty_proto.cluster.records import Status
from casty_proto.cluster.regions import Region

from ..errors import CastyError, ClusterTimeoutError, ExpelledError
from ..health import Health
from .cluster import Cluster
from .status import STATUS, GetCopies
from .storage import StorageError

_LOOK_SECONDS = 0.02
"""How often it is looked whether a node has become ready, or members have votes: no event tells of that."""
_ASK_SECONDS = 1.0
"""How long another node may take to say what it has. The pauses between two questions grow up to this."""


async def wait_for_members(cluster: Cluster, count: int, timeout: float, max_voters: int) -> None:
    """Wait for so many members that are up, a leader, and as many votes as they can have."""
    node, views = cluster.node, cluster.views

    def knows() -> str:
        known = ", ".join(member.node_id for member in views.members()) or "none"
        leader = None if node.leader is None else split_key(node.leader)[0]
        up = f"{views.count()} that are up: {known}"
        return f"{up}; its leader is {leader}; {len(node.agreed_voters)} vote{cluster.problems()}"

    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    what = f"{count} members and a leader"
    await wait_until(cluster, lambda: views.count() >= count and node.leader is not None, timeout, what, knows)
    votes = min(count - 1 + count % 2, max_voters)
    # Members are given votes one by one.
    while len(node.agreed_voters) < votes and not views.gone.is_set():
        if loop.time() >= until:
            raise ClusterTimeoutError(
                f"{node.info.node_id} waited {timeout:g} s for {what}, and until {votes} vote, and knows of {knows()}"
            )
        await asyncio.sleep(_LOOK_SECONDS)
    _check_here(cluster)


async def wait_until(
    cluster: Cluster, condition: Callable[[], bool], timeout: float, what: str, knows: Callable[[], str]
) -> None:
    """Wait until something is so that depends on what this node learns. `knows` says how far that is."""
    try:
        async with asyncio.timeout(timeout):
            await cluster.views.until(condition)
    except TimeoutError as error:
        raise ClusterTimeoutError(
            f"{cluster.node.info.node_id} waited {timeout:g} s for {what}, and knows of {knows()}"
        ) from error
    _check_here(cluster)


async def wait_for_health(cluster: Cluster, health_of: Callable[[], Health], timeout: float) -> None:
    """Wait until the node can act as a member."""
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    while not (health := health_of()).ready:
        _check_here(cluster)
        if loop.time() >= until:
            why = "; ".join(health.reasons) + cluster.problems()
            raise ClusterTimeoutError(f"the node is not ready after {timeout:g} s: {why}")
        await asyncio.sleep(_LOOK_SECONDS)


async def wait_for_copies(cluster: Cluster, name: str, timeout: float) -> None:
    """Wait until each shard of a type is open at its owner, and has as many complete copies as its `factor` says.

    Each owner is asked for what it has, since nobody else knows. All that they say in one round must cover all shards,
    so what moves meanwhile is asked for again.
    """
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + timeout, _LOOK_SECONDS
    copies: dict[int, int] = {}
    while True:
        _check_here(cluster)
        region = cluster.node.state.region(name)
        if region is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    copies = await _copies_of(cluster, region)
            if all(copies.get(shard, 0) >= region.settings.factor for shard in range(region.num_shards)):
                return
        if loop.time() >= until:
            raise ClusterTimeoutError(
                f"{cluster.node.info.node_id} waited {timeout:g} s for all copies of {name!r}: "
                f"{_lacks(cluster, region, copies)}{cluster.problems()}"
            )
        await asyncio.sleep(max(0.0, min(pause, until - loop.time())))
        pause = min(2 * pause, _ASK_SECONDS)


async def _copies_of(cluster: Cluster, region: Region) -> dict[int, int]:
    """How many complete copies each shard has that is open."""
    found: dict[int, int] = {}

    async def ask(owner: NodeKey) -> None:
        if owner == cluster.node.key:
            found.update(cluster.node.copies(region.name))
            return
        member, system = cluster.node.state.member(owner), cluster.system
        if member is None or member.status is Status.DOWN:
            return
        with suppress(CastyError, TimeoutError):
            async with asyncio.timeout(_ASK_SECONDS):
                ref = await system.lookup(f"casty://{system.name}@{member.node.address}/{STATUS}")
                if ref is not None:
                    found.update(await system.ask(ref, lambda r: GetCopies(region.name, r), _ASK_SECONDS))

    await asyncio.gather(*[ask(owner) for owner in region.owning()])
    return found


def _lacks(cluster: Cluster, region: Region | None, copies: dict[int, int]) -> str:
    """What a type has not got, and what to do."""
    if region is None:
        return "no node has spawned it, as far as this one knows"
    state, factor = cluster.node.state, region.settings.factor
    few = [shard for shard in range(region.num_shards) if copies.get(shard, 0) < factor]
    closed = sum(shard not in copies for shard in few)
    what = f"{len(few)} of its {region.num_shards} shards have fewer than {factor}"
    if closed:
        what = f"{what}, of which {closed} are not open, or belong to a node that does not answer"
    up = [one.node.node_id for one in state.members() if one.status is Status.UP and one.key in region.hosts]
    where = f"nodes that have spawned it, and are there: {', '.join(up) or 'none'}"
    if len(up) < factor:
        where = f"{where}; it takes {factor} of them, so start more, or lower its ReplicationConfig.factor"
    return f"{what}; {where}"


def _check_here(cluster: Cluster) -> None:
    views = cluster.views
    if views.fault is not None:
        raise StorageError(str(views.fault)) from views.fault
    if views.gone.is_set():
        raise ExpelledError(
            f"{cluster.node.info.node_id} is no member of its cluster: {views.expelled or 'it has left'}"
        )
