"""`python -m casty_asyncio inspect`: what it shows, and what it says when there is nothing to show."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from casty_asyncio import Actor, ActorSystem, Behaviors, Context, Remote, ServiceKey
from casty_asyncio.__main__ import render

from .node_kit import cluster

NAME = "casty"


class Echo(Actor[str]):
    async def receive(self, msg: str, ctx: Context) -> None:
        ctx.reply(msg)


KEY: ServiceKey[str] = ServiceKey("parrot")


async def inspect(*arguments: str) -> tuple[int, str, str]:
    """Run the program: its exit status, and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "casty_asyncio",
        "inspect",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_it_shows_members_types_singletons_and_services() -> None:
    async with cluster(2) as (one, other):
        for each in (one, other):
            await each.spawn(Echo, "echoes", sharded=True, num_shards=8)
            await each.spawn(Echo, "boss", singleton=True)
        one.spawn(Behaviors.discoverable(Behaviors.ignore(), key=KEY), "polly")
        boss = one.lookup("boss")
        assert await boss.ref.ask("x") == "x"
        status, out, _ = await inspect(str(one.address), "--name", NAME, "--json")
        assert status == 0
        found: dict[str, Any] = json.loads(out)
        assert [member["node"] for member in found["members"]] == ["node-1", "node-2"]
        assert found["leader"] == one.leader_id
        assert sum(found["types"][0]["shards_per_node"].values()) == 8
        assert found["singletons"][0]["node"] in ("node-1", "node-2")
        assert found["services"] == [{"key": "parrot", "instances": ["node-1/polly"]}]
        status, out, _ = await inspect(str(one.address), "--name", NAME)
        assert status == 0
        assert out.splitlines()[0] == render(found, colour=False)[0]
        assert "node-2" in out
        assert "boss" in out


STATUS: dict[str, Any] = {
    "system": "shop",
    "node": "n1",
    "standing": "member",
    "cluster": "n1.5",
    "leader": "n1",
    "term": 3,
    "epoch": 17,
    "members": [
        {"node": "n1", "address": "a:1", "roles": ["x", "y"], "status": "up", "votes": True, "leader": True},
        {"node": "n22", "address": "a:22", "roles": [], "status": "unreachable", "votes": False, "leader": False},
    ],
    "types": [
        {
            "name": "players",
            "shards": 8,
            "factor": 3,
            "sync_count": -1,
            "role": None,
            "shards_per_node": {"n1": 8},
            "hosts": ["n1"],
        }
    ],
    "singletons": [{"name": "boss", "node": None}],
    "services": [],
    "names": [],
    "gaps": ["players/3 has 1 of 3 copies"],
    "traffic": {
        "messages_sent": 1,
        "messages_received": 2,
        "asks_under_way": 3,
        "dead_letters": 4,
        "shards_here": 5,
        "entities_here": 6,
    },
}


async def test_a_node_that_takes_named_messages_only_is_shown_too() -> None:
    async with cluster(1, remote=Remote(strict=True)) as (one,):
        status, out, _ = await inspect(str(one.address), "--name", NAME, "--json")
        assert status == 0
        assert json.loads(out)["node"] == "node-1"


async def test_a_status_is_shown_as_tables() -> None:
    assert render(STATUS, colour=False) == [
        "shop  founded by n1.5",
        "leader n1, term 3, epoch 17; seen by n1, which is member",
        "",
        "MEMBER  ADDRESS  STATUS       VOTES  ROLES  SHARDS",
        "n1 *    a:1      up           yes    x, y   8",
        "n22     a:22     unreachable  no     -      0",
        "",
        "TYPE     SHARDS  COPIES  SYNC  ROLE  SHARDS PER NODE",
        "players  8       3       all   -     n1 8",
        "",
        "SINGLETON  NODE",
        "boss       nobody",
        "",
        "THIS NODE",
        "1 messages sent, 2 received; 5 shards, 6 entities awake; 3 asks under way; 4 dead letters",
        "! players/3 has 1 of 3 copies",
    ]
    assert "\x1b[31munreachable\x1b[0m" in "\n".join(render(STATUS, colour=True))


async def test_names_that_others_have_chosen_do_not_steer_the_terminal() -> None:
    evil = {"name": "a\nb", "node": "\x1b[2J", "path": "/x"}
    shown = render({**STATUS, "names": [evil], "singletons": [{"name": "\x1b]0;x\x07", "node": "n1"}]}, colour=False)
    assert all(line.isprintable() for line in shown)
    assert "a?b   ?[2J  /x" in shown


async def test_who_does_not_read_on_is_no_error() -> None:
    async with cluster(1) as (one,):
        reading, writing = os.pipe()
        os.close(reading)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "casty_asyncio", "inspect", str(one.address), "--name", NAME),
            stdout=writing,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(writing)
        _, err = await process.communicate()
        assert (process.returncode, err) == (1, b"")


async def test_who_is_no_node_is_told_from_who_is_not_there() -> None:
    async with ActorSystem(NAME, remote=Remote("127.0.0.1")) as plain:
        address = str(plain.address)
        status, out, err = await inspect(address, "--name", NAME)
        assert (status, out) == (1, "")
        assert err == f"casty: {address} is an actor system, and no node of a cluster\n"
        status, _, err = await inspect(address, "--name", "other")
        assert status == 1
        assert "'other' and 'casty' do not talk to each other; the name of the system is given by --name" in err
    status, _, err = await inspect(address, "--name", NAME)
    assert status == 1
    assert "cannot be reached" in err
    status, _, err = await inspect("nowhere")
    assert status == 2
    assert "has no port" in err
