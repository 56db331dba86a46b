"""A program small enough to see through: it counts ticks, gossips the count, and writes every fifth to the disk."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from casty_proto.machine import MILLISECOND, Instant
from casty_sim.network import Link
from casty_sim.tape import Tape
from casty_sim.trace import Trace
from casty_sim.world import Host, Program, World

TICK = 100 * MILLISECOND


@frozen
class Count:
    """What the toys tell each other."""

    value: int


class Toy(Program):
    """See the module."""

    def __init__(self) -> None:
        self.count = 0
        self.heard: list[tuple[str, int]] = []
        self.durable = 0
        self.found: list[Any] = []
        self._due: Instant | None = None

    def start(self, host: Host, records: list[Any]) -> None:
        self.host = host
        self.found = records
        self.count = self.durable = max(records, default=0)
        self._due = host.now() + TICK

    def receive(self, peer: Host, message: Any) -> None:
        assert isinstance(message, Count)
        self.heard.append((peer.name, message.value))

    def persisted(self, ticket: int) -> None:
        self.durable = ticket

    def wake(self) -> None:
        assert self._due is not None
        assert self.host.now() >= self._due, "an alarm before its deadline"
        self.count += 1
        self._due += TICK
        if self.count % 5 == 0:
            self.host.persist(self.count, self.count)
        others = [name for name in self.host.world.hosts if name != self.host.name]
        self.host.send(self.host.stream("toy").pick(others), Count(self.count))

    def deadline(self) -> Instant | None:
        return self._due

    def fingerprint(self) -> Any:
        return (self.count, self.durable, self.heard)

    def invariants(self) -> None:
        assert self.durable <= self.count, "durable before it was written"


def world(seed: int = 1, hosts: str = "abc", *, link: Link | None = None, trace: Trace | None = None) -> World:
    """A world of toys, all of them started."""
    made = World(Tape(seed), ordered=False, link=link, trace=trace, check_invariants=True)
    for name in hosts:
        made.add_host(name, Toy)
    for host in made.hosts.values():
        host.start()
    return made


def toy(host: Host) -> Toy:
    """The toy that runs on a host."""
    assert isinstance(host.program, Toy)
    return host.program
