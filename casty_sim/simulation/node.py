"""A node of a simulated application: a host, the program that runs on it, and its lives."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..files import FileDisk
from ..stack.names import Names
from ..world import Host

if TYPE_CHECKING:
    from .process import Process
    from .sim import Sim

type App = Callable[[SimNode], Awaitable[object]]
"""What a node runs: called anew in each of its lives, and over when it returns."""

PORT = 7000


class SimNode:
    """What an application is told of the node on which it runs, and what a test can ask about it."""

    def __init__(self, sim: Sim, host: Host) -> None:
        self.sim = sim
        self.host = host
        self.app: App | None = None
        self.restart_on: tuple[type[BaseException], ...] = ()
        self.role: Callable[[], str] | None = None
        """What the node is at the moment, in a word, for the report of a run: an application may say it.

            node.role = lambda: "leader" if system.is_leader else "member"
        """
        self.process: Process | None = None
        """The latest life, also when it is over."""

    @property
    def id(self) -> str:
        """Its name, by which the others can reach it as well."""
        return self.host.name

    @property
    def address(self) -> str:
        """Its address on the simulated network."""
        return Names.of(self.host.world).add(self.host.name)

    @property
    def port(self) -> int:
        """A port that no other program of the host takes, for a system to listen on: the same on all nodes."""
        return PORT

    @property
    def seeds(self) -> list[str]:
        """All nodes of the simulation, as `host:port`, itself included."""
        return [f"{name}:{PORT}" for name in self.sim.nodes]

    @property
    def disk(self) -> Path:
        """A directory that survives a crash, as far as files were synced."""
        return cast(FileDisk, self.host.disk).root

    @property
    def lives(self) -> int:
        """How often it was started, this time included."""
        return self.host.starts

    @property
    def up(self) -> bool:
        """Whether its program runs, paused or not."""
        return self.host.program is not None and not self.host.program.ended

    @property
    def log(self) -> logging.Logger:
        """A logger of its own."""
        return logging.getLogger(f"sim.{self.id}")

    def is_now(self) -> str:
        """What it is at the moment, in a word."""
        try:
            return "up" if self.role is None else str(self.role())
        except Exception as error:
            # It is asked at any moment, also when an application is not ready to answer.
            return f"up ({describe(error)})"

    def call[T](self, work: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """Run a coroutine function on the event loop of this node, for whoever awaits it elsewhere. It takes no time
        to get there and back, and is lost with the node: then this never ends. To be awaited by the test, or by another
        node. Raises what the work raises, and `RuntimeError` when the node is down.
        """
        return self.sim.call_on(self, work)

    def __repr__(self) -> str:
        return f"<node {self.id} {'up' if self.up else 'down'}, life {self.lives}>"


def describe(error: BaseException) -> str:
    """An error in a line."""
    text: Any = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
