"""Postponing: an actor that cannot serve yet sets its messages aside, and takes them up in their old order later.

A connection takes a while to come up, and may fail at first. Its users need not know: they ask at once, and their asks
stay open. Run it with `python examples/stash.py`. It prints:

    set aside: SELECT 1
    set aside: SELECT 2
    no connection: ConnectionRefusedError, trying again
    connected, with 2 queries waiting
    rows of SELECT 1
    rows of SELECT 2
    at once: rows of SELECT 3
"""

import asyncio
from dataclasses import dataclass

from casty_asyncio import ActorContext, ActorRef, ActorSystem, Behavior, Behaviors, Mailbox, run


class Database:
    """Stands for something on the network that refuses the first attempt."""

    def __init__(self) -> None:
        self.attempts = 0

    async def connect(self) -> "Database":
        self.attempts += 1
        await asyncio.sleep(0.01)
        if self.attempts == 1:
            raise ConnectionRefusedError
        return self

    async def execute(self, sql: str) -> str:
        await asyncio.sleep(0.001)
        return f"rows of {sql}"


@dataclass(frozen=True)
class Query:
    sql: str
    reply_to: ActorRef[str]


@dataclass(frozen=True)
class Connected:
    database: Database


@dataclass(frozen=True)
class NotConnected:
    reason: Exception


type ConnectionMsg = Query | Connected | NotConnected
"""What the users send, and what the actor tells itself."""


def connection(database: Database) -> Behavior[ConnectionMsg]:
    def setup(ctx: ActorContext[ConnectionMsg]) -> Behavior[ConnectionMsg]:
        # Beside the actor, not in it: while the attempt is under way, the actor goes on handling messages.
        ctx.pipe_to_self(database.connect(), Connected, NotConnected)
        return connecting(database)

    return Behaviors.setup(setup)


def connecting(database: Database) -> Behavior[ConnectionMsg]:
    def receive(ctx: ActorContext[ConnectionMsg], msg: ConnectionMsg) -> Behavior[ConnectionMsg]:
        match msg:
            case Query(sql):
                print(f"set aside: {sql}")
                ctx.stash(msg)
                return Behaviors.same()
            case NotConnected(reason):
                print(f"no connection: {type(reason).__name__}, trying again")
                return connection(database)
            case Connected():
                print(f"connected, with {ctx.unstash_all()} queries waiting")
                return connected(msg.database)

    return Behaviors.receive(receive)


def connected(database: Database) -> Behavior[ConnectionMsg]:
    async def receive(ctx: ActorContext[ConnectionMsg], msg: ConnectionMsg) -> Behavior[ConnectionMsg]:
        match msg:
            case Query(sql, reply_to):
                reply_to.tell(await database.execute(sql))
                return Behaviors.same()
            case Connected() | NotConnected():
                return Behaviors.unhandled()

    return Behaviors.receive(receive)


async def main() -> None:
    async with ActorSystem() as system:
        # The capacity bounds the stash as well: `ctx.stash` raises `StashFullError` rather than grow without end.
        ref = system.spawn(connection(Database()), "connection", mailbox=Mailbox(capacity=100))

        async def query(sql: str) -> str:
            rows: str = await system.ask(ref, lambda r: Query(sql, reply_to=r), timeout=5.0)
            return rows

        for rows in await asyncio.gather(query("SELECT 1"), query("SELECT 2")):
            print(rows)
        print(f"at once: {await query('SELECT 3')}")


if __name__ == "__main__":
    run(main())
