"""A world of nodes: links that delay, lose and cut, disks, a clock of its own for every process, and a driver for each.

Everything follows from the seed. The invariants of a node are checked after every event of which more comes than
messages, and after every eighth of the others; the contract about deadlines always; and no shard is ever opened at one
node while another one may act for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

from casty_proto.cluster import NodeInfo, RegionKind, RegionSettings, Status
from casty_proto.cluster import events as ev
from casty_proto.cluster.messages import Envelope
from casty_proto.cluster.node import Node, recover_node
from casty_proto.cluster.options import NodeOptions
from casty_proto.machine import MILLISECOND, SECOND, Instant, Nanoseconds, Note, Persist, Persisted, Reply, Wake

from .kit_driver import Driver

WRITE_NS = MILLISECOND // 2
FAST = NodeOptions.fast()


class Process:
    """One node in the world: a node with its driver."""

    def __init__(self, world: World, node: Node, offset: Nanoseconds, pace_ns: Nanoseconds) -> None:
        self.world = world
        self.node = node
        self.offset = offset
        """By how much its clock differs from that of the world."""
        self.log: list[tuple[Instant, ev.NodeEffect]] = []
        """All effects but `Send` and `Persist`, each with the time of the world."""
        self.driver = Driver(self, pace_ns)
        self.asleep_until: Instant = 0
        self._armed: Instant | None = None
        self._fed = 0

    @property
    def address(self) -> str:
        return self.node.info.address

    @property
    def key(self) -> str:
        return self.node.key

    @property
    def runs(self) -> bool:
        return self.world.processes.get(self.address) is self

    @property
    def now(self) -> Instant:
        """What its clock says."""
        return self.world.now + self.offset

    def of[E](self, kind: type[E], since: Instant = 0) -> list[E]:
        """The effects of one type, from a time on."""
        return [effect for at, effect in self.log if at >= since and isinstance(effect, kind)]

    def notes(self) -> str:
        return "\n".join([note.text for note in self.of(Note)])

    def feed(self, event: ev.NodeEvent) -> tuple[ev.NodeEffect, ...]:
        """One event, and what the driver does about its effects. Nothing is felt by one that is no more, or asleep."""
        if not self.runs:
            return ()
        if self.asleep_until > self.world.now:
            self.world.at(self.asleep_until, lambda: self.feed(event))
            return ()
        effects = self.node.handle(event, self.now)
        self._fed += 1
        if self._fed % 8 == 0 or any(type(effect) is not ev.Send for effect in effects):
            self.node.invariants()
        deadline = self.node.deadline()
        if type(event) is Wake:
            assert deadline is None or deadline > self.now, "it wants to be woken at once, again"
        for effect in effects:
            self._carry_out(effect)
        self._arm()
        return effects

    def _arm(self) -> None:
        deadline = self.node.deadline()
        if deadline is None:
            return
        at = max(deadline - self.offset, self.world.now)
        if self._armed is None or at < self._armed:
            self._armed = at
            self.world.at(at, lambda: self._ring(at))

    def _ring(self, at: Instant) -> None:
        if self._armed != at or not self.runs:
            return
        self._armed = None
        deadline = self.node.deadline()
        if deadline is not None and deadline <= self.now:
            self.feed(Wake())
        else:
            self._arm()

    def _carry_out(self, effect: ev.NodeEffect) -> None:
        match effect:
            case ev.Send(to, message):
                self.world.carry(self, to, message)
            case Persist(ticket, record):
                self.world.at(self.world.now + WRITE_NS, lambda: self._written(ticket, record))
            case _:
                self.log.append((self.world.now, effect))
                if type(effect) in (ev.OpenShard, ev.ResumeShard):
                    self.world.check_owner(self, effect)
                self.driver.on_effect(effect)

    def _written(self, ticket: int, record: Any) -> None:
        if self.runs:
            self.world.disks[self.address].append(record)
            self.feed(Persisted(ticket))

    def ask(self, make: Callable[[Any], ev.NodeEvent], seconds: float = 5) -> Any:
        """Make a request with a token, and run the world until it is answered."""
        token = object()
        self.feed(make(token))
        self.world.until(lambda: self.answer(token) is not None, seconds)
        return self.answer(token)

    def answer(self, token: Any) -> Any:
        """What a request was answered with; asserts that it was answered once at most."""
        found = [reply.result for reply in self.of(Reply) if reply.request is token]
        assert len(found) <= 1, found
        return found[0] if found else None


class World:
    """All that there is."""

    def __init__(
        self,
        seed: int = 0,
        options: NodeOptions = FAST,
        *,
        loss: float = 0.0,
        slowest_ms: float = 1.0,
        pace_ms: int = 0,
    ) -> None:
        self.rng = Random(seed)
        self.options = options
        self.loss = loss
        self.slowest_ms = slowest_ms
        self.pace_ns = pace_ms * MILLISECOND
        self.now: Instant = 0
        self.processes: dict[str, Process] = {}
        self.everybody: list[Process] = []
        """All processes that ever were."""
        self.disks: dict[str, list[Any]] = {}
        self.cuts: dict[tuple[str, str], None] = {}
        self.drop: Callable[[str, str, Envelope], bool] = lambda *_: False
        """Further messages to lose: from, to, message."""
        self.said: list[tuple[Instant, str, str, Envelope]] = []
        """Formation, joins and orders, for those who want to look: not what comes all the time."""
        self._heap: list[tuple[Instant, int, Callable[[], object]]] = []
        self._sequence = 0

    # -- time ----------------------------------------------------------------------------------------------------------

    def at(self, instant: Instant, call: Callable[[], object]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (instant, self._sequence, call))

    def step(self) -> None:
        at, _, call = heapq.heappop(self._heap)
        self.now = max(self.now, at)
        call()

    def run(self, seconds: float) -> None:
        end = self.now + round(seconds * SECOND)
        while self._heap and self._heap[0][0] <= end:
            self.step()
        self.now = end

    def until(self, happens: Callable[[], bool], seconds: float = 5) -> None:
        """Run until it happens. It must, in that time."""
        end = self.now + round(seconds * SECOND)
        while not happens():
            assert self._heap, f"nothing is left to be done, and still: {self.faults()}"
            assert self._heap[0][0] <= end, f"not in time: {self.faults()}"
            self.step()

    # -- processes -----------------------------------------------------------------------------------------------------

    def start(
        self, address: str, seeds: str = "", *, generation: int = 1, roles: tuple[str, ...] = (), disk: bool = False
    ) -> Process:
        """Start a process. Seeds are addresses of one letter each. With `disk`, on what an earlier one has left."""
        records = self.disks.get(address, []) if disk else []
        recovered = recover_node(records)
        if recovered is not None:
            generation = recovered.node.generation
        self.disks[address] = list(records)
        info = NodeInfo(address, generation, address, roles)
        node = Node(info, Random(self.rng.getrandbits(64)), self.options, recovered)
        process = Process(self, node, self.rng.randrange(10 * SECOND), self.pace_ns)
        self.processes[address] = process
        self.everybody.append(process)
        process.feed(ev.Start(tuple(seeds)))
        return process

    def form(self, addresses: str) -> list[Process]:
        """A cluster that is at rest."""
        found = [self.start(one, addresses) for one in addresses]
        self.settle()
        return found

    def crash(self, address: str) -> Process:
        return self.processes.pop(address)

    def __getitem__(self, address: str) -> Process:
        return self.processes[address]

    @property
    def leader(self) -> Process:
        """Who leads: of several that think so, the one of the highest term."""
        return max([one for one in self.processes.values() if one.node.is_leader], key=lambda one: one.node.term)

    def others(self, *but: Process) -> list[Process]:
        return [one for one in self.processes.values() if one not in but]

    # -- links ---------------------------------------------------------------------------------------------------------

    def carry(self, sender: Process, to: str, message: Envelope) -> None:
        source = sender.address
        if type(message.body).__name__ in _LOOKED_AT:
            self.said.append((self.now, source, to, message))
        if (source, to) in self.cuts or self.rng.random() < self.loss or self.drop(source, to, message):
            return
        delay = round(self.rng.uniform(0.3, self.slowest_ms) * MILLISECOND)
        self.at(self.now + delay, lambda: self._arrive(to, message))

    def _arrive(self, to: str, message: Envelope) -> None:
        process = self.processes.get(to)
        if process is not None:
            process.feed(ev.Received(message))

    def isolate(self, address: str, *but: str) -> None:
        """Nothing goes to it, or comes from it."""
        for other in dict.fromkeys([one.address for one in self.everybody]):
            if other != address and other not in but:
                self.cuts[address, other] = self.cuts[other, address] = None

    def heal(self) -> None:
        self.cuts.clear()

    # -- what must be --------------------------------------------------------------------------------------------------

    def check_owner(self, process: Process, effect: Any) -> None:
        """Of a shard that is opened, nobody else is an owner at this instant."""
        for other in self.others(process):
            epoch = other.node.acts(effect.region, effect.shard, other.now)
            assert epoch is None or other.asleep_until > self.now, f"{other.key} and {process.key}: {effect}"

    def faults(self) -> list[str]:
        """What is not as it is in a cluster at rest."""
        nodes = [one.node for one in self.processes.values()]
        found = [f"{one.key} is {one.standing.value}" for one in nodes if one.standing is not ev.Standing.MEMBER]
        down = [one.key for one in nodes[0].state.members() if one.status is Status.DOWN]
        gaps = [(one.key, gap) for one in nodes for gap in one.gaps()]
        found += [f"{key}: {gap}" for key, gap in gaps if not any(gap.endswith(f"no copy at {one}") for one in down)]
        if len(dict.fromkeys([one.leader for one in nodes])) != 1 or nodes[0].leader is None:
            found.append(f"leaders: {[one.leader for one in nodes]}")
        if len(dict.fromkeys([one.state.changed for one in nodes])) != 1:
            found.append(f"applied: {[one.state.changed for one in nodes]}")
        if len(dict.fromkeys([one.voters for one in nodes])) != 1:
            found.append(f"voters: {[one.voters for one in nodes]}")
        up = {one.key: one for one in nodes}
        found += [f"{one} is listed as up" for one in nodes[0].state.up_members() if one not in up]
        found += [f"{one} is not listed as up" for one in up if one not in nodes[0].state.up_members()]
        for region in nodes[0].state.regions():
            for shard, owner in enumerate(region.owners):
                process = self.processes[up[owner].info.address] if owner in up else None
                if process is None or process.node.owns(region.name, shard, process.now) is None:
                    found.append(f"{region.name}/{shard} is not open at {owner}")
        return found

    def settle(self, seconds: float = 10) -> None:
        """Run until everything is at rest."""
        end = self.now + round(seconds * SECOND)
        while self.faults():
            assert self.now < end, f"not at rest: {self.faults()}"
            self.run(0.05)

    def add_region(self, by: Process, name: str = "r", **settings: Any) -> None:
        """A region, whose shards are open when this returns."""
        settings = {"num_shards": 4, **settings}
        answer = by.ask(lambda token: ev.AddRegion(token, name, RegionKind.ENTITIES, RegionSettings(**settings)))
        assert isinstance(answer, ev.Done), answer
        self.settle()


_LOOKED_AT = dict.fromkeys(
    [
        "Seek",
        "Seeking",
        "Belongs",
        "Claim",
        "Agreed",
        "JoinRequest",
        "JoinAnswer",
        "Expelled",
        "OpenOrders",
        "OrdersOpened",
        "Order",
        "OrderDone",
        "InstallSnapshot",
    ]
)
