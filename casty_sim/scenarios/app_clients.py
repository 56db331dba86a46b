"""Who asks entities for something in the cluster scenario of applications: the wishes are those of machines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_asyncio import AskError, CastyError, NotHandledError
from casty_proto.machine import SECOND
from casty_proto.shard.hashing import shard_of

from ..world import Host
from .app_actors import Do
from .cluster_clients import Ask, Wishes
from .cluster_ops import BOSS, DONE, RETRY, UNKNOWN, Kind, Op

if TYPE_CHECKING:
    from .app_cluster import AppCluster
    from .app_life import Life


class AppClient:
    """One client of a host, in one life; without a life, one that is outside of the cluster."""

    def __init__(self, cluster: AppCluster, life: Life | None, number: int) -> None:
        self._cluster = cluster
        self.host: Host = cluster.outside if life is None else life.host
        self.name = f"client {number}/{self.host.name}"
        self._life = life
        self._wishes = Wishes(self.host.stream(f"client {number}"), cluster.think_ns, cluster.keys_of(self.name))
        self.left = cluster.quota
        """How many more things it will want; `None` for no end."""
        self.pausing = False
        self.out = 0

    async def run(self, ref: Callable[[str, str], Any] | None = None) -> None:
        """Want things until nothing is to be wanted any more."""
        ref = self._life.ref if ref is None and self._life is not None else ref
        assert ref is not None
        while True:
            await asyncio.sleep(self._wishes.wait_ns() / SECOND)
            if self._cluster.quiet or self.pausing or self.left == 0:
                return
            count = self._wishes.count()
            if self.left is not None:
                count = min(count, self.left)
                self.left -= count
            async with asyncio.TaskGroup() as group:
                for region, entity, kind, expected in self._wishes.burst(count):
                    op = self._op(entity, kind, expected)
                    self._wishes.asked(region, kind, op.number)
                    group.create_task(self._want(ref, region, op))

    def _op(self, entity: str, kind: Kind, expected: int | None) -> Op:
        return Op(self._cluster.next_number(self.host), entity, kind, expected, self.host.name)

    async def _want(self, ref: Any, region: str, op: Op) -> None:
        self.out += 1
        try:
            while await self._ask(ref, region, op) == RETRY and not self._cluster.quiet:
                op = self._op(op.entity, op.kind, op.expected)
                await asyncio.sleep(self._wishes.pause_ns() / SECOND)
        finally:
            self.out -= 1

    async def _ask(self, ref: Any, region: str, op: Op) -> str:
        cluster = self._cluster
        spot = (region, 0 if region == BOSS else shard_of(op.entity, cluster.regions[region][1].num_shards))
        ask = Ask(None, spot, op, cluster.world.now, 0)
        cluster.asks[op.number] = (ask, self.name)
        verdict, result = UNKNOWN, None
        try:
            message = Do(op.number, int(op.kind), op.expected)
            result = await ref(region, op.entity).ask(message, timeout=cluster.ask_timeout_ns / SECOND)
            verdict = DONE
        except NotHandledError:
            verdict = RETRY
        except AskError as error:
            cluster.world.reach(f"an ask ended with {type(error).__name__}")
        except CastyError:
            cluster.world.reach("an ask was made too late")
        with cluster.judging():
            cluster.ended(op.number, verdict, result)
        return verdict
