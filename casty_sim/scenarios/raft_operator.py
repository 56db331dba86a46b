"""Whoever runs the cluster: adds and removes servers, moves the leadership, and writes a lot, at the worst of times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casty_proto.machine import MILLISECOND
from casty_proto.raft import (
    AddLearner,
    AddVoter,
    Change,
    Changed,
    ChangeMembership,
    Command,
    Committed,
    Configuration,
    Proposal,
    Propose,
    Remove,
    SteppedDown,
    TransferLeadership,
)

from ..world import Host

if TYPE_CHECKING:
    from .raft import RaftWorld
    from .raft_program import RaftProgram

EVERY = 650 * MILLISECOND
"""The mean time between two acts."""
SOON = 100 * MILLISECOND
"""At most so long after an election it acts on the new leader, if it does so at all."""
FEWEST_VOTERS = 2


class Operator:
    """Acts on whoever takes itself for a leader, which may be two at once."""

    def __init__(self, cluster: RaftWorld, *, moves_members: bool) -> None:
        self._cluster = cluster
        self._moves_members = moves_members
        self._world = cluster.world
        self._stream = cluster.world.tape.stream("operator")
        self._over = False

    def begin(self) -> None:
        """Act from now on."""
        if not self._over:
            # The plainest choice, 0.0, is the longest wait.
            self._world.after(int(2 * (1.0 - self._stream.raw()) * EVERY) + 1, self._act)

    def end(self) -> None:
        """Leave the cluster alone."""
        self._over = True

    def elected(self, server: Host) -> None:
        """A server has become leader: a good moment to want something of it."""
        if not self._over and self._stream.chance(0.3):
            server.local(int(self._stream.raw() ** 2 * SOON), lambda: self._tell(_program(server)))

    def _act(self) -> None:
        if self._over:
            return
        leaders = [server for server in self._cluster.servers if server.up and not server.paused and _leads(server)]
        if leaders:
            server = self._stream.pick(leaders)
            # On the host, so that its alarm is seen to.
            server.local(0, lambda: self._tell(_program(server)))
        self.begin()

    def _tell(self, program: RaftProgram) -> None:
        if self._stream.chance(0.2):
            self._burst(program)
            return
        if self._stream.chance(0.3):
            voters = program.raft.configurations.latest.voters
            if voters:
                program.feed(TransferLeadership(self._on_transferred, self._stream.pick(voters)))
        elif self._moves_members:
            # An impatient operator does not wait for one change to be over before it asks for the next.
            for _ in range(self._stream.between(1, 2)):
                self._ask_for(program, self._change(program.raft.configurations.latest))

    def _ask_for(self, program: RaftProgram, change: Change) -> None:
        def answer(_: RaftProgram, result: Any) -> None:
            if isinstance(result, Changed):
                self._world.reach(f"a server was {_WORDS[type(change)]}")

        program.feed(ChangeMembership(answer, (change,)))

    def _burst(self, program: RaftProgram) -> None:
        """Propose several commands at once, as somebody does who has no session and no patience."""
        datas = [b"z=%d" % self._stream.below(1000) for _ in range(self._stream.between(1, 8))]

        def answer(data: bytes) -> Any:
            def answered(_: RaftProgram, result: Any) -> None:
                if isinstance(result, Committed):
                    self._cluster.checker.acknowledged(result.index, data)

            return answered

        program.feed(Propose(tuple([Proposal(answer(data), Command(data)) for data in datas])))

    def _change(self, configuration: Configuration) -> Change:
        name = self._stream.pick(self._cluster.servers).name
        kinds: list[type[AddVoter] | type[AddLearner] | type[Remove]] = [AddLearner, Remove]
        if name not in configuration.voters:
            kinds.insert(0, AddVoter)
        elif len(configuration.voters) <= FEWEST_VOTERS:
            return AddVoter(self._stream.pick(self._cluster.servers).name)
        return self._stream.pick(kinds)(name)

    def _on_transferred(self, _: RaftProgram, result: Any) -> None:
        if isinstance(result, SteppedDown):
            self._world.reach("the leadership was transferred")


_WORDS: dict[type[Change], str] = {
    AddVoter: "made a voter",
    AddLearner: "made a learner",
    Remove: "removed",
}


def _program(server: Host) -> RaftProgram:
    program: Any = server.program
    return program  # type: ignore[no-any-return]


def _leads(server: Host) -> bool:
    return _program(server).raft.lead is not None
