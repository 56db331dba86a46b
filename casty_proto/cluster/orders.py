"""Orders: how any member gets a command into the log.

Only the leader can propose. So a member tells the leader what it wants to have proposed, and goes on telling, whoever
the leader is, until it learns what became of it. A command may come into the log twice by that; the second time it does
nothing (`cluster/__init__.py`, rule 19).

An answer is passed on when this node has applied the command itself, so that whoever asked sees what it has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define

from ..machine import Instant
from ..raft import Committed, NotLeader
from .checks import NodeKey
from .commands import Command, encode_command
from .consensus import Consensus
from .core import ORDERS, Core
from .messages import Order, OrderDone, OrderRefused
from .outcomes import Applied, Outcome

_ANSWERS_MAX = 4096
"""How many answers a leader remembers, for those who ask again."""

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
    """The orders of this node."""

    __slots__ = ("_applied", "_asked", "_consensus", "_core", "_done", "_last", "_life", "_open", "_outcomes")

    def __init__(self, core: Core, consensus: Consensus, life: int) -> None:
        self._core = core
        self._consensus = consensus
        self._life = life
        self._last = 0
        self._applied = 0
        self._open: dict[int, _Open] = {}
        self._done: dict[int, tuple[int, Outcome]] = {}
        """Answered, and not applied here yet: index and outcome."""
        self._asked: dict[tuple[NodeKey, int, int], OrderDone | None] = {}
        """As a leader: what was asked, and what became of it; `None` while nobody knows."""
        self._outcomes: dict[int, Outcome] = {}
        """Of the commands that were applied in this event, by index: `_on_result` reads what became of its own."""

    def __len__(self) -> int:
        return len(self._open)

    # -- who wants something -------------------------------------------------------------------------------------------

    def place(self, command: Command, answer: Answer, *, at_once: bool = False) -> None:
        """Have a command proposed."""
        self._last += 1
        until = self._core.now + self._core.options.order_patience_ns
        self._open[self._last] = _Open(encode_command(command), answer, until, at_once)
        self._ask(self._last)
        if ORDERS not in self._core.deadlines:
            self._core.deadlines.set(ORDERS, self._core.now + self._core.options.order_retry_ns)

    def _ask(self, number: int) -> None:
        leader = self._core.leader
        if leader is not None:
            self._core.send(leader, Order(self._life, number, self._open[number].command))

    def ask_again(self) -> None:
        """There is another leader."""
        for number in self._open:
            if number not in self._done:
                self._ask(number)

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
        if self._open:
            core.deadlines.set(ORDERS, core.now + core.options.order_retry_ns)

    def on_done(self, message: OrderDone) -> None:
        """The leader says what became of an order."""
        order = self._open.get(message.number)
        if message.life != self._life or order is None:
            return
        if order.at_once:
            del self._open[message.number]
            order.answer(message.outcome, message.index, "")
            return
        self._done[message.number] = (message.index, message.outcome)
        self._pass_on()

    def on_refused(self, message: OrderRefused) -> None:
        """It was not proposed. `due` asks again, and so does `ask_again`, when there is another leader."""

    def settled(self, index: int) -> None:
        """Everything up to `index` is applied here."""
        self._applied = max(self._applied, index)
        self._pass_on()

    def _pass_on(self) -> None:
        for number in [number for number, (at, _) in self._done.items() if at <= self._applied]:
            at, outcome = self._done.pop(number)
            self._open.pop(number).answer(outcome, at, "")

    def end(self) -> None:
        """The event is over."""
        if self._outcomes:
            self._outcomes.clear()

    # -- the leader ----------------------------------------------------------------------------------------------------

    def applied(self, outcome: Outcome, index: int) -> None:
        """A command was applied here."""
        self._outcomes[index] = outcome

    def on_order(self, peer: NodeKey, order: Order) -> None:
        """A member wants something proposed."""
        core = self._core
        key = (peer, order.life, order.number)
        if not core.leads:
            core.send(peer, OrderRefused(order.life, order.number, core.leader))
            return
        if key in self._asked:
            done = self._asked[key]
            if done is not None:
                core.send(peer, done)
            return
        self._asked[key] = None
        self._consensus.propose(order.command, lambda result: self._on_result(key, result))

    def _on_result(self, key: tuple[NodeKey, int, int], result: Any) -> None:
        peer, life, number = key
        outcome = self._outcomes.get(result.index) if type(result) is Committed else None
        if outcome is None:
            self._asked.pop(key, None)
            leader = result.leader if type(result) is NotLeader else None
            self._core.send(peer, OrderRefused(life, number, leader))
            return
        done = OrderDone(life, number, result.index, Applied(()) if type(outcome) is Applied else outcome)
        self._asked[key] = done
        while len(self._asked) > _ANSWERS_MAX:
            del self._asked[next(iter(self._asked))]
        self._core.send(peer, done)

    def give_up(self, reason: str) -> None:
        """This node does nothing more."""
        orders, self._open = list(self._open.values()), {}
        self._done.clear()
        for order in orders:
            order.answer(None, 0, reason)

    def deposed(self) -> None:
        """This node does not lead any more."""
        self._asked = {key: done for key, done in self._asked.items() if done is not None}
