"""One part of a node alone: a core without a node, and what came of it."""

from __future__ import annotations

from random import Random
from typing import Any

from casty_proto.cluster import Command, Join, NodeInfo, Outcome
from casty_proto.cluster import events as ev
from casty_proto.cluster.core import Core
from casty_proto.cluster.events import Standing
from casty_proto.cluster.options import NodeOptions
from casty_proto.machine import Note, Reply

FAST = NodeOptions.fast()


def core_of(address: str = "a", options: NodeOptions = FAST, generation: int = 1) -> Core:
    """The core of a node that belongs to no cluster."""
    return Core(NodeInfo(address, generation, address), options)


def member_core(*addresses: str, options: NodeOptions = FAST) -> Core:
    """The core of the node `a`, which is a member besides these; at index 100."""
    core = core_of(options=options)
    for at, address in enumerate(("a", *addresses), 1):
        core.state.execute(Join(NodeInfo(address, 1, address)), at)
    core.cluster = "a.1"
    core.standing = Standing.MEMBER
    return core


def execute(core: Core, command: Command) -> Outcome:
    """Apply a command to the state of a core, at the next index from 100 on."""
    return core.state.execute(command, max(core.state.changed + 1, 100))


def take(core: Core) -> list[ev.NodeEffect]:
    """All effects since the last time."""
    out, core.out = core.out, []
    return out


def sent(core: Core, kind: type[Any] | None = None) -> list[tuple[str, Any]]:
    """What was sent since the last time: addresses and bodies. All else is thrown away."""
    found = [(one.to, one.message.body) for one in take(core) if isinstance(one, ev.Send)]
    return [pair for pair in found if kind is None or isinstance(pair[1], kind)]


def replies(core: Core) -> list[tuple[Any, Any]]:
    """What was answered since the last time. All else is thrown away."""
    return [(one.request, one.result) for one in take(core) if isinstance(one, Reply)]


def notes(core: Core) -> list[str]:
    """What was noted since the last time. All else is thrown away."""
    return [one.text for one in take(core) if isinstance(one, Note)]


def rng(seed: int = 0) -> Random:
    return Random(seed)
