"""Messages and states while shards move, between whole nodes: `cluster/owning.py`, `cluster/routing.py` and
`cluster/handover.py` together with the rules of `shard/channel.py` that are cited."""

from __future__ import annotations

from typing import Any

import pytest

from casty_proto.cluster import RegionKind, RegionSettings
from casty_proto.cluster import events as ev
from casty_proto.machine import MILLISECOND, SECOND, Rejected, Reply
from casty_proto.shard.channel import Accepted

from .kit_node import Process, World

SHARDS = 4


class Teller:
    """Somebody at a node who tells numbers to the entity `e` of every shard, a pair of digits each."""

    def __init__(self, process: Process, every_ms: int = 6, most: int = 50) -> None:
        self.process = process
        self.most = most
        self.every_ns = every_ms * MILLISECOND
        self.count = 0
        self.goes_on = True
        self._next()

    def _next(self) -> None:
        if not self.goes_on or self.count >= self.most:
            return
        for shard in range(SHARDS):
            text = f"{self.process.address}{100 + self.count}"
            self.process.feed(ev.Tell((self, shard, self.count), "r", shard, f"e:{text}".encode()))
        self.count += 1
        self.process.world.at(self.process.world.now + self.every_ns, self._next)

    def answers(self, shard: int) -> dict[int, Any]:
        """What became of each message, by its number."""
        found: dict[int, Any] = {}
        for one in self.process.of(Reply):
            if isinstance(one.request, tuple) and one.request[:2] == (self, shard):
                assert one.request[2] not in found, "answered twice"
                found[one.request[2]] = one.result
        return found

    def handled(self, shard: int, everybody: list[Process]) -> list[int]:
        """The numbers in the order in which they were handled, wherever that was."""
        found: list[tuple[int, int]] = []
        for process in everybody:
            for spot, epoch, item in process.driver.handled:
                text = item.decode().split(":")[1]
                if spot == ("r", shard) and text.startswith(self.process.address):
                    found.append((epoch, int(text[1:]) - 100))
        return [number for _, number in sorted(found, key=lambda pair: pair[0])]


def telling(seed: int = 0, *, pace_ms: int = 0, loss: float = 0.0, names: str = "abc", **settings: Any) -> World:
    world = World(seed, pace_ms=pace_ms)
    world.form(names)
    world.add_region(world["a"], num_shards=SHARDS, **settings)
    world.loss = loss
    return world


def states(world: World) -> dict[int, bytes]:
    """The state of the entity of every shard, at its owner."""
    return {
        spot[1]: opened.states.get("e", b"")
        for process in world.processes.values()
        for spot, opened in process.driver.shards.items()
    }


def nothing_is_wrong(world: World, tellers: list[Teller]) -> None:
    """Everything was handled: once, in order, and the state says so; and whoever told it knows."""
    found = states(world)
    for teller in tellers:
        for shard in range(SHARDS):
            numbers = list(range(teller.count))
            assert teller.handled(shard, world.everybody) == numbers
            assert [type(one) for one in teller.answers(shard).values()] == [ev.Done] * len(numbers)
            own = [text for text in _texts(found[shard]) if text.startswith(teller.process.address)]
            assert own == [f"{teller.process.address}{100 + number}" for number in numbers]


def _texts(state: bytes) -> list[str]:
    text = state.decode()
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def finish(world: World, tellers: list[Teller]) -> None:
    for teller in tellers:
        teller.goes_on = False
    world.loss = 0.0
    world.settle(20)
    world.run(1)


# Shards that are handed over -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_nothing_is_lost_repeated_or_reordered_when_a_node_joins(factor: int, loss: float) -> None:
    """Rules 1 and 4 of channels: also for states that are replicated nowhere, and with messages that wait."""
    for seed in range(2):
        world = telling(seed, pace_ms=2, loss=loss, factor=factor)
        tellers = [Teller(one) for one in world.everybody]
        world.run(0.05)
        world.start("d", "abc")
        world.run(0.3)
        finish(world, tellers)
        assert world["d"].driver.handled, "some of it was handled there"
        nothing_is_wrong(world, tellers)


@pytest.mark.parametrize("factor", [1, 3])
@pytest.mark.parametrize("who", ["leader", "follower"])
def test_nothing_is_lost_repeated_or_reordered_when_a_node_leaves(factor: int, who: str) -> None:
    for seed in range(2):
        world = telling(seed, pace_ms=2, names="abcd", factor=factor)
        leaving = world.leader if who == "leader" else world.others(world.leader)[0]
        tellers = [Teller(one) for one in world.others(leaving)]
        world.run(0.05)
        leaving.feed(ev.Depart())
        world.until(lambda leaving=leaving: leaving.node.deadline() is None)  # type: ignore[misc]
        world.crash(leaving.address)
        finish(world, tellers)
        nothing_is_wrong(world, tellers)


