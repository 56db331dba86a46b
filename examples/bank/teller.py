"""Those who use the bank from outside: tellers who make transfers, and an auditor who adds everything up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import Any

from casty_asyncio import AskError, EntityRef

from .account import OPENING, PAUSE, Accepted, GetStatement, Refused, Statement, Transfer

type Accounts = Mapping[str, EntityRef[Any]] | Any
"""The accounts, by their names."""
type Watch = Callable[[str, str, int], AbstractContextManager[Any]]
"""Told of every transfer: the teller, the account that pays, and the amount. Its context is given the answer."""


async def ask[T](account: EntityRef[Any], message: Any, on_trouble: Callable[[Exception], None] | None = None) -> T:
    """Ask until there is an answer. Only for what may be repeated."""
    while True:
        try:
            answer: T = await account.ask(message)
        except AskError as error:
            if on_trouble is not None:
                on_trouble(error)
            await asyncio.sleep(PAUSE)
        else:
            return answer


class Teller:
    """Makes transfers, one after the other."""

    def __init__(
        self, name: str, accounts: Accounts, names: Iterable[str], random: Random, watch: Watch | None = None
    ) -> None:
        self.name = name
        self.paid: dict[str, int] = {}
        """What the bank has said to have taken from each account."""
        self.accepted = 0
        self.refused = 0
        self.troubles: dict[str, int] = {}
        """How often something was tried again, by the name of the error."""
        self._accounts = accounts
        self._names = list(names)
        self._random = random
        self._number = 0
        self._watch = watch or (lambda *_: nullcontext())

    async def work(self, until: Callable[[], bool], pause: float) -> None:
        """Make transfers between accounts that are drawn. The last one is done when this returns."""
        while not until():
            source, target = self._random.sample(self._names, 2)
            await self.transfer(source, target, self._random.randint(1, OPENING // 2))
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * pause)

    async def transfer(self, source: str, target: str, amount: int) -> Accepted | Refused:
        """Make one. Its number makes it count once, however often it has to be said."""
        self._number += 1
        order = Transfer(self.name, self._number, target, amount)
        with self._watch(self.name, source, amount) as call:
            answer: Accepted | Refused = await ask(self._accounts[source], order, self._on_trouble)
            if call is not None:
                call(answer)
        if isinstance(answer, Accepted):
            self.accepted += 1
            self.paid[source] = self.paid.get(source, 0) + amount
        else:
            self.refused += 1
        return answer

    def _on_trouble(self, error: Exception) -> None:
        name = type(error).__name__
        self.troubles[name] = self.troubles.get(name, 0) + 1


async def statements(accounts: Accounts, names: Iterable[str]) -> dict[str, Statement]:
    """How all accounts stand, when nothing is on its way any more. Only ends where nobody makes transfers.

    They are asked one after the other, and something may arrive in between: it counts when they say the same twice.
    """
    before: dict[str, Statement] = {}
    while True:
        found: dict[str, Statement] = {name: await ask(accounts[name], GetStatement()) for name in names}
        if found == before and not any(statement.pending for statement in found.values()):
            return found
        before = found
        await asyncio.sleep(PAUSE)


def audit(found: Mapping[str, Statement], tellers: Iterable[Teller]) -> list[str]:
    """What is wrong with the books: nothing, if the list is empty."""
    wrong = [
        f"{name} has {each.balance}, which is not what its movements say"
        for name, each in found.items()
        if not each.adds_up
    ]
    for source, paying in found.items():
        for target, sent in paying.sent.items():
            if (received := found[target].received.get(source)) != sent:
                wrong.append(f"{source} has sent {sent} to {target}, which has received {received}")
    paid: dict[str, int] = {}
    for teller in tellers:
        for name, amount in teller.paid.items():
            paid[name] = paid.get(name, 0) + amount
    for name, each in found.items():
        if each.total_sent != paid.get(name, 0):
            wrong.append(f"{name} has sent {each.total_sent}, and the tellers were told of {paid.get(name, 0)}")
    total = sum(each.balance for each in found.values())
    if total != OPENING * len(found):
        wrong.append(f"there is {total} in the bank instead of {OPENING * len(found)}")
    return wrong
