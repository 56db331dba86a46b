"""Orders: how any member gets a command into the log, and learns what became of it.

Theory of operation
-------------------
Only the leader can propose. So a member tells the leader what it wants to have proposed, and goes on telling, whoever
the leader is, until it learns what became of it. That alone would get a command into the log more than once. So each
process opens a session of Raft before its first order (`raft/sessions.py`), and numbers its orders in it: Raft applies
each number once, and the control state keeps the outcome (`answered.py`).

    member                                leader                         another leader
      | OpenOrders ------------------------>| OpenSession --> the log
      |<---------------------- OrdersOpened |
      | Order(session, 1) ----------------->| --> the log, applied
      |                           X---------| OrderDone
      | Order(session, 1) --------------------------------------------->| its outcome is known there:
      |<-------------------------------------------------- OrderDone ---|     the one of the first time

Rules
-----
 1. A command is applied once at most, however often and through whomever it is ordered. Who asks again gets the
    outcome of the first time.
 2. The leader is asked every `order_retry_ns`, and at once when it is another one. What has no answer after
    `order_patience_ns` is given up: nobody knows whether it happened, or will.
 3. An answer is passed on when this node has applied the command itself: whoever asked sees what it has changed.
 4. Who is asked and does not lead names the leader. It is asked at once, but only once each time that an order is
    repeated: two that take each other for the leader are not kept busy by that.
 5. Of the open orders, only those less than `WINDOW` after the oldest are asked for. So each fits into what a session
    and its answers can hold.
 6. A session that nobody uses for ten times the patience is over. Then another one is opened. What is open can be
    asked for again in that: if it had been applied in the session before, that one would not be over yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define

from ..machine import Instant
from ..raft import Committed, Duplicate, NotLeader, SessionUnknown
from .answered import ANSWERS_MAX
from .checks import NodeKey
from .commands import Command, encode_command
from .consensus import Consensus
from .core import ORDERS, Core
from .messages import OpenOrders, Order, OrderDone, OrderRefused, OrdersOpened
from .outcomes import Outcome

WINDOW = ANSWERS_MAX
_LIVES = 10
"""How many times the patience a session lives without being used."""
_OPENING = 0
"""The number, among orders, of the wish for a session."""

type Answer = Callable[[Outcome | None, int, str], None]
"""Called with the outcome and the index; or with `None` and a reason, and then nobody knows."""


@define
class _Open:
    command: bytes
    answer: Answer
    until: Instant
    at_once: bool
    """Whether the answer is passed on before it is applied here, which it may never be."""


class Orders:
    """The orders of this node, and, where it leads, those of all."""

    __slots__ = (
        "_applied",
        "_consensus",
        "_core",
        "_done",
        "_hinted",
        "_is_opening",
        "_last",
        "_life",
        "_open",
        "_proposed",
        "_reached",
        "_session",
    )

    def __init__(self, core: Core, consensus: Consensus, life: int) -> None:
        self._core = core
        self._consensus = consensus
        self._life = life
        self._session: int | None = None
        self._is_opening = False
        """Whether a session was asked for, and not yet again."""
        self._last = 0
        self._reached = 0
        """Up to this number all have been asked for (rule 5)."""
        self._applied = 0
        self._open: dict[int, _Open] = {}
        """In the order of their numbers."""
        self._done: dict[int, tuple[int, Outcome]] = {}
        """Answered, and not applied here yet: index and outcome."""
        self._hinted: dict[int, None] = {}
        """Those of which a hint was followed since they were asked for (rule 4)."""
        self._proposed: dict[tuple[NodeKey, int, int], None] = {}
        """As a leader: what was proposed for whom, and has no result yet."""

    def __len__(self) -> int:
        return len(self._open)

    # -- who wants something -------------------------------------------------------------------------------------------

    def place(self, command: Command, answer: Answer, *, at_once: bool = False) -> None:
        """Have a command proposed."""
        self._last += 1
        until = self._core.now + self._core.options.order_patience_ns
        self._open[self._last] = _Open(encode_command(command), answer, until, at_once)
        self._go_on()
        if ORDERS not in self._core.deadlines:
            self._core.deadlines.set(ORDERS, self._core.now + self._core.options.order_retry_ns)

    @property
    def _floor(self) -> int:
        """The oldest order that is open; the next one, where none is."""
        return next(iter(self._open), self._last + 1)

    def _go_on(self) -> None:
        """Ask for those that have not been asked for yet, as far as rule 5 allows."""
        end = min(self._last, self._floor + WINDOW - 1)
        while self._reached < end:
            self._reached += 1
            self._ask(self._reached, self._core.leader)

    def ask_again(self) -> None:
        """It is time, or there is another leader (rule 2)."""
        self._hinted.clear()
        self._is_opening = False
        for number in self._open:
            if number <= self._reached and number not in self._done:
                self._ask(number, self._core.leader)

    def _ask(self, number: int, leader: NodeKey | None) -> None:
        if leader is None or number not in self._open:
            return
        if self._session is None:
            self._ask_for_session(leader)
        else:
            order = self._open[number]
            self._core.send(leader, Order(self._life, number, self._session, self._floor, order.command))

    def _ask_for_session(self, leader: NodeKey) -> None:
        if not self._is_opening:
            self._is_opening = True
            self._core.send(leader, OpenOrders(self._life))

    def due(self) -> None:
        """Ask again, and give up what nobody has answered in time."""
        core = self._core
        for number in [number for number, order in self._open.items() if core.now >= order.until]:
            order = self._open.pop(number, None)
            if order is None:
                continue  # The answer to another one has ended this node.
            self._done.pop(number, None)
            order.answer(None, 0, "no leader has answered in time; it may have happened, or may yet")
        self.ask_again()
        self._go_on()
        if self._open:
            core.deadlines.set(ORDERS, core.now + core.options.order_retry_ns)

    def on_opened(self, message: OrdersOpened) -> None:
        """The leader has opened a session. One that was asked for twice is not used."""
        if message.life == self._life and self._session is None:
            self._session = message.session
            self.ask_again()

    def on_done(self, message: OrderDone) -> None:
        """Somebody knows what became of an order."""
        order = self._open.get(message.number)
        if message.life != self._life or order is None:
            return
        if order.at_once:
            del self._open[message.number]
            self._done.pop(message.number, None)
            order.answer(message.outcome, message.index, "")
        else:
            self._done[message.number] = (message.index, message.outcome)
            self._pass_on()
        self._go_on()

    def on_refused(self, peer: NodeKey, message: OrderRefused) -> None:
        """It was not proposed, or nobody knows. It is asked for again: at the latest by `due`."""
        if message.life != self._life:
            return
        number, leader = message.number, message.leader
        if message.over and message.session == self._session:
            self._session, self._is_opening = None, False
            self._ask(number, peer)
        elif leader not in (None, peer) and number not in self._hinted:
            self._hinted[number] = None
            if number == _OPENING:
                self._is_opening = False
                self._ask(self._floor, leader)
            else:
                self._ask(number, leader)

    def settled(self, index: int) -> None:
        """Everything up to `index` is applied here."""
        self._applied = max(self._applied, index)
        if self._done:
            self._pass_on()
            self._go_on()

    def _pass_on(self) -> None:
        """Rule 3."""
        for number in [number for number, (at, _) in self._done.items() if at <= self._applied]:
            at, outcome = self._done.pop(number)
            self._open.pop(number).answer(outcome, at, "")

    def give_up(self, reason: str) -> None:
        """This node does nothing more."""
        orders, self._open = list(self._open.values()), {}
        self._done.clear()
        for order in orders:
            order.answer(None, 0, reason)

    # -- the leader ----------------------------------------------------------------------------------------------------

    def on_open(self, peer: NodeKey, message: OpenOrders) -> None:
        """A member wants a session."""
        core, key = self._core, (peer, message.life, _OPENING)
        if not core.leads:
            core.send(peer, OrderRefused(message.life, _OPENING, 0, core.leader))
        elif key not in self._proposed:
            self._proposed[key] = None
            ttl_ns = _LIVES * core.options.order_patience_ns
            self._consensus.open_session(ttl_ns, lambda result: self._on_session(key, result))

    def _on_session(self, key: tuple[NodeKey, int, int], result: Any) -> None:
        peer, life, _ = key
        del self._proposed[key]
        if type(result) is Committed:
            self._core.send(peer, OrdersOpened(life, result.index))
        else:
            self._core.send(peer, OrderRefused(life, _OPENING, 0, _leader_in(result)))

    def on_order(self, peer: NodeKey, order: Order) -> None:
        """A member wants something proposed. What is known here is the answer, whoever leads (rule 1)."""
        core, key = self._core, (peer, order.life, order.number)
        if self._tell(peer, order):
            return
        if not core.leads:
            core.send(peer, OrderRefused(order.life, order.number, order.session, core.leader))
        elif key not in self._proposed:
            self._proposed[key] = None
            self._consensus.order(order, lambda result: self._on_result(key, order, result))

    def _tell(self, peer: NodeKey, order: Order) -> bool:
        """Say what became of it, if that is known here."""
        known = self._core.state.answer(order.session, order.number)
        if known is not None:
            self._core.send(peer, OrderDone(order.life, order.number, known.index, known.outcome))
        return known is not None

    def _on_result(self, key: tuple[NodeKey, int, int], order: Order, result: Any) -> None:
        del self._proposed[key]
        # What was applied and has no answer any more has been answered, or given up.
        if self._tell(key[0], order) or type(result) in (Committed, Duplicate):
            return
        over = type(result) is SessionUnknown
        self._core.send(key[0], OrderRefused(order.life, order.number, order.session, _leader_in(result), over))


def _leader_in(result: Any) -> NodeKey | None:
    return result.leader if type(result) is NotLeader else None
