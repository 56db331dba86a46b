"""How much a member of SWIM says: a constant load, whatever the size of the cluster, and no talk without an end."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from casty_proto.machine import Instant
from casty_proto.swim import (
    Ack,
    Gossip,
    IndirectAck,
    Join,
    Leave,
    Member,
    Message,
    Nack,
    Ping,
    PingRequest,
    Received,
    Records,
    Send,
    State,
    SwimEvent,
    SwimOptions,
    SyncReply,
    SyncRequest,
    Update,
)
from casty_proto.swim.leaving import TOLD_MAX

from ..world import Violation
from .swim_views import SEEDS_AT_ONCE, Bounds

RECORDS_AT_ONCE = 16
"""How many `Records` answer one message."""
ANSWERS: dict[type[Message], int] = {
    Ping: 2,
    Ack: 2,
    PingRequest: 2,
    IndirectAck: 1,
    Nack: 1,
    Gossip: 1,
    Records: 1,
    SyncRequest: RECORDS_AT_ONCE + 2,
    SyncReply: RECORDS_AT_ONCE + 2,
}
"""How many messages one message may cause at once: its answer, and one to object to what it said (rule 7).

A ping of a stranger is also answered by the question who it is (rule 25); an ack may be passed on (rule 13). Answers to
comparisons come in a burst, and the next step follows.
"""


@define
class Load:
    """What one identity has sent."""

    options: SwimOptions
    bounds: Bounds
    joining: bool = True
    """Whether it asks seeds."""
    period_ends: Instant = 0
    initiated: int = 0
    """Messages that it sent by itself in this period."""
    help_owed: int = 0
    """Requests for help that have brought no `Nack`."""
    leaving: bool = False
    goodbyes_due: int = 0
    """How many are to be told that it leaves."""
    told: dict[str, None] = field(factory=dict)
    """Who was told, by address."""
    tellings: int = 0
    """How often those were told who had not answered."""
    passed_on: dict[tuple[str, int, int, State, str], int] = field(factory=dict)
    """How often it passed on each item of news."""

    def handled(
        self, me: Member, said: int, event: SwimEvent, sends: Sequence[Send], others: int, now: Instant
    ) -> None:
        """It handled an event. `said` was its incarnation before; `others`, how many it knows, if it leaves."""
        if isinstance(event, Leave) and me.state is State.LEFT and not self.leaving:
            self.leaving = True
            self.goodbyes_due = min(others, max(TOLD_MAX, self.options.retransmit_mult * len(str(others + 1))))
        gossip = sum(type(send.message) is Gossip for send in sends)
        for send in sends:
            if send.message.updates and type(send.message) is not Records:
                for update in send.message.updates:
                    self._passes_on(me, send.to, update)
        if isinstance(event, Received):
            self._answers(me, event, sends, gossip, said)
        elif isinstance(event, Join):
            self.joining = True
            self._at_most(me, "to join", len(sends), 2 * SEEDS_AT_ONCE)
        elif self.leaving:
            self._tells(me, sends)
        elif sends:
            self._initiates(me, sends, gossip, now)

    def departed(self, me: Member) -> None:
        """Whoever goes has told as many as it should (rule 27)."""
        due = self.goodbyes_due - len(self.told)
        if due > 0:
            raise Violation("goodbye", f"{me} departed before it had told {due} more")

    def _tells(self, me: Member, sends: Sequence[Send]) -> None:
        """They are told for one period, and nobody is sent anything else (rule 27)."""
        if not sends:
            return
        self.told.update(dict.fromkeys([send.to for send in sends]))
        self.tellings += 1
        self._at_most(me, "to say goodbye", len(sends), self.goodbyes_due)
        self._at_most(me, "to the same one to say goodbye", self.tellings, self._tellings_max)
        if len(self.told) > self.goodbyes_due or any(type(send.message) is not Ping for send in sends):
            raise Violation("goodbye", f"{me} leaves, and sends others something else")

    @property
    def _tellings_max(self) -> int:
        return 1 + -(-self.options.probe_interval_ns // self.options.gossip_interval_ns)

    def _at_most(self, me: Member, what: str, sent: int, most: int) -> None:
        if sent > most:
            raise Violation("load", f"{me} sent {sent} messages {what}, {most} at most")

    def _answers(self, me: Member, event: Received, sends: Sequence[Send], gossip: int, said: int) -> None:
        """An objection to what asks for no answer says something new, or two members may object for ever (rule 7)."""
        message = event.message
        kind = type(message)
        self.help_owed += kind is PingRequest
        most = ANSWERS.get(kind, 0)  # type: ignore[arg-type]
        self._at_most(me, f"for one {kind.__name__}", len(sends), most)
        asks = isinstance(message, Ping | PingRequest | SyncRequest)
        if gossip and not asks and me.state is State.ALIVE and me.incarnation == said:
            raise Violation(
                "objection", f"{me} objected to {message} with an incarnation that does not prevail over it"
            )

    def _initiates(self, me: Member, sends: Sequence[Send], gossip: int, now: Instant) -> None:
        seeds = 2 * SEEDS_AT_ONCE * self.joining
        self._at_most(me, "of gossip at once", gossip, self.options.gossip_nodes + seeds // 2)
        nacks = sum(type(send.message) is Nack for send in sends)
        self.help_owed -= nacks
        if self.help_owed < 0:
            raise Violation("load", f"{me} sent more Nacks than it was asked for help")
        if now >= self.period_ends:
            self.period_ends, self.initiated = now + self.options.probe_interval_ns, 0
        self.initiated += len(sends) - nacks
        self._at_most(me, "by itself in one period", self.initiated, self.bounds.sends)

    def _passes_on(self, me: Member, to: str, update: Update) -> None:
        """Each item of news is passed on `lambda * ceil(log10(n + 1))` times (rule 20). SWIM 4.1

        What somebody must know about itself, and what a member says of itself, is said as often as there is reason to.
        """
        identity = update.identity
        if identity.node_id == me.identity.node_id or identity.node_id == to:
            return
        item = (identity.node_id, identity.generation, update.incarnation, update.state, update.by)
        self.passed_on[item] = times = self.passed_on.get(item, 0) + 1
        if times > self.bounds.retransmits:
            raise Violation("load", f"{me} passed '{update}' on {times} times, {self.bounds.retransmits} at most")
