"""A branch of the bank: a node of the cluster, on which some of the accounts are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from casty_asyncio import ActorSystem, RaftConfig

from .account import ACCOUNTS, KEPT, Account

BANK = "bank"
"""The name of the cluster."""
SHARDS = 16


async def branch(
    host: str, port: int, node_id: str, seeds: Sequence[str], folder: Path, raft_config: RaftConfig | None = None
) -> None:
    """Run a branch until it is told to end. It keeps its part of what the cluster agrees on in `folder`."""
    async with ActorSystem.distributed(
        host,
        port,
        name=BANK,
        node_id=node_id,
        seeds=seeds,
        persistence_dir=folder,
        raft_config=raft_config or RaftConfig(),
    ) as system:
        # With `remember` an account is there again after a failure, and sends its courier, without being asked.
        await system.spawn(Account, name=ACCOUNTS, sharded=True, num_shards=SHARDS, replication=KEPT, remember=True)
        await system.serve()
