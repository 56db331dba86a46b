"""Nodes with a directory: they come back as themselves, and never without what they have promised."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from casty_asyncio import DistributedSystem, MemberLeft, MemberUp, OutcomeUnknownError, StorageError, UsageError
from casty_asyncio.cluster.storage_file import FILE_NAME

from .node_kit import (
    PATIENCE,
    all_open,
    cluster,
    crash,
    hosting_of,
    ids_at,
    inside_of,
    joined,
    node,
    subscribed,
    until,
    within,
)
from .things import Add, Counter, Get, Played, Say


def key_of(system: DistributedSystem) -> str:
    """The name of its life."""
    return inside_of(system).member.node.key


async def test_a_node_that_crashed_comes_back_as_itself(tmp_path: Path) -> None:
    async with cluster(2) as systems:
        third = node("node-3", systems[0], persistence_dir=tmp_path)
        await third.start()
        await joined(*systems, third)
        key, address = key_of(third), third.address
        assert address is not None
        await crash(third)
        probe = await subscribed(systems[0], MemberUp, MemberLeft)
        async with node("node-3", systems[0], persistence_dir=tmp_path, port=address.port) as back:
            await back.wait_for(3, PATIENCE)
            assert key_of(back) == key
            for each in (*systems, back):
                assert len(each.members) == 3
            assert await probe.all() == []


async def test_a_node_that_would_come_back_at_another_address_is_told_to_keep_the_one_it_had(tmp_path: Path) -> None:
    async with cluster(2) as systems:
        third = node("node-3", systems[0], persistence_dir=tmp_path)
        await third.start()
        await joined(*systems, third)
        key, address = key_of(third), third.address
        assert address is not None
        await crash(third)
        with pytest.raises(UsageError, match=f"known to the others of its cluster at {address}"):
            await node("node-3", persistence_dir=tmp_path).start()
        # Without seeds: it knows the others.
        async with node("node-3", persistence_dir=tmp_path, port=address.port) as back:
            await back.wait_for(3, PATIENCE)
            assert key_of(back) == key


async def test_a_cluster_of_one_comes_back_with_what_it_knows(tmp_path: Path) -> None:
    first = node("node-1", persistence_dir=tmp_path)
    await first.start()
    await first.wait_for(1)
    key = key_of(first)
    things = await first.spawn(Counter, name="things", sharded=True, num_shards=8)
    assert await things["a"].ask(Add(3)) == 3
    await crash(first)
    async with node("node-1", persistence_dir=tmp_path) as back:
        await back.wait_for(1, PATIENCE)
        assert key_of(back) == key
        assert back.lookup("things").ref is not None
        things = await within(back.spawn(Counter, name="things", sharded=True, num_shards=8))
        await all_open([back], "things")
        # States are kept by other nodes, and there was none.
        assert await things["a"].ask(Add(1)) == 1


async def test_all_nodes_of_a_cluster_can_crash_and_come_back(tmp_path: Path) -> None:
    directories = [tmp_path / f"node-{number}" for number in range(3)]
    systems: list[DistributedSystem] = []
    for number, directory in enumerate(directories):
        system = node(f"node-{number}", *systems[:1], persistence_dir=directory)
        await system.start()
        systems.append(system)
    await joined(*systems)
    keys = sorted(map(key_of, systems))
    ports = [each.address.port for each in systems if each.address is not None]
    for each in systems:
        await crash(each)
    back = [
        node(f"node-{number}", persistence_dir=directory, port=port)
        for number, (directory, port) in enumerate(zip(directories, ports, strict=True))
    ]
    for each in back:
        await each.start()
    for each in back:
        await each.wait_for(3, PATIENCE)
    assert sorted(map(key_of, back)) == keys
    await asyncio.gather(*(each.shutdown() for each in back))


async def test_a_node_that_has_left_is_a_new_one_when_it_starts_again(tmp_path: Path) -> None:
    async with cluster(2) as systems:
        keys = []
        for _ in range(2):
            async with node("node-3", systems[0], persistence_dir=tmp_path) as third:
                await joined(*systems, third)
                keys.append(key_of(third))
            assert not (tmp_path / FILE_NAME).exists()
            await until(lambda: len(systems[0].members) == 2)
        assert keys[0] != keys[1]


async def test_the_directory_of_another_node_is_refused(tmp_path: Path) -> None:
    first = node("node-1", persistence_dir=tmp_path)
    await first.start()
    await first.wait_for(1)
    await crash(first)
    other = node("node-2", persistence_dir=tmp_path)
    with pytest.raises(UsageError, match="is the directory of the node 'node-1', and this is 'node-2'"):
        await other.start()
    async with node("node-1", persistence_dir=tmp_path) as back:
        await back.wait_for(1)


async def test_a_directory_is_not_used_twice_at_the_same_time(tmp_path: Path) -> None:
    async with node("node-1", persistence_dir=tmp_path) as first:
        await first.wait_for(1)
        second = node("node-1", persistence_dir=tmp_path)
        with pytest.raises(StorageError, match="in use"):
            await second.start()


async def test_a_file_that_is_not_as_it_was_written_is_refused(tmp_path: Path) -> None:
    first = node("node-1", persistence_dir=tmp_path)
    await first.start()
    await first.wait_for(1)
    await crash(first)
    file = tmp_path / FILE_NAME
    data = bytearray(file.read_bytes())
    at = data.rindex(b"node-1")
    data[at] ^= 0x20
    file.write_bytes(data)
    second = node("node-1", persistence_dir=tmp_path)
    with pytest.raises(StorageError, match=str(tmp_path)):
        await second.start()
    assert file.read_bytes() == data


async def test_the_directory_of_a_node_that_has_no_name_but_its_address_is_refused_elsewhere(tmp_path: Path) -> None:
    first = node(persistence_dir=tmp_path)
    await first.start()
    await first.wait_for(1)
    await crash(first)
    with pytest.raises(UsageError, match="a node_id that does not change with the address"):
        await node(persistence_dir=tmp_path).start()


async def test_a_node_whose_disk_fails_does_not_say_another_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cluster(2, leave_timeout=0.2) as systems:
        third = node("node-3", systems[0], persistence_dir=tmp_path)
        serving = asyncio.ensure_future(third.serve())
        await third.wait_for(3, PATIENCE)
        await joined(*systems, third)
        for each in (*systems, third):
            things: Any = await each.spawn(Counter, name="things", sharded=True, num_shards=8)
        await all_open([*systems, third], "things")
        storage = inside_of(third)._storage
        assert storage is not None

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("casty_asyncio.cluster.storage_file.RecordFile.append", full)
        await systems[0].spawn(Counter, name="others", sharded=True, num_shards=8)
        with pytest.raises(StorageError, match="No space left on device"):
            await within(serving)
        health = third.health()
        assert not health.live
        assert not health.ready
        await until(lambda: any(member.status.name == "UNREACHABLE" for member in systems[0].members))
        things = systems[0].lookup("things").ref
        await all_open(systems, "things")
        for number in range(10):
            assert await things[f"e{number}"].ask(Get()) == 0


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    system = node("node-1", persistence_dir=tmp_path / "file")
    with pytest.raises(StorageError):
        await system.start()


async def test_whoever_asked_a_node_that_was_started_again_hears_that_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be back before anybody has missed it. What the process before had accepted is lost with it."""

    async def never(*_: Any) -> None:
        await asyncio.get_running_loop().create_future()

    async with cluster(1) as systems:
        second = node("node-2", systems[0], persistence_dir=tmp_path, shutdown_timeout=0.01)
        await second.start()
        await joined(*systems, second)
        for each in (*systems, second):
            things: Any = await each.spawn(Played, name="things", sharded=True, num_shards=8, play=never)
        await all_open([*systems, second], "things")
        things = systems[0].lookup("things").ref
        (there,) = ids_at(second, "things", 1)
        asking = asyncio.ensure_future(things[there].ask(Say(), timeout=PATIENCE))
        await until(lambda: there in {name for shard in hosting_of(second).shards.values() for name in shard.entities})
        await asyncio.sleep(0.05)  # That it was accepted is said a little later.
        port = second.address.port if second.address is not None else 0
        # A process that is killed says nothing more.
        monkeypatch.setattr("casty_asyncio.cluster.turns.give_answer", lambda *_: None)
        await crash(second)
        monkeypatch.undo()
        async with node("node-2", systems[0], persistence_dir=tmp_path, port=port) as back:
            with pytest.raises(OutcomeUnknownError):
                await asking
            await back.wait_for(2, PATIENCE)
