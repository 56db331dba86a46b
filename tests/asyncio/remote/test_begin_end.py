"""The beginning and the end of a system that talks to others: nothing is lost on the way out, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    ActorStoppedError,
    ActorSystem,
    Behavior,
    Behaviors,
    DeadLetter,
    Reason,
    Remote,
    SystemShutDownError,
    UnreachableError,
    UsageError,
)
from casty_asyncio.transport import transport

from ..probe import Probe, within
from .kit import (
    NAME,
    Proxy,
    conversation_of,
    dead_letters,
    echo,
    generation_of,
    listening,
    looked_up,
    pair,
    peers_of,
    process,
    proxied,
    seen_from,
    until,
    url,
)
from .parcels import Echo, Tell

# -- the end -----------------------------------------------------------------------------------------------------------


async def test_what_a_mute_process_did_not_acknowledge_is_reported_when_the_system_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "FLUSH_SECONDS", 0.2)
    async with proxied() as (one, other, proxy):
        Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        proxy.stall()
        for number in range(7):
            ref.tell(number)
        await one.shutdown()
        assert one.dead_letters == 7
    assert f"7 messages to {ref.node} were not acknowledged when this system ended; they may be lost" in caplog.messages  # type: ignore[attr-defined]


async def test_what_was_told_just_before_the_shutdown_arrives() -> None:
    async with listening() as other:
        probe = Probe(other, "probe")
        async with listening() as one:
            ref = await looked_up(one, other, "probe")
            for number in range(5_000):
                ref.tell(number)
        assert one.dead_letters == 0
        assert await probe.take(5_000) == list(range(5_000))


async def test_what_was_told_to_somebody_who_was_never_talked_to_before_arrives_before_the_shutdown() -> None:
    async with listening() as other, listening() as third:
        probe, post = Probe(other, "probe"), Probe(third, "post")
        async with listening() as one:
            here = Probe(one, "here")
            (await looked_up(third, one, "here")).tell(await looked_up(third, other, "probe"))
            ref = await here.next()
            assert len(peers_of(one)) == 1
            for number in range(10):
                ref.tell(number)
        assert await probe.take(10) == list(range(10))
        assert one.dead_letters == 0
        assert post.ref.path == "/post"


async def test_what_hooks_tell_at_the_end_arrives() -> None:
    async with listening() as other:
        probe = Probe(other, "probe")
        async with listening() as one:
            ref = await looked_up(one, other, "probe")

            async def stopped(ctx: ActorContext[Any]) -> None:
                ref.tell(("stopped", ctx.path))

            def behavior() -> Behavior[Any]:
                return Behaviors.with_lifecycle(echo(), post_stop=stopped)

            for name in ("a", "b"):
                one.spawn(behavior(), name)
        assert sorted(await probe.take(2)) == [("stopped", "/a"), ("stopped", "/b")]


async def test_what_another_process_told_just_before_its_end_arrives() -> None:
    async with listening() as system, process() as there:
        probe = Probe(system)
        desk = await there.look_up(system, "desk")
        desk.tell(Tell(probe.ref, 1_000))
        assert await within(desk.ask(Echo("told"))) == "told"
        await there.end()
        assert await probe.take(1_000) == list(range(1_000))


async def test_the_other_side_learns_of_the_end_at_once() -> None:
    async with listening(refused_after=60.0, lost_after=60.0) as one:
        async with listening() as other:
            Probe(other, "silent")
            ref = await looked_up(one, other, "silent")
            asking = asyncio.ensure_future(ref.ask("x", timeout=60.0))
            lookup = asyncio.ensure_future(one.lookup(url(other, "silent"))._answer())
            assert await within(lookup) == ref
        with pytest.raises(ActorStoppedError):
            await within(asking)
        with pytest.raises(UnreachableError, match="ended"):
            await within(ref.ask("x", timeout=60.0))


async def test_a_peer_that_does_not_read_holds_up_the_end_for_a_limited_time_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "FLUSH_SECONDS", 0.2)
    async with listening() as other:
        probe = Probe(other, "probe")
        proxy = Proxy()
        one = ActorSystem(NAME, remote=Remote("127.0.0.1"))
        await one.start()
        await proxy.between(one, other)
        ref = await looked_up(one, other, "probe")
        await until(lambda: not len(peers_of(one)[0].link.session))
        proxy.stall()
        ref.tell("stuck")
        await within(one.shutdown())
        assert one.dead_letters == 1
        await proxy.close()
        assert await probe.all() == []


async def test_a_shutdown_leaves_no_task_socket_or_timer() -> None:
    before = sockets()
    async with proxied(ping_after=0.02, mute_after=0.1) as (one, other, proxy):
        other.spawn(echo(), "desk")
        ref = await looked_up(one, other, "desk")
        waiting = asyncio.ensure_future(one.wait_stopped(ref))
        for number in range(10):
            assert await within(ref.ask(number)) == number
            proxy.cut()
        proxy.refuses = True
        proxy.cut()
        ref.tell("on its way")
        clocks = [conversation_of(system).runtime.clock for system in (one, other)]
    await within(waiting)
    assert [len(clock) for clock in clocks] == [0, 0]
    assert [clock._alarm for clock in clocks] == [None, None]
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()
    assert sockets() == before


def sockets() -> int:
    """How many are open."""
    return sum(isinstance(each, socket.socket) and each.fileno() >= 0 for each in gc.get_objects())


async def test_after_the_shutdown_refs_are_of_no_use_and_say_so() -> None:
    async with listening() as other:
        Probe(other, "probe")
        async with listening() as one:
            ref = await looked_up(one, other, "probe")
            new = seen_from(one, other, other.spawn(echo(), "new"))
        for each in (ref, new):
            each.tell("late")
            with pytest.raises(UnreachableError):
                await within(each.ask("late"))
        assert one.dead_letters == 2
        with pytest.raises(SystemShutDownError):
            one.lookup(url(other, "probe"))
        with pytest.raises(SystemShutDownError):
            await one.start()


async def test_a_handler_can_ask_elsewhere_while_its_system_stops() -> None:
    async with listening() as other:
        other.spawn(echo(), "desk")
        answers = []
        async with listening() as one:
            ref = await looked_up(one, other, "desk")

            async def stopped(ctx: ActorContext[Any]) -> None:
                answers.append(await ref.ask("last question"))

            one.spawn(Behaviors.with_lifecycle(echo(), post_stop=stopped), "asking")
        assert answers == ["last question"]


# -- the beginning -----------------------------------------------------------------------------------------------------


async def test_a_system_that_has_started_starts_no_more() -> None:
    async with listening() as system:
        address, generation = system.address, generation_of(system)
        await system.start()
        assert (system.address, generation_of(system)) == (address, generation)
    local = ActorSystem("alone")
    await local.start()
    assert local.address is None
    await local.shutdown()


async def test_a_system_that_is_started_twice_at_once_listens_when_either_is_over() -> None:
    system = ActorSystem(NAME, remote=Remote("127.0.0.1"))
    first, second = asyncio.ensure_future(system.start()), asyncio.ensure_future(system.start())
    await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    assert system.address is not None
    await asyncio.wait([first, second])
    await system.shutdown()


@pytest.mark.parametrize("turns", range(5))
async def test_a_system_that_is_shut_down_while_it_starts_listens_nowhere(turns: int) -> None:
    before = sockets()
    system = ActorSystem(NAME, remote=Remote("127.0.0.1"))
    starting = asyncio.ensure_future(system.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    await within(system.shutdown())
    await asyncio.wait([starting])
    assert starting.exception() is None or isinstance(starting.exception(), SystemShutDownError | UsageError)
    del starting
    gc.collect()
    assert sockets() == before


async def test_a_port_that_is_taken_is_an_error_that_says_so_and_the_system_can_be_used_without() -> None:
    async with listening() as other:
        assert other.address is not None
        system = ActorSystem(NAME, remote=Remote("127.0.0.1", other.address.port))
        with pytest.raises(UsageError, match=rf"'shop' cannot listen on 127\.0\.0\.1:{other.address.port}: .*in use"):
            await system.start()
        assert system.address is None
        ref = system.spawn(echo(), "desk")
        assert await within(ref.ask("works")) == "works"
        assert "@" not in ref.address
        assert not system.lookup(url(other, "desk"))
        with pytest.raises(UnreachableError, match=r"does not talk to others; create it with remote=Remote"):
            await within(system.lookup(url(other, "desk")))
        await system.shutdown()


async def test_a_system_that_could_not_start_can_be_started_again() -> None:
    async with listening() as first:
        address = first.address
        assert address is not None
        system = ActorSystem(NAME, remote=Remote("127.0.0.1", address.port))
        with pytest.raises(UsageError):
            await system.start()
        ref = system.spawn(echo(), "desk")
    await system.start()
    assert system.address == address
    async with listening() as other:
        found = await looked_up(other, system, "desk")
        assert found.address == ref.address
        assert await within(found.ask("works")) == "works"
        await system.shutdown()


async def test_a_host_that_is_not_of_this_machine_is_an_error_that_says_so() -> None:
    system = ActorSystem(NAME, remote=Remote("192.0.2.1"))
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:0"):
        await system.start()
    await system.shutdown()


async def test_another_thing_that_listens_there_is_no_node_and_the_text_says_so() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with listening() as system:
        with pytest.raises(UnreachableError, match=rf"127\.0\.0\.1:{port} cannot be reached"):
            await within(system.lookup(f"casty://{NAME}@127.0.0.1:{port}/desk"))
    server.close()


async def test_two_systems_that_meet_at_the_same_moment_have_one_conversation() -> None:
    for _ in range(5):
        async with pair() as (one, other):
            probes = Probe(one, "probe"), Probe(other, "probe")
            refs = seen_from(other, one, probes[0].ref), seen_from(one, other, probes[1].ref)
            for number in range(50):
                for ref in refs:
                    ref.tell(number)
            for probe in probes:
                assert await probe.take(50) == list(range(50))
            await until(lambda: not len(peers_of(one)[0].link.session) and not len(peers_of(other)[0].link.session))
            assert len(peers_of(one)) == len(peers_of(other)) == 1
            assert peers_of(one)[0].link.session.number == peers_of(other)[0].link.session.number
            assert one.dead_letters == other.dead_letters == 0


async def test_messages_to_a_process_that_never_was_there_are_dead_letters_after_a_while() -> None:
    async with listening(refused_after=0.1) as system:
        letters = await dead_letters(system)
        async with listening() as gone:
            ref = seen_from(system, gone, gone.spawn(echo(), "desk"))
        ref.tell("into the void")
        assert await letters.next() == DeadLetter("into the void", ref, Reason.UNREACHABLE)
