"""What hosts of the cluster scenario say of themselves: roles and weights.

Some regions want a role. Most hosts have it, and keep it: as many as such a region has copies, or all. Whether the
others have it, and what they weigh, is drawn anew whenever they start, so that shards have to move there and away.
"""

from __future__ import annotations

from casty_proto.cluster.records import NodeInfo

from ..tape import Stream, Tape

ROLE = "worker"
ENOUGH = 3
"""The most copies that a region has."""


class Roles:
    """See the module."""

    def __init__(self, tape: Tape, names: tuple[str, ...], regions: tuple[str, ...]) -> None:
        self._tape = tape
        stream = tape.stream("roles")
        some = stream.chance(0.5)
        self.restricted = dict.fromkeys([region for region in regions if some and stream.chance(0.5)])
        """Regions that want the role."""
        self._keep = dict.fromkeys(stream.shuffled(names)[:ENOUGH])
        self._changes = stream.chance(0.3)
        self._weights = {name: stream.pick((1, 1, 2, 3)) for name in names}
        self._plain = not some

    def role_of(self, region: str) -> str | None:
        """What a member must have to hold anything of a region."""
        return ROLE if region in self.restricted else None

    def info(self, name: str, generation: int) -> NodeInfo:
        """What a host says of itself when it starts."""
        stream = self._tape.stream(f"roles/{name}")
        roles: tuple[str, ...] = (ROLE,) if name in self._keep else self._drawn(stream)
        weight = self._weights[name]
        if self._changes and name not in self._keep:
            weight = stream.pick((weight, 1, 2, 3))
        return NodeInfo(name, generation, name, roles, weight)

    def _drawn(self, stream: Stream) -> tuple[str, ...]:
        if self._plain:
            return ()
        return stream.pick(((), (ROLE,), (ROLE, "other"))) if self._changes else ()
