"""Clients of clusters that let not everybody in, that take not every class, and that are behind tunnels."""

from __future__ import annotations

import asyncio

import pytest
import trustme

from casty_asyncio import ContactError, Remote, ServiceKey

from ..probe import Probe, within
from ..remote.kit import Proxy
from ..transport.kit import contexts
from .client_kit import Add, Counter, Get, Greet, client_of, cluster, linked, until

KEY: ServiceKey[object] = ServiceKey("nothing")


async def test_a_client_with_the_secret_comes_in_and_others_are_told_at_once_that_they_do_not() -> None:
    async with cluster(1, secret="open sesame") as (only,):
        await only.spawn(Counter, name="counters", sharded=True, num_shards=8)
        async with client_of(only, secret="open sesame") as client:
            assert await client.entity_ref("counters", "a").ask(Add(2)) == 2
        for wrong in ({"secret": "open barley"}, {}):
            client = client_of(only, **wrong)
            with pytest.raises(ContactError, match=f"{only.address}.*secret"):
                await within(client.start())
            await client.shutdown()


async def test_a_client_with_a_good_certificate_comes_in_and_others_do_not() -> None:
    authority, other = trustme.CA(), trustme.CA()
    good = contexts(authority, authority)
    async with cluster(2, tls=good) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=8)
        async with client_of(systems[0], tls=contexts(authority, authority)) as client:
            await linked(client, 2)
            for number in range(8):
                assert await client.entity_ref("counters", f"e{number}").ask(Add(2)) == 2
        for wrong in ({"tls": contexts(other, authority)}, {}):
            client = client_of(systems[0], connect_timeout=0.5, **wrong)
            with pytest.raises(ContactError, match=str(systems[0].address)):
                await client.start()
            await client.shutdown()


async def test_strict_systems_take_what_clients_and_nodes_say_to_each_other() -> None:
    strict = Remote(strict=True)
    async with cluster(2, remote=strict) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=8)
        async with client_of(systems[0], remote=strict) as client:
            await linked(client, 2)
            ref = client.entity_ref("counters", "a")
            assert await ref.ask(Add(2)) == 2
            assert await client.ask(ref, lambda reply_to: Get(reply_to)) == 2
            probe = Probe(client)
            ref.tell(Greet(probe.ref))
            assert await probe.next() == "hello"
            assert not client.lookup(KEY)


@pytest.mark.parametrize("kind", ["pairs", "texts"])
async def test_an_address_map_leads_through_tunnels_to_every_member(kind: str) -> None:
    async with cluster(2) as systems:
        proxy = Proxy()
        try:
            ports = [await proxy.listen(system.address.port) for system in systems if system.address is not None]
            known: dict[object, object] = {}
            for system, port in zip(systems, ports, strict=True):
                assert system.address is not None
                if kind == "pairs":
                    known[system.address.host, system.address.port] = ("127.0.0.1", port)
                else:
                    known[str(system.address)] = f"127.0.0.1:{port}"
            async with client_of(systems[0], address_map=known) as client:
                await linked(client, 2)
                assert proxy.opened == 2
                await systems[1].spawn(Counter, name="plain")
                ref = await client.lookup("plain")
                assert ref is not None
                assert await ref.ask(Add(1)) == 1
        finally:
            await proxy.close()


async def test_members_that_cannot_be_dialled_are_reached_through_the_node_that_is_followed() -> None:
    async with cluster(2) as systems:
        for system in systems:
            await system.spawn(Counter, name="counters", sharded=True, num_shards=8)
        hidden = {str(systems[1].address): "127.0.0.1:1"}
        async with client_of(systems[0], address_map=hidden) as client:
            await client.wait_for(2)
            await until(lambda: client.topology is not None and client.topology.regions)
            refs = [client.entity_ref("counters", f"e{number}") for number in range(16)]
            for ref in refs:
                await ref.send(Add(1))
            async with asyncio.timeout(10):
                await until(lambda: len(systems[1].members) == 2)