def test_nothing_is_lost_when_shards_move_again_and_again() -> None:
    world = telling(3, pace_ms=1, loss=0.05)
    tellers = [Teller(one, every_ms=8) for one in world.everybody]
    for generation in range(1, 4):
        world.start("d", "abc", generation=generation)
        world.run(0.4)
        world["d"].feed(ev.Depart())
        world.until(lambda: world["d"].node.deadline() is None, 10)
        world.crash("d")
        world.run(0.4)
    finish(world, tellers)
    moved = [one for one in world["a"].of(ev.OwnersChanged) if not one.forced]
    assert len(moved) >= 6
    nothing_is_wrong(world, tellers)


def test_states_that_no_handler_told_of_are_handed_over_when_the_shard_is_closed() -> None:
    world = telling(1)
    for process in world.everybody:
        process.driver.tells_states = False
    tellers = [Teller(world["a"])]
    world.run(0.1)
    world.start("d", "abc")
    world.settle()
    finish(world, tellers)
    assert world["d"].driver.shards
    nothing_is_wrong(world, tellers)


def test_messages_that_were_delivered_and_not_handled_come_first_at_the_next_owner() -> None:
    """A handler takes long; the others wait, and go to the next owner before all that comes later."""
    world = telling(1, pace_ms=40)
    teller = Teller(world["a"], every_ms=5)
    world.run(0.1)
    world.start("d", "abc")
    world.until(lambda: bool(world["d"].of(ev.OpenShard)))
    opened = world["d"].of(ev.OpenShard)[0]
    assert opened.waiting, "what was accepted and not handled"
    teller.goes_on = False
    world.run(3)
    nothing_is_wrong(world, [teller])


def test_a_handler_that_runs_when_its_shard_is_to_move_ends_first() -> None:
    world = telling(1, pace_ms=200)
    for shard in range(SHARDS):
        world["a"].feed(ev.Tell(shard, "r", shard, b"e:a100"))
    world.run(0.02)
    world.start("d", "abc")
    world.until(lambda: any(one.of(ev.CloseShard) for one in world.others()))
    (closing, *_) = [one for one in world.others() if one.of(ev.CloseShard)]
    closed = closing.of(ev.CloseShard)[0]
    spot = (closed.region, closed.shard)
    assert closing.node.owns(*spot, closing.now) is None, "no handler may begin"
    assert closing.node.acts(*spot, closing.now) == closed.epoch, "and one that runs may end"
    world.settle()
    world.run(0.5)
    assert states(world) == dict.fromkeys(range(SHARDS), b"a100")


# Shards that are taken by force --------------------------------------------------------------------------------------


def test_rule_8_what_was_sent_to_an_owner_that_is_gone_is_unknown_and_what_comes_later_is_not() -> None:
    world = telling(1)
    owner = world.others(world.leader)[0]
    shard = next(iter(owner.driver.shards))[1]
    teller = world.leader
    world.drop = lambda source, _, message: (
        source == owner.address and isinstance(getattr(message.body, "body", None), Accepted)
    )
    teller.feed(ev.Tell("sent", "r", shard, b"e:a100"))
    world.run(0.01)
    assert [item for _, _, item in owner.driver.handled] == [b"e:a100"], "it has it, and nobody knows"
    world.crash(owner.address)
    world.run(0.3)
    teller.feed(ev.Tell("later", "r", shard, b"e:a101"))
    world.until(lambda: teller.answer("later") is not None, 5)
    assert isinstance(teller.answer("sent"), ev.Unknown)
    assert isinstance(teller.answer("later"), ev.Done)
    assert [one.forced for one in teller.of(ev.OwnersChanged)][-1]


@pytest.mark.parametrize("seed", range(4))
def test_rules_1_and_8_when_owners_crash_nothing_is_handled_twice_or_out_of_order(seed: int) -> None:
    """What was answered with Done was accepted in order; each message ends in one of the ways that there are."""
    world = telling(seed, pace_ms=1, loss=0.05, names="abcd", factor=2, sync_count=1)
    tellers = [Teller(one, every_ms=10) for one in world.everybody[:2]]
    world.run(0.1)
    world.crash("d")
    world.run(2)
    world.crash("c")
    world.run(2)
    finish(world, tellers)
    world.run(10)
    for teller in tellers:
        for shard in range(SHARDS):
            handled = teller.handled(shard, world.everybody)
            assert len(dict.fromkeys(handled)) == len(handled), "twice"
            assert handled == sorted(handled), "out of order"
            answers = teller.answers(shard)
            assert sorted(answers) == list(range(teller.count)), "every message has an end"
            assert all(isinstance(one, ev.Done | ev.Unknown | Rejected) for one in answers.values())
            assert not [at for at in handled if isinstance(answers[at], Rejected)], "what was returned was never sent"


