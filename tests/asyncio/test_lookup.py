"""`system.lookup(path)`: an answer that is used at once or awaited."""

from __future__ import annotations

from typing import Any

import pytest

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ActorStoppedError,
    ActorSystem,
    Behavior,
    Behaviors,
    CastyError,
    Context,
    DeadLetter,
    EventStreamSubscribe,
    InvalidNameError,
    Lookup,
    Reason,
    SystemShutDownError,
    UnreachableError,
    UsageError,
)

from .probe import Probe


def shop() -> Behavior[Any]:
    """Has a child `cart`, which has a child `item`."""

    def child(name: str, below: Behavior[Any]) -> Behavior[Any]:
        def start(ctx: ActorContext[Any]) -> Behavior[Any]:
            ctx.spawn(below, name)
            return answering()

        return Behaviors.setup(start)

    return child("cart", child("item", answering()))


def answering() -> Behavior[Any]:
    async def receive(ctx: ActorContext[Any], message: Any) -> Behavior[Any]:
        ctx.reply(ctx.path)
        return Behaviors.same()

    return Behaviors.receive(receive)


async def begun(system: ActorSystem) -> None:
    """Wait until everybody who was spawned before has started, children included."""
    for _ in range(3):
        await Probe(system).all()


@pytest.mark.parametrize("path", ["shop", "/shop", "casty://casty/shop"])
async def test_an_actor_is_found_by_name_by_path_and_by_address(path: str) -> None:
    async with ActorSystem() as system:
        ref = system.spawn(answering(), "shop")
        lookup = system.lookup(path)
        assert isinstance(lookup, Lookup)
        assert lookup
        assert lookup.ref == ref
        assert await lookup == ref
        assert await system.lookup(path) == ref
        assert repr(lookup) == "Lookup(/shop: found)"


@pytest.mark.parametrize("path", ["shop/cart/item", "/shop/cart/item", "casty://casty/shop/cart/item"])
async def test_a_nested_actor_is_found_by_its_whole_path(path: str) -> None:
    async with ActorSystem() as system:
        system.spawn(shop(), "shop")
        await begun(system)
        found = await system.lookup(path)
        assert found is not None
        assert await found.ask("who?") == "/shop/cart/item"
        for wrong in ("item", "cart/item", "shop/item", "shop/cart/item/more", "shop/Cart"):
            assert not system.lookup(wrong)


async def test_the_first_thing_a_system_is_asked_may_be_a_lookup() -> None:
    async with ActorSystem() as system:
        assert await system.lookup("main-cache") is None


async def test_an_address_of_a_ref_finds_that_incarnation_and_no_later_one() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(answering(), "shop")
        assert ref.address == f"casty://casty/shop#{ref.address.partition('#')[2]}"
        assert await system.lookup(ref.address) == ref
        assert await system.lookup(ref.address.removeprefix("casty://casty")) == ref
        system.stop(ref)
        await system.wait_stopped(ref)
        assert await system.lookup("shop") is None
        later = system.spawn(answering(), "shop")
        assert await system.lookup(ref.address) is None
        assert await system.lookup(later.address) == later
        assert await system.lookup("/shop") == later
        assert await system.lookup("casty://casty/shop") == later


async def test_an_actor_without_a_name_of_its_own_is_found_by_the_one_that_was_made_up() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(answering())
        assert ref.name.startswith("$")
        assert await system.lookup(ref.name) == ref
        assert await system.lookup(ref.path) == ref


async def test_the_systems_own_actors_are_found_and_started_by_it() -> None:
    async with ActorSystem() as system:
        for name in ("_event_stream", "_scheduler", "_receptionist", "_task_runner"):
            found = await system.lookup(f"/{name}")
            assert found is not None
            assert found.path == f"/{name}"
        assert await system.lookup("/_scheduler") == system.scheduler
        assert not system.lookup("/_nobody")


async def test_another_systems_address_finds_nobody_here() -> None:
    async with ActorSystem("here") as here, ActorSystem("there") as there:
        ref = there.spawn(answering(), "shop")
        here.spawn(answering(), "shop")
        assert not here.lookup(ref.address)
        assert not here.lookup("casty://there/shop")
        assert not here.lookup("casty://here@127.0.0.1:8001/shop")
        for address in (ref.address, "casty://there/shop"):
            with pytest.raises(UnreachableError, match="only systems of the same name talk to each other"):
                await here.lookup(address)
        with pytest.raises(UnreachableError, match="create it with remote=Remote"):
            await here.lookup("casty://here@127.0.0.1:8001/shop")
        assert await there.lookup(ref.address) == ref


