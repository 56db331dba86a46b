"""The sensor pipeline under simulation: the programs of `node.py` and `client.py`, as they are, on simulated hosts.

python -m casty_sim run examples.sensors.simulated:test_everything_arrives --seeds 1000
"""

from __future__ import annotations

import asyncio
from typing import Any

from casty_asyncio import ClusterError
from casty_sim.simulation import Faults, Sim, SimNode, simulate

from . import client as outside
from . import node as inside
from .output import Reporter

SENSORS = ("temp", "humidity", "pressure")
COUNT = 60
AGAIN = 200.0
"""Seconds within which everything has arrived after the last fault."""


class Listener(Reporter):
    """Keeps what a program says, instead of printing it."""

    def __init__(self, who: str, heard: list[tuple[str, dict[str, Any]]]) -> None:
        super().__init__(who, as_json=True)
        self.heard = heard

    def say(self, what: str, text: str, **facts: Any) -> None:
        self.heard.append((what, {"who": self.who, "text": text, **facts}))


@simulate(
    seeds=200,
    nodes=3,
    faults=Faults.swarm(down_at_once=1),
    duration=10.0,
    reach=("a stream was lost", "a reading was repeated", "the dispatcher moved", "a station moved"),
)
async def test_everything_arrives(sim: Sim) -> None:
    """Three nodes stream readings to a client, and it streams alerts back, while nodes are lost."""
    heard: list[tuple[str, dict[str, Any]]] = []

    async def node(node: SimNode) -> None:
        number = sim.nodes.index(node.id)
        arguments = ["--node-id", node.id, "--bind-host", node.id, "--port", str(node.port), "--role", "dispatch"]
        arguments += [part for seed in node.seeds for part in ("--seed", seed)]
        arguments += ["--sensor", SENSORS[number], "--count", str(COUNT), "--interval", "0.1"]
        arguments += ["--alert-monitor"] if number == 2 else []
        await inside.node(inside.parser().parse_args(arguments), Listener(node.id, heard))

    for name in sim.nodes:
        # Somebody starts a node again that gives up: it could not join in time, or the cluster has expelled it.
        sim.start(name, node, restart_on=(ClusterError,))
    contacts = [part for name in sim.nodes for part in ("--contact", f"{name}:7000")]
    arguments = outside.parser().parse_args([*contacts, "--count", str(COUNT), "--timeout", str(AGAIN + sim.duration)])
    async with asyncio.TaskGroup() as group:
        group.create_task(end(sim))
        status = await outside.client(arguments, Listener("client", heard))
    assert status == 0
    judge(sim, heard)


async def end(sim: Sim) -> None:
    """The disaster ends."""
    await asyncio.sleep(sim.duration)
    sim.heal()


def judge(sim: Sim, heard: list[tuple[str, dict[str, Any]]]) -> None:
    """Everything has arrived, once and in order, and all alerts with the monitor."""
    said: dict[str, list[dict[str, Any]]] = {}
    for what, facts in heard:
        said.setdefault(what, []).append(facts)
    assert "gap" not in said, said["gap"]
    [result] = said["result"]
    assert result["arrived"] == dict.fromkeys(SENSORS, COUNT), result
    assert said["alerts"][-1]["count"] == result["alerts"], said["alerts"]
    if "lost" in said:
        sim.reach("a stream was lost")
    if result["repeated"]:
        sim.reach("a reading was repeated")
    if "moved" in said:
        sim.reach("the dispatcher moved")
    if any(facts["arrived"] for facts in said["station"]):
        sim.reach("a station moved")
