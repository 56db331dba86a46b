"""Secrets, names, versions and identities: who is refused, and that both sides learn why (wire rules 20 to 26)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from casty_asyncio import ActorSystem, Remote
from casty_asyncio.remote.refs import RemoteRef
from casty_proto.link import Bye, unpacked
from casty_proto.wire import Node, Reason

from ..probe import Probe, within
from .kit import (
    DATA,
    HELLO,
    REFUSAL,
    WELCOME,
    Identity,
    Raw,
    Text,
    echo,
    lines,
    listening,
    lookup,
    peer_of,
    raw,
    served,
    shop,
    transport_of,
    unreachable,
    until,
)

SECRET = "correct horse battery staple"


async def test_those_who_know_the_secret_talk_to_each_other() -> None:
    async with shop(secret=SECRET) as one, shop(secret=SECRET.encode()) as two:
        one.spawn(echo(), "served")
        ref = await lookup(two, one, "/served")
        assert await ref.ask(Text("hello")) == Text("hello")


@pytest.mark.parametrize(
    ("here", "there", "reason"),
    [
        ("right", "wrong", "the secrets differ"),
        ("right", None, "a secret is needed"),
        (None, "right", "one side has a secret and the other has none"),
    ],
)
async def test_a_wrong_or_missing_secret_is_one_line_on_both_sides_and_the_reason_of_the_lookup(
    here: str | None, there: str | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        shop(secret=here) as listener,
        served(listener, secret=here),
        shop(secret=there, node_id="dialer") as two,
    ):
        address = listener.address
        for _ in range(3):
            assert f"refused: {reason}" in await unreachable(two, address)
        refused = lines(caplog, reason)
    assert len(refused) == 2
    (ours,) = [line for line in refused if "the peer that calls itself 'dialer." in line]
    assert f"was refused: {reason}" in ours
    (theirs,) = [line for line in refused if line is not ours]
    assert theirs.startswith(f"{address}: the peer")
    assert f" refused: {reason}" in theirs
    assert "correct" not in caplog.text


async def test_a_listener_that_cannot_prove_that_it_knows_the_secret_is_refused_too() -> None:
    async def serve(peer: Raw) -> None:
        """Asks for the proof, and welcomes whatever comes."""
        await peer.body()
        node = ["liar", 3, "127.0.0.1:1", True, bytes(32)]
        peer.send(msgpack.packb(["casty", 2, 1, "shop", *node]))
        await peer.body()
        peer.send(msgpack.packb(["casty", 4, bytes(32)]))
        await peer.end()

    async with shop(secret=SECRET) as system, listening(serve) as address:
        assert "'liar.3 at 127.0.0.1:1' was refused: the secrets differ" in await unreachable(system, address)


async def test_k_17_a_recorded_handshake_is_of_no_use() -> None:
    async with shop(secret="s") as system:
        who = Identity(secret=b"s")
        async with raw(system) as peer:
            hello = peer.hello(who)
            peer.send(hello)
            proof = peer.proof(hello, await peer.body())
            peer.send(proof)
            assert (await peer.message())[0] == WELCOME
        async with raw(system) as replayed:
            replayed.send(hello, proof)
            await replayed.body()
            assert (await replayed.message())[:1] == [REFUSAL]
            await replayed.closes()


async def test_k_15_another_system_name_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with shop() as one, served(one), ActorSystem("till", remote=Remote("127.0.0.1", node_id="till")) as two:
        reason = "the systems 'till' and 'shop' do not talk to each other"
        found = transport_of(two)
        assert one.address is not None
        with pytest.raises(ConnectionError, match=reason):
            await found.peer_at(one.address)
        assert [reason in line for line in lines(caplog, "do not talk")] == [True, True]


@pytest.mark.parametrize("versions", [(2, 9), (9, 9)])
async def test_k_14_a_version_that_is_too_new_is_refused_with_both_ranges(
    versions: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    async with shop() as system, served(system), raw(system) as peer:
        kind, _, text = await peer.shake(Identity(versions=versions))
        assert kind == REFUSAL
        assert f"versions {versions[0]} to {versions[1]} of the protocol, the other 1 to 1; update" in text
        await peer.closes()
        assert len(lines(caplog, "update the older one")) == 1


async def test_k_14_a_newer_version_that_speaks_the_old_one_as_well_is_taken() -> None:
    async with shop() as system, raw(system) as peer:
        assert (await peer.shake(Identity(versions=(1, 9))))[0] == WELCOME


@pytest.mark.parametrize("version", [None, 0, -1, "1", 2**70])
async def test_k_14_a_version_that_is_none_is_refused(version: Any) -> None:
    async with shop() as system, served(system), raw(system) as peer:
        who = Identity()
        parts = [version, 1, "shop", who.node_id, 7, "", DATA, False, who.nonce]
        try:
            body = msgpack.packb(["casty", HELLO, *parts])
        except OverflowError:
            body = (
                msgpack.packb(["casty", HELLO, *parts]) if version is None else b"\x9b\xa5casty\x01\xcf" + b"\xff" * 8
            )
        peer.send(body)
        assert (await peer.message())[0] == REFUSAL
        await peer.closes()


async def test_k_14_a_listener_of_another_version_is_refused_by_the_dialler(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []

    async def serve(peer: Raw) -> None:
        await peer.body()
        peer.send(msgpack.packb(["casty", 2, 5, "shop", "new", 3, "127.0.0.1:1", False, bytes(32)]))
        told.append(await peer.message())

    async with shop() as system, listening(serve) as address:
        assert "one side speaks the versions 5 to 5" in await unreachable(system, address)
        await until(lambda: told)
        assert "update the older one" in told[0][2]


async def test_k_15_a_node_that_dials_itself_knows_that_and_talks_to_nobody() -> None:
    async with shop() as system:
        ref = system.spawn(echo(), "served")
        remote = Remote("127.0.0.1", address_map={"10.9.8.7:25520": str(system.address)})
        transport_of(system).options = remote
        assert await within(system.lookup("casty://shop@10.9.8.7:25520/served")) is ref
        assert transport_of(system).peers == {}


async def test_k_15_who_only_says_that_the_node_is_at_both_ends_is_not_believed() -> None:
    async def lie(peer: Raw) -> None:
        await peer.body()
        peer.send(msgpack.packb(["casty", REFUSAL, int(Reason.SELF), "it is you"]))
        await peer.closes()

    async with shop() as system, listening(lie) as address:
        system.spawn(echo(), "served")
        assert "it is you" in await unreachable(system, address)


async def test_k_15_who_says_that_it_is_this_node_does_not_make_it_take_others_for_itself() -> None:
    async with shop() as system, raw(system) as peer:
        own = transport_of(system).own
        transport_of(system).nonces[b"n" * 32] = False
        assert (await peer.shake(Identity(own.node_id, own.generation, own.address)))[0] == REFUSAL
        assert transport_of(system).nonces == {b"n" * 32: False}


async def test_k_15_two_processes_with_the_same_node_id_are_told_to_take_two(caplog: pytest.LogCaptureFixture) -> None:
    async with shop(node_id="same") as one, shop(node_id="same") as two, served(one):
        text = await unreachable(two, one.address)
        assert "have the same node_id; give each its own" in text
        assert len(lines(caplog, "have the same node_id")) == 1


async def test_a_newer_process_of_the_same_node_id_takes_the_place_of_the_older_which_learns_of_it() -> None:
    async with shop() as system, raw(system, Identity("twin", 5)) as older:
        peer = peer_of(system, "twin")
        async with raw(system, Identity("twin", 6)) as newer:
            await until(lambda: peer.link.gone)
            assert peer.link.gone == "twin.6 has taken its place"
            assert await older.link_frame() == Bye("twin.6 has taken its place")
            await older.closes()
            async with raw(system) as again:
                assert (await again.shake(Identity("twin", 5)))[0] == WELCOME
                assert await again.link_frame() == Bye("twin.6 has taken its place")
                await again.closes()
            await newer.find("/nobody")


async def test_an_older_process_of_the_same_node_id_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    async with shop() as system, raw(system, Identity("twin", 6)) as newer:
        for _ in range(3):
            async with raw(system) as older:
                assert (await older.shake(Identity("twin", 5)))[0] == WELCOME
                assert await older.link_frame() == Bye("twin.5 is gone: twin.6 has taken its place")
                await older.closes()
        await newer.find("/nobody")
        assert len(lines(caplog, "twin.6 has taken its place")) == 1


async def test_what_is_only_heard_of_a_node_costs_it_nothing() -> None:
    async with shop() as system, shop(node_id="victim") as victim:
        victim.spawn(echo(), "served")
        ref = await lookup(system, victim, "/served")
        assert isinstance(ref, RemoteRef)
        probe = Probe(system)
        remoting = ref.conversation.remoting
        liar = RemoteRef[Any](remoting, Node("victim", 2**60, "127.0.0.1:1"), "/served", 5)
        other = RemoteRef[Any](remoting, Node("other", 1, str(victim.address)), "/served", 5)
        for made_up in (liar, other):
            made_up.tell(Text("hello"), probe.ref)
        assert await ref.ask(Text("still there?")) == Text("still there?")
        assert await lookup(system, victim, "/served") == ref
        assert peer_of_generation(system, ref.node).link.gone is None


def peer_of_generation(system: ActorSystem, node: Node) -> Any:
    return transport_of(system).peers[node.node_id, node.generation]


async def test_where_a_node_says_that_it_is_nobody_looks_for_another() -> None:
    """A peer that claims the address of another one does not get what is meant for that."""
    async with shop() as system, shop(node_id="victim") as victim:
        victim.spawn(echo(), "served")
        async with raw(system, Identity("thief", 9, str(victim.address))):
            ref = await lookup(system, victim, "/served")
            assert await ref.ask(Text("who?")) == Text("who?")
            assert isinstance(ref, RemoteRef)
            assert ref.node.node_id == "victim"


async def test_k_24_what_a_peer_calls_itself_is_logged_in_one_line_and_clipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = "A\nWARNING: all is well\x1b[2J" + "x" * 220
    async with shop() as system:
        async with raw(system, Identity(name)) as peer:
            peer.send(b"\xff")
            await peer.closes()
        assert lines(caplog, "is cut off")
        for record in caplog.records:
            text = record.getMessage()
            assert text.isprintable()
            assert "x" * 81 not in text
        await asyncio.sleep(0)


async def test_a_frame_that_comes_with_the_welcome_is_not_lost() -> None:
    """Who dialled reads no further until its link is ready: a farewell at once is a farewell, and no silence."""

    async def serve(peer: Raw) -> None:
        await peer.body()
        peer.send(msgpack.packb(["casty", 2, 1, "shop", "brief", 3, "", False, bytes(32)]))
        await peer.body()
        peer.write(b"".join([frame_of(msgpack.packb(["casty", 4, b""])), frame_of(b"\x09no time")]))
        peer.writer.close()

    assert unpacked(b"\x09no time") == Bye("no time")
    async with shop() as system, listening(serve) as address:
        assert "no time" in await unreachable(system, address)


def frame_of(body: bytes) -> bytes:
    return len(body).to_bytes(4) + body
