"""Mutual TLS: who is let in, and that both sides learn why not."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from casty_asyncio import ActorSystem, Contexts, Remote, Tls, UsageError

from .kit import LOOPBACK, Text, contexts, echo, lines, lookup, raw, served, shop, transport_of, unreachable, until


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def good(authority: trustme.CA) -> Contexts:
    return contexts(authority, authority)


async def test_nodes_with_certificates_of_one_authority_talk_to_each_other_over_tls_1_3(good: Contexts) -> None:
    async with shop(tls=good) as one, shop(tls=good) as two:
        one.spawn(echo(), "served")
        ref = await lookup(two, one, "/served")
        assert await ref.ask(Text("x" * 100_000)) == Text("x" * 100_000)
        versions = [
            connection._socket.get_extra_info("ssl_object").version()
            for connection in transport_of(one)._connections
            if connection._socket is not None
        ]
        assert versions == ["TLSv1.3"]


async def test_tls_is_set_up_from_paths(authority: trustme.CA, tmp_path: Path) -> None:
    certificate = authority.issue_cert(*LOOPBACK)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(tmp_path / "certificate.pem"), append=True)
    tls = Tls(tmp_path / "certificate.pem", str(tmp_path / "key.pem"), tmp_path / "ca.pem")
    async with shop(tls=tls, secret="and a secret") as one, shop(tls=tls, secret="and a secret") as two:
        one.spawn(echo(), "served")
        assert await (await lookup(two, one, "/served")).ask(Text("hello")) == Text("hello")


async def test_paths_of_no_use_are_an_error_at_the_start_and_the_system_can_go_on_without(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    async with ActorSystem("plain"):
        with pytest.raises(UsageError, match=r"TLS cannot be set up from .*missing.pem"):
            await shop(tls=Tls(missing, missing, missing)).start()


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("other", "its certificate is not good: unable to get local issuer certificate"),
        ("expired", "its certificate is not good: certificate has expired"),
        ("elsewhere", "its certificate is not good: IP address mismatch"),
    ],
)
async def test_a_listener_whose_certificate_is_not_good_is_refused_and_both_sides_say_why(
    which: str, reason: str, authority: trustme.CA, good: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop(tls=dubious(which, authority)) as listener, shop(tls=good, node_id="dialer") as two:
        for _ in range(2):
            assert reason in await unreachable(two, listener.address)
        await until(lambda: lines(caplog, "was refused: TLS failed"))
        (ours,) = lines(caplog, reason)
        assert ours.startswith(f"{listener.address} was refused")
        (theirs,) = lines(caplog, "was refused: TLS failed")
        assert "does it trust the certificate of this node" in theirs or "alert" in theirs.lower()


def dubious(which: str, authority: trustme.CA) -> Contexts:
    """The contexts of a node that nobody should trust."""
    match which:
        case "none":
            return contexts(None, authority)
        case "other":
            return contexts(trustme.CA(), authority)
        case "expired":
            return contexts(authority, authority, not_after=datetime.now(UTC) - timedelta(days=1))
        case _:
            return contexts(authority, authority, "elsewhere.example")


@pytest.mark.parametrize(
    ("which", "here", "there"),
    [
        ("none", "peer did not return a certificate", "certificate required"),
        ("other", "unable to get local issuer certificate", "unknown ca"),
        ("expired", "certificate has expired", "expired"),
    ],
)
async def test_a_dialler_whose_certificate_is_not_good_is_refused_and_both_sides_say_why(
    which: str,
    here: str,
    there: str,
    authority: trustme.CA,
    good: Contexts,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stranger = outside(dubious(which, authority))
    async with shop(tls=good) as listener, served(listener, tls=good), stranger:
        for _ in range(2):
            text = await unreachable(stranger, listener.address)
            assert "does it trust the certificate of this node" in text
            assert there in text.lower().replace("_", " ") or "connection" in text
        (ours,) = lines(caplog, "was refused: TLS failed")
        assert here in ours
        assert len(lines(caplog, "does it trust the certificate of this node")) == 1


def outside(tls: Contexts | None) -> ActorSystem:
    """A system that listens nowhere."""
    return ActorSystem("shop", remote=Remote(tls=tls))


async def test_a_dialler_without_tls_is_refused_by_a_listener_with_tls(
    good: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop(tls=good) as listener, served(listener, tls=good), outside(None) as plain:
        for _ in range(3):
            text = await unreachable(plain, listener.address)
            assert "so it has TLS, and this node has none" in text or "connection" in text
        assert len(lines(caplog, "was refused: TLS failed")) == 1


async def test_a_dialler_with_tls_is_refused_by_a_listener_without(
    good: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop() as listener, served(listener), outside(good) as secure:
        for _ in range(3):
            assert "TLS failed" in (text := await unreachable(secure, listener.address))
            assert "has it TLS as well (Remote.tls)?" in text
        (line,) = lines(caplog, "does not speak the protocol")
        assert "it begins with TLS, and this node has none (Remote.tls)" in line


async def test_k_06_strangers_who_never_finish_tls_are_counted_and_turned_out(
    good: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    few: dict[str, Any] = {"max_handshakes": 4, "connect_timeout": 5.0}
    async with shop(tls=good, **few) as system, served(system, tls=good) as honest, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(raw(system)) for _ in range(40)]
        assert len(transport_of(system)._listening._strangers) <= 4
        for peer in peers[:36]:
            await peer.closes()
        await honest.answered()
        async with shop(tls=good) as newcomer:
            await lookup(newcomer, system, "/served")
        assert len(lines(caplog, "have not finished their handshakes")) == 1


async def test_a_stranger_who_says_nothing_to_a_tls_port_is_closed_in_time(
    good: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop(tls=good, connect_timeout=0.2) as system, raw(system) as peer:
        await peer.closes()
        await until(lambda: not transport_of(system)._listening._open)
        assert len(lines(caplog, "was refused: TLS failed")) == 1


async def test_nothing_of_tls_is_left_when_the_system_ends_in_the_middle_of_a_handshake(good: Contexts) -> None:
    system = shop(tls=good)
    await system.start()
    async with raw(system) as peer:
        await until(lambda: transport_of(system)._listening._strangers)
        await system.shutdown()
        await peer.closes()


async def test_the_end_of_a_system_with_tls_takes_no_time(good: Contexts) -> None:
    loop = asyncio.get_running_loop()
    async with shop(tls=good) as one:
        one.spawn(echo(), "served")
        two = shop(tls=good)
        await two.start()
        assert await (await lookup(two, one, "/served")).ask(Text("hello")) == Text("hello")
        began = loop.time()
        await two.shutdown()
        assert loop.time() - began < 1.0
