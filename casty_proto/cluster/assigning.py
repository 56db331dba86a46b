"""What the leader does about owners: it gives leases, and gives away what nobody may own any more.

The parts are `LeaseGiver` and `Steward`. Here they get what they need: whether this node leads, which it makes sure of
by reading through Raft; who owns what, and should; and a way to have it assigned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

from ..machine import Instant, Note, Rejected, Wake
from ..raft import Read, ReadReady
from ..shard.leases import (
    Confirm,
    Confirmed,
    Deposed,
    Elected,
    GiverEvent,
    LeaseGiver,
    LeaseRequest,
    RequestReceived,
    Round,
    SendGrant,
)
from ..shard.steward import (
    Begin,
    End,
    Present,
    ProposeGifts,
    RegionGone,
    Released,
    ReleaseReceived,
    Settled,
    Steward,
    StewardEvent,
    Survey,
)
from .checks import NodeKey
from .commands import Assign, Gift
from .consensus import Consensus
from .core import Core
from .governing import Governing
from .plans import Plans
from .records import Status


class Assigning:
    """The leader's half of a node, as far as owners are concerned."""

    __slots__ = (
        "_asking",
        "_begun",
        "_consensus",
        "_core",
        "_giver",
        "_governing",
        "_leads_in",
        "_plans",
        "_refused",
        "_steward",
    )

    def __init__(self, core: Core, consensus: Consensus, governing: Governing, giver: LeaseGiver, plans: Plans) -> None:
        self._core = core
        self._consensus = consensus
        self._governing = governing
        self._giver = giver
        self._plans = plans
        self._steward = Steward(giver, core.options.steward)
        self._leads_in: int | None = None
        """The term in which this node leads."""
        self._asking = False
        self._refused: list[int] = []
        """Proposals to be looked at again at the next review."""
        self._begun = False
        """Whether everything that was committed before this node led is applied here."""

    # -- beginning and end ---------------------------------------------------------------------------------------------

    def on_role(self, leads: bool, term: int) -> None:
        """This node leads in that term, or does not lead any more."""
        self._begun = self._asking = False
        self._refused.clear()
        self._feed(End())
        self._feed_giver(Elected() if leads else Deposed())
        self._leads_in = term if leads else None
        self.review()

    def review(self) -> None:
        """Begin, as soon as that is safe. What this node has applied may be old; the first read comes after everything
        that was committed before."""
        refused, self._refused = self._refused, []
        for request in refused:
            self._feed(Settled(request))
        term = self._leads_in
        if term is not None and not self._begun and not self._asking:
            self._asking = True
            self._consensus.feed(Read(lambda result: self._on_sure(term, result)))

    def _on_sure(self, term: int, result: Any) -> None:
        if self._leads_in != term:
            return
        self._asking = False
        if type(result) is not ReadReady or self._begun:
            return  # `review` asks again.
        self._begun = True
        self._feed(Begin())
        self.members_changed()
        self.regions_changed(tuple([region.name for region in self._core.state.regions()]))

    # -- what has changed ----------------------------------------------------------------------------------------------

    def members_changed(self) -> None:
        """The members are others, or in another state."""
        if self._begun:
            there = [one.key for one in self._core.state.members() if one.status is not Status.DOWN]
            self._feed(Present(tuple(there)))

    def regions_changed(self, names: tuple[str, ...]) -> None:
        """The owners or the plans of these regions are others, or the regions are gone."""
        if not self._begun:
            return
        for name in names:
            region = self._core.state.region(name)
            if region is None:
                self._feed(RegionGone(name))
            else:
                homes = self._plans.homes(region)
                self._feed(Survey(name, region.owners, region.epochs, homes, region.closing))

    # -- messages ------------------------------------------------------------------------------------------------------

    def on_lease_request(self, peer: NodeKey, request: LeaseRequest) -> None:
        """A node asks for its lease. Only a member that is held to be there gets one."""
        member = self._core.state.member(peer)
        if not self._core.leads or member is None:
            return
        self._governing.heard(peer)
        if member.status is not Status.DOWN:
            self._feed_giver(RequestReceived(peer, request))

    def on_released(self, peer: NodeKey, message: Released) -> None:
        """An owner gives shards away."""
        if self._begun:
            self._feed(ReleaseReceived(peer, message))

    # -- the parts -----------------------------------------------------------------------------------------------------

    def round_begins(self) -> None:
        """A round of heartbeats is due."""
        self._feed_giver(Round())

    def wake(self) -> None:
        """The deadline has come."""
        self._feed_giver(Wake())
        self._feed(Wake())

    def deadline(self) -> Instant | None:
        """When it wants `wake`."""
        return min([at for part in self.deadlines if (at := part()) is not None], default=None)

    @property
    def deadlines(self) -> tuple[Callable[[], Instant | None], ...]:
        """What `deadline` is the earliest of."""
        return (self._giver.deadline, self._steward.deadline)

    @property
    def moving(self) -> int:
        """How many shards are not where they should be. Only the leader knows."""
        return self._steward.moving

    def invariants(self) -> None:
        """Assert what must hold between two events."""
        self._giver.invariants()
        self._steward.invariants()

    def _feed_giver(self, event: GiverEvent) -> None:
        for effect in self._giver.handle(event, self._core.now):
            match effect:
                case Confirm(ticket):
                    self._confirm(ticket)
                case SendGrant(to, message):
                    self._core.send(to, message)
                case _:
                    self._core.out.append(effect)

    def _confirm(self, ticket: int) -> None:
        def sure(result: Any) -> None:
            index = self._core.state.version if type(result) is ReadReady else None
            self._feed_giver(Confirmed(ticket, index))

        self._consensus.feed(Read(sure))

    def _feed(self, event: StewardEvent) -> None:
        for effect in self._steward.handle(event, self._core.now):
            match effect:
                case ProposeGifts():
                    self._propose(effect)
                case Note():
                    self._core.out.append(effect)
                case _:
                    assert_never(effect)

    def _propose(self, proposal: ProposeGifts) -> None:
        gifts = tuple([Gift(one.region, one.to, one.shards, one.forced) for one in proposal.gifts])
        self._consensus.propose(Assign(gifts), lambda result: self._on_proposed(proposal.request, result))

    def _on_proposed(self, request: int, result: Any) -> None:
        """What was refused, because the leadership is being handed over, would be refused again if tried at once."""
        if isinstance(result, Rejected):
            self._refused.append(request)
        else:
            self._feed(Settled(request))
