"""A loop that has a world to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from casty_proto.machine import Instant

from ..boundary import refuse
from ..files import FileDisk
from ..network import Link
from ..stack.words import kind_of, words_of
from ..tape import Tape
from ..world import Host, Program, World
from . import running
from .handles import SimHandle

if TYPE_CHECKING:
    from .loop import SimLoop

LOOPBACK = Link(delay_ns=20_000, spread_ns=10_000)


class LoopProgram(Program):
    """What drives a loop: the events of its host."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop

    def start(self, host: Host, records: list[Any]) -> None:
        """Nothing happens before the loop is given something to do."""

    def receive(self, peer: Host, message: Any) -> None:
        """A packet: for the stack, as a callback like any other, if there may be something in it for the program."""
        loop = self.loop
        stack = loop.stack
        if stack.takes_silently(message):
            return
        loop._ready.append(SimHandle(stack.on_packet, (peer.name, message), None))
        self.wake()

    def persisted(self, ticket: int) -> None:
        """Not called: applications have files."""
        raise AssertionError("nothing was written as a record")

    def wake(self) -> None:
        """The loop has something to do."""
        running.enter(self.loop)
        try:
            self.loop.wake()
        finally:
            running.leave()

    def exit_at_once(self, what: str, status: int) -> NoReturn:
        """It has called a function that ends a process. Raises `NotSimulatedError`: it has none of its own."""
        refuse(what)

    def deadline(self) -> Instant | None:
        """When the loop has something to do."""
        return self.loop.deadline()

    def fingerprint(self) -> Any:
        """How far the loop has come."""
        return self.loop.fingerprint()

    def kind_of(self, message: Any) -> str:
        """What a packet is for."""
        return kind_of(message)

    def words_of(self, message: Any) -> str:
        """What is in a packet."""
        return words_of(message)

    def invariants(self) -> None:
        """A loop that is not closed keeps its timers as a heap."""
        self.loop.invariants()


def alone(loop: SimLoop) -> Host:
    """A host in a world of its own, with the random choices of seed 0."""
    world = World(Tape(0), ordered=False)
    world.storm_events = 1 << 62
    host = world.add_host("localhost", lambda: LoopProgram(loop))
    world.network.shape("localhost", "localhost", LOOPBACK)
    host.disk = FileDisk(host.name, host.stream("disk"))
    host.start()
    return host
