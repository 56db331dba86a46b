"""`python -m tests.campaigns processes`: real processes that are killed, stopped, restarted and replaced under load.

Each round is a cluster of its own, and its failures are drawn from its seed: `--seed N --rounds 1` draws the same ones
again, though processes are never as fast twice. It is checked that every acknowledged increment is there, that no
answer goes back behind one before it, that the singleton never acts in two places, that no ask hangs or fails in
another way than that nobody knows, that the cluster is whole again after each failure, and that all nodes leave when
told to.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field

from casty_asyncio import AskError, CastyError, ClusterClient, DistributedSystem, MemberStatus
from casty_asyncio.cluster.status import STATUS, GetStatus
from tests.asyncio.cluster.node_kit import node
from tests.asyncio.cluster.processes import NodeProcess, Processes, processes

from .load import Load
from .node import BOSS, COUNTERS, overlaps

PROGRAM = "tests.campaigns.node"
HERE = "here"
NODES_MIN, NODES_MAX = 3, 5
WHOLE_SECONDS = 30.0
"""How long a cluster may take to be whole again after a failure is over."""
LEAVE_SECONDS = 20.0
STOP_SECONDS = (0.05, 2.5)
QUIET_SECONDS = (0.1, 1.0)
"""How long nothing happens between two failures."""


class Finding(Exception):
    """Something is not as it should be."""


@define
class Round:
    """One cluster, and what happens to it."""

    seed: int
    directory: Path
    all_of_them: Processes
    say: Callable[[str], None]
    rng: Random = field(init=False)
    nodes: list[NodeProcess] = field(factory=list)
    system: DistributedSystem = field(init=False)
    loads: list[Load] = field(factory=list)
    made: int = 0
    """How many nodes there were."""
    done: dict[str, int] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.rng = Random(self.seed)

    @property
    def witness(self) -> Path:
        """The file of the singleton."""
        return self.directory / "singleton"

    # -- nodes ---------------------------------------------------------------------------------------------------------

    async def start(self, node_id: str | None = None, **options: Any) -> NodeProcess:
        """A new node, or another life of one, once it is a member."""
        if node_id is None:
            self.made += 1
            node_id = f"node-{self.made}"
            if self.rng.random() < 0.5:
                options["persistence_dir"] = str(self.directory / node_id)
        seeds = [each.address for each in self.nodes[:2]]
        given = {"port": 0, "members": min(2, len(seeds) + 1), "witness": str(self.witness), **options}
        started = await self.all_of_them.start(node_id, *seeds, **given)
        line = await started.line()
        if not line.startswith("ready "):
            raise Finding(f"{node_id} did not become a member: {line or 'it has ended'}")
        started.address = line.removeprefix("ready ")
        self.nodes.append(started)
        return started

    async def again(self, old: NodeProcess) -> None:
        """Start a node once more that has ended: with the disk that it had, if it had one."""
        options = {name: value for name, value in old.options.items() if name not in ("node_id", "seeds")}
        if "persistence_dir" in options:
            options["port"] = int(old.address.rpartition(":")[2])
        await self.start(old.node_id, **options)

    # -- what may happen -----------------------------------------------------------------------------------------------

    async def kill(self) -> str:
        """A node is killed, and comes back after a while: as itself, or as a new one."""
        victim = self._victim()
        await victim.kill()
        await self._wait(0.0, 1.5)
        how = "with its disk" if "persistence_dir" in victim.options else "without a disk"
        await self.again(victim)
        return f"{victim.node_id} was killed and came back {how}"

    async def lose(self) -> str:
        """A node is killed, and never comes back."""
        victim = self._victim()
        await victim.kill()
        await self._until(lambda: self._status(victim.node_id) is not MemberStatus.UP, f"{victim.node_id} is missed")
        await self.system.forget(victim.node_id)
        new = await self.start()
        return f"{victim.node_id} was lost for good, and {new.node_id} has taken its place"

    async def stop(self) -> str:
        """A process does nothing for a while."""
        victim = self._victim(keeps=True)
        victim.signal(signal.SIGSTOP)
        seconds = await self._wait(*STOP_SECONDS)
        victim.signal(signal.SIGCONT)
        return f"{victim.node_id} was stopped for {seconds:.2f} s"

    async def stop_and_kill(self) -> str:
        """One is stopped, and another one killed meanwhile."""
        stopped = self._victim(keeps=True)
        stopped.signal(signal.SIGSTOP)
        await self._wait(0.0, 0.5)
        victim = self.rng.choice([each for each in self.nodes if each is not stopped])
        self.nodes.remove(victim)
        await victim.kill()
        await self._wait(0.0, 1.5)
        stopped.signal(signal.SIGCONT)
        await self.again(victim)
        return f"{stopped.node_id} was stopped, and {victim.node_id} killed meanwhile"

    async def restart(self) -> str:
        """A node leaves, and another life of it joins."""
        victim = self._victim()
        await self._leave(victim)
        await self.again(victim)
        return f"{victim.node_id} was restarted"

    async def leave(self) -> str:
        """A node leaves."""
        if len(self.nodes) <= NODES_MIN:
            return await self.join()
        victim = self._victim()
        await self._leave(victim)
        return f"{victim.node_id} has left"

    async def join(self) -> str:
        """A node joins."""
        if len(self.nodes) >= NODES_MAX:
            return await self.leave()
        new = await self.start()
        return f"{new.node_id} has joined"

    def _victim(self, *, keeps: bool = False) -> NodeProcess:
        victim = self.rng.choice(self.nodes)
        if not keeps:
            self.nodes.remove(victim)
        return victim

    async def _leave(self, victim: NodeProcess) -> None:
        victim.signal(signal.SIGTERM)
        await self._ended(victim)

    async def _ended(self, victim: NodeProcess) -> None:
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                status = await victim.wait()
        except TimeoutError:
            raise Finding(f"{victim.node_id} was told to end, and still runs after {LEAVE_SECONDS:g} s") from None
        if status:
            raise Finding(f"{victim.node_id} was told to end, and has the exit status {status}")

    async def _wait(self, least: float, most: float) -> float:
        seconds = self.rng.uniform(least, most)
        await asyncio.sleep(seconds)
        return seconds

    # -- what should be so ---------------------------------------------------------------------------------------------

    def _status(self, node_id: str) -> MemberStatus | None:
        return next((member.status for member in self.system.members if member.node_id == node_id), None)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(WHOLE_SECONDS):
                while not condition():  # noqa: ASYNC110 - no event tells of it
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise Finding(f"it takes more than {WHOLE_SECONDS:g} s until {what}") from None

    async def whole(self) -> None:
        """Wait until all nodes are members, every shard is open, and every copy is complete."""
        until = time.monotonic() + WHOLE_SECONDS
        while (missing := await self._missing()) is not None:
            if time.monotonic() > until:
                raise Finding(f"the cluster is not whole again after {WHOLE_SECONDS:g} s: {missing}")
            await asyncio.sleep(0.05)

    async def _missing(self) -> str | None:
        wanted = {HERE, *(each.node_id for each in self.nodes)}
        found = {member.node_id: member.status for member in self.system.members}
        if found.keys() != wanted or any(status is not MemberStatus.UP for status in found.values()):
            return f"its members are {', '.join(f'{name}: {status.value}' for name, status in found.items())}"
        for each in self.nodes:
            address = f"casty://{self.system.name}@{each.address}/{STATUS}"
            try:
                ref = await self.system.lookup(address)
                status = await self.system.ask(ref, GetStatus, timeout=5.0)
            except CastyError as error:
                return f"{each.node_id} does not answer: {error}"
            if status["gaps"]:
                return f"{each.node_id}: {', '.join(status['gaps'][:3])}"
            votes = sum(member["votes"] for member in status["members"])
            if votes < NODES_MIN:
                return f"{each.node_id} knows of {votes} voters"
        return None

    def findings(self) -> list[str]:
        """Of those who talk to the cluster, and of the singleton."""
        found = [finding for load in self.loads for finding in load.findings]
        return found + (overlaps(self.witness) if self.witness.exists() else [])


FAILURES: dict[str, int] = {"kill": 4, "lose": 2, "stop": 4, "stop_and_kill": 2, "restart": 2, "leave": 1, "join": 1}
"""How often each is drawn."""


@asynccontextmanager
async def _talking(this: Round) -> AsyncIterator[None]:
    """A node that hosts nothing, and an outside client, which talk to the cluster."""
    seeds = [each.address for each in this.nodes]
    async with node(HERE, *seeds) as system, ClusterClient(seeds, system.name) as client:
        this.system = system
        for name in (COUNTERS, BOSS):
            await this._until(lambda name=name: system.lookup(name).ref is not None, f"{name} is known")  # type: ignore[misc]
        counters, boss = system.lookup(COUNTERS).ref, system.lookup(BOSS).ref
        this.loads = [
            Load("node", lambda name: counters[name], lambda: boss),
            Load("client", lambda name: client.entity_ref(COUNTERS, name), lambda: client.singleton_ref(BOSS)),
        ]
        try:
            yield
        finally:
            for load in this.loads:
                load.cancel()


async def _script(this: Round, failures: int) -> None:
    for _ in range(this.rng.randint(NODES_MIN, NODES_MAX)):
        await this.start()
    async with _talking(this):
        await this.whole()
        for number in range(1, failures + 1):
            await this._wait(*QUIET_SECONDS)
            name = this.rng.choices(list(FAILURES), list(FAILURES.values()))[0]
            logging.info("-- %d: %s", number, name)
            happens: Callable[[], Awaitable[str]] = getattr(this, name)
            text = await happens()
            await this.whole()
            this.done[name] = this.done.get(name, 0) + 1
            text = f"{number:>2}/{failures} {text}; {sum(load.total for load in this.loads)} acknowledged"
            logging.info("-- %s", text)
            this.say(f"  {text}")
            if found := this.findings():
                raise Finding(found[0])
        await asyncio.gather(*(load.end() for load in this.loads))
        await asyncio.gather(*(load.check() for load in this.loads))
    # All at once, and with nobody left who could take anything.
    for each in this.nodes:
        each.signal(signal.SIGTERM)
    await asyncio.gather(*(this._ended(each) for each in this.nodes))


async def _round(seed: int, failures: int, directory: Path, say: Callable[[str], None]) -> tuple[Round, list[str]]:
    """One round, and what it has found."""
    _log_into(directory / f"{HERE}.log")
    async with processes(PROGRAM, directory) as all_of_them:
        this = Round(seed, directory, all_of_them, say)
        found: list[str] = []
        try:
            await _script(this, failures)
        except (Finding, AskError, CastyError, TimeoutError) as error:
            found.append(str(error) if isinstance(error, Finding) else f"{type(error).__name__}: {error}")
        found += [finding for finding in this.findings() if finding not in found]
        return this, found


def _log_into(path: Path) -> None:
    """This process has a log like the others, and nothing of it between the lines that people read."""
    form = "%(asctime)s.%(msecs)03d %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", filename=path, force=True)


def main(arguments: list[str]) -> int:
    """Returns 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns processes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how many clusters (default: 10)")
    parser.add_argument("--failures", type=int, default=8, help="how many failures each has (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next has the next (default: 0)")
    parser.add_argument("--quiet", action="store_true", help="one line for each round")
    options = parser.parse_args(arguments)
    began, bad, acknowledged, longest = time.monotonic(), [], 0, 0.0
    done: dict[str, int] = {}
    for seed in range(options.seed, options.seed + options.rounds):
        directory = Path(tempfile.mkdtemp(prefix="casty-campaign-"))
        say = _ignored if options.quiet else _say
        say(f"seed {seed}")
        this, found = asyncio.run(_round(seed, options.failures, directory, say))
        acknowledged += sum(load.total for load in this.loads)
        unknown = sum(sum(load.unknown) for load in this.loads)
        longest = max(longest, *(load.longest for load in this.loads), 0.0)
        done = {name: done.get(name, 0) + this.done.get(name, 0) for name in FAILURES}
        total = sum(load.total for load in this.loads)
        _say(f"seed {seed}: {'FAILED' if found else 'ok'}, {total} acknowledged, {unknown} of unknown outcome")
        if not found:
            shutil.rmtree(directory)
            continue
        bad.append(seed)
        for finding in found[:10]:
            _say(f"  {finding}")
        _say(f"  logs: {directory}")
        _say(f"  again: python -m tests.campaigns processes --rounds 1 --seed {seed} --failures {options.failures}")
    _say(
        f"{options.rounds} rounds in {time.monotonic() - began:.0f} s, {len(bad)} failed"
        + (f" (seeds {', '.join(map(str, bad))})" if bad else "")
        + f"; {acknowledged} increments acknowledged, the longest ask took {longest:.1f} s; "
        + ", ".join(f"{name} {count}" for name, count in done.items())
    )
    return 1 if bad else 0


def _say(text: str) -> None:
    print(text, flush=True)


def _ignored(_: str) -> None:
    """Nobody looks."""
