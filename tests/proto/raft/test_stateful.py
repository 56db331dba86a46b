"""Small steps chosen by Hypothesis, so that what goes wrong can be shrunk to something that can be read."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from casty_proto.raft import AddLearner, AddVoter, Remove

from .chaos import Chaos

NAMES = ["n1", "n2", "n3", "n4"]


class RaftMachine(RuleBasedStateMachine):
    """Three servers and a spare. The clients, the disasters and the checks are those of the random runs."""

    @initialize(seed=st.integers(0, 1000), leader=st.sampled_from(["n1", "n2", None]))
    def start(self, seed: int, leader: str | None) -> None:
        self.chaos = Chaos(seed, 3, 1)
        self.cluster = self.chaos.cluster
        if leader is not None:
            self.cluster.elect(leader)

    def is_up(self, name: str) -> bool:
        return self.cluster.hosts[name].up

    @precondition(lambda self: self.cluster.wires)
    @rule(position=st.integers(0, 7), count=st.integers(1, 5))
    def deliver(self, position: int, count: int) -> None:
        wires = self.cluster.wires
        for _ in range(count):
            if wires:
                self.cluster.deliver(wires.pop(min(position, len(wires) - 1)))

    @precondition(lambda self: self.cluster.wires)
    @rule(position=st.integers(0, 7), twice=st.booleans())
    def disturb(self, position: int, twice: bool) -> None:
        wires = self.cluster.wires
        packet = wires[min(position, len(wires) - 1)]
        if twice and packet.source != packet.target:
            wires.append(packet)
        else:
            wires.remove(packet)

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 3))
    def write(self, name: str, count: int) -> None:
        disk = self.cluster.hosts[name].disk
        if self.is_up(name) and disk.pending:
            self.cluster.sync(name, min(count, len(disk.pending)))

    @rule(name=st.sampled_from(NAMES))
    def time_out(self, name: str) -> None:
        if self.is_up(name) and self.cluster[name].deadline() is not None:
            self.cluster.time_out(name)

    @rule()
    def settle(self) -> None:
        self.cluster.settle()

    @rule(name=st.sampled_from(NAMES), client=st.integers(0, 1), read=st.booleans())
    def ask(self, name: str, client: int, read: bool) -> None:
        if self.is_up(name):
            if read:
                self.chaos.read(name)
            else:
                self.chaos.clients[client].act(name)

    @rule()
    def burst(self) -> None:
        self.chaos.burst(self.chaos.someone_who_leads())

    @rule(
        kind=st.sampled_from([AddVoter, AddLearner, Remove]), name=st.sampled_from(NAMES), where=st.sampled_from(NAMES)
    )
    def change(self, kind: type[AddVoter | AddLearner | Remove], name: str, where: str) -> None:
        if self.is_up(where):
            self.cluster.change(where, kind(name))

    @rule(what=st.sampled_from(["transfer", "offer", "crash", "restart", "isolate", "cut", "heal"]))
    def happen(self, what: str) -> None:
        getattr(self.chaos, what)()

    @invariant()
    def logs_match(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.check()

    def teardown(self) -> None:
        if hasattr(self, "cluster"):
            self.chaos.mend()


TestRaft = RaftMachine.TestCase
TestRaft.settings = settings(max_examples=60, stateful_step_count=50)
