"""SWIM machines in the simulator's world, with its digest off and nothing that checks: what the world itself costs."""

from __future__ import annotations

import time
from typing import Any

from casty_proto.machine import MILLISECOND, SECOND, Instant, Wake
from casty_proto.swim import Identity, Join, Received, Send, Swim, SwimEvent
from casty_sim.network import Link
from casty_sim.tape import Tape
from casty_sim.trace import Trace
from casty_sim.world import Host, Program, World


class Member(Program):
    """One member, whose address is the name of its host."""

    def start(self, host: Host, records: list[Any]) -> None:
        """Join through the first host."""
        self.host = host
        self.swim = Swim(
            Identity(host.name, host.starts), host.name, rng=host.world.tape.random(f"swim/{host.name}/{host.starts}")
        )
        self._feed(Join((next(iter(host.world.hosts)),)))

    def _feed(self, event: SwimEvent) -> None:
        for effect in self.swim.handle(event, self.host.now()):
            if type(effect) is Send:
                self.host.send(effect.to, effect.message)

    def receive(self, peer: Host, message: Any) -> None:
        """A message has come."""
        self._feed(Received(peer.name, message))

    def persisted(self, ticket: int) -> None:
        """Nothing is ever written."""
        raise AssertionError(ticket)

    def wake(self) -> None:
        """The deadline has come."""
        self._feed(Wake())

    def deadline(self) -> Instant | None:
        """That of the machine."""
        return self.swim.deadline()

    def fingerprint(self) -> Any:
        """Nothing: the digest is off."""
        return None

    def invariants(self) -> None:
        """Not looked at."""


def world_speed(n: int, seed: int, seconds: int) -> float:
    """Simulated seconds per second of processor time, after everybody has joined and first states were compared."""
    link = Link(delay_ns=MILLISECOND, spread_ns=0)
    world = World(Tape(seed), ordered=False, link=link, trace=Trace(digest=False))
    for number in range(n):
        world.add_host(f"member-{number:03}", Member)
    for number, host in enumerate(world.hosts.values()):
        world.at(number * SECOND // n, host.start)
    world.run(40 * SECOND)
    began = time.process_time()
    world.run((40 + seconds) * SECOND)
    return seconds / (time.process_time() - began)
