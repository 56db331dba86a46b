"""Who is alive: SWIM, as a node has it. It begins when the node is a member, and its word goes to the leader."""

from __future__ import annotations

from random import Random
from typing import Any, assert_never

from ..machine import Instant, Note, Reply, Severity, Wake
from ..swim import (
    ConnectionLost,
    Defunct,
    Departed,
    Identity,
    Join,
    Joined,
    Leave,
    Member,
    MemberAlive,
    MemberConflict,
    MemberDead,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    Received,
    Send,
    State,
    Swim,
    SwimEvent,
)
from .checks import NodeKey, node_key
from .core import Core


class Watching:
    """The failure detector of a node."""

    __slots__ = ("_core", "_rng", "_swim", "has_left", "is_replaced")

    def __init__(self, core: Core, rng: Random) -> None:
        self._core = core
        self._rng = rng
        self._swim: Swim | None = None
        self.has_left = False
        """Whether the others were told that this node goes."""
        self.is_replaced = False
        """Whether a later life of this node is there."""

    def begin(self, contacts: tuple[str, ...]) -> None:
        """Watch the others, whom `contacts` know."""
        info = self._core.info
        identity = Identity(info.node_id, info.generation)
        self._swim = Swim(identity, info.address, b"", rng=self._rng, options=self._core.options.swim)
        self.feed(Join(contacts or (info.address,)))

    def received(self, address: str, message: Any) -> None:
        """A message of SWIM came from whoever listens there."""
        self.feed(Received(address, message))

    def suspect(self, node: NodeKey) -> None:
        """Look at this member next."""
        address = self._core.address_of(node)
        if address is not None:
            self.feed(ConnectionLost(address))

    def lost(self, address: str) -> None:
        """The connection to that address broke."""
        self.feed(ConnectionLost(address))

    def leave(self) -> None:
        """Tell the others that this node goes."""
        self.feed(Leave())

    def wake(self) -> None:
        """The deadline has come."""
        self.feed(Wake())

    def deadline(self) -> Instant | None:
        """When it wants `wake`."""
        return None if self._swim is None else self._swim.deadline()

    def invariants(self) -> None:
        """Assert what must hold between two events."""
        if self._swim is not None:
            self._swim.invariants()

    def feed(self, event: SwimEvent) -> None:
        """One event, and all that follows."""
        if self._swim is None:
            return
        core = self._core
        for effect in self._swim.handle(event, core.now):
            match effect:
                case Send(to, message):
                    core.send_to(to, message)
                case MemberAlive(member):
                    self._see(member, State.ALIVE)
                    core.learn(_key(member), member.address)
                case MemberSuspected(member):
                    self._see(member, State.SUSPECT)
                case MemberDead(member):
                    self._see(member, State.DEAD)
                case MemberLeft(member):
                    self._see(member, State.LEFT)
                case MemberConflict(member, address):
                    core.note(
                        Severity.ERROR,
                        f"somebody at {address} goes by the name of {_key(member)}, which is at {member.address}; "
                        "give each node a node id of its own",
                    )
                case Departed():
                    self.has_left = True
                case Defunct(reason, _):
                    self.is_replaced = True
                    core.note(Severity.ERROR, f"{core.key} is not listened to any more: {reason}")
                case Note():
                    core.out.append(effect)
                case MemberUpdated() | Joined() | Reply():
                    pass
                case _:
                    assert_never(effect)

    def _see(self, member: Member, state: State) -> None:
        self._core.see(_key(member), state)


def _key(member: Member) -> NodeKey:
    return node_key(member.identity.node_id, member.identity.generation)
