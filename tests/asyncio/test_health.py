"""The server for orchestrators, and what it says of a system and of a node."""

from __future__ import annotations

import asyncio
import json

import pytest

from casty_asyncio import ActorSystem, ClusterTimeoutError, HealthServer, UsageError

from .cluster.node_kit import cluster, node
from .probe import within


async def fetch(server: HealthServer, request: str) -> tuple[int, str]:
    """The status and the body of the answer to a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request.encode())
    answer = (await within(reader.read())).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def get(server: HealthServer, path: str) -> tuple[int, str]:
    """The same for a path."""
    return await fetch(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_a_system_is_ready_from_its_start_until_its_shutdown_begins() -> None:
    system = ActorSystem()
    assert (system.health().live, system.health().ready) == (True, False)
    async with system:
        await system.start()
        assert (system.health().live, system.health().ready) == (True, True)
    assert (system.health().live, system.health().ready) == (False, False)
    assert system.health().reasons == ("it was shut down",)


async def test_a_node_is_ready_while_it_can_act_as_a_member() -> None:
    lonely = node("n9", "127.0.0.1:1")
    async with lonely:
        assert (lonely.health().live, lonely.health().ready) == (True, False)
        assert lonely.health().reasons == ("it is seeking",)
        with pytest.raises(ClusterTimeoutError, match="it is seeking"):
            await lonely.wait_ready(0.0)
    async with cluster(2) as (one, other):
        await one.wait_ready()
        await other.wait_ready()
        assert (one.health().live, other.health().ready) == (True, True)


async def test_the_server_answers_what_orchestrators_ask() -> None:
    async with cluster(1) as (one,), HealthServer(one, "127.0.0.1", 0) as server:
        assert await get(server, "/live") == (200, "ok\n")
        assert (await get(server, "/ready"))[0] in (200, 503)
        status, text = await get(server, "/metrics?x=1")
        assert status == 200
        assert 'casty_cluster_members{status="up"} 1' in text.splitlines()
        status, text = await get(server, "/status")
        assert (status, json.loads(text)["node"]) == (200, "node-1")
        assert (await get(server, "/nothing"))[0] == 404
        assert (await fetch(server, "POST /live HTTP/1.1\r\n\r\n"))[0] == 405
        assert (await fetch(server, "what\r\n\r\n"))[0] == 400


async def test_a_node_that_is_not_ready_says_why() -> None:
    async with node("n9", "127.0.0.1:1") as lonely, HealthServer(lonely, "127.0.0.1", 0) as server:
        assert await get(server, "/ready") == (503, "it is seeking\n")
        assert await get(server, "/live") == (200, "ok\n")


async def test_who_says_nothing_does_not_hold_up_the_end() -> None:
    async with ActorSystem() as system, HealthServer(system, "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /live")
        await writer.drain()
        assert (await get(server, "/live"))[0] in (200, 503)
    writer.close()


async def test_a_port_that_is_taken_is_said() -> None:
    async with ActorSystem() as system, HealthServer(system, "127.0.0.1", 0) as server:
        with pytest.raises(UsageError, match="cannot listen"):
            await HealthServer(system, "127.0.0.1", server.port).start()


async def test_a_request_for_the_head_is_answered_without_a_body() -> None:
    async with ActorSystem() as system, HealthServer(system, "127.0.0.1", 0) as server:
        assert await fetch(server, "HEAD /live HTTP/1.1\r\n\r\n") == (200, "")


async def test_what_cannot_be_found_out_is_an_error_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ActorSystem() as system, HealthServer(system, "127.0.0.1", 0) as server:
        monkeypatch.setattr(system, "status", lambda: {"what": object()})
        status, text = await get(server, "/status")
        assert status == 500
        assert "not JSON serializable" in text


async def test_a_server_ends_though_somebody_does_not_read_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ActorSystem() as system:
        asked = asyncio.Event()

        def much() -> dict[str, str]:
            asked.set()
            return {"much": "x" * 2**24}

        monkeypatch.setattr(system, "status", much)
        async with HealthServer(system, "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"GET /status HTTP/1.1\r\n\r\n")
            await within(asked.wait())
            await within(server.close())
        writer.transport.abort()
