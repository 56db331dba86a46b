"""The cluster as an application: bugs of machines that must be caught there as well, and bugs of the driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from casty_asyncio.cluster.asking import EntityAsks
from casty_asyncio.cluster.entities import Entity
from casty_asyncio.cluster.hosting import Hosting
from casty_asyncio.cluster.items import EntityAnswer
from casty_asyncio.cluster.shards import Life, Shard
from casty_asyncio.cluster.turns import Told, Turn
from casty_asyncio.errors import OutcomeUnknownError
from casty_proto.cluster import events
from casty_sim.mutants import Mutant, planter
from casty_sim.scenarios.app_cluster import AppClusterScenario
from casty_sim.scenarios.app_life import WatchedDriver

from . import cluster_owners, cluster_states

MUTANTS: list[Mutant] = []

AGAIN = (
    cluster_owners.LeaseWithoutEnd,
    cluster_owners.GivesUnreleased,
    cluster_owners.HandlesTwice,
    cluster_owners.HandsOverNoStates,
    cluster_states.AcknowledgesAtOnce,
    cluster_states.NamesAreTakenOver,
)
"""Machines that are planted under the whole driver."""

for _mutant in [*cluster_owners.MUTANTS, *cluster_states.MUTANTS]:
    for _machine in AGAIN:
        if _machine.__name__ == _mutant.name:
            _scenario = AppClusterScenario(_machine)
            MUTANTS.append(Mutant(f"App{_mutant.name}", _mutant.bug, _mutant.source, _scenario))


def _in_driver(driver: type[WatchedDriver]) -> AppClusterScenario:
    return AppClusterScenario(driver=driver)


planted = planter(MUTANTS, _in_driver)


# Bugs of the driver ---------------------------------------------------------------------------------------------------


class _ShipsEarly(Hosting):
    def shard_changed(self, shard: Shard) -> None:
        running = {entity.name: entity.turn for entity in shard.entities.values() if entity.turn is not None}
        if shard.life is Life.CLOSING:
            for name in running:
                shard.entities[name].turn = None
        super().shard_changed(shard)
        for name, turn in running.items():
            shard.entities[name].turn = turn


@planted("ships the states of a shard before its running handlers have ended", "homes.py, rule 3")
class ShipsBeforeHandlersEnd(WatchedDriver):
    def _build(self, transport: Any, recovered: Any) -> None:
        super()._build(transport, recovered)
        self.hosting.__class__ = _ShipsEarly


class _Hasty(Entity):
    __slots__ = ()

    def answers(self, turn: Turn, answer: EntityAnswer) -> None:
        turn.say(answer)


class _HastyHosting(Hosting):
    def _entity(self, shard: Shard, name: str) -> Entity:
        entity = super()._entity(shard, name)
        entity.__class__ = _Hasty
        return entity


@planted("answers before the state after the message is durable", "entities.py, rule 4")
class AnswersBeforeDurable(WatchedDriver):
    def _build(self, transport: Any, recovered: Any) -> None:
        super()._build(transport, recovered)
        self.hosting.__class__ = _HastyHosting


class _AsksBlindly(EntityAsks):
    async def _ask(self, *arguments: Any) -> Any:
        try:
            return await super()._ask(*arguments)
        except OutcomeUnknownError:
            await asyncio.sleep(0.05)
            return await super()._ask(*arguments)


@planted("asks once more when nobody knows what became of a message", "asking.py: that may have been handled")
class AsksAgainBlindly(WatchedDriver):
    def _build(self, transport: Any, recovered: Any) -> None:
        super()._build(transport, recovered)
        self.regions.asks.__class__ = _AsksBlindly


class _BeginsUnasked(Hosting):
    def may_begin(self, shard: Shard) -> bool:
        return shard.life is Life.OPEN or shard.life is Life.HALTED

    def halt(self, effect: events.HaltShard) -> None:
        """Goes on as if nothing had been said."""


@planted("begins handlers without asking the node whether it may", "entities.py, rule 2")
class BeginsUnasked(WatchedDriver):
    def _build(self, transport: Any, recovered: Any) -> None:
        super()._build(transport, recovered)
        self.hosting.__class__ = _BeginsUnasked


class _KeepsRefused(Entity):
    __slots__ = ()

    def refuse_asks(self, error_of: Callable[[Turn | Told], Exception]) -> None:
        waiting = [turn for turn in self.waiting or () if type(turn) is Turn]
        kept = [self._hosting.renewed_copy(turn) for turn in waiting]  # type: ignore[attr-defined]
        super().refuse_asks(error_of)
        for turn in kept:
            self._wait_first(turn)


class _KeepsRefusedHosting(Hosting):
    def renewed_copy(self, turn: Turn) -> Turn:
        """The same message once more, while the first one goes on."""
        handle = turn.handle
        fresh = self.renewed(turn)
        turn.handle = handle
        turn._is_over = False
        return fresh

    def _entity(self, shard: Shard, name: str) -> Entity:
        entity = super()._entity(shard, name)
        entity.__class__ = _KeepsRefused
        return entity


@planted("keeps for later what it has said that it will not handle", "hosting.py, rule 3")
class KeepsWhatItRefused(WatchedDriver):
    def _build(self, transport: Any, recovered: Any) -> None:
        super()._build(transport, recovered)
        self.hosting.__class__ = _KeepsRefusedHosting


class _ForgetsDoubt(Entity):
    __slots__ = ()

    def saved_by(self, write: Any, error: Exception | None) -> None:
        super().saved_by(write, error)
        if error is not None:
            self.saved = None


class _ForgetsDoubtHosting(Hosting):
    def _entity(self, shard: Shard, name: str) -> Entity:
        entity = super()._entity(shard, name)
        entity.__class__ = _ForgetsDoubt
        return entity


@planted("begins with nothing where nobody knows whether the last state was kept", "entities.py, rule 5")
class BeginsWithNothing(WatchedDriver):
    def _build(self, transport: Any, recovered: Any) -> None:
        super()._build(transport, recovered)
        self.hosting.__class__ = _ForgetsDoubtHosting
