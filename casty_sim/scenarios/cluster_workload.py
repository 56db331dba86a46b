"""What users and operators do in the cluster scenario, besides asking entities for something.

That is about names, the registry, leaving and forgetting. An operator may forget a member whose host is down,
and no other. A host whose node has left, or was removed, comes back as another generation after a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casty_proto.cluster import events
from casty_proto.cluster.checks import split_key
from casty_proto.cluster.events import Standing
from casty_proto.cluster.records import Status
from casty_proto.cluster.registry import Deregister, Register
from casty_proto.machine import MILLISECOND, SECOND

from ..world import Host
from .cluster_host import ClusterProgram

if TYPE_CHECKING:
    from .cluster import ClusterWorld

EVERY = 500 * MILLISECOND
"""The mean time between two acts."""
AWAY = 2 * SECOND
"""How long a host whose node has ended stays away at most."""
KEYS = ("k0", "k1", "k2")
WANTED = ("alpha", "beta")


class Workload:
    """Does something now and then, on hosts that are up."""

    KINDS = ("nothing", "claim", "claim", "release", "register", "deregister", "hint", "confer", "leave", "forget")

    def __init__(self, cluster: ClusterWorld) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._stream = cluster.world.tape.stream("workload")
        self._over = False
        self.held: dict[str, list[tuple[str, int, str, int]]] = {}
        """Names that are wanted, or had: host, its life, key and number."""

    def begin(self) -> None:
        """Act until `end`."""
        # The plainest choice, 0.0, is the longest wait.
        wait = int(2 * (1.0 - self._stream.raw()) * EVERY) + 1
        self._world.after(wait, self._act)

    def end(self) -> None:
        """Let things be. Whoever is away comes back."""
        self._over = True

    def _act(self) -> None:
        if self._over:
            return
        kind, host = self._stream.pick(self.KINDS), self._stream.pick(self._cluster.hosts)
        if host.up and kind != "nothing":
            self._do(kind, host)
        self.begin()

    def _do(self, kind: str, host: Host) -> None:
        match kind:
            case "claim":
                name = self._stream.pick(WANTED)
                others = [host, self._stream.pick(self._cluster.hosts)] if self._stream.chance(0.5) else [host]
                for each in others:
                    self._on(each, lambda program: self._claim(program, name))
            case "release":
                name = self._stream.pick(WANTED)
                self._on(host, lambda program: self._release(program, name))
            case "register":
                key = self._stream.pick(KEYS)
                self._on(host, lambda program: self._register(program, key))
            case "deregister":
                self._on(host, self._deregister)
            case "hint":
                other = self._stream.pick(self._cluster.hosts).name
                self._on(host, lambda program: program.feed(events.ConnectionLost(other)))
            case "confer":
                self._on(host, self._confer)
            case "leave":
                if self._cluster.policy.may_leave(host):
                    self._on(host, lambda program: program.feed(events.Depart()))
            case _:
                self._on(host, self._forget)

    def _on(self, host: Host, what: object) -> None:
        """A local event like any other: it waits while the host is paused, and is void when it crashes."""

        def act() -> None:
            program = host.program
            assert isinstance(program, ClusterProgram)
            assert callable(what)
            what(program)

        if host.up:
            host.local(1, act)

    # -- names and registry --------------------------------------------------------------------------------------------

    def _claim(self, program: ClusterProgram, name: str) -> None:
        node, views = program.node, self._cluster.views
        program.numbers += 1
        number, key, life = program.numbers, node.key, program.host.life
        views.claims(name, key)

        def answered(result: object) -> None:
            if views.claimed(name, key, number, result):
                self.held.setdefault(name, []).append((program.name, life, key, number))

        program.feed(events.ClaimName(answered, name, number, f"/user/{name}"))

    def _release(self, program: ClusterProgram, name: str) -> None:
        mine = [each for each in self.held.get(name, ()) if each[:2] == (program.name, program.host.life)]
        for each in mine:
            self.held[name].remove(each)
            self._cluster.views.releases(name, each[2], each[3])
            program.feed(events.ReleaseName(lambda _: None, name, each[3]))

    def _register(self, program: ClusterProgram, key: str) -> None:
        if program.node.standing is Standing.MEMBER:
            program.numbers += 1
            path = f"/user/{program.numbers}"
            program.registered[program.numbers] = (key, path)
            program.feed(Register(key, program.numbers, path))

    def _deregister(self, program: ClusterProgram) -> None:
        if program.registered:
            number = next(iter(program.registered))
            key, _ = program.registered.pop(number)
            program.feed(Deregister(number, key if self._stream.chance(0.5) else None))

    # -- what is known -------------------------------------------------------------------------------------------------

    def _confer(self, program: ClusterProgram) -> None:
        views, node = self._cluster.views, program.node
        program.numbers += 1
        number = program.numbers
        known = views.newest([each.node.state.changed for each in self._cluster.programs()])
        program.conferring[number] = self._world.now

        def answered(result: object) -> None:
            del program.conferring[number]
            views.conferred(node.key, known, result, node.state.changed)

        program.feed(events.Confer(answered))

    # -- members -------------------------------------------------------------------------------------------------------

    def _forget(self, program: ClusterProgram) -> None:
        """Who is held to be down, and is."""
        for member in program.node.state.members():
            host = self._world.hosts[split_key(member.key)[0]]
            if member.status is Status.DOWN and not host.up:
                self._world.reach("a member was forgotten")
                program.feed(events.ForgetNode(lambda _: None, host.name))
                return

    def ended(self, host: Host) -> None:
        """The node of a host has left, or was removed. The process ends, and another one begins."""
        self._cluster.away[host.name] = None
        wait = int(self._stream.raw() * AWAY) + 1

        def begin_again() -> None:
            self._cluster.away.pop(host.name, None)
            host.start()

        def end() -> None:
            host.crash()
            host.disk.wipe()
            self._world.after(wait, begin_again)

        self._world.at(self._world.now, end)
