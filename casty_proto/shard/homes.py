"""Homes: what a node does about the shards that it owns, from the day that it is given them until they are gone.

Theory of operation
-------------------
                 given           contents are there, and a lease
    (elsewhere) -------> FILLING -------------------------------> OPEN
                            ^                                     |  ^
                            | no lease                 lease over |  | lease again
                            +----------------- HALTED <-----------+--+
                                                                  |
                                       the plan has another home  |
    (elsewhere) <------- RELEASED <------- CLOSING <--------------+
                 given on          closed

A shard is open only while the applied state says that this node owns it, at that epoch, while it was not released, and
while the node's lease lasts. When the plan names another home, the owner closes the shard by itself: messages are not
taken any more, the handlers that run may end, and the states are put where the next owner finds them. Then it tells the
leader that it has released the shard, again and again until it sees that the shard has moved. From the first time on
there is no way back but through the leader, who may have given the shard away already.

A lease that ends stops everything at once. What was open is halted: nothing runs, and it can be opened again, as it
was, when the node gets another lease and nobody else was given the shard meanwhile. For that a driver tells of new
owners before it tells the lease what was applied.

Rules
-----
 1. A shard is open only while it is owned at its epoch, not released, filled, and the lease lasts.
 2. It is filled before it is opened: with what the last owner and the replicas have.
 3. A shard that is to move is closed first, and released when it is closed. Closing has a deadline; then it is halted.
 4. At most `max_closing` are closed at a time; the others stay open meanwhile.
 5. What was closed, and not released, is opened again when it shall not move after all.
 6. What is released is told to the leader, whoever that is, until the shard has another epoch. The leader may give it
    to the same node again.
 7. When the lease is over everything open or closing is halted at once.
 8. When somebody else owns the shard, what is left of it here is dropped.
 9. What is to be nobody's, since its region is being removed, is closed like what moves. What is not open is released
    at once: nobody needs its contents.
"""

from __future__ import annotations

from enum import Enum
from typing import assert_never

from attrs import field, frozen

from ..machine import MILLISECOND, SECOND, Instant, Nanoseconds, Wake
from ..timers import Deadlines
from ..values import value
from .leases import in_range
from .steward import Released, Spot


@frozen
class HomeOptions:
    """How homes behave. Raises `ValueError` or `TypeError` for what makes no sense."""

    max_closing: int = field(default=64, validator=in_range(1, 2**20))
    close_timeout_ns: Nanoseconds = field(default=10 * SECOND, validator=in_range(1, 86_400 * SECOND))
    """How long running handlers may take to end when a shard moves."""
    repeat_ns: Nanoseconds = field(default=200 * MILLISECOND, validator=in_range(1, 86_400 * SECOND))
    """How often a release is repeated."""
    max_released: int = field(default=1024, validator=in_range(1, 2**20))
    """The most shards in one message."""


NOBODY = ""
"""The home of a shard that is to be nobody's (rule 9)."""


class Phase(Enum):
    """Where a shard is in its life here."""

    FILLING = "filling"
    HALTED = "halted"
    OPEN = "open"
    CLOSING = "closing"
    RELEASED = "released"


# Events --------------------------------------------------------------------------------------------------------------


@value
class Owner:
    """Event: by the applied state the shard is owned by `node` at `epoch`; `before` owned it before, if anybody did."""

    region: str
    shard: int
    node: str | None
    epoch: int
    before: str | None = None


@value
class Home:
    """Event: the plan says that the shard is at home at `node`, or at `NOBODY`; `None` when it says nothing."""

    region: str
    shard: int
    node: str | None


@value
class LeaseChanged:
    """Event: this node has a lease, or has none any more."""

    held: bool


@value
class LeaderChanged:
    """Event: this node takes `leader` for the leader; `None` when it knows of none."""

    leader: str | None


@value
class Filled:
    """Event: the answer to `Fill`: all that could be found is here."""

    region: str
    shard: int
    epoch: int


@value
class ShardClosed:
    """Event: the answer to `Close`: no handler runs, and the states are where the next owner will ask for them."""

    region: str
    shard: int
    epoch: int


type HomesEvent = Owner | Home | LeaseChanged | LeaderChanged | Filled | ShardClosed | Wake

# Effects -------------------------------------------------------------------------------------------------------------


@value
class Fill:
    """Effect: get what the last owner `before` and the replicas have of the shard. Answered by `Filled`."""

    region: str
    shard: int
    epoch: int
    before: str | None


@value
class Open:
    """Effect: messages of this shard are handled from now on, here and nowhere else."""

    region: str
    shard: int
    epoch: int


@value
class Close:
    """Effect: take no more messages, let the running handlers end, and put the states where they can be had."""

    region: str
    shard: int
    epoch: int


