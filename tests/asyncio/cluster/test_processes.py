"""Nodes as real processes: killed, stopped, restarted and added under load."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from casty_asyncio import DistributedSystem, MemberStatus, OutcomeUnknownError

from .node_kit import inside_of, node, until, within
from .processes import NodeProcess, processes
from .things import Add, Get, Say, Where


@asynccontextmanager
async def beside(*others: NodeProcess, **options: Any) -> AsyncIterator[DistributedSystem]:
    """A node in this process that belongs to the same cluster, and hosts nothing."""
    async with node("here", *(each.address for each in others), **{"leave_timeout": 0.5, **options}) as system:
        await system.wait_for(len(others) + 1, 20.0)
        size = len(others) + 1
        await until(lambda: len(inside_of(system).member.node.voters) >= size - 1 + size % 2)
        for name in ("counters", "plain", "boss"):
            await until(lambda name=name: system.lookup(name).ref is not None)  # type: ignore[misc]
        yield system


async def asked_again(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The answer to a question that may be asked any number of times."""
    while True:
        try:
            return await within(ask())
        except OutcomeUnknownError:
            await asyncio.sleep(0.01)


def by_id(nodes: list[NodeProcess], node_id: str | None) -> NodeProcess:
    """The one of that name."""
    return next(each for each in nodes if each.node_id == node_id)


def status_of(system: DistributedSystem, node_id: str) -> MemberStatus | None:
    """What a node thinks of another one."""
    return next((member.status for member in system.members if member.node_id == node_id), None)


class Load:
    """Three senders that increment counters, and know what was acknowledged."""

    def __init__(self, ref: Any, ids: int = 9) -> None:
        self.ref = ref
        self.acknowledged = [0] * ids
        self.unknown = [0] * ids
        self.failures: list[Exception] = []
        self._going = True
        self._tasks = [asyncio.ensure_future(self._send(number)) for number in range(3)]

    @property
    def total(self) -> int:
        """How many increments were acknowledged."""
        return sum(self.acknowledged)

    async def _send(self, sender: int) -> None:
        ids = len(self.acknowledged)
        number = sender
        while self._going:
            number = (number + 3) % ids
            try:
                await self.ref[f"c{number}"].ask(Add(), timeout=15.0)
            except Exception as error:
                self.failures.append(error)
                self.unknown[number] += 1
            else:
                self.acknowledged[number] += 1
            await asyncio.sleep(0.003)  # The processes that start meanwhile need the processor as well.

    async def more(self, count: int = 100) -> None:
        """Wait until so many more are acknowledged."""
        goal = self.total + count
        await until(lambda: self.total >= goal)

    async def end(self) -> None:
        """Send no more."""
        self._going = False
        await within(asyncio.gather(*self._tasks))

    async def check(self) -> None:
        """Every acknowledged increment is there, and nothing that was not sent."""
        for number, acknowledged in enumerate(self.acknowledged):
            found = await asked_again(lambda number=number: self.ref[f"c{number}"].ask(Get(), timeout=15.0))  # type: ignore[misc]
            assert acknowledged <= found <= acknowledged + self.unknown[number]


async def test_every_acknowledged_increment_is_there_after_a_follower_the_leader_and_an_owner_were_killed() -> None:
    async with processes() as all_of_them:
        nodes = await all_of_them.cluster(3)
        async with beside(*nodes) as system:
            load = Load(system.lookup("counters").ref)
            await load.more()
            # The leader.
            await until(lambda: system.leader_id is not None)
            victim = by_id(nodes, system.leader_id) if system.leader_id != "here" else nodes[0]
            await victim.kill()
            await load.more()
            nodes.remove(victim)
            # It comes back as another process of the same name.
            back = await all_of_them.start(victim.node_id, nodes[0].address, members=4)
            await back.ready()
            nodes.append(back)
            await until(lambda: len(inside_of(system).member.node.voters) >= 3)
            await load.more()
            # The owner of a shard.
            where = await asked_again(lambda: load.ref["c0"].ask(Where(), timeout=15.0))
            owner = by_id(nodes, where)
            await owner.kill()
            await load.more()
            await load.end()
            assert all(isinstance(error, OutcomeUnknownError) for error in load.failures), load.failures
            await load.check()


async def test_a_singleton_is_elsewhere_when_its_process_was_killed() -> None:
    async with processes() as all_of_them:
        nodes = await all_of_them.cluster(3)
        async with beside(*nodes) as system:
            boss = system.lookup("boss").ref
            assert boss is not None
            host = by_id(nodes, await asked_again(lambda: boss.ask(Say())))
            await host.kill()
            found = await asked_again(lambda: boss.ask(Say(), timeout=15.0))
            assert found in {each.node_id for each in nodes} - {host.node_id}
            await until(lambda: status_of(system, host.node_id) is MemberStatus.UNREACHABLE)


async def test_a_process_that_was_stopped_for_longer_than_its_lease_loses_nothing_and_does_nothing_twice() -> None:
    async with processes() as all_of_them:
        nodes = await all_of_them.cluster(3)
        async with beside(*nodes) as system:
            load = Load(system.lookup("counters").ref)
            await load.more()
            where = await asked_again(lambda: load.ref["c0"].ask(Where(), timeout=15.0))
            owner = by_id(nodes, where)
            owner.signal(signal.SIGSTOP)
            await until(lambda: status_of(system, owner.node_id) is MemberStatus.UNREACHABLE)
            await load.more()
            owner.signal(signal.SIGCONT)
            await until(lambda: status_of(system, owner.node_id) is MemberStatus.UP)
            await load.more()
            await load.end()
            assert all(isinstance(error, OutcomeUnknownError) for error in load.failures), load.failures
            await load.check()


async def test_no_ask_fails_while_nodes_are_restarted_one_after_the_other_and_one_joins() -> None:
    async with processes() as all_of_them:
        nodes = await all_of_them.cluster(3)
        async with beside(*nodes) as system:
            loads = [Load(system.lookup(name).ref) for name in ("counters", "plain")]
            for load in loads:
                await load.more()
            for _ in range(3):
                old = nodes.pop(0)
                assert await old.terminate() == 0
                new = await all_of_them.start(old.node_id, nodes[0].address, str(system.address), members=4)
                await new.ready()
                nodes.append(new)
                for load in loads:
                    await load.more(20)
            joining = await all_of_them.start("node-4", nodes[0].address, members=5)
            await joining.ready()
            for load in loads:
                await load.more()
            for load in loads:
                await load.end()
                assert load.failures == []
                await load.check()


async def test_a_process_that_is_told_to_end_leaves_and_hands_over() -> None:
    async with processes() as all_of_them:
        nodes = await all_of_them.cluster(2)
        async with beside(*nodes) as system:
            plain = system.lookup("plain").ref
            assert plain is not None
            for number in range(20):
                assert await within(plain[f"p{number}"].ask(Add(number))) == number
            assert await nodes[1].terminate() == 0
            await until(lambda: status_of(system, "node-2") is None)
            for number in range(20):
                assert await within(plain[f"p{number}"].ask(Get())) == number


async def test_processes_that_are_seeds_of_each_other_and_start_at_once_form_one_cluster() -> None:
    servers = [await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) for _ in range(3)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    for server in servers:
        server.close()
        await server.wait_closed()
    seeds = [f"127.0.0.1:{port}" for port in ports]
    async with processes() as all_of_them:
        nodes = [
            await all_of_them.start(f"node-{number}", *seeds, port=port, members=3)
            for number, port in enumerate(ports, 1)
        ]
        for each in nodes:
            await each.ready()
        async with beside(*nodes) as system:
            assert len(system.members) == 4
