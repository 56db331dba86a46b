"""Nodes as real processes: killed, stopped, restarted and added under load."""

from __future__ import annotations

import asyncio
import signal

from casty_asyncio import MemberStatus, OutcomeUnknownError

from .load_kit import Load, asked_again, beside, by_id, status_of
from .node_kit import inside_of, until, within
from .processes import processes
from .things import Add, Get, Say, Where


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
