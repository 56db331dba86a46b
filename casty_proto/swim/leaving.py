"""Saying goodbye (rule 27).

Theory of operation
-------------------
The goodbye is sent to as many different members as any news is passed on to, a few at each gossip interval; where
there are not so many, to the same ones again. Each of them passes it on, so it spreads like any news. It prevails over
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
from .messages import Message, Ping, PingRequest, State, SyncRequest
from .myself import learn_about_me
from .pool import draw


class Leaving:
    """Who is still to be told."""

    __slots__ = ("_at_once", "_core", "_receivers")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._receivers: list[str] = []
        self._at_once = 0

    def start(self, now: Instant, out: Effects) -> bool:
        """Begin to tell them. Returns whether that is all."""
        core, members = self._core, self._core.members
        limit = retransmit_limit(core.options.retransmit_mult, members.count)
        others = draw(core.rng, limit, members.alive, members.suspects)
        self._receivers = (others * limit)[:limit]
        self._at_once = min(core.options.gossip_nodes, len(others))
        core.set_me(evolve(members.me, state=State.LEFT), now)
        return self.go_on(now, out)

    def go_on(self, now: Instant, out: Effects) -> bool:
        """Tell the next ones. Returns whether that is all."""
        core = self._core
        for node_id in self._receivers[: self._at_once]:
            member = core.members[node_id]
            core.speak_up(member.address, member.identity, out)
        del self._receivers[: self._at_once]
        if not self._receivers:
            return True
        core.deadlines.set(GOSSIP_KEY, now + core.options.gossip_interval_ns)
        return False

    def on_message(self, peer: str, message: Message, now: Instant, out: Effects) -> None:
        """Answer who takes us for a member still."""
        core = self._core
        for update in message.updates:
            if update.identity.node_id == core.identity.node_id:
                learn_about_me(core, update, now, out)
        if core.accused or isinstance(message, Ping | PingRequest | SyncRequest):
            core.speak_up(peer, message.source, out)
