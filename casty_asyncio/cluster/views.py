"""What a node has learned of its cluster: published as events, kept for whoever asks, and waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.cluster import events as said
from casty_proto.cluster.checks import split_key
from casty_proto.cluster.events import Standing
from casty_proto.cluster.records import Status
from casty_proto.cluster.registry import ListingChanged

from . import events
from .events import ClusterMember, member_of
from .lines import one_line

if TYPE_CHECKING:
    from ..runtime import Runtime
    from .discovery import Discovery
    from .member import Member
    from .regions import Regions
    from .storage import StorageError


class Views:
    """The cluster as one node sees it."""

    def __init__(self, runtime: Runtime, member: Member, regions: Regions, discovery: Discovery) -> None:
        self._runtime = runtime
        self._member = member
        self._regions = regions
        self._discovery = discovery
        self.joined = asyncio.Event()
        """Set when this node has become a member."""
        self.gone = asyncio.Event()
        """Set when it is none any more, or cannot go on."""
        self.expelled: str | None = None
        """Why it is none any more, where it did not ask for that."""
        self.fault: StorageError | None = None
        """Why it cannot go on, though it is a member: its disk has failed."""
        self.changed: Callable[[], None] = _nothing
        """Called when what an outside client sees of the cluster has changed."""
        self.taken: Callable[[said.OwnersChanged], None] = _nobody_asks
        """Called with shards that were taken from their owners, before `changed`."""
        self.renamed: Callable[[str], None] = _no_name
        """Called with a cluster-wide name that is another's now, or nobody's."""
        self.lost: Callable[[said.AcceptedLost], None] = _nobody_lost
        """Called when what owners had accepted may be lost, before `changed`."""
        self._waiting: dict[asyncio.Future[None], None] = {}

    # -- for users -----------------------------------------------------------------------------------------------------

    def members(self) -> tuple[ClusterMember, ...]:
        """All members, those included that are unreachable."""
        return tuple([member_of(info) for info in self._member.node.state.members()])

    def count(self) -> int:
        """How many members are up."""
        if not self.joined.is_set():
            return 0
        return sum(info.status is Status.UP for info in self._member.node.state.members())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so that depends on what the node has learned; or until it is no member any more."""
        while not (self.gone.is_set() or condition()):
            future: asyncio.Future[None] = self._runtime.loop.create_future()
            self._waiting[future] = None
            try:
                await future
            finally:
                self._waiting.pop(future, None)

    def _let_go_on(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)
        self.changed()

    # -- what the node says --------------------------------------------------------------------------------------------

    def standing_changed(self, effect: said.StandingChanged) -> None:
        """What this node is to its cluster."""
        node = self._member.node
        log = self._runtime.log
        match effect.standing:
            case Standing.MEMBER:
                log.info("%s is a member of the cluster that %s founded", node.key, one_line(node.cluster))
                self.joined.set()
            case Standing.LEAVING:
                log.info("%s leaves the cluster", node.key)
            case Standing.DEPARTED:
                log.info("%s has left the cluster", node.key)
                self.end("this node has left the cluster")
            case Standing.EXPELLED:
                log.error("%s is no member of the cluster any more: %s", node.key, one_line(effect.reason))
                self.expelled = effect.reason
                self._publish(events.NodeExpelled(effect.reason))
                self.end(f"this node is no member of the cluster any more: {effect.reason}")
            case Standing.SEEKING:
                pass
        self._let_go_on()

    def end(self, reason: str) -> None:
        """There is no cluster any more."""
        self.gone.set()
        self._regions.give_up(reason)
        self._let_go_on()

    def _publish(self, event: events.ClusterEvent) -> None:
        self._runtime.publish(event)

    def _tell(self, kind: Callable[[ClusterMember], events.ClusterEvent], info: Any, text: str, level: int) -> None:
        member = member_of(info)
        self._runtime.log.log(level, "%s %s", one_line(info.key), text)
        self._publish(kind(member))
        self._let_go_on()

    def member_up(self, effect: said.MemberUp) -> None:
        """A new member."""
        self._tell(events.MemberUp, effect.member, "is a new member", logging.INFO)

    def member_changed(self, effect: said.MemberChanged) -> None:
        """It says other things of itself."""
        self._tell(events.MemberChanged, effect.member, "says other things of itself", logging.DEBUG)

    def member_leaving(self, effect: said.MemberLeaving) -> None:
        """It wants to go."""
        self._tell(events.MemberLeaving, effect.member, "is leaving", logging.INFO)

    def member_unreachable(self, effect: said.MemberUnreachable) -> None:
        """It is held to be dead."""
        self._tell(events.MemberUnreachable, effect.member, "is unreachable", logging.WARNING)

    def member_reachable(self, effect: said.MemberReachable) -> None:
        """It is back."""
        self._tell(events.MemberReachable, effect.member, "is reachable again", logging.INFO)

    def member_gone(self, effect: said.MemberGone) -> None:
        """It is none any more."""
        reason = effect.reason.name.lower()

        def left(member: ClusterMember) -> events.ClusterEvent:
            return events.MemberLeft(member, reason)

        self._member.lanes.forget(effect.member.node.address)
        self._tell(left, effect.member, f"is no member any more: {reason}", logging.INFO)

    def leader_changed(self, effect: said.LeaderChanged) -> None:
        """Another leader, or none."""
        leader_id = None if effect.leader is None else split_key(effect.leader)[0]
        self._runtime.log.info("the leader of term %d is %s", effect.term, one_line(leader_id or "not known"))
        self._publish(events.LeaderChanged(leader_id, effect.term))
        self._let_go_on()

    def region_added(self, effect: said.RegionAdded) -> None:
        """A type or singleton."""
        self._regions.added(effect.region)
        self._let_go_on()

    def region_removed(self, effect: said.RegionRemoved) -> None:
        """A type or singleton is there no more."""
        self._runtime.log.info("%s is removed from the cluster", effect.region)
        self._regions.removed(effect.region)
        self._let_go_on()

    def owners_changed(self, effect: said.OwnersChanged) -> None:
        """Shards have another owner."""
        self._regions.asks.owners_changed(effect)
        if effect.forced:
            self.taken(effect)
        owner_id = None if effect.to is None else split_key(effect.to)[0]
        shards = tuple([shard for shard, _ in effect.shards])
        self._publish(events.ShardsMoved(effect.region, shards, owner_id, effect.forced))
        self._let_go_on()

    def accepted_lost(self, effect: said.AcceptedLost) -> None:
        """What owners had accepted may be lost."""
        self._regions.asks.accepted_lost(effect)
        self.lost(effect)
        self._let_go_on()

    def name_changed(self, effect: said.NameChanged) -> None:
        """A name was claimed, or is free."""
        self.renamed(effect.name)
        node_id = None if effect.node is None else split_key(effect.node)[0]
        self._publish(events.NameChanged(effect.name, node_id))
        self._let_go_on()

    def listing_changed(self, effect: ListingChanged) -> None:
        """Other actors can be discovered under a key."""
        self._discovery.changed(effect.key)
        self._let_go_on()


def _nothing() -> None:
    """Nobody wants to know."""


def _nobody_lost(_: said.AcceptedLost) -> None:
    """Nobody wants to know."""


def _nobody_asks(_: said.OwnersChanged) -> None:
    """Nobody wants to know."""


def _no_name(_: str) -> None:
    """Nobody wants to know."""
