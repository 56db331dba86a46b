"""A singleton: one scheduler of jobs in the whole cluster, which moves when its node goes, and knows what it knew.

Every node spawns it under the same name, and has a ref that leads to the one that there is. Its state is replicated, so
that the next one goes on with the jobs of the last. A second singleton is a behavior that is bound to a role: it lives
on a node that has the role, and nowhere else.

Run it with `python examples/cluster_singleton.py`. It prints:

    job 1 was scheduled from node-1
    job 2 was scheduled from node-2
    job 3 was scheduled from node-3
    the greeter is on the only node with its role: hello from node-2
    the node of the scheduler is shut down
    job 4 was scheduled from another one
    pending: backup, cleanup, report, restart
    schedulers that were made: 2, never two at a time
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from casty_asyncio import (
    Actor,
    ActorContext,
    ActorRef,
    ActorSystem,
    Behavior,
    Behaviors,
    Context,
    DistributedSystem,
    ReplicationConfig,
    run,
)


@dataclass(frozen=True)
class ScheduleJob:
    name: str


@dataclass(frozen=True)
class GetPendingJobs:
    pass


@dataclass(frozen=True)
class Hello:
    reply_to: ActorRef[str]


class JobScheduler(Actor[ScheduleJob | GetPendingJobs]):
    made, alive, most_alive = 0, 0, 0

    def __init__(self) -> None:
        self.pending_jobs: list[str] = []

    def on_start(self) -> None:
        # The nodes are in one process here, so that the instances of all of them can be counted.
        kind = type(self)
        kind.made += 1
        kind.alive += 1
        kind.most_alive = max(kind.most_alive, kind.alive)

    def on_stop(self) -> None:
        type(self).alive -= 1

    async def receive(self, msg: ScheduleJob | GetPendingJobs, ctx: Context) -> None:
        match msg:
            case ScheduleJob(name):
                self.pending_jobs.append(name)
                ctx.reply(len(self.pending_jobs))
            case GetPendingJobs():
                ctx.reply(self.pending_jobs)


def greeter() -> Behavior[Hello]:
    def receive(ctx: ActorContext[Hello], msg: Hello) -> Behavior[Hello]:
        system = ctx.system
        assert isinstance(system, DistributedSystem)
        msg.reply_to.tell(f"hello from {system.node_id}")
        return Behaviors.same()

    return Behaviors.receive(receive)


async def start_nodes(stack: AsyncExitStack) -> dict[str, DistributedSystem]:
    """Three nodes, one of which has a role."""
    systems: dict[str, DistributedSystem] = {}
    seeds: list[str] = []
    for name, roles in (("node-1", ()), ("node-2", ("greeting",)), ("node-3", ())):
        system = ActorSystem.distributed("127.0.0.1", 0, node_id=name, seeds=seeds, roles=roles)
        systems[name] = await stack.enter_async_context(system)
        seeds = seeds or [str(system.address)]
    for system in systems.values():
        await system.wait_for(3)
    return systems


async def main() -> None:
    async with AsyncExitStack() as stack:
        systems = await start_nodes(stack)
        schedulers = {
            name: await system.spawn(
                JobScheduler, name="jobs", singleton=True, replication=ReplicationConfig(factor=2, sync_count=1)
            )
            for name, system in systems.items()
        }
        for name, job in (("node-1", "backup"), ("node-2", "cleanup"), ("node-3", "report")):
            number = await schedulers[name].ask(ScheduleJob(job))
            print(f"job {number} was scheduled from {name}")

        greeters = [
            system.spawn(Behaviors.singleton(greeter, role="greeting"), "greeter") for system in systems.values()
        ]
        hello: str = await systems["node-3"].ask(greeters[2], lambda r: Hello(reply_to=r))
        print(f"the greeter is on the only node with its role: {hello}")

        going = systems["node-1"].owner_of("jobs")
        assert going is not None
        print("the node of the scheduler is shut down")
        await systems[going].shutdown()
        other = next(name for name in systems if name != going)
        number = await schedulers[other].ask(ScheduleJob("restart"))
        print(f"job {number} was scheduled from another one")
        print(f"pending: {', '.join(await schedulers[other].ask(GetPendingJobs()))}")
        at_a_time = "never two at a time" if JobScheduler.most_alive == 1 else f"{JobScheduler.most_alive} at a time"
        print(f"schedulers that were made: {JobScheduler.made}, {at_a_time}")


if __name__ == "__main__":
    run(main())
