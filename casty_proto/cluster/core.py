"""What the parts of a node share: who it is, what it has applied, whom it knows, and what an event leads to."""

from __future__ import annotations

from collections import deque
from typing import Any

from ..machine import Instant, Note, Severity
from ..swim import State
from ..timers import Deadlines
from .checks import NodeKey
from .events import NodeEffect, Send, Standing, StandingChanged
from .messages import Envelope
from .options import NodeOptions
from .records import NodeInfo
from .state import ControlState

SEEK = "seek"
ORDERS = "orders"
REVIEW = "review"
LEAVE = "leave"
STALE = "stale"
LIFE = "life"
BATCH = "batch"

_HINTS_MAX = 4096
"""How many addresses are remembered of those who are no members, and of how many nodes what SWIM has found. More than
there can be members."""


class Core:
    """One node, as all of its parts see it."""

    __slots__ = (
        "_hints",
        "cluster",
        "deadlines",
        "failure",
        "info",
        "key",
        "leader",
        "mail",
        "now",
        "options",
        "out",
        "seen",
        "standing",
        "state",
        "term",
    )

    def __init__(self, info: NodeInfo, options: NodeOptions) -> None:
        self.info = info
        self.key: NodeKey = info.key
        self.options = options
        self.now: Instant = 0
        self.out: list[NodeEffect] = []
        self.mail: deque[tuple[NodeKey, Any]] = deque()
        """What this node says to itself: handled before the event ends."""
        self.state = ControlState()
        self.standing = Standing.SEEKING
        self.cluster = ""
        self.leader: NodeKey | None = None
        self.term = 0
        self.failure = ""
        """Why this node cannot go on, if so."""
        self.seen: dict[NodeKey, State] = {}
        """What SWIM finds."""
        self.deadlines: Deadlines[str] = Deadlines()
        self._hints: dict[NodeKey, str] = {}

    @property
    def leads(self) -> bool:
        """Whether this node is the leader."""
        return self.leader == self.key

    @property
    def is_in(self) -> bool:
        """Whether it belongs to its cluster."""
        return self.standing in (Standing.MEMBER, Standing.LEAVING)

    def note(self, severity: Severity, text: str) -> None:
        """Something for an operator."""
        self.out.append(Note(severity, text))

    def stand(self, standing: Standing, reason: str = "") -> None:
        """Change what this node is to its cluster, and say so."""
        if standing is not self.standing:
            self.standing = standing
            self.out.append(StandingChanged(standing, reason))

    # -- whom it knows -------------------------------------------------------------------------------------------------

    def learn(self, node: NodeKey, address: str) -> None:
        """Remember where somebody listens, who may not be a member yet."""
        if self._hints.get(node) == address:
            return
        self._hints.pop(node, None)
        self._hints[node] = address
        if len(self._hints) > _HINTS_MAX:
            del self._hints[next(iter(self._hints))]

    def see(self, node: NodeKey, state: State) -> None:
        """Remember what SWIM has found. Strangers may become members, and may be made up: the oldest of them go."""
        self.seen.pop(node, None)
        self.seen[node] = state
        if len(self.seen) > _HINTS_MAX:
            del self.seen[next(one for one in self.seen if self.state.member(one) is None)]

    def address_of(self, node: NodeKey) -> str | None:
        """Where a node listens, as far as is known."""
        member = self.state.member(node)
        return self._hints.get(node) if member is None else member.node.address

    # -- what it says --------------------------------------------------------------------------------------------------

    def send(self, to: NodeKey, body: Any) -> None:
        """Say something to a node. To one whose address nobody knows it is lost, like any message may be."""
        if to == self.key:
            self.mail.append((to, body))
            return
        address = self.address_of(to)
        if address is not None:
            self.out.append(Send(address, Envelope(self.key, self.info.address, self.cluster, to, body)))

    def send_to(self, address: str, body: Any, to: NodeKey | None = None) -> None:
        """Say something to whoever listens at an address."""
        self.out.append(Send(address, Envelope(self.key, self.info.address, self.cluster, to, body)))


def is_due(deadline: Instant | None, now: Instant) -> bool:
    """Whether the deadline of a part has come."""
    return deadline is not None and deadline <= now
