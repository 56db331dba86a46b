"""Saying goodbye (rule 27).

Theory of operation
-------------------
The goodbye goes to at least as many different members as any news is passed on to, and to `TOLD_MAX` where there are so
many: all members of a small cluster hear it from the one who leaves. Those who leave pass nothing on for long, so where
several leave at once, nobody else might tell the last ones.

It travels in a ping, whose answer says that it has come. Whoever does not answer is told again at each gossip interval.
It is over when all have answered, or say goodbye themselves, or after the time in which a probe fails: whoever is gone
holds nobody up for longer. Others pass it on, so in a large cluster it spreads like any news. It prevails over
suspicions of the same incarnation, so a member that is gone before everybody has heard of it was not a failure.

Whoever asks us anything after that is told that we have left, for as long as the driver keeps the machine. What
others say is not listened to any more, except that a claim about ourselves that goes beyond our goodbye makes us raise
it above that.

The rule that is cited by number is one of the package's.
"""

from __future__ import annotations

from attrs import evolve

from ..machine import Instant
from .core import GOSSIP_KEY, Core, Effects
from .maths import retransmit_limit
from .messages import Ack, Identity, Message, Ping, PingRequest, State, SyncRequest
from .myself import learn_about_me
from .pool import draw
from .probe import ping

TOLD_MAX = 32
"""How many members are told directly, if news is not passed on to more."""


class Leaving:
    """Who has not heard of it yet."""

    __slots__ = ("_core", "_ends_at", "_number", "_unaware")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._unaware: dict[str, tuple[str, Identity]] = {}
        """Addresses and identities, by node id."""
        self._number = 0
        self._ends_at: Instant = 0

    @property
    def is_over(self) -> bool:
        """Whether nobody more is to be told."""
        return not self._unaware

    def start(self, now: Instant, out: Effects) -> None:
        """Begin to tell them."""
        core, members = self._core, self._core.members
        most = max(TOLD_MAX, retransmit_limit(core.options.retransmit_mult, members.count))
        for node_id in draw(core.rng, most, members.alive, members.suspects):
            self._unaware[node_id] = (members[node_id].address, members[node_id].identity)
        self._number = core.next_number()
        self._ends_at = now + core.options.probe_interval_ns
        core.set_me(evolve(members.me, state=State.LEFT), now)
        self._tell(now, out)

    def go_on(self, now: Instant, out: Effects) -> None:
        """Tell those again who have not answered."""
        if now >= self._ends_at:
            self._unaware.clear()
        self._tell(now, out)

    def _tell(self, now: Instant, out: Effects) -> None:
        core = self._core
        for address, identity in self._unaware.values():
            core.accused = True
            ping(core, address, identity, self._number, out)
        core.accused = False
        if self._unaware:
            core.deadlines.set(GOSSIP_KEY, min(now + core.options.gossip_interval_ns, self._ends_at))

    def on_message(self, peer: str, message: Message, now: Instant, out: Effects) -> None:
        """Answer who takes us for a member still."""
        core, source = self._core, message.source
        has_heard = isinstance(message, Ack) and message.number == self._number
        for update in message.updates:
            if update.identity.node_id == core.identity.node_id:
                learn_about_me(core, update, now, out)
            # Who leaves as well need not know: it does not listen any more.
            has_heard = has_heard or (update.identity == source and update.state is State.LEFT)
        known = self._unaware.get(source.node_id)
        if has_heard and known is not None and known[1] == source:
            del self._unaware[source.node_id]
        if core.accused or isinstance(message, Ping | PingRequest | SyncRequest):
            core.speak_up(peer, source, out)