def test_messages_while_nobody_owns_the_shard_wait_and_go_in_order() -> None:
    """Nobody has the role, until somebody joins who has it."""
    world = World(1)
    teller, *_ = world.form("abc")
    settings = RegionSettings(num_shards=SHARDS, role="db")
    teller.ask(lambda token: ev.AddRegion(token, "r", RegionKind.ENTITIES, settings))
    for number in range(5):
        teller.feed(ev.Tell(number, "r", 2, f"e:a10{number}".encode()))
    world.run(1)
    assert [teller.answer(number) for number in range(5)] == [None] * 5
    world.start("d", "abc", roles=("db",))
    world.until(lambda: all(isinstance(teller.answer(number), ev.Done) for number in range(5)))
    world.run(0.1)
    assert states(world)[2] == b"a100a101a102a103a104"


def test_messages_that_nobody_takes_in_time_are_returned_and_never_handled() -> None:
    world = World(1)
    teller, *_ = world.form("abc")
    settings = RegionSettings(num_shards=SHARDS, role="db")
    teller.ask(lambda token: ev.AddRegion(token, "r", RegionKind.ENTITIES, settings))
    teller.feed(ev.Tell("x", "r", 2, b"e:a100"))
    world.until(lambda: teller.answer("x") is not None, 11)
    assert isinstance(teller.answer("x"), Rejected)
    world.start("d", "abc", roles=("db",))
    world.settle()
    assert states(world)[2] == b""


# Acknowledged writes -------------------------------------------------------------------------------------------------


def test_rule_1_whatever_happens_a_lease_that_is_over_ends_first_and_then_the_event_is_looked_at() -> None:
    """Of `node.py`. The driver was busy, and did not wake the node in time."""
    world = telling(1)
    owner = world.leader
    spot, opened = next(iter(owner.driver.shards.items()))
    late = owner.now + SECOND
    effects = owner.node.handle(ev.Handled(*spot, opened.epoch, "e", b"1", "late"), late)
    halted = [type(one) for one in effects[: len(owner.driver.shards)]]
    assert halted == [ev.HaltShard] * len(owner.driver.shards)
    (reply,) = [one for one in effects if getattr(one, "request", None) == "late"]
    assert isinstance(reply, Reply)
    assert isinstance(reply.result, Rejected)


def test_durable_is_never_said_without_a_lease() -> None:
    """Rule 1 of owning.py: an owner that is cut off acknowledges nothing that it cannot be sure of."""
    world = telling(1, factor=3, sync_count=0)
    victim = world.others(world.leader)[0]
    world.isolate(victim.address)
    world.run(1)
    assert not victim.node.may_act(victim.now)
    spot, opened = next(iter(victim.driver.shards.items()))
    before = len(victim.of(ev.Durable))
    victim.feed(ev.Handled(*spot, opened.epoch, "e", b"state", "late"))
    world.run(1)
    assert len(victim.of(ev.Durable)) == before
    answers = [one for _, one in victim.log if getattr(one, "request", None) == "late"]
    assert [type(one) for one in answers] == [Reply], "it is rejected: the shard is halted"


@pytest.mark.parametrize("sync_count", [1, -1])
def test_durable_is_said_when_the_backups_have_it_and_not_before(sync_count: int) -> None:
    world = telling(1, factor=3, sync_count=sync_count, timeout_ns=SECOND)
    owner = world.leader
    spot, opened = next(iter(owner.driver.shards.items()))
    owner.feed(ev.Handled(*spot, opened.epoch, "e", b"1", b"first"))
    assert b"first" not in owner.driver.acknowledged
    world.run(0.1)
    assert b"first" in owner.driver.acknowledged
    world.drop = lambda source, to, message: type(message.body).__module__.endswith("replica.messages")
    owner.feed(ev.Handled(*spot, opened.epoch, "e", b"2", b"second"))
    world.run(1.5)
    assert b"second" not in owner.driver.acknowledged
    assert [one.request for one in owner.of(ev.NotDurable)] == [b"second"]


def test_what_was_handled_at_another_epoch_or_somewhere_else_is_rejected() -> None:
    world = telling(1)
    owner, other = world.leader, world.others(world.leader)[0]
    spot, opened = next(iter(owner.driver.shards.items()))
    for process, epoch in ((owner, opened.epoch - 1), (owner, opened.epoch + 1), (other, opened.epoch)):
        (reply,) = process.feed(ev.Handled(*spot, epoch, "e", b"1", "x"))
        assert isinstance(reply, Reply)
        assert isinstance(reply.result, Rejected)


@pytest.mark.parametrize("seed", range(4))
def test_what_was_acknowledged_survives_the_crash_of_any_one_node(seed: int) -> None:
    world = telling(seed, names="abc", factor=2, sync_count=1)
    tellers = [Teller(world["a"], every_ms=4)]
    world.run(0.2 + seed / 50)
    victim = world["bc"[seed % 2]]
    world.crash(victim.address)
    world.run(2)
    finish(world, tellers)
    kept = b"".join(states(world).values())
    acknowledged = [item for one in world.everybody for item in one.driver.acknowledged]
    assert len(acknowledged) > 20
    assert all(item[2:] in kept for item in acknowledged)
