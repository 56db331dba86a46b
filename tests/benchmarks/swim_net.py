"""A lean loop around SWIM machines: a heap of what is to happen, links of 1 ms, and nothing that checks or records.

Faults are crashes, restarts, loss, and blocks. A blocked member is one whose process is slow, in one of two ways:

`STOPPED`   It handles nothing at all, as if its process were stopped. Then it reads what has come, and its alarm rings.
`DEAF`      Its alarms ring in time, but what it sends and what it is sent waits until the block is over.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from casty_proto.machine import MILLISECOND, SECOND, Instant, Nanoseconds, Wake
from casty_proto.swim import Identity, Join, Received, Send, State, Swim, SwimEffect, SwimOptions, message_size

LINK_NS = MILLISECOND


class Block(Enum):
    """How a member is slow."""

    STOPPED = "stopped"
    DEAF = "deaf"


class Node:
    """A place in the network, and the member that runs there now."""

    __slots__ = ("address", "alarm", "block", "generation", "inbox", "machine", "outbox", "up")

    def __init__(self, address: str) -> None:
        self.address = address
        self.generation = 0
        self.machine: Swim
        self.alarm: Instant | None = None
        self.up = False
        self.block: Block | None = None
        self.inbox: list[Received] = []
        self.outbox: list[Send] = []


class Net:
    """Members by address, which is also their node id."""

    def __init__(self, seed: int, options: SwimOptions | None = None, *, loss: float = 0.0) -> None:
        self.rng = Random(seed)
        self.options = options or SwimOptions()
        self.loss = loss
        self.now: Instant = 0
        self.nodes: dict[str, Node] = {}
        self.events = 0
        self.sent = 0
        self.kinds: dict[type, int] = {}
        """Messages by kind, where sizes are watched."""
        self.largest: dict[type, int] = {}
        """The estimated size of the largest, by kind."""
        self.bytes = 0
        self.watch_sizes = False
        self.observe: Callable[[Node, SwimEffect], None] = lambda node, effect: None
        self._heap: list[tuple[Instant, int, Node | None, Any]] = []
        self._order = count()

    # What happens ---------------------------------------------------------------------------------------------------

    def start(self, address: str, *seeds: str) -> None:
        """Start a member, with a higher generation than any that was there."""
        node = self.nodes.setdefault(address, Node(address))
        node.generation += 1
        rng = Random(self.rng.getrandbits(64))
        node.machine = Swim(Identity(address, node.generation), address, rng=rng, options=self.options)
        node.up, node.alarm, node.block = True, None, None
        self._feed(node, Join(seeds))

    def crash(self, address: str) -> None:
        """Stop a member without a word."""
        node = self.nodes[address]
        node.up = False
        node.inbox, node.outbox = [], []

    def block(self, address: str, how: Block) -> None:
        """Make a member slow from now on."""
        self.nodes[address].block = how

    def unblock(self, address: str) -> None:
        """End a block: what waited goes out, what came is read, and then the alarm rings."""
        node = self.nodes[address]
        if node.block is None:
            return
        node.block = None
        outbox, node.outbox = node.outbox, []
        inbox, node.inbox = node.inbox, []
        for send in outbox:
            self._send(node, send)
        for received in inbox:
            self._feed(node, received)
        self._feed(node, Wake())

    def after(self, delay_ns: Nanoseconds, what: Callable[[], None]) -> None:
        """Call something later."""
        heappush(self._heap, (self.now + delay_ns, next(self._order), None, what))

    # What is asked --------------------------------------------------------------------------------------------------

    def up(self) -> list[str]:
        """The addresses at which a member runs."""
        return [address for address, node in self.nodes.items() if node.up]

    def settled(self) -> bool:
        """Whether all who run believe that just those are alive."""
        running = {self.nodes[address].machine.me.identity for address in self.up()}
        live = (State.ALIVE, State.SUSPECT)
        return all(
            {member.identity for member in self.nodes[address].machine.members if member.state in live} == running
            for address in self.up()
        )

    def run_until(self, condition: Callable[[], bool], limit: float, step: float = 1.0) -> None:
        """Let time pass in steps until something is so."""
        until = self.now + round(limit * SECOND)
        while not condition():
            assert self.now < until, f"not so after {limit} s"
            self.run(step)

    def run_quiet(self) -> None:
        """Let time pass until everybody knows all, and nobody has news."""

        def quiet() -> bool:
            return not any(self.nodes[address].machine._core.rumours for address in self.up()) and self.settled()

        self.run_until(quiet, 600.0)

    # The loop -------------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + round(seconds * SECOND)
        heap = self._heap
        while heap and heap[0][0] <= until:
            at, _, node, what = heappop(heap)
            self.now = at
            if node is None:
                what()
            elif what is None:
                if node.up and node.alarm == at:
                    self._ring(node, at)
            elif not node.up:
                continue
            elif node.block is None:
                self._feed(node, what)
            else:
                node.inbox.append(what)
        self.now = until

    def _ring(self, node: Node, at: Instant) -> None:
        node.alarm = None
        if node.block is Block.STOPPED:
            return
        deadline = node.machine.deadline()
        if deadline is None or deadline <= at:
            self._feed(node, Wake())
        else:
            self._arm(node, deadline)

    def _feed(self, node: Node, event: Any) -> None:
        self.events += 1
        for effect in node.machine.handle(event, self.now):
            if type(effect) is not Send:
                self.observe(node, effect)
            elif node.block is None:
                self._send(node, effect)
            else:
                node.outbox.append(effect)
        deadline = node.machine.deadline()
        if deadline is not None and (node.alarm is None or deadline < node.alarm):
            self._arm(node, deadline)

    def _arm(self, node: Node, deadline: Instant) -> None:
        node.alarm = deadline
        heappush(self._heap, (deadline, next(self._order), node, None))

    def _send(self, node: Node, effect: Send) -> None:
        self.sent += 1
        message = effect.message
        if self.watch_sizes:
            kind, size = type(message), message_size(message)
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            self.bytes += size
            self.largest[kind] = max(self.largest.get(kind, 0), size)
        receiver = self.nodes.get(effect.to)
        if receiver is None or (self.loss and self.rng.random() < self.loss):
            return
        heappush(self._heap, (self.now + LINK_NS, next(self._order), receiver, Received(node.address, message)))


def cluster(n: int, seed: int, options: SwimOptions | None = None, *, loss: float = 0.0) -> Net:
    """`n` members who have all joined through the first, and have nothing more to tell each other."""
    net = Net(seed, options, loss=0.0)
    names = [f"member-{number:03}" for number in range(n)]
    for name in names:
        net.start(name, names[0])
        net.run(1.0 / n)
    net.run_quiet()
    net.loss = loss
    return net
