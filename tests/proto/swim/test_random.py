"""Random crashes, restarts, goodbyes, pauses, partitions, lies, loss, delay and repetition; then peace, and one view.

Sometimes there is room for hardly more than those who are there, while members are invented.

The watch of each machine checks while it goes on: that no record goes back in the order of statements, that every
change is announced once and in order, that no message is too large, and that nothing is passed on too often.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from casty_proto.machine import MILLISECOND, SECOND
from casty_proto.swim import (
    NUMBER_MAX,
    ConnectionLost,
    Gossip,
    Identity,
    Received,
    Records,
    State,
    SwimOptions,
    Update,
    UpdatePayload,
)
from casty_proto.swim.myself import LEAP

from .bench import Bench, address_of

NAMES = ("n0", "n1", "n2", "n3", "n4", "n5")
SEEDS = NAMES[:2]
names = st.sampled_from(NAMES)


class SwimMachine(RuleBasedStateMachine):
    """Up to six nodes."""

    @initialize(
        seed=st.integers(0, 2**32),
        count=st.integers(2, 6),
        confirmations=st.sampled_from([None, 0, 3]),
        awareness=st.sampled_from([1, 8]),
        longest_ms=st.sampled_from([2, 100, 900]),
        reclaim=st.sampled_from([40, 100_000]),
        most=st.sampled_from([7, 10_000]),
    )
    def start(
        self, seed: int, count: int, confirmations: int | None, awareness: int, longest_ms: int, reclaim: int, most: int
    ) -> None:
        options = SwimOptions(
            confirmations=confirmations,
            awareness_max=awareness,
            sync_interval_ns=5 * SECOND,
            gossip_to_dead_ns=5 * SECOND,
            reclaim_ns=reclaim * SECOND,
            max_members=most,
        )
        self.bench = Bench(seed, options, delay_ns=(MILLISECOND, longest_ms * MILLISECOND))
        self.generations = dict.fromkeys(NAMES, 0)
        for node_id in NAMES[:count]:
            self._launch(node_id)
        self.bench.run(3)

    def _launch(self, node_id: str) -> None:
        self.generations[node_id] += 1
        self.bench.add(node_id, *SEEDS, generation=self.generations[node_id], payload=node_id.encode() * 300)

    @rule(node_id=names)
    def crash(self, node_id: str) -> None:
        if node_id in self.bench.hosts:
            self.bench.crash(node_id)

    @rule(node_id=names)
    def restart_or_add(self, node_id: str) -> None:
        self._launch(node_id)

    @rule(node_id=names)
    def restart_as_itself(self, node_id: str) -> None:
        """The same generation, without memory."""
        if self.generations[node_id]:
            self.generations[node_id] -= 1
            self._launch(node_id)

    @rule(node_id=names)
    def leave(self, node_id: str) -> None:
        if node_id in self.bench.running():
            self.bench.leave(node_id)

    @rule(node_id=names)
    def pause(self, node_id: str) -> None:
        if node_id in self.bench.hosts:
            self.bench.pause(node_id)

    @rule(node_id=names, wake_first=st.booleans())
    def resume(self, node_id: str, wake_first: bool) -> None:
        host = self.bench.hosts.get(node_id)
        if host is not None and host.up and host.paused:
            self.bench.resume(node_id, wake_first=wake_first)

    @rule(node_id=names, seconds=st.sampled_from([0, 1, 4]))
    def slow_down(self, node_id: str, seconds: int) -> None:
        if node_id in self.bench.hosts:
            self.bench.slow_down(node_id, seconds)

    @rule(group=st.lists(names, max_size=5))
    def partition(self, group: list[str]) -> None:
        self.bench.partition(group, [node_id for node_id in NAMES if node_id not in group])

    @rule(one=names, other=names)
    def cut(self, one: str, other: str) -> None:
        self.bench.cuts[one, other] = None

    @rule()
    def heal(self) -> None:
        self.bench.partition()
        self.bench.cuts = {}

    @rule(loss=st.sampled_from([0.0, 0.1, 0.5]), repeats=st.sampled_from([0.0, 0.3]))
    def spoil(self, loss: float, repeats: float) -> None:
        self.bench.loss = loss
        self.bench.repeats = repeats

    @rule(node_id=names, payload=st.binary(max_size=3))
    def update_payload(self, node_id: str, payload: bytes) -> None:
        if node_id in self.bench.running():
            self.bench.feed(node_id, UpdatePayload(payload))

    @rule(node_id=names, other=names)
    def lose_connection(self, node_id: str, other: str) -> None:
        if node_id in self.bench.running():
            self.bench.feed(node_id, ConnectionLost(address_of(other)))

    @rule(
        node_id=names,
        about=names,
        state=st.sampled_from(State),
        incarnation=st.sampled_from([0, 1, 2, LEAP, LEAP + 2, NUMBER_MAX]),
        by=names,
        as_state=st.booleans(),
    )
    def lie(self, node_id: str, about: str, state: State, incarnation: int, by: str, as_state: bool) -> None:
        """Somebody says anything about the present generation of a node, as news or as part of a state."""
        identity, is_alive = Identity(about, max(1, self.generations[about])), state is State.ALIVE
        address = address_of(about) if is_alive else ""
        update = Update(identity, incarnation, state, "" if is_alive else by, address, b"a lie" if is_alive else b"")
        message = (Records if as_state else Gossip)(Identity("liar", 1), (update,))
        if node_id in self.bench.running():
            self.bench.feed(node_id, Received(address_of("liar"), message))

    @rule(node_id=names, number=st.integers(0, 5), is_alive=st.booleans(), generation=st.integers(1, 2))
    def invent(self, node_id: str, number: int, is_alive: bool, generation: int) -> None:
        """Somebody tells of a node that does not exist."""
        name = f"x{number}"
        update = Update(Identity(name, generation), 0, State.LEFT)
        if is_alive:
            update = Update(Identity(name, generation), 0, State.ALIVE, address=address_of(name))
        if node_id in self.bench.running():
            self.bench.feed(node_id, Received(address_of("liar"), Gossip(Identity("liar", 1), (update,))))

    @rule(seconds=st.sampled_from([0.05, 0.5, 2, 10, 45]))
    def run(self, seconds: float) -> None:
        self.bench.run(seconds)

    def teardown(self) -> None:
        """Faults stop. Whoever is there and can be reached is alive for all, and nobody else is."""
        if not hasattr(self, "bench"):
            return
        bench = self.bench
        bench.partition()
        bench.cuts = {}
        bench.loss = bench.repeats = 0
        bench.delay_ns = (MILLISECOND, 2 * MILLISECOND)
        for node_id, host in list(bench.hosts.items()):
            host.reads_every_ns = 0
            if host.up and host.paused:
                bench.resume(node_id)
        for node_id in SEEDS:
            if node_id not in bench.running():
                self._launch(node_id)
        bench.run_until(bench.converged, 400, step=1)
        bench.run(10)
        assert bench.converged(), "it did not last"


TestSwim = SwimMachine.TestCase
TestSwim.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
