"""Rules 1 and 7: what a ref from elsewhere means, and to whom."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from attrs import frozen

from casty_asyncio import (
    ActorRef,
    ActorSystem,
    AskError,
    Behavior,
    Behaviors,
    DeadLetter,
    InvalidNameError,
    NodeAddress,
    Reason,
    Remote,
    UnreachableError,
    stream_producer,
)
from casty_asyncio.refs import LocalRef
from casty_asyncio.remote.refs import RemoteRef

from ..probe import Probe, within
from . import kit
from .kit import client, dead_letters, echo, listening, looked_up, pair, process, remoting_of, url
from .parcels import Echo, Halt, Spawn


@frozen
class Card:
    """A ref on its way."""

    ref: ActorRef[Any]


def passing_on(to: ActorRef[Any]) -> Behavior[Any]:
    """Tells everything to somebody else."""

    def receive(ctx: Any, message: Any) -> Behavior[Any]:
        to.tell(message)
        return Behaviors.same()

    return Behaviors.receive(receive)


async def test_rule_1_a_ref_that_was_looked_up_equals_the_one_that_the_actor_sends_of_itself() -> None:
    async with pair() as (one, other):
        here, there = Probe(one, "here"), Probe(other, "there")
        to_there = await looked_up(one, other, "there")
        to_here = await looked_up(other, one, "here")
        to_there.tell(Card(there_from_one := to_there))
        to_here.tell(Card(to_here))
        # Each got a ref that it sent home: it is the very ref of the actor there.
        assert (await there.next()).ref == there.ref
        assert (await here.next()).ref == here.ref
        here.ref.tell(Card(here.ref))
        await here.next()
        # And what actors send of themselves is what was looked up.
        to_there.tell(Card(here.ref))
        to_here.tell(Card(there.ref))
        assert (await there.next()).ref == to_here
        assert (await here.next()).ref == there_from_one
        assert hash(to_there) == hash(await looked_up(one, other, "there"))


async def test_rule_1_a_ref_stays_the_same_on_its_way_through_a_third_system() -> None:
    async with pair() as (one, other), listening() as third:
        target, here = Probe(one, "target"), Probe(one, "here")
        third.spawn(passing_on(await looked_up(third, one, "here")), "relay")
        there = Probe(other, "there")
        relay = await looked_up(other, third, "relay")
        to_target = await looked_up(other, one, "target")
        relay.tell(Card(to_target))
        home = (await here.next()).ref
        assert home is target.ref
        assert isinstance(home, LocalRef)
        # One that nobody has met before: of the system `other`, sent by `other`, read by `one`.
        relay.tell(Card(there.ref))
        found = (await here.next()).ref
        assert isinstance(found, RemoteRef)
        assert found == await looked_up(one, other, "there")
        assert len({found, await looked_up(one, other, "there")}) == 1
        found.tell("hello")
        assert await there.next() == "hello"


async def test_rule_1_refs_to_different_actors_of_one_system_and_of_two_differ() -> None:
    async with pair() as (one, other), listening() as third:
        for system in (one, other):
            system.spawn(echo(), "a")
            system.spawn(echo(), "b")
        refs = [await looked_up(third, system, name) for system in (one, other) for name in "ab"]
        assert len(set(refs)) == 4
        assert refs[0] != refs[1]
        assert refs[0] != refs[2]


async def test_rule_1_a_new_actor_of_the_same_name_does_not_get_the_mail_of_the_old_one() -> None:
    async with pair() as (one, other):
        letters = await dead_letters(one)
        old = other.spawn(echo(), "desk")
        ref = await looked_up(one, other, "desk")
        other.stop(old)
        await other.wait_stopped(old)
        new = Probe(other, "desk")
        ref.tell("for the old one")
        letter = await letters.next()
        assert letter == DeadLetter("for the old one", ref, Reason.STOPPED)
        assert await new.all() == []
        again = await looked_up(one, other, "desk")
        assert again != ref
        assert again.path == ref.path
        assert again.address != ref.address
        with pytest.raises(AskError):
            await within(ref.ask("for the old one"))


async def test_rule_1_a_new_process_at_the_same_address_does_not_get_the_mail_of_the_old_one() -> None:
    async with listening(refused_after=0.05) as system:
        letters = await dead_letters(system)
        async with process() as old:
            ref = await old.look_up(system, "desk")
            assert await within(ref.ask(Echo("old"))) == "old"
            await old.kill()
            port = int(old.address.rpartition(":")[2])
            async with process(port) as new:
                assert new.address == old.address
                ref.tell("for the old one")
                assert await letters.next() == DeadLetter("for the old one", ref, Reason.UNREACHABLE)
                again = await new.look_up(system, "desk")
                assert again != ref
                assert await within(again.ask(Echo("new"))) == "new"
                # Now that the new one is known, it is known at once that the old one is gone.
                with pytest.raises(UnreachableError, match="process"):
                    await within(ref.ask(Echo("old")))
                assert (await new.look_up(system, "desk")) == again


async def test_rule_1_the_address_of_a_ref_is_the_same_everywhere_and_can_be_looked_up() -> None:
    async with pair() as (one, other), listening() as third:
        probe = Probe(other, "probe")
        ref = await looked_up(one, other, "probe")
        assert ref.address == probe.ref.address
        assert ref.address.startswith(f"casty://shop@{other.address}/probe#")
        assert ref.path == "/probe"
        assert ref.name == "probe"
        assert ref.address in repr(ref)
        found = await within(third.lookup(ref.address))
        assert found is not None
        found.tell("by its address")
        assert await probe.next() == "by its address"
        other.stop(probe.ref)
        await other.wait_stopped(probe.ref)
        Probe(other, "probe")
        assert await within(third.lookup(ref.address)) is None


async def test_rule_1_a_ref_of_an_actor_that_has_stopped_equals_what_comes_home_of_it_and_can_be_sent_on() -> None:
    async with pair() as (one, other):
        here, there = Probe(one, "here"), Probe(other, "there")
        to_there = await looked_up(one, other, "there")
        gone = one.spawn(echo(), "gone")
        to_there.tell(Card(gone))
        from_there = (await there.next()).ref
        one.stop(gone)
        await one.wait_stopped(gone)
        (await looked_up(other, one, "here")).tell(Card(from_there))
        home = (await here.next()).ref
        assert home == gone
        assert gone == home
        assert len({home, gone}) == 1
        assert home.address == gone.address
        assert home != here.ref
        await within(one.wait_stopped(home))
        letters = await dead_letters(one)
        home.tell("too late")
        assert (await letters.next()).reason is Reason.STOPPED
        to_there.tell(Card(home))
        assert (await there.next()).ref == from_there


async def test_rule_7_nobody_is_found_at_a_path_where_there_is_nobody() -> None:
    async with pair() as (one, other):
        assert await within(one.lookup(url(other, "nobody"))) is None
        assert await within(one.lookup(url(other, "nobody/at/all"))) is None
        lookup = one.lookup(url(other, "nobody"))
        assert not lookup
        assert lookup.ref is None


@pytest.mark.parametrize("path", ["a b", "\u00e4/\u00f6", "%", "\ud800", "x" * 5_000, "a//b", "#1"])
async def test_rule_7_no_path_whatsoever_does_harm(path: str) -> None:
    async with pair() as (one, other):
        ref = other.spawn(echo(), "desk")
        with contextlib.suppress(InvalidNameError):  # It may be refused before anybody is asked.
            assert await within(one.lookup(url(other, path))) is None
        assert (await looked_up(one, other, "desk")).address == ref.address


async def test_rule_7_children_are_found_by_their_paths() -> None:
    async with listening() as system, process() as there:
        desk = await there.look_up(system, "desk")
        child = await within(desk.ask(Spawn("drawer")))
        assert child == await there.look_up(system, "desk/drawer")
        assert child.path == "/desk/drawer"
        child.tell(Halt())
        await within(system.wait_stopped(child))
        assert await within(system.lookup(there.url("desk/drawer"))) is None


@pytest.mark.parametrize("path", ["_scheduler", "_receptionist", "_event_stream", "_task_runner"])
async def test_rule_7_the_systems_own_actors_are_found_by_nobody_from_outside(path: str) -> None:
    async with pair() as (one, other):
        assert other.lookup(path).ref is not None
        assert await within(one.lookup(url(other, path))) is None


async def test_rule_7_a_node_that_is_not_there_is_unreachable_and_the_text_says_what_was_tried() -> None:
    async with listening() as gone:
        address = gone.address
    async with listening() as system:
        with pytest.raises(UnreachableError, match=rf"casty://shop@{address}/desk .*{address} cannot be reached"):
            await within(system.lookup(f"casty://shop@{address}/desk"))


async def test_rule_7_a_name_that_is_none_is_unreachable() -> None:
    async with listening() as system:
        with pytest.raises(UnreachableError, match=r"no-such-host\.invalid:25520 cannot be reached"):
            await within(system.lookup("casty://shop@no-such-host.invalid:25520/desk"))


async def test_rule_7_who_does_not_answer_is_unreachable_after_the_timeout() -> None:
    async with listening() as other, listening(connect_timeout=0.2) as system:
        proxy = kit.Proxy()
        await proxy.between(system, other)
        proxy.stall()
        with pytest.raises(UnreachableError, match=r"did not answer within 0\.2 s; is it the right address"):
            await within(system.lookup(url(other, "desk")))
        await proxy.close()


async def test_rule_7_a_system_of_another_name_at_that_address_is_unreachable_and_the_text_has_both_names() -> None:
    async with ActorSystem("bakery", remote=Remote("127.0.0.1")) as other, listening() as system:
        other.spawn(echo(), "oven")
        with pytest.raises(UnreachableError, match="bakery") as caught:
            await within(system.lookup(url(other, "oven")))
        assert "shop" in str(caught.value)
        with pytest.raises(UnreachableError, match="only systems of the same name talk to each other"):
            await within(system.lookup(f"casty://bakery@{other.address}/oven"))


async def test_rule_7_a_wrong_secret_is_unreachable_and_the_text_says_so() -> None:
    async with listening(secret="one") as one, listening(secret="other") as other:
        other.spawn(echo(), "desk")
        with pytest.raises(UnreachableError, match="secret"):
            await within(one.lookup(url(other, "desk")))


async def test_rule_7_the_own_address_is_answered_without_a_connection() -> None:
    async with listening() as system:
        ref = system.spawn(echo(), "desk")
        assert await within(system.lookup(url(system, "desk"))) is ref
        assert system.address is not None
        assert remoting_of(system).transport.peers == {}


async def test_rule_7_another_name_of_the_own_address_finds_the_own_actors(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as system:
        ref = system.spawn(echo(), "desk")
        assert system.address is not None
        alias = NodeAddress("localhost", system.address.port)
        for _ in range(2):
            assert await within(system.lookup(f"casty://shop@{alias}/desk")) is ref
        assert await within(system.lookup(f"casty://shop@{alias}/nobody")) is None
        assert remoting_of(system).transport.peers == {}
        assert remoting_of(system).transport.nonces == {}
    assert not caplog.records


async def test_rule_7_many_lookups_at_once_need_one_connection() -> None:
    async with listening() as one, listening() as other:
        proxy = kit.Proxy()
        await proxy.between(one, other)
        ref = other.spawn(echo(), "desk")
        found = await within(asyncio.gather(*[one.lookup(url(other, "desk"))._answer() for _ in range(20)]))
        assert {each.address for each in found} == {ref.address}
        assert proxy.opened == 1
        await proxy.close()


async def test_rule_7_a_lookup_that_is_cancelled_leaves_nothing_behind() -> None:
    async with listening() as one, listening() as other:
        other.spawn(echo(), "desk")
        await looked_up(one, other, "desk")
        (conversation,) = [kit.conversation_of(one)]
        task = asyncio.ensure_future(one.lookup(url(other, "desk"))._answer())
        await asyncio.sleep(0)
        assert conversation.lookups
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not conversation.lookups
        assert (await looked_up(one, other, "desk")).path == "/desk"


async def test_rule_7_a_lookup_ends_when_its_own_system_does() -> None:
    async with listening() as other:
        system = ActorSystem("shop", remote=Remote("127.0.0.1"))
        await system.start()
        proxy = kit.Proxy()
        await proxy.between(system, other)
        proxy.stall()
        task = asyncio.ensure_future(system.lookup(url(other, "desk"))._answer())
        await kit.until(lambda: proxy.opened)
        await within(system.shutdown())
        with pytest.raises(UnreachableError):
            await within(task)
        await proxy.close()


async def test_rule_7_a_client_is_known_by_no_address() -> None:
    async with client() as system, listening() as other:
        probe = Probe(other, "there")
        here = Probe(system, "here")
        (await looked_up(system, other, "there")).tell(Card(here.ref))
        ref = (await probe.next()).ref
        assert ref.path == "/here"
        assert "@" not in ref.address
        ref.tell("found")
        assert await here.next() == "found"


async def test_rule_1_a_stream_producer_that_was_looked_up_is_the_one_that_was_sent() -> None:
    async with pair() as (one, other):
        producer = other.spawn(stream_producer(), "producer")
        here = Probe(one, "here")
        (await looked_up(other, one, "here")).tell(Card(producer))
        assert (await here.next()).ref == await looked_up(one, other, "producer")
        other.stop(producer)
