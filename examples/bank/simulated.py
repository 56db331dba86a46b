"""The bank under simulation: five nodes, a client, and whatever the seed lets go wrong.

    python -m casty_sim run examples.bank.simulated:test_no_money_is_lost --seeds 1000

One seed again, with everything that was said; as a page for the browser; and as small as it gets:

    python -m casty_sim replay examples.bank.simulated:test_no_money_is_lost 42 --trace
    python -m casty_sim replay examples.bank.simulated:test_no_money_is_lost 42 --report bank-42.html
    python -m casty_sim shrink examples.bank.simulated:test_no_money_is_lost 42
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from casty_asyncio import ClusterError
from casty_sim.checkers.linearizability import Add, Read, counter
from casty_sim.simulation import Faults, Sim, SimNode, simulate

from .account import Accepted, GetStatement, Refused, Statement
from .branch import BANK, branch
from .teller import Accounts, Teller, ask, audit, statements

NAMES = ("ann", "bob", "cleo", "dan", "eve", "finn")
AGAIN = 120.0
"""Seconds within which everything is well again after the last fault."""


async def node(node: SimNode) -> None:
    """What runs on each node: what runs on a real one."""
    await branch(node.id, node.port, node.id, node.seeds, node.disk / "bank")


@simulate(seeds=200, nodes=5, faults=Faults.swarm(), duration=15.0, reach=("a transfer was said again", "refused"))
async def test_no_money_is_lost(sim: Sim) -> None:
    """Transfers between accounts, while nodes are lost: each that was acknowledged counts, and counts once."""
    for name in sim.nodes:
        # Somebody starts a node again that gives up: it could not join in time, or the cluster has expelled it.
        sim.start(name, node, restart_on=(ClusterError,))
    async with sim.client(BANK) as client:
        # Before the cluster has formed there may be one node only, and nobody to have a copy.
        await client.wait_for(len(sim.nodes), timeout=AGAIN)
        accounts = client.sharded_ref("accounts")
        tellers = [Teller(f"teller-{number}", accounts, NAMES, sim.random, watch(sim)) for number in range(3)]
        until = sim.clock + sim.duration
        async with asyncio.timeout(sim.duration + AGAIN), asyncio.TaskGroup() as group:
            for teller in tellers:
                group.create_task(teller.work(lambda: sim.clock > until, pause=0.3))
            group.create_task(look(sim, accounts, until))
            group.create_task(end(sim, until))
        async with asyncio.timeout(AGAIN):
            found = await statements(accounts, NAMES)
    wrong = audit(found, tellers)
    assert not wrong, "\n".join(wrong)
    sim.history.check(counter())
    for teller in tellers:
        for trouble in teller.troubles:
            sim.reach(trouble)
            sim.reach("a transfer was said again")
        if teller.refused:
            sim.reach("refused")


async def end(sim: Sim, until: float) -> None:
    """The disaster ends, so that whoever is in the middle of something can end it."""
    await asyncio.sleep(until - sim.clock)
    sim.heal()


async def look(sim: Sim, accounts: Accounts, until: float) -> None:
    """Look at accounts now and then: what one has sent is never less than somebody was told before."""
    while sim.clock < until:
        name = sim.random.choice(NAMES)
        with sim.history.call("auditor", name, Read()) as call:
            statement: Statement = await ask(accounts[name], GetStatement())
            call.result = statement.total_sent
        assert statement.adds_up, statement
        await asyncio.sleep(sim.random.uniform(0.1, 0.5))


def watch(sim: Sim) -> Callable[[str, str, int], AbstractContextManager[Callable[[object], None]]]:
    """Writes the transfers of tellers into the history: what an account has sent is a counter."""

    @contextmanager
    def watched(teller: str, source: str, amount: int) -> Iterator[Callable[[object], None]]:
        with sim.history.call(teller, source, Add(amount)) as call:

            def note(answer: object) -> None:
                match answer:
                    case Accepted(sent):
                        call.result = sent
                    case Refused():
                        call.did_not_happen()

            yield note

    return watched
