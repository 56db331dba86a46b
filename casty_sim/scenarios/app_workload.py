"""What users and operators do in the cluster scenario of applications, besides asking entities for something.

The choices are those of `cluster_workload`, carried out with what applications have: `claim_name`, the receptionist,
SIGTERM, `forget`. A host whose node has left, or was removed, comes back after a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from casty_asyncio import ActorRef, Behaviors, CastyError, ServiceKey
from casty_asyncio.receptionist import Deregister, Register
from casty_proto.machine import SECOND

from .cluster_workload import EVERY, KEYS, WANTED, Workload

if TYPE_CHECKING:
    from .app_cluster import AppCluster
    from .app_life import Life

PATIENCE = 5.0
"""How many seconds an operator waits for what he asks of a node."""


class AppWorkload:
    """Does something now and then, on nodes that are ready."""

    def __init__(self, cluster: AppCluster) -> None:
        self._cluster = cluster
        self._stream = cluster.world.tape.stream("workload")
        self._listed: dict[tuple[str, int], list[tuple[ServiceKey[Any], ActorRef[Any]]]] = {}
        """Actors that can be discovered, by host and life."""

    async def run(self) -> None:
        """Act until the task is cancelled."""
        while True:
            # The plainest choice, 0.0, is the longest wait.
            await asyncio.sleep((int(2 * (1.0 - self._stream.raw()) * EVERY) + 1) / SECOND)
            kind, host = self._stream.pick(Workload.KINDS), self._stream.pick(self._cluster.hosts)
            life = self._cluster.life_at(host.name)
            if life is not None and life.ready and kind != "nothing":
                self._do(kind, life)

    def _do(self, kind: str, life: Life) -> None:
        stream, cluster = self._stream, self._cluster
        match kind:
            case "claim":
                name = stream.pick(WANTED)
                others = [life.host, stream.pick(cluster.hosts)] if stream.chance(0.5) else [life.host]
                for each in others:
                    other = cluster.life_at(each.name)
                    if other is not None and other.ready:
                        self._on(other, lambda other=other: self._claim(other, name))  # type: ignore[misc]
            case "release":
                name = stream.pick(WANTED)
                self._on(life, lambda: life.system.release_name(name, PATIENCE))
            case "register":
                key = stream.pick(KEYS)
                self._on(life, lambda: self._register(life, key))
            case "deregister":
                self._on(life, lambda: self._deregister(life))
            case "leave":
                if cluster.policy.may_leave(life.host):
                    cluster.leave(life)
            case "forget":
                self._on(life, lambda: self._forget(life))
            case _:
                return  # There is no call for it.

    def _on(self, life: Life, what: Callable[[], Awaitable[object]]) -> None:
        """Begin with it there. It waits while the host is paused, and is void when it crashes."""

        async def act() -> None:
            # What a node refuses is for whoever asked, and here that is nobody.
            with suppress(CastyError):
                await what()

        self._cluster.begin_on(life, act())

    async def _claim(self, life: Life, name: str) -> None:
        actor = life.system.spawn(Behaviors.receive(lambda _, __: Behaviors.same()))
        await life.system.claim_name(name, actor, PATIENCE)

    async def _register(self, life: Life, key: str) -> None:
        actor = life.system.spawn(Behaviors.receive(lambda _, __: Behaviors.same()))
        service = ServiceKey[Any](key)
        self._listed.setdefault((life.name, life.life), []).append((service, actor))
        life.system.receptionist_ref.tell(Register(service, actor))

    async def _deregister(self, life: Life) -> None:
        listed = self._listed.get((life.name, life.life))
        if not listed:
            return
        service, actor = listed.pop(0)
        if self._stream.chance(0.5):
            life.system.receptionist_ref.tell(Deregister(service, actor))
        else:
            life.system.stop(actor)

    async def _forget(self, life: Life) -> None:
        """Who is held to be down, and is."""
        for node_id in self._cluster.forgettable(life):
            self._cluster.world.reach("a member was forgotten")
            await life.system.forget(node_id, PATIENCE)
            return
