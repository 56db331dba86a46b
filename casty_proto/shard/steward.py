"""The steward: what the leader does about who owns what.

Theory of operation
-------------------
The plan says which node should own a shard, its home. The control state says who owns it, at which epoch. Where the
two differ, the steward sees to it that the shard moves, by proposing a command that names the epoch it was found at, so
that a proposal that comes too late, or twice, does nothing.

    owned by nobody                 -> given to its home at once
    owned by a node that is here    -> given when that node has released it: it closes it first, by itself
    owned by a node that is gone    -> given when whatever lease that node may hold must have ended
    at home, and released there     -> given to the same node again, since the plan has changed back meanwhile
    in a region that is removed     -> like these, but given to nobody

A node that is here and can get no lease, because it hears everybody but the leader, does nothing for its shards. It is
waited for a while longer, since it may have states that nobody else has, and then treated as one that is gone.

Whoever leads next begins anew: owners repeat what they have released until they see that it has moved, and about leases
a new leader assumes the worst (`leases.py`, rule 4).

Rules
-----
 1. Nothing is given that somebody may still own.
 2. While something is being taken from a node that is gone, that node is given no lease (`leases.py`, rule 5).
 3. What has been proposed is not proposed again before it is settled. What was not applied is looked at again then.
 4. A proposal has at most `max_shards` shards, and at most `max_proposals` are under way.
 5. Only the owner of an epoch can release it.
 6. Rubbish from a peer is noted, and changes nothing.
 7. What is taken from an owner that has not released it is given apart from the rest, and said to be forced.
"""

from __future__ import annotations

from typing import Any, assert_never

from attrs import field, frozen
from attrs.validators import instance_of

from ..machine import SECOND, Instant, Nanoseconds, Note, Severity, Wake, shown
from ..values import value
from .leases import LeaseGiver, Taking, in_range

type Spot = tuple[str, int]
"""A region and the number of a shard in it."""


@frozen
class StewardOptions:
    """How the steward works. Raises `ValueError` or `TypeError` for what makes no sense."""

    max_shards: int = field(default=1024, validator=in_range(1, 1024))
    """The most in one proposal: each may be of another region, and all of them go into one command."""
    max_proposals: int = field(default=4, validator=in_range(1, 2**10))
    patience_ns: Nanoseconds = field(default=10 * SECOND, validator=in_range(0, 86_400 * SECOND))
    """How long a node that is here may be without a lease until what shall move is taken from it."""


# Messages and events -------------------------------------------------------------------------------------------------


@value
class Released:
    """Owner to leader: these shards of a region, each with its epoch, have no owner any more but in name."""

    region: str
    shards: tuple[tuple[int, int], ...]


@value
class Begin:
    """Event: this node leads from now on."""


@value
class End:
    """Event: it does not any more."""


@value
class Survey:
    """Event: the owners of a region as they are applied, its epochs, and the homes that the plan has for it.

    Comes for every region after `Begin`, and again whenever something of it has changed.
    """

    region: str
    owners: tuple[str | None, ...]
    epochs: tuple[int, ...]
    homes: tuple[str | None, ...]
    closing: bool = False
    """Whether the region is being removed: its shards are to be nobody's, and `homes` says nothing."""


@value
class RegionGone:
    """Event: there is no such region any more."""

    region: str


@value
class Present:
    """Event: these nodes are members and alive, as far as is known. They release by themselves what is to move."""

    nodes: tuple[str, ...]


@value
class ReleaseReceived:
    """Event: a message came from the node `peer`."""

    peer: str = field(validator=instance_of(str))
    message: object


@value
class Settled:
    """Event: what became of a proposal is known, or never will be. What it changed was surveyed before."""

    request: int


type StewardEvent = Begin | End | Survey | RegionGone | Present | ReleaseReceived | Settled | Wake

# Effects -------------------------------------------------------------------------------------------------------------


