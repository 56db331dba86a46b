"""Nodes as real processes whose disk is full, or whose file is not as they have left it."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from casty_asyncio import DistributedSystem, MemberStatus, OutcomeUnknownError
from casty_asyncio.cluster.storage_file import FILE_NAME, RecordFile

from .load_kit import Load, beside, by_id, status_of
from .node_kit import inside_of, until, within
from .processes import NodeProcess, Processes, processes
from .things import Counter

pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="nobody else's limits can be set here")

NO_ROOM = 0
"""The largest file that a process may write, in bytes, which is as good as a disk that is full."""


def fill(process: NodeProcess) -> None:
    """Leave no room on the disk of a process that runs."""
    _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (NO_ROOM, most))


@asynccontextmanager
async def with_disks(directory: Path) -> AsyncIterator[tuple[Processes, list[NodeProcess], DistributedSystem, Load]]:
    """Three nodes with a disk each, one beside them that hosts nothing, and load."""
    async with processes() as all_of_them:
        nodes: list[NodeProcess] = []
        for number in (1, 2, 3):
            seeds = [each.address for each in nodes[:1]]
            started = await all_of_them.start(
                f"node-{number}", *seeds, members=number, persistence_dir=str(directory / f"node-{number}")
            )
            await started.ready()
            nodes.append(started)
        async with beside(*nodes) as system:
            load = Load(system.lookup("counters").ref)
            await load.more()
            yield all_of_them, nodes, system, load
            await load.more()
            await load.end()
            assert all(isinstance(error, OutcomeUnknownError) for error in load.failures), load.failures
            await load.check()


def key_of(system: DistributedSystem, node_id: str) -> int:
    """Which life of a node is a member."""
    (found,) = [member.generation for member in system.members if member.node_id == node_id]
    return found


async def again(all_of_them: Processes, old: NodeProcess, *seeds: NodeProcess, **options: object) -> NodeProcess:
    """The same command once more, at the address that it had."""
    port = int(old.address.rpartition(":")[2])
    given = {**old.options, "port": port, "members": 4, **options}
    del given["node_id"], given["seeds"]
    return await all_of_them.start(old.node_id, *(each.address for each in seeds), **given)


@pytest.mark.parametrize("is_leader", [True, False])
async def test_a_node_whose_disk_is_full_ends_and_comes_back_as_itself_when_there_is_room(
    tmp_path: Path, is_leader: bool
) -> None:
    async with with_disks(tmp_path) as (all_of_them, nodes, system, load):
        await until(lambda: system.leader_id not in (None, "here"))
        leader = by_id(nodes, system.leader_id)
        victim = leader if is_leader else next(each for each in nodes if each is not leader)
        life = key_of(system, victim.node_id)
        fill(victim)
        # Something that every node has to write down.
        await within(system.spawn(Counter, name="others", sharded=True, num_shards=8))
        line = await victim.line()
        assert line.startswith("failed StorageError: ")
        assert str(tmp_path / victim.node_id / FILE_NAME) in line
        assert "See that there is room" in line
        assert await victim.wait() != 0
        await until(lambda: status_of(system, victim.node_id) is MemberStatus.UNREACHABLE)
        await load.more()
        # As long as there is no room it does not come back, and nothing becomes worse.
        refused = await again(all_of_them, victim, largest_file=NO_ROOM)
        line = await refused.line()
        assert line.startswith("failed StorageError: ")
        assert "See that there is room" in line
        assert await refused.wait() != 0
        back = await again(all_of_them, victim)
        await back.ready()
        await until(lambda: status_of(system, victim.node_id) is MemberStatus.UP)
        assert key_of(system, victim.node_id) == life


def flipped(data: bytes) -> bytes:
    """Another bit, in the last record."""
    at = data.rindex(b"node-")
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit is flipped": flipped,
    "its end is cut off": lambda data: data[: len(data) // 2],
    "it is empty": lambda _: b"",
    "it is another program's": lambda _: b"#!/bin/sh\nexit 0\n" * 1000,
}


async def test_a_node_whose_file_is_damaged_does_not_start_and_joins_anew_without_it(tmp_path: Path) -> None:
    async with with_disks(tmp_path) as (all_of_them, nodes, system, load):
        victim = nodes[1]
        life = key_of(system, victim.node_id)
        await victim.kill()
        file = tmp_path / victim.node_id / FILE_NAME
        with RecordFile(file.parent):
            """What was not complete when it was killed is taken back. There is nothing left to do but to read it."""
        good = file.read_bytes()
        for name, damage in DAMAGES.items():
            bad = damage(good)
            file.write_bytes(bad)
            refused = await again(all_of_them, victim)
            line = await refused.line()
            assert line.startswith(f"failed StorageError: {file} is damaged"), f"{name}: {line}"
            assert "start the node with an empty directory" in line
            assert await refused.wait() != 0
            assert file.read_bytes() == bad, f"{name}: what is damaged was touched"
        await load.more()
        for path in file.parent.iterdir():
            path.unlink()
        back = await again(all_of_them, victim, nodes[0])
        await back.ready()
        await until(lambda: status_of(system, victim.node_id) is MemberStatus.UP)
        assert key_of(system, victim.node_id) != life
        await until(lambda: len(inside_of(system).member.node.voters) >= 3)


async def test_a_second_process_on_the_directory_of_a_node_is_refused_and_disturbs_nobody(tmp_path: Path) -> None:
    async with with_disks(tmp_path) as (all_of_them, nodes, system, load):
        second = await again(all_of_them, nodes[1], nodes[0], port=0)
        line = await second.line()
        assert line.startswith(f"failed StorageError: {tmp_path / 'node-2'} is in use by another process"), line
        assert await second.wait() != 0
        await load.more()
        assert status_of(system, "node-2") is MemberStatus.UP