async def test_an_actor_is_found_from_its_spawn_until_it_has_stopped() -> None:
    async with ActorSystem() as system:
        ref = system.spawn(answering(), "shop")
        assert system.lookup("shop").ref is ref
        system.stop(ref)
        await system.wait_stopped(ref)
        assert not system.lookup("shop")


async def test_an_actor_looks_others_up_by_its_context() -> None:
    class Asking(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None:
            found = await ctx.system.lookup(msg)
            ctx.reply(found)

    async with ActorSystem() as system:
        ref = system.spawn(answering(), "some-name")
        asking = await system.spawn(Asking)
        assert await asking.ask("some-name") == ref
        assert await asking.ask("nobody") is None


# -- nobody there ------------------------------------------------------------------------------------------------------


async def test_nobody_is_false_and_none_and_a_message_to_it_a_dead_letter() -> None:
    async with ActorSystem() as system:
        probe = Probe(system)
        system.event_stream.tell(EventStreamSubscribe(DeadLetter, probe.ref))
        lookup = system.lookup("/shop/cart")
        assert not lookup
        assert lookup.ref is None
        assert await lookup is None
        assert repr(lookup) == "Lookup(/shop/cart: nobody there)"
        lookup.tell("hello")
        letter = await probe.next()
        assert (letter.message, letter.ref.path, letter.reason) == ("hello", "/shop/cart", Reason.UNKNOWN_PATH)
        assert repr(letter.ref) == "ActorRef(/shop/cart: nobody there)"


async def test_the_ref_of_a_letter_to_nobody_has_the_address_that_was_looked_up() -> None:
    addresses = ["casty://casty/shop", "casty://other@10.0.0.1:80/shop/cart#7", "casty://casty/shop#99"]
    async with ActorSystem() as system:
        probe = Probe(system)
        system.event_stream.tell(EventStreamSubscribe(DeadLetter, probe.ref))
        for address in addresses:
            system.lookup(address).tell("hello")
            system.lookup(address).tell("hello")
        letters: list[DeadLetter] = await probe.take(6)
        assert [letter.ref.address for letter in letters[::2]] == addresses
        assert letters[0] == letters[1]
        assert len({letter.ref for letter in letters}) == 3


async def test_a_found_lookup_tells_its_actor() -> None:
    async with ActorSystem() as system:
        probe = Probe(system, "probe")
        system.lookup("probe").tell("hello", sender=probe.ref)
        assert await probe.next() == "hello"


async def test_a_lookup_that_was_made_before_the_spawn_stays_what_it_was() -> None:
    async with ActorSystem() as system:
        before = system.lookup("late")
        ref: ActorRef[Any] = system.spawn(answering(), "late")
        assert not before
        assert await before is None
        assert system.lookup("late").ref == ref


# -- bad paths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//",
        "a//b",
        "/a/",
        "a b",
        "a\nb",
        "http://x/y",
        "casty://",
        "casty://casty",
        "casty://casty/",
        "a#x",
        "a#",
    ],
)
async def test_what_cannot_be_a_path_is_refused_with_the_path_in_the_text(path: str) -> None:
    async with ActorSystem() as system:
        with pytest.raises(InvalidNameError) as caught:
            system.lookup(path)
        assert isinstance(caught.value, CastyError)
        assert f"lookup({path!r})" in str(caught.value)


@pytest.mark.parametrize("path", [None, 5, b"shop", ["shop"]])
async def test_what_is_no_text_and_no_key_is_refused(path: Any) -> None:
    async with ActorSystem() as system:
        with pytest.raises(UsageError, match="lookup wants a path or a ServiceKey, not"):
            system.lookup(path)


async def test_after_the_shutdown_a_lookup_is_refused() -> None:
    system = ActorSystem()
    system.spawn(answering(), "shop")
    await system.shutdown()
    with pytest.raises(SystemShutDownError):
        system.lookup("shop")


async def test_a_last_hook_may_still_look_others_up_and_ask_them() -> None:
    found: list[Any] = []

    class Parent(Actor[str]):
        async def on_start(self) -> None:
            await self.context.spawn(Child, "child")

        async def receive(self, msg: str, ctx: Context) -> None: ...

    class Child(Actor[str]):
        async def receive(self, msg: str, ctx: Context) -> None: ...

        async def on_stop(self) -> None:
            system = self.context.system
            found.append((await system.lookup("/parent") is not None, await system.lookup("nobody")))
            found.append(bool(system.lookup("/_scheduler")))
            with pytest.raises(ActorStoppedError):
                await system.ask(self.context.self_ref, lambda r: "question")

    async with ActorSystem() as system:
        await system.spawn(Parent, "parent")
    assert found == [(True, None), False]
