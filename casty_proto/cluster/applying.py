"""What it means to a node that something was applied: its parts are told, and its users.

Changes are looked at one by one, in the order of the log. What is expensive, because it concerns all shards, waits
until it is needed: before owners are looked at, and when everything that came at once has been applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from ..machine import Note
from . import events
from .assigning import Assigning
from .changes import difference
from .checks import NodeKey
from .commands import Command, DropNames, Join
from .core import REVIEW, Core
from .events import NodeEffect, Standing
from .givers import Givers
from .governing import Governing, refusal
from .orders import Orders
from .outcomes import (
    Applied,
    Change,
    HostsChanged,
    MemberChange,
    MemberDown,
    MemberJoined,
    MemberLeaving,
    MemberRemoved,
    MemberRestarted,
    MemberReturned,
    MemberUpdated,
    NameFreed,
    NameTaken,
    Outcome,
    RegionAdded,
    RegionClosing,
    RegionRemoved,
    Removal,
    ShardsMoved,
)
from .owning import Owning
from .plans import Plans
from .records import Status
from .registry import ListingChanged, Members, Registry, RegistryEvent, RegistrySend
from .routing import Routing
from .state import ControlState

_OF_MEMBERS = (MemberJoined, MemberUpdated, MemberLeaving, MemberDown, MemberReturned, MemberRemoved)


class Discovering:
    """The registry of a node, on its core."""

    __slots__ = ("_core", "registry")

    def __init__(self, core: Core, registry: Registry) -> None:
        self._core = core
        self.registry = registry

    def feed(self, event: RegistryEvent) -> None:
        """One event, and all that follows."""
        for effect in self.registry.handle(event, self._core.now):
            match effect:
                case RegistrySend(to, message):
                    self._core.send(to, message)
                case ListingChanged() | Note():
                    self._core.out.append(effect)
                case _:
                    assert_never(effect)


class Applying:
    """Tells the parts of a node what has been applied."""

    __slots__ = (
        "_assigning",
        "_core",
        "_discovering",
        "_givers",
        "_gone",
        "_governing",
        "_members_changed",
        "_on_name",
        "_orders",
        "_owning",
        "_plans",
        "_regions",
        "_routing",
        "removed",
    )

    def __init__(
        self,
        core: Core,
        plans: Plans,
        owning: Owning,
        routing: Routing,
        discovering: Discovering,
        orders: Orders,
        governing: Governing,
        assigning: Assigning,
        on_name: Callable[[str, int], None],
    ) -> None:
        self._core = core
        self._givers = Givers(core)
        self._plans = plans
        self._owning = owning
        self._routing = routing
        self._discovering = discovering
        self._orders = orders
        self._governing = governing
        self._assigning = assigning
        self._on_name = on_name
        """Told of the names that actors of this node have been given, with the numbers of the actors."""
        self._members_changed = False
        self._gone: list[NodeKey] = []
        self._regions: dict[str, None] = {}
        """Regions whose owners are others."""
        self.removed: Removal | None = None
        """Why this node is no member any more."""

    # -- from the log --------------------------------------------------------------------------------------------------

    def applied(self, command: Command | None, outcome: Outcome, index: int) -> None:
        """A command was applied; `None` for bytes that were none."""
        if type(outcome) is Applied:
            if any(isinstance(change, _OF_MEMBERS) for change in outcome.changes):
                self._plans.remember(index)
            for change in outcome.changes:
                self._on_change(change)
        if type(command) is Join:
            self._governing.joined(command.node.key, refusal(outcome))
        elif type(command) is DropNames and command.node != self._core.key:
            self._owning.restarted(command.node)

    def restored(self, before: ControlState, index: int) -> None:
        """The state was replaced by a later one."""
        self._members_changed = True
        self._plans.forget(index)
        for change in difference(before, self._core.state):
            self._on_change(change)

    def settled(self, index: int) -> None:
        """Everything up to `index` is applied."""
        self._review_members()
        if self._regions:
            self._assigning.regions_changed(tuple(self._regions))
            self._regions.clear()
        self._owning.settled(index)
        self._orders.settled(index)
        if self._core.leads:
            self._core.deadlines.set(REVIEW, self._core.now)

    # -- changes -------------------------------------------------------------------------------------------------------

    def _on_change(self, change: Change) -> None:
        lost = self._givers.on_change(change)
        if self._core.standing is not Standing.SEEKING:
            self._core.out.extend(_said(change))
            self._core.out.extend(lost)
        match change:
            case RegionAdded(region):
                self._regions[region] = None
                self._owning.region_ended(region)
            case HostsChanged():
                self._plans.hosts_changed()
                self._members_changed = True
            case ShardsMoved():
                self._on_moved(change)
            case NameTaken(name, entry):
                if entry.node == self._core.key:
                    self._on_name(name, entry.number)
            case RegionClosing(region):
                self._regions[region] = None
                self._owning.region_closing(region)
            case RegionRemoved(region):
                self._regions[region] = None
                self._owning.region_removed(region)
                self._routing.region_removed(region)
            case NameFreed():
                pass
            case _:
                self._on_member(change)

    def _on_member(self, change: MemberChange) -> None:
        self._members_changed = True
        if type(change) is MemberRemoved:
            self._gone.append(change.member.key)
            if change.member.key == self._core.key:
                self.removed = change.reason

    def _on_moved(self, change: ShardsMoved) -> None:
        self._review_members()
        self._regions[change.region] = None
        self._owning.moved(change)
        self._routing.moved(change)

    def tell_all(self) -> None:
        """This node is a member: users hear of what there is, and not of what has been."""
        for change in difference(ControlState(), self._core.state):
            self._core.out.extend(_said(change))

    def _review_members(self) -> None:
        """The members are others, or in another state: what follows from them follows now."""
        if not self._members_changed:
            return
        self._members_changed = False
        gone, self._gone = tuple(self._gone), []
        core = self._core
        for node in gone:
            core.seen.pop(node, None)
        if self._plans.refresh():
            self._owning.plans_changed()
            self._regions.update(dict.fromkeys([region.name for region in core.state.regions()]))
        self._owning.members_changed(gone)
        members = core.state.members()
        dead = [one.key for one in members if one.status is Status.DOWN]
        self._discovering.feed(Members(tuple([one.key for one in members]), tuple(dead)))
        self._assigning.members_changed()


def _said(change: Change) -> tuple[NodeEffect, ...]:
    """What users hear of a change."""
    match change:
        case MemberJoined(member):
            return (events.MemberUp(member),)
        case MemberUpdated(member):
            return (events.MemberChanged(member),)
        case MemberLeaving(member):
            return (events.MemberLeaving(member),)
        case MemberDown(member):
            return (events.MemberUnreachable(member),)
        case MemberReturned(member):
            return (events.MemberReachable(member),)
        case MemberRemoved(member, reason):
            return (events.MemberGone(member, reason),)
        case RegionAdded(region):
            return (events.RegionAdded(region),)
        case RegionRemoved(region):
            return (events.RegionRemoved(region),)
        case ShardsMoved(region, to, epoch, shards, forced):
            pairs = tuple([(shard, before) for shard, before, _ in shards])
            return (events.OwnersChanged(region, to, epoch, pairs, forced),)
        case NameTaken(name, entry):
            return (events.NameChanged(name, entry.node, entry.path),)
        case NameFreed(name, _):
            return (events.NameChanged(name, None, None),)
        case RegionClosing() | HostsChanged() | MemberRestarted():
            return ()
        case _:
            assert_never(change)