@value
class Give:
    """Effect: propose that these shards are owned by `to`, or by nobody, where they are still at these epochs."""

    region: str
    to: str | None
    shards: tuple[tuple[int, int], ...]
    forced: bool = False
    """Whether they are taken from owners that did not release them."""


@value
class ProposeGifts:
    """Effect: propose these, in one command. Answered by `Settled(request)`."""

    request: int
    gifts: tuple[Give, ...]


type StewardEffect = ProposeGifts | Note


class _Move:
    """A shard that is not where it should be."""

    __slots__ = ("epoch", "home", "owner")

    def __init__(self, owner: str | None, epoch: int, home: str | None) -> None:
        self.owner = owner
        self.epoch = epoch
        self.home = home


class Steward:
    """What moves, while this node leads. `giver` is the other half of the leader: it knows when leases have ended."""

    def __init__(self, giver: LeaseGiver, options: StewardOptions) -> None:
        self._giver = giver
        self._options = options
        self._leads = False
        self._present: dict[str, None] = {}
        self._surveys: dict[str, Survey] = {}
        self._moves: dict[Spot, _Move] = {}
        self._released: dict[Spot, int] = {}
        """Epochs that their owners have released."""
        self._under_way: dict[int, tuple[tuple[Spot, ...], tuple[str, ...]]] = {}
        """For each proposal the shards, and the nodes that they are taken from."""
        self._proposed: dict[Spot, None] = {}
        self._last_request = 0
        self._wake_at: Instant | None = None

    # -- the contract --------------------------------------------------------------------------------------------------

    def handle(self, event: StewardEvent, now: Instant) -> tuple[StewardEffect, ...]:
        """Apply one event; see `casty_proto.machine`."""
        match event:
            case Begin():
                self._forget()
                self._leads = True
                return ()
            case End():
                self._forget()
                return ()
            case Survey():
                self._on_survey(event)
            case RegionGone(region):
                self._drop_region(region)
            case Present(nodes):
                self._present = dict.fromkeys(nodes)
            case ReleaseReceived(peer, message):
                notes = self._on_released(peer, message)
                if notes:
                    return notes
            case Settled(request):
                self._on_settled(request, now)
            case Wake():
                if self._wake_at is None or now < self._wake_at:
                    return ()
            case _:
                assert_never(event)
        return self._review(now)

    def deadline(self) -> Instant | None:
        """When the lease ends for which something waits."""
        return self._wake_at

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        assert len(self._under_way) <= self._options.max_proposals, "too many proposals"
        proposed = [spot for spots, _ in self._under_way.values() for spot in spots]
        assert sorted(proposed) == sorted(self._proposed), "what is proposed is proposed once"
        for spot, move in self._moves.items():
            assert move.owner != move.home or self._released.get(spot) == move.epoch, "what is at home moves"
        if not self._leads:
            moved = [*self._moves, *self._released, *self._under_way]
            assert not moved, "who does not lead moves something"

    @property
    def moving(self) -> int:
        """How many shards are not where they should be."""
        return len(self._moves)

    # -- events --------------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._leads = False
        self._surveys.clear()
        self._moves.clear()
        self._released.clear()
        self._under_way.clear()
        self._proposed.clear()
        self._wake_at = None

    def _on_survey(self, survey: Survey) -> None:
        if not self._leads:
            return
        region = survey.region
        self._drop_region(region, keep_released=True)
        self._surveys[region] = survey
        places = zip(survey.owners, survey.epochs, survey.homes, strict=True)
        for shard, (owner, epoch, home) in enumerate(places):
            spot = (region, shard)
            if self._released.get(spot, epoch) != epoch:
                del self._released[spot]
            if survey.closing:
                moves = owner is not None
            else:
                moves = home is not None and (owner != home or spot in self._released)
            if moves:
                self._moves[spot] = _Move(owner, epoch, home)

    def _drop_region(self, region: str, keep_released: bool = False) -> None:
        for spot in [spot for spot in self._moves if spot[0] == region]:
            del self._moves[spot]
        self._surveys.pop(region, None)
        if not keep_released:
            for spot in [spot for spot in self._released if spot[0] == region]:
                del self._released[spot]

    def _on_released(self, peer: str, message: object) -> tuple[StewardEffect, ...]:
        if not _is_released(message):
            return (Note(Severity.WARNING, f"{peer}: {shown(message)} releases nothing; dropped"),)
        assert isinstance(message, Released)
        survey = self._surveys.get(message.region)
        if survey is None:
            return ()
        for shard, epoch in message.shards:
            # Rule 5. What has moved already needs no release.
            if shard >= len(survey.owners) or (survey.owners[shard], survey.epochs[shard]) != (peer, epoch):
                continue
            spot, home = (message.region, shard), survey.homes[shard]
            self._released[spot] = epoch
            if home is not None or survey.closing:
                self._moves[spot] = _Move(peer, epoch, home)
        return ()

    def _on_settled(self, request: int, now: Instant) -> None:
        spots, taken = self._under_way.pop(request, ((), ()))
        for spot in spots:
            self._proposed.pop(spot, None)
        for node in taken:
            self._giver.handle(Taking(node, done=True), now)

    # -- what can be given ---------------------------------------------------------------------------------------------

    def _review(self, now: Instant) -> tuple[StewardEffect, ...]:
        self._wake_at = None
        effects: list[StewardEffect] = []
        while self._leads and len(self._under_way) < self._options.max_proposals:
            found = self._find(now)
            if not found:
                break
            effects.append(self._propose(found, now))
        return tuple(effects)

    def _find(self, now: Instant) -> list[tuple[Spot, _Move]]:
        """Shards that can be given now (rules 1 and 3). Sets the deadline for those that can be later."""
        found: list[tuple[Spot, _Move]] = []
        ended: dict[str, bool] = {}
        for spot, move in self._moves.items():
            if spot in self._proposed:
                continue
            owner = move.owner
            if owner is not None and self._released.get(spot) != move.epoch:
                if owner not in ended:
                    ended[owner] = self._has_ended(owner, now)
                if not ended[owner]:
                    continue
            found.append((spot, move))
            if len(found) == self._options.max_shards:
                break
        return found

    def _has_ended(self, owner: str, now: Instant) -> bool:
        """Whether what `owner` has not released can be taken from it. If not, it may be later."""
        at = self._giver.ended_at(owner)
        if at is None:
            return False
        if owner in self._present:
            at += self._options.patience_ns
        if now >= at:
            return True
        if self._wake_at is None or at < self._wake_at:
            self._wake_at = at
        return False

    def _propose(self, found: list[tuple[Spot, _Move]], now: Instant) -> ProposeGifts:
        self._last_request += 1
        gifts: dict[tuple[str, str | None, bool], list[tuple[int, int]]] = {}
        taken: dict[str, None] = {}
        for (region, shard), move in found:
            owner = move.owner if self._released.get((region, shard)) != move.epoch else None
            gifts.setdefault((region, move.home, owner is not None), []).append((shard, move.epoch))
            if owner is not None:
                taken[owner] = None
        for node in taken:
            self._giver.handle(Taking(node), now)
        spots = tuple([spot for spot, _ in found])
        self._proposed.update(dict.fromkeys(spots))
        self._under_way[self._last_request] = (spots, tuple(taken))
        return ProposeGifts(
            self._last_request,
            tuple([Give(region, to, tuple(shards), forced) for (region, to, forced), shards in gifts.items()]),
        )


def _is_released(message: Any) -> bool:
    if type(message) is not Released or type(message.region) is not str or type(message.shards) is not tuple:
        return False
    return all(map(_is_pair, message.shards))


def _is_pair(pair: Any) -> bool:
    return type(pair) is tuple and [type(part) for part in pair] == [int, int] and min(pair) >= 0
