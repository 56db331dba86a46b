"""Everything at once: actors spawn, fail, restart, escalate, stop, watch and ask each other at random, in both styles.

Whatever the order of events, each actor that was begun ends with its last hook exactly once, every ask ends, whoever
watched is told, the engine's invariants hold, and the shutdown finds nothing that hangs.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from typing import Any

import pytest

from casty_asyncio import (
    ActorContext,
    ActorRef,
    ActorSystem,
    Behaviors,
    CastyError,
    MultiChildStrategy,
    SupervisionStrategy,
    SupervisorConfig,
    Terminated,
)
from casty_proto.actor import Phase

from .styles import Life, Script, Style, Turn, body_of, both, cell_of, runtime_of

OPERATIONS = 400


class World:
    """The actors, and what happened to them."""

    def __init__(self, style: Style, seed: int) -> None:
        self.style = style
        self.rng = random.Random(seed)
        self.refs: list[ActorRef[Any]] = []
        self.asks: list[asyncio.Future[Any]] = []
        self.starts: Counter[ActorRef[Any]] = Counter()
        self.stops: Counter[ActorRef[Any]] = Counter()
        self.watches: Counter[tuple[ActorRef[Any], ActorRef[Any]]] = Counter()
        self.told: Counter[tuple[ActorRef[Any], ActorRef[Any]]] = Counter()
        self.over = False

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    async def pause(self) -> None:
        for _ in range(self.rng.choice((0, 0, 1, 1, 3))):
            await asyncio.sleep(0)

    def policy(self) -> SupervisorConfig:
        return SupervisorConfig(
            strategy=self.rng.choice((*SupervisionStrategy, SupervisionStrategy.RESTART)),
            max_restarts=self.rng.choice((None, 1, 5)),
            backoff_initial=self.rng.choice((0.0, 0.0, 0.001)),
            multi_child=self.rng.choice(list(MultiChildStrategy)),
        )

    # -- the script ------------------------------------------------------------------------------------------------

    def script(self) -> Script:
        return Script(
            self.receive, start=self.start, stop=self.stop, pre_restart=self.restarting, post_restart=self.restarted
        )

    async def start(self, life: Life) -> None:
        self.starts[life.ctx.self] += 1
        await self.pause()
        if self.chance(0.1):
            await self.act(life.ctx)
        if self.chance(0.1):
            raise ValueError("start")

    async def stop(self, life: Life) -> None:
        await self.pause()
        self.stops[life.ctx.self] += 1
        if self.chance(0.1):
            await self.act(life.ctx)
        if self.chance(0.1):
            raise ValueError("stop")

    async def restarting(self, life: Life, exc: Exception, msg: Any) -> None:
        await self.pause()
        if self.chance(0.2):
            await self.act(life.ctx)
        if self.chance(0.1):
            raise ValueError("pre_restart")

    async def restarted(self, life: Life, exc: Exception) -> None:
        await self.pause()
        if self.chance(0.2):
            await self.act(life.ctx)
        if self.chance(0.1):
            raise ValueError("post_restart")

    async def receive(self, turn: Turn, message: Any) -> Any:
        if isinstance(message, Terminated):
            self.told[turn.ctx.self, message.ref] += 1
            return None
        await self.pause()
        if self.chance(0.5) and message == "ask":
            turn.answer("answer")
        await self.act(turn.ctx)
        if self.chance(0.15):
            raise self.rng.choice((ValueError("handler"), asyncio.CancelledError(), GeneratorExit()))
        return self.rng.choice((None, None, None, None, Behaviors.restart(), Behaviors.stopped()))

    async def act(self, ctx: ActorContext[Any]) -> None:
        """Something that actors do. What is refused, because somebody has ended, is refused with an error of ours."""
        other = self.rng.choice(self.refs)
        try:
            match self.rng.randrange(7):
                case 0 | 1 if not self.over and len(self.refs) < 120:
                    await self.spawn(ctx)
                case 2:
                    if ctx.children:
                        ctx.stop(self.rng.choice(ctx.children))
                case 3:
                    if other != ctx.self:
                        ctx.watch(other)
                        self.watches[ctx.self, other] += 1
                case 4:
                    await self.style.ask(ctx.system, other, "ask", 0.005)
                case 5:
                    ctx.pipe_to_self(self.style.ask(ctx.system, other, "ask", 0.005), on_failure=lambda error: "piped")
                case 6:
                    other.tell("tell", ctx.self)
        except CastyError:
            return

    # -- from outside ----------------------------------------------------------------------------------------------

    async def spawn(self, spawner: ActorSystem | ActorContext[Any]) -> None:
        ref = await self.style.spawn(spawner, self.script(), supervision=self.policy())
        self.refs.append(ref)

    async def operate(self, system: ActorSystem) -> None:
        for _ in range(OPERATIONS):
            target = self.rng.choice(self.refs)
            match self.rng.randrange(10):
                case 0:
                    system.stop(target)
                case 1 | 2 | 3:
                    self.asks.append(asyncio.ensure_future(self.style.ask(system, target, "ask", 0.05)))
                case 4 if self.asks:
                    self.rng.choice(self.asks).cancel()
                case 5:
                    try:
                        async with asyncio.timeout(0.001):
                            await self.spawn(system)
                    except (CastyError, TimeoutError):
                        pass
                case _:
                    target.tell("tell")
            await self.pause()
            runtime_of(target).machine.invariants()


@both
@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_everything_ends_once_and_nothing_hangs(style: Style, seed: int) -> None:
    world = World(style, seed)
    async with ActorSystem(shutdown_timeout=5.0, seed=seed) as system:
        keeper = await style.spawn(system, Script())
        runtime = runtime_of(keeper)
        logging.getLogger(f"casty.{runtime.name}").disabled = True
        world.refs.append(keeper)
        try:
            while len(world.refs) < 6:
                try:
                    await world.spawn(system)
                except CastyError:
                    continue
            async with asyncio.timeout(30):
                await world.operate(system)
                outcomes = await asyncio.gather(*world.asks, return_exceptions=True)
            world.over = True
            assert await system.shutdown() == (), "nobody had to be cancelled"
        finally:
            logging.getLogger(f"casty.{runtime.name}").disabled = False
    allowed = (CastyError, asyncio.CancelledError, str)
    assert all(isinstance(outcome, allowed) for outcome in outcomes)
    assert world.stops.keys() == world.starts.keys(), "who was begun has ended"
    assert set(world.stops.values()) == {1}
    for (watcher, subject), times in world.told.items():
        assert times <= world.watches[watcher, subject]
    for ref in world.refs:
        assert cell_of(ref).phase == Phase.STOPPED
        assert not cell_of(ref).children
        assert not body_of(ref)._debts
    runtime.machine.invariants()
    assert len(runtime.clock) == 0
    assert len(world.refs) > 20