@value
class Halt:
    """Effect: stop at once whatever is done for this shard. It may be opened again as it is."""

    region: str
    shard: int
    epoch: int
    reason: str


@value
class Drop:
    """Effect: the shard is somebody else's at a later epoch: what is left of it here is of no use."""

    region: str
    shard: int
    epoch: int


@value
class TellLeader:
    """Effect: send `message` to the leader `to`. It may be lost."""

    to: str
    message: Released


type HomesEffect = Fill | Open | Close | Halt | Drop | TellLeader
type _Effects = tuple[HomesEffect, ...]


class _Shard:
    __slots__ = ("epoch", "filled", "home", "phase")

    def __init__(self, epoch: int, home: str | None) -> None:
        self.epoch = epoch
        self.home = home
        self.filled = False
        self.phase = Phase.FILLING


_REPEAT: Spot = ("", -1)
"""The deadline of the releases."""


class Homes:
    """The shards that this node owns."""

    def __init__(self, own: str, options: HomeOptions) -> None:
        self._own = own
        self._options = options
        self._leader: str | None = None
        self._leased = False
        self._shards: dict[Spot, _Shard] = {}
        self._homes: dict[Spot, str] = {}
        """What the plan says about shards that are owned here, or about to be."""
        self._leaving: dict[Spot, None] = {}
        """Open or halted, and to be closed (rule 4)."""
        self._closing: dict[Spot, None] = {}
        self._released: dict[Spot, None] = {}
        self._deadlines: Deadlines[Spot] = Deadlines()

    # -- the contract --------------------------------------------------------------------------------------------------

    def handle(self, event: HomesEvent, now: Instant) -> _Effects:
        """Apply one event; see `casty_proto.machine`."""
        match event:
            case Owner():
                return self._on_owner(event) + self._close_more(now)
            case Home(region, shard, node):
                return self._on_home((region, shard), node) + self._close_more(now)
            case LeaseChanged(held):
                return self._on_lease(held) + self._close_more(now)
            case LeaderChanged(leader):
                self._leader = leader
                return self._tell(now)
            case Filled(region, shard, epoch):
                return self._on_filled((region, shard), epoch) + self._close_more(now)
            case ShardClosed(region, shard, epoch):
                return self._on_closed((region, shard), epoch, now) + self._close_more(now)
            case Wake():
                return self._on_wake(now) + self._close_more(now)
            case _:
                assert_never(event)

    def deadline(self) -> Instant | None:
        """When a closing must end, or releases are to be repeated."""
        return self._deadlines.earliest()

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        self._deadlines.invariants()
        for spot, shard in self._shards.items():
            phase = shard.phase
            assert phase is not Phase.OPEN or (shard.filled and self._leased), f"{spot} is open without a right"
            assert phase is not Phase.CLOSING or self._leased, f"{spot} closes without a lease"
            assert (spot in self._closing) == (phase is Phase.CLOSING), f"{spot}: {phase}"
            assert (spot in self._released) == (phase is Phase.RELEASED), f"{spot}: {phase}"
            assert (phase is Phase.CLOSING) == (spot in self._deadlines), f"{spot}: {phase}, and its deadline"
        assert len(self._closing) <= self._options.max_closing, "too many are being closed"
        assert all(spot in self._shards for spot in self._leaving), "what is not here leaves"

    # -- the direct lane -----------------------------------------------------------------------------------------------

    def phase_of(self, region: str, shard: int) -> Phase | None:
        """Where the shard is in its life here; `None` where it is not this node's."""
        found = self._shards.get((region, shard))
        return None if found is None else found.phase

    # -- events --------------------------------------------------------------------------------------------------------

    def _on_owner(self, event: Owner) -> _Effects:
        spot = (event.region, event.shard)
        known = self._shards.get(spot)
        if known is not None and event.epoch <= known.epoch:
            return ()
        dropped: _Effects = ()
        if known is not None:
            # Rule 8. That somebody else owns it while it is open here cannot be: it was released, or the lease ended.
            self._remove(spot, known)
            dropped = (Drop(event.region, event.shard, known.epoch),)
        if event.node != self._own:
            return dropped
        self._shards[spot] = shard = _Shard(event.epoch, self._homes.get(spot))
        if shard.home not in (None, self._own):
            self._leaving[spot] = None
        return (*dropped, Fill(event.region, event.shard, event.epoch, event.before))

    def _remove(self, spot: Spot, shard: _Shard) -> None:
        del self._shards[spot]
        self._leaving.pop(spot, None)
        self._closing.pop(spot, None)
        self._released.pop(spot, None)
        self._deadlines.cancel(spot)

    def _on_home(self, spot: Spot, node: str | None) -> _Effects:
        if node is None:
            self._homes.pop(spot, None)
        else:
            self._homes[spot] = node
        shard = self._shards.get(spot)
        if shard is None:
            return ()
        shard.home = node
        if node in (None, self._own) or shard.phase in (Phase.CLOSING, Phase.RELEASED):
            self._leaving.pop(spot, None)
        else:
            self._leaving[spot] = None
        return ()

    def _on_lease(self, held: bool) -> _Effects:
        if held == self._leased:
            return ()
        self._leased = held
        if held:
            return tuple([effect for spot, shard in self._shards.items() for effect in self._open(spot, shard)])
        # Rule 7.
        halted: list[HomesEffect] = []
        for spot, shard in self._shards.items():
            if shard.phase in (Phase.OPEN, Phase.CLOSING):
                halted.append(Halt(*spot, shard.epoch, "the lease of this node is over"))
                self._halt(spot, shard)
        return tuple(halted)

    def _halt(self, spot: Spot, shard: _Shard) -> None:
        if shard.phase is Phase.CLOSING:
            del self._closing[spot]
            self._deadlines.cancel(spot)
            self._leaving[spot] = None
        shard.phase = Phase.HALTED

    def _on_filled(self, spot: Spot, epoch: int) -> _Effects:
        shard = self._shards.get(spot)
        if shard is None or shard.epoch != epoch or shard.phase is not Phase.FILLING:
            return ()
        shard.filled = True
        shard.phase = Phase.HALTED
        return self._open(spot, shard)

    def _open(self, spot: Spot, shard: _Shard) -> _Effects:
        """Rule 1."""
        if shard.phase is not Phase.HALTED or not self._leased:
            return ()
        shard.phase = Phase.OPEN
        return (Open(*spot, shard.epoch),)

    # -- moving away ---------------------------------------------------------------------------------------------------

    def _close_more(self, now: Instant) -> _Effects:
        """Rules 3, 4 and 9."""
        effects: list[HomesEffect] = []
        for spot in [spot for spot in self._leaving if self._shards[spot].home == NOBODY]:
            shard = self._shards[spot]
            if shard.phase in (Phase.FILLING, Phase.HALTED):
                del self._leaving[spot]
                effects += self._release(spot, shard, now)
        for spot in list(self._leaving):
            if len(self._closing) >= self._options.max_closing:
                break
            shard = self._shards[spot]
            if shard.phase is not Phase.OPEN:
                continue
            del self._leaving[spot]
            shard.phase = Phase.CLOSING
            self._closing[spot] = None
            self._deadlines.set(spot, now + self._options.close_timeout_ns)
            effects.append(Close(*spot, shard.epoch))
        return tuple(effects)

    def _on_closed(self, spot: Spot, epoch: int, now: Instant) -> _Effects:
        shard = self._shards.get(spot)
        if shard is None or shard.epoch != epoch or shard.phase is not Phase.CLOSING:
            return ()
        del self._closing[spot]
        self._deadlines.cancel(spot)
        if shard.home in (None, self._own):
            # Rule 5.
            shard.phase = Phase.HALTED
            return self._open(spot, shard)
        return self._release(spot, shard, now)

    def _release(self, spot: Spot, shard: _Shard, now: Instant) -> _Effects:
        shard.phase = Phase.RELEASED
        self._released[spot] = None
        if self._leader is None:
            return ()
        if _REPEAT not in self._deadlines:
            self._deadlines.set(_REPEAT, now + self._options.repeat_ns)
        return (TellLeader(self._leader, Released(spot[0], ((spot[1], shard.epoch),))),)

    def _on_wake(self, now: Instant) -> _Effects:
        effects: _Effects = ()
        for spot in self._deadlines.due(now):
            if spot == _REPEAT:
                effects += self._tell(now)
                continue
            shard = self._shards[spot]
            del self._closing[spot]
            effects += (Halt(*spot, shard.epoch, "its handlers did not end in time for it to move"),)
            effects += self._release(spot, shard, now)
        return effects

    def _tell(self, now: Instant) -> _Effects:
        """Rule 6."""
        self._deadlines.cancel(_REPEAT)
        if self._leader is None or not self._released:
            return ()
        self._deadlines.set(_REPEAT, now + self._options.repeat_ns)
        regions: dict[str, list[tuple[int, int]]] = {}
        for region, shard in self._released:
            regions.setdefault(region, []).append((shard, self._shards[region, shard].epoch))
        most = self._options.max_released
        return tuple(
            [
                TellLeader(self._leader, Released(region, tuple(shards[at : at + most])))
                for region, shards in regions.items()
                for at in range(0, len(shards), most)
            ]
        )
