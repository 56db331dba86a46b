"""What may go wrong while an application is simulated, in the units of applications: seconds and names of kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from attrs import evolve, field, frozen
from attrs.validators import ge, instance_of, lt, optional

from casty_proto.machine import nanoseconds

from ..faults import KINDS, FaultOptions

STEADY = tuple([kind for kind in KINDS if kind != "jump"])
"""All but clocks that leap, which break every lease, as they must. `losses` says how many nodes are lost, and when."""


def _known(_: object, __: object, value: tuple[str, ...]) -> None:
    unknown = [kind for kind in value if kind not in KINDS]
    if unknown:
        raise ValueError(f"there is no kind of fault {unknown[0]!r}; there are {', '.join(KINDS)}")


@frozen
class Faults:
    """Which faults a simulation may draw, and how hard they hit. Lengths of time in seconds. Raises
    `ValueError` or `TypeError` for what makes no sense."""

    kinds: tuple[str, ...] = field(default=STEADY, validator=_known)
    """Each seed draws which of these are on in its run: `casty_sim.faults.KINDS` are all there are."""
    every: float = field(default=0.7, validator=ge(0.001))
    """The mean time between two faults."""
    longest: float = field(default=3.0, validator=ge(0.0))
    """The longest that a fault lasts before it is put right."""
    down_at_once: int | None = field(default=None, validator=optional([instance_of(int), ge(0)]))
    """How many nodes may be lost at once, with what they had in memory: by default as many as leave a majority: of
    one node or two that is none, and no node is lost then. What is acknowledged must survive that: with `sync_count=1`
    let it be 1, and leave out "wipe" where the only copy is on the disk of one node. See `losses` for when a loss is
    over."""
    recovery: float = field(default=5.0, validator=ge(0.0))
    """For how long nodes that have started again must have been up until a loss is over, where they are no nodes of a
    cluster, of which one could see it."""
    drift: float = field(default=0.02, validator=[ge(0.0), lt(1.0)])
    """How far the rate of a clock may be off, as a fraction."""
    at_once: bool = field(default=True, validator=instance_of(bool))
    """Whether they begin with the first node. Otherwise with `Sim.unleash`."""

    @classmethod
    def swarm(cls, *, without: Iterable[str] = (), down_at_once: int | None = None) -> Self:
        """All kinds but clocks that leap, and but those named: each seed draws which are on in its run.
        Raises `ValueError` for a kind that there is not."""
        left_out = tuple(without)
        _known(None, None, left_out)
        return cls(tuple([kind for kind in STEADY if kind not in left_out]), down_at_once=down_at_once)

    @classmethod
    def only(cls, *kinds: str) -> Self:
        """Only these kinds, of which each seed draws some. Raises `ValueError` for one that there is not."""
        return cls(kinds)

    @classmethod
    def none(cls) -> Self:
        """Nothing goes wrong but what the test does itself."""
        return cls(())

    def calmly(self, every: float) -> Self:
        """The same, with another mean time between two of them."""
        return evolve(self, every=every)

    def options(self, nodes: int) -> FaultOptions:
        """The same for a world of so many nodes."""
        down = max(0, (nodes - 1) // 2) if self.down_at_once is None else self.down_at_once
        return FaultOptions(
            kinds=self.kinds,
            every_ns=nanoseconds(self.every),
            longest_ns=nanoseconds(self.longest),
            drift=self.drift,
            down_at_once=down,
        )

    def words(self) -> str:
        """For people."""
        return ", ".join(self.kinds) or "none"
