"""What users of the members do in the SWIM scenario: change payloads, say goodbye, come back, and give hints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casty_proto.machine import SECOND
from casty_proto.swim import ConnectionLost, Join, Leave, UpdatePayload

if TYPE_CHECKING:
    from .swim import SwimProgram, SwimWorld


class Workload:
    """What users of the members do: it changes payloads, says goodbye, and reports connections that broke."""

    KINDS = ("nothing", "payload", "payload", "payload", "leave", "hint", "join again")

    def __init__(self, cluster: SwimWorld) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._stream = cluster.world.tape.stream("workload")
        self._over = False

    def begin(self) -> None:
        """Do something now and then, until `end`."""
        # The plainest choice, 0.0, is the longest wait.
        wait = int(2 * (1.0 - self._stream.raw()) * SECOND) + 1
        self._world.after(wait, self._act)

    def end(self) -> None:
        """Let things be. Whoever is away may still come back."""
        self._over = True

    def _act(self) -> None:
        if self._over:
            return
        kind, host = self._stream.pick(self.KINDS), self._stream.pick(self._cluster.hosts)
        if kind != "nothing" and host.up:
            other = self._stream.pick(self._cluster.hosts)
            # A local event like any other: it waits while the host is paused, and is void when it crashes.
            host.local(1, lambda: self._request(host.program, kind, other.name))
        self.begin()

    def _request(self, program: Any, kind: str, other: str) -> None:
        match kind:
            case "payload":
                program.feed(UpdatePayload(self._cluster.next_payload()))
            case "leave":
                program.feed(Leave())
            case "hint":
                program.feed(ConnectionLost(other))
            case _:
                program.feed(Join(self._cluster.seeds))

    def departed(self, program: SwimProgram) -> None:
        """A member has left. Its host comes back after a while as another, or stays away, but for the first seed."""
        away = self._stream.chance(0.3)
        wait = int(self._stream.raw() * 2 * SECOND) + 1
        if not away or program.name == self._cluster.seeds[0]:
            program.host.local(wait, program.begin)
