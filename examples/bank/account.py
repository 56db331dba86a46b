"""An account: an entity whose state is on three nodes, and half of every transfer.

A transfer is done in two steps, either of which may be repeated, and must count once:

 1. A teller sends `Transfer` to the account that pays, and repeats it until it is answered. The account takes the money
    out of its balance, writes the deposit down as pending, and remembers what it said to that teller: when an answer is
    lost and the teller asks again, it gets the same answer, and nothing is done.
 2. The account that pays sends what is pending to those who get it, as `Deposit`, again until it is answered. Deposits
    between two accounts are numbered, so that the one who gets them knows which it has.

Between the two steps the money is in the outbox, and on the nodes that have a copy of it. What leaves the first account
must not leave before its state is kept on other nodes: if it did, and the node was lost, the money would be in both
accounts. What an entity answers is held back until the state is kept, but what it sends is not. So the courier, who
carries the deposits, begins with a question to the very account that it works for: the answer holds what is kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from casty_asyncio import Actor, AskError, Context, DistributedSystem, EntityRef, ReplicationConfig

ACCOUNTS = "accounts"
OPENING = 100
"""What is in an account before its first message. Money is counted in whole cents."""
KEPT = ReplicationConfig(factor=3, sync_count=2)
"""An answer means that three nodes have it, so any two may be lost at once. With a `sync_count` of 1, one may."""
PAUSE = 0.2
"""Seconds between two tries."""


@dataclass(frozen=True)
class Transfer:
    """From a teller to the account that pays. A teller has one open at a time, and counts them from 1."""

    teller: str
    number: int
    target: str
    amount: int


@dataclass(frozen=True)
class Accepted:
    """The money has left the account, and will arrive. `sent` is all that ever left it, this included."""

    sent: int


@dataclass(frozen=True)
class Refused:
    """There was too little in the account, and nothing was changed."""

    balance: int


@dataclass(frozen=True)
class Deposit:
    """From the account that pays to the one that gets it. Deposits from `source` to `target` are numbered from 1."""

    source: str
    target: str
    number: int
    amount: int


@dataclass(frozen=True)
class Arrived:
    """From the courier: the other account has this deposit."""

    deposit: Deposit


@dataclass(frozen=True)
class CourierEnded:
    """To the account itself: the courier has nothing to carry any more, or was not able to."""


@dataclass(frozen=True)
class Sum:
    """Deposits between two accounts in one direction: how many, and what they come to."""

    count: int = 0
    amount: int = 0

    def plus(self, amount: int) -> Sum:
        """With one more."""
        return Sum(self.count + 1, self.amount + amount)


@dataclass(frozen=True)
class GetStatement:
    """To an account: how do you stand?"""


@dataclass(frozen=True)
class Statement:
    """How an account stands."""

    account: str
    balance: int
    sent: dict[str, Sum]
    """By the account that gets it."""
    received: dict[str, Sum]
    """By the account that paid."""
    pending: tuple[Deposit, ...]
    """What has been sent, and is not known to have arrived."""

    @property
    def total_sent(self) -> int:
        """All that ever left the account."""
        return sum(each.amount for each in self.sent.values())

    @property
    def adds_up(self) -> bool:
        """Whether the balance is what the movements say."""
        return self.balance == OPENING + sum(each.amount for each in self.received.values()) - self.total_sent


type Message = Transfer | Deposit | Arrived | CourierEnded | GetStatement


class Account(Actor[Message]):
    """All attributes are kept on other nodes, but the one that begins with `_`."""

    def __init__(self, entity_id: str) -> None:
        self.statement = Statement(entity_id, OPENING, {}, {}, ())
        self.answered: dict[str, tuple[int, Accepted | Refused]] = {}
        """The last transfer of each teller, and what was said to it."""
        self._courier_is_out = False

    async def on_start(self) -> None:
        # It may be that another node was lost while its courier was out.
        self._send_courier(self.context)

    async def receive(self, msg: Message, ctx: Context) -> None:
        match msg:
            case Transfer():
                self._transfer(msg, ctx)
                self._send_courier(ctx)
            case Deposit():
                self._deposit(msg)
                ctx.reply(Arrived(msg))
            case Arrived(deposit):
                left = tuple([each for each in self.statement.pending if each != deposit])
                self.statement = replace(self.statement, pending=left)
            case CourierEnded():
                self._courier_is_out = False
                self._send_courier(ctx)
            case GetStatement():
                ctx.reply(self.statement)

    def _transfer(self, msg: Transfer, ctx: Context) -> None:
        number, answer = self.answered.get(msg.teller, (0, None))
        if msg.number < number:
            return  # The teller has had its answer, and this is a copy that was late.
        if msg.number > number or answer is None:
            answer = self._pay(msg)
            self.answered = {**self.answered, msg.teller: (msg.number, answer)}
        ctx.reply(answer)

    def _pay(self, msg: Transfer) -> Accepted | Refused:
        now = self.statement
        if msg.amount > now.balance:
            return Refused(now.balance)
        sent = now.sent.get(msg.target, Sum()).plus(msg.amount)
        deposit = Deposit(now.account, msg.target, sent.count, msg.amount)
        self.statement = replace(
            now,
            balance=now.balance - msg.amount,
            sent={**now.sent, msg.target: sent},
            pending=(*now.pending, deposit),
        )
        return Accepted(self.statement.total_sent)

    def _deposit(self, msg: Deposit) -> None:
        now = self.statement
        received = now.received.get(msg.source, Sum())
        if msg.number <= received.count:
            return  # It is here already, and the courier was not told.
        if msg.number != received.count + 1:
            raise ValueError(
                f"{now.account} has {received.count} deposits of {msg.source}, and got number {msg.number}"
            )
        self.statement = replace(
            now,
            balance=now.balance + msg.amount,
            received={**now.received, msg.source: received.plus(msg.amount)},
        )

    def _send_courier(self, ctx: Context) -> None:
        """One at a time, so that deposits arrive in the order of their numbers."""
        if self.statement.pending and not self._courier_is_out:
            self._courier_is_out = True
            # It is cancelled when the account stops, or moves to another node, which then sends one of its own.
            ctx.pipe_to_self(carry(ctx.system, self.statement.account), _ended, _ended)


def _ended(_: object) -> CourierEnded:
    return CourierEnded()


async def carry(system: Any, account: str) -> None:
    """Carry the deposits of an account that are pending, one after the other."""
    assert isinstance(system, DistributedSystem)
    accounts = system.lookup(ACCOUNTS).ref
    own: EntityRef[Message] = accounts[account]
    try:
        # The answer is what three nodes have: a deposit that is in it will not be forgotten any more.
        statement: Statement = await own.ask(GetStatement())
        for deposit in statement.pending:
            await own.send(await accounts[deposit.target].ask(deposit))
    except AskError:
        # Whatever was done can be done again. The courier ends, and the account sends the next one.
        await asyncio.sleep(PAUSE)
