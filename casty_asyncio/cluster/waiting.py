"""Waiting until a cluster has come to be something, as one of its nodes sees it.

All of these raise `ClusterTimeoutError` after `timeout` seconds, with what the node knows by then, `ExpelledError`
where it is no member any more, and `StorageError` where its disk has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from casty_proto.cluster.checks import split_key

from ..errors import ClusterTimeoutError, ExpelledError
from ..health import Health
from .cluster import Cluster
from .storage import StorageError

_LOOK_SECONDS = 0.02
"""How often it is looked whether a node has become ready, or members have votes: no event tells of that."""


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


def _check_here(cluster: Cluster) -> None:
    views = cluster.views
    if views.fault is not None:
        raise StorageError(str(views.fault)) from views.fault
    if views.gone.is_set():
        raise ExpelledError(
            f"{cluster.node.info.node_id} is no member of its cluster: {views.expelled or 'it has left'}"
        )
