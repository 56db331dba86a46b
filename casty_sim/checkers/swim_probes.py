"""Whether a member of SWIM probes everybody in turn, and suspects those who do not answer, and nobody else."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from casty_proto.swim import Ack, ConnectionLost, IndirectAck, Member, Ping, Received, State, SwimEvent, Update

from ..world import Violation


@define
class Probes:
    """The probes of one identity."""

    turn: int
    """After how many probes a member has its turn again, where nothing changes."""
    probes: int = 0
    hints: int = 0
    entries: int = 0
    """How often somebody came, or came back."""
    turns: dict[str, tuple[int, int]] = field(factory=dict)
    """By node id: `probes` and `entries` when it was probed last, or entered."""
    open: Ping | None = None
    """The probe of this period."""
    answered: bool = False
    spoke: bool = False
    """Whether something newer was heard of the target meanwhile. Then it is not silent, whoever did not answer."""

    def hears(self, event: SwimEvent) -> None:
        """Something happens to the member."""
        self.hints += isinstance(event, ConnectionLost)
        if not isinstance(event, Received) or self.open is None:
            return
        message, target = event.message, self.open.target
        if isinstance(message, Ack):
            self.answered |= message.number == self.open.number and message.source == target
        elif isinstance(message, IndirectAck):
            self.answered |= message.number == self.open.number
        updates: tuple[Update, ...] = getattr(message, "updates", ())
        self.spoke |= any(update.identity == target and update.state is State.ALIVE for update in updates)

    def enters(self, node_id: str) -> None:
        """Somebody is there who was not."""
        self.entries += 1
        self.turns[node_id] = (self.probes, self.entries)

    def suspects(self, me: Member, member: Member) -> None:
        """It finds a member silent by itself: one that was probed and did not answer (rules 11 and 12)."""
        if self.open is None or self.open.target != member.identity or self.answered:
            raise Violation("probe", f"{me} suspects {member}, whose answer it did not wait for, or has")

    def pings(self, me: Member, ping: Ping, announced: Mapping[str, Member]) -> None:
        """A period ends, and the next begins."""
        self._is_over(me, announced)
        self.open, self.answered, self.spoke = ping, False, False
        self._takes_turns(me, ping.target.node_id)

    def _is_over(self, me: Member, announced: Mapping[str, Member]) -> None:
        """Who has not answered by the end of the period is suspected (rule 11). SWIM 3.1, 4.2"""
        if self.open is None or self.answered or self.spoke:
            return
        member = announced.get(self.open.target.node_id)
        if member is not None and member.identity == self.open.target and member.state is State.ALIVE:
            raise Violation("probe", f"{me} had no answer from {member}, and does not suspect it")

    def _takes_turns(self, me: Member, node_id: str) -> None:
        """Everybody has a turn in each round of probes (rule 10). SWIM 4.3

        Between two turns there are `2(n - 1) - 1` probes at most, one more for each hint, which lets somebody be probed
        out of turn (rule 16), and for each newcomer, whose place may be ahead.
        """
        self.probes += 1
        probes, entries = self.turns.get(node_id, (self.probes, self.entries))
        most = self.turn + self.hints + self.entries - entries
        gap = self.probes - probes
        if gap > most:
            raise Violation("round robin", f"{me} probed {node_id} after {gap} probes, {most} at most")
        self.turns[node_id] = (self.probes, self.entries)
