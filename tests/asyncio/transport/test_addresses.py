"""Where a system listens, where it says that it can be dialled, and how others find it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest
import trustme

from casty_asyncio import Contexts, Remote, UnreachableError, UsageError

from ..probe import within
from .kit import Text, contexts, echo, ends, free_port, lines, lookup, served, shop, transport_of

OPEN = "with neither a secret nor mutual TLS"


@pytest.fixture(scope="module")
def tls() -> Contexts:
    authority = trustme.CA()
    return contexts(authority, authority)


# -- who is told that it is open to everybody --------------------------------------------------------------------------


async def test_listening_on_a_public_address_with_neither_secret_nor_tls_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with shop(host="0.0.0.0", advertise="127.0.0.1") as system:
        (line,) = lines(caplog, OPEN)
        assert system.address is not None
        assert f"listening on 0.0.0.0:{system.address.port}" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_listening_on_loopback_is_none(host: str, caplog: pytest.LogCaptureFixture) -> None:
    async with shop(host=host):
        assert not lines(caplog, OPEN)


async def test_with_a_secret_or_tls_it_is_none(tls: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    for options in ({"secret": "s"}, {"tls": tls}):
        async with shop(host="0.0.0.0", advertise="127.0.0.1", **options):
            assert not lines(caplog, OPEN)


def test_contexts_that_ask_nobody_for_a_certificate_let_everybody_in(tls: Contexts) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert Remote("127.0.0.1", tls=Contexts(server, tls.client)).is_open
    assert not Remote("127.0.0.1", tls=tls).is_open
    assert not Remote("127.0.0.1", secret="s", tls=Contexts(server, tls.client)).is_open
    assert Remote("127.0.0.1").is_open


# -- ports and names ---------------------------------------------------------------------------------------------------


async def test_port_0_is_one_that_is_free_and_the_address_says_which() -> None:
    async with shop() as one, shop() as two:
        assert one.address is not None
        assert two.address is not None
        assert 0 < one.address.port != two.address.port > 0


async def test_a_port_that_is_taken_is_an_error_and_the_system_can_be_started_again() -> None:
    async with shop() as taken:
        assert taken.address is not None
        port = taken.address.port
        system = shop(port=port)
        with pytest.raises(UsageError, match=rf"'shop' cannot listen on 127.0.0.1:{port}: .*in use"):
            await system.start()
        assert str(system.address) == "None"
    await system.start()
    assert str(system.address) == f"127.0.0.1:{port}"
    await system.shutdown()


async def test_a_host_that_cannot_be_resolved_is_an_error_at_the_start() -> None:
    with pytest.raises(UsageError, match=r"cannot listen on nowhere\.invalid:0"):
        await shop(host="nowhere.invalid").start()


async def test_an_ipv6_address_is_listened_on_and_dialled() -> None:
    async with shop(host="::1") as one, shop(host="::1") as two:
        one.spawn(echo(), "served")
        assert str(one.address).startswith("[::1]:")
        ref = await lookup(two, one, "/served")
        assert await ref.ask(Text("six")) == Text("six")


async def test_a_name_is_listened_on_at_all_its_addresses_with_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    asked = answering(loop, {"both.example": ["127.0.0.1", "::1"]}, monkeypatch)
    async with shop(host="both.example") as one, shop() as two:
        one.spawn(echo(), "served")
        assert asked == ["both.example"]
        assert one.address is not None
        for host in ("127.0.0.1", "[::1]"):
            ref = await within(two.lookup(f"casty://shop@{host}:{one.address.port}/served"))
            assert await ref.ask(Text(host)) == Text(host)


async def test_names_are_resolved_without_blocking_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a name is being resolved for one lookup, everybody else is served."""
    loop = asyncio.get_running_loop()
    async with shop() as one, shop() as two, served(one) as honest:
        assert one.address is not None
        gate = asyncio.Event()
        asked = answering(loop, {"shop.example": ["127.0.0.1"]}, monkeypatch, gate)
        found = asyncio.ensure_future(two.lookup(f"casty://shop@shop.example:{one.address.port}/served"))
        await honest.answered()
        await honest.answered()
        assert asked == ["shop.example"]
        assert not found.done()
        gate.set()
        assert await (await within(found)).ask(Text("hello")) == Text("hello")


async def test_localhost_is_dialled_wherever_it_listens() -> None:
    async with shop(host="127.0.0.1") as four, shop(host="localhost") as name, shop() as dialer:
        for system in (four, name):
            system.spawn(echo(), "served")
            assert system.address is not None
            assert await within(dialer.lookup(f"casty://shop@localhost:{system.address.port}/served"))


async def test_each_address_of_a_name_is_tried_and_one_that_swallows_everything_leaves_time_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as mute:
        # Nobody accepts: who connects waits for an answer that never comes.
        mute.bind(("127.0.0.2", 0))
        mute.listen(0)
        port = mute.getsockname()[1]
        async with shop(port=port) as one, shop(connect_timeout=0.6) as two:
            one.spawn(echo(), "served")
            answering(loop, {"many.example": ["127.0.0.2", "127.0.0.1"]}, monkeypatch)
            assert await within(two.lookup(f"casty://shop@many.example:{port}/served"))


async def test_a_name_that_nobody_knows_and_a_port_where_nobody_listens_are_the_reason_of_the_lookup() -> None:
    async with shop() as system:
        text = await ends(system.lookup("casty://shop@nowhere.invalid:1/served"), UnreachableError)
        assert "nowhere.invalid:1 cannot be reached" in text
        address = f"127.0.0.1:{free_port()}"
        text = await ends(system.lookup(f"casty://shop@{address}/served"), UnreachableError)
        assert f"{address} cannot be reached" in text
        assert "onnect" in text


async def test_an_address_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        async with shop(connect_timeout=0.2) as system:
            text = await ends(system.lookup(f"casty://shop@{address}/served"), UnreachableError)
            assert f"{address} did not answer within 0.2 s" in text


async def test_a_lookup_that_is_cancelled_leaves_nothing_behind() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        async with shop(connect_timeout=0.1) as system:
            address = f"casty://shop@127.0.0.1:{mute.getsockname()[1]}/served"
            found = asyncio.ensure_future(system.lookup(address))
            await asyncio.sleep(0.02)
            found.cancel()
            with pytest.raises(asyncio.CancelledError):
                await found
            await ends(system.lookup(address), UnreachableError)
        assert asyncio.all_tasks() == {asyncio.current_task()}


# -- advertised, and mapped --------------------------------------------------------------------------------------------


async def test_what_is_advertised_is_the_address_and_in_the_refs() -> None:
    async with shop(advertise="shop.example:25520") as one, shop(advertise="other.example") as two:
        assert str(one.address) == "shop.example:25520"
        assert two.address is not None
        assert two.address.host == "other.example"
        assert 0 < two.address.port != 25520
        ref = one.spawn(echo(), "served")
        assert ref.address.startswith("casty://shop@shop.example:25520/served#")
        assert (await within(one.lookup("casty://shop@shop.example:25520/served"))) == ref


async def test_an_address_map_leads_through_a_tunnel_to_the_node_that_is_meant() -> None:
    async with shop(advertise="10.0.0.7:25520") as one:
        port = transport_of(one)._listening._sockets[0].getsockname()[1]
        async with shop(address_map={"10.0.0.7:25520": f"localhost:{port}"}) as two:
            served_ref = one.spawn(echo(), "served")
            ref = await lookup(two, one, "/served")
            assert ref.address == served_ref.address
            assert await ref.ask(Text("through")) == Text("through")


async def test_a_tunnel_that_is_broken_is_named_with_both_addresses() -> None:
    port = free_port()
    async with shop(address_map={"10.0.0.7:25520": f"127.0.0.1:{port}"}) as system:
        text = await ends(system.lookup("casty://shop@10.0.0.7:25520/served"), UnreachableError)
        assert f"10.0.0.7:25520 (through 127.0.0.1:{port}) cannot be reached" in text


async def test_through_a_tunnel_the_certificate_must_be_that_of_the_node_and_not_of_the_tunnel() -> None:
    authority = trustme.CA()
    node, other = contexts(authority, authority, "10.0.0.7"), contexts(authority, authority, "127.0.0.1")
    for tls, is_good in ((node, True), (other, False)):
        async with shop(advertise="10.0.0.7:25520", tls=tls) as one:
            one.spawn(echo(), "served")
            port = transport_of(one)._listening._sockets[0].getsockname()[1]
            async with shop(tls=other, address_map={"10.0.0.7:25520": f"127.0.0.1:{port}"}) as two:
                if is_good:
                    await lookup(two, one, "/served")
                else:
                    text = await ends(two.lookup("casty://shop@10.0.0.7:25520/served"), UnreachableError)
                    assert "not valid for '10.0.0.7'" in text


def answering(
    loop: asyncio.AbstractEventLoop,
    names: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    gate: asyncio.Event | None = None,
) -> list[str]:
    """Let the loop know these names. Returns the list of those that it is asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: Any, port: Any, **options: Any) -> list[Any]:
        text = host if isinstance(host, str) else host.decode()
        if text not in names:
            return socket.getaddrinfo(text, port, type=socket.SOCK_STREAM)
        asked.append(text)
        if gate is not None:
            await gate.wait()
        return [
            entry for address in names[text] for entry in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
        ]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    return asked
