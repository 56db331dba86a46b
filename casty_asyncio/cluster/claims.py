"""Cluster-wide names: which actor has one, and how an actor of this node gets it and gives it up.

All nodes agree on who has a name (`casty_proto/cluster/__init__.py`, rules 13 and 14), so each of them answers from
what it knows. A node that lags behind, and an outside client, ask all nodes, and the one that has the actor answers.

A node that is held to be dead loses the names of its actors. When it lives, it finds out, and claims them again as soon
as the others hold it to be there; what somebody else has by then is lost for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field

from casty_proto.actor import Cell, Phase
from casty_proto.address import actor_name_problem, is_reserved
from casty_proto.cluster import events as said
from casty_proto.cluster.checks import split_key
from casty_proto.cluster.outcomes import Taken
from casty_proto.cluster.records import NameEntry, Status

from ..context import _cell
from ..errors import ClusterError, ClusterTimeoutError, InvalidNameError, NameTakenError
from ..refs import ActorRef, LocalRef
from .discovery import instance_of

if TYPE_CHECKING:
    from ..remote.remoting import Remoting
    from .member import Member
    from .regions import Regions
    from .views import Views

NAMES = "_names"
"""Others look up `/_names/ledger` for the actor of this node that has the name `ledger`."""
_AGAIN_SECONDS = 0.1
_AGAIN_MAX_SECONDS = 1.0
"""The pause between attempts grows up to this: each of them may be an entry of the log of all nodes."""


@define(eq=False)
class _Claim:
    """An actor of this node that has a name, or wants it."""

    number: int
    path: str
    """Where it is, and in which life of the node."""
    cell: Cell
    calls: int = 0
    """How many calls wait for it."""
    may_be_held: bool = False
    """Whether the cluster was asked for it, and has not said that somebody else has it."""
    is_held: bool = False
    again: asyncio.Task[None] | None = None
    """Claims the name again, after it was lost without the will of the actor."""
    at_end: Callable[[], None] = field(init=False)


class Claims:
    """The cluster-wide names as one node knows them, and those of its own actors."""

    def __init__(self, remoting: Remoting, member: Member, regions: Regions, views: Views) -> None:
        self._remoting = remoting
        self._runtime = remoting.runtime
        self._member = member
        self._regions = regions
        self._views = views
        self._claims: dict[str, dict[int, _Claim]] = {}
        """Those of actors here, by the name and the number of the actor."""
        views.renamed = self.changed

    # -- who has a name ------------------------------------------------------------------------------------------------

    def known(self, name: str) -> ActorRef[Any] | None:
        """Whose name it is, as far as this node knows; `None` for nobody's."""
        node = self._member.node
        entry = node.state.name(name)
        if entry is None:
            return None
        if entry.node == node.key:
            return self._own(entry)
        member = node.state.member(entry.node)
        if member is None:
            return None
        found = instance_of(self._remoting, entry.node, member.node.address, entry.number, entry.path)
        return None if found is None else found.ref

    def own(self, name: str) -> LocalRef[Any] | None:
        """The actor of this node that has the name."""
        entry = self._member.node.state.name(name)
        return None if entry is None or entry.node != self._member.node.key else self._own(entry)

    def _own(self, entry: NameEntry) -> LocalRef[Any] | None:
        found = self._remoting.exports.find(entry.number)
        return found if isinstance(found, LocalRef) else None

    # -- getting one ---------------------------------------------------------------------------------------------------

    async def claim(self, name: str, ref: ActorRef[Any], timeout: float) -> None:
        """Get a name for an actor of this node; see `DistributedSystem.claim_name`."""
        _check_name(name)
        _cell(ref, self._runtime)  # Raises for what is no actor of this node.
        assert isinstance(ref, LocalRef)
        claim = self._begun(name, ref)
        claim.calls += 1
        try:
            async with asyncio.timeout(timeout):
                await self._claim(name, claim)
            claim.is_held = True
        except TimeoutError as error:
            raise ClusterTimeoutError(
                f"the name {name!r} could not be claimed within {timeout:g} s: the cluster has no leader that this "
                "node can reach, or the node is no member yet"
            ) from error
        finally:
            claim.calls -= 1
            if not claim.is_held and not claim.calls:
                self._give_up(name, claim)

    def _begun(self, name: str, ref: LocalRef[Any]) -> _Claim:
        number = self._remoting.exports.number_of(ref)
        claims = self._claims.setdefault(name, {})
        claim = claims.get(number)
        if claim is None:
            cell = ref._cell
            claim = claims[number] = _Claim(number, f"{self._remoting.own.generation}{ref.path}", cell)
            claim.at_end = partial(self._give_up, name, claim)
            if cell.phase != Phase.STOPPED:
                cell.body.call_at_end(claim.at_end)
        return claim

    async def _claim(self, name: str, claim: _Claim) -> None:
        views, node, number, cell = self._views, self._member.node, claim.number, claim.cell
        pause = _AGAIN_SECONDS
        await views.until(views.joined.is_set)
        while not views.gone.is_set():
            if cell.phase >= Phase.STOPPING:
                raise ClusterError(f"the name {name!r} was not claimed: {cell.path} has stopped, or is stopping")
            if node.state.region(name) is not None:
                raise NameTakenError(f"{name!r} is the name of a sharded type or singleton of the cluster")
            claim.may_be_held = True
            result = await self._regions.request(lambda request: said.ClaimName(request, name, number, claim.path))
            if type(result) is said.Done and self._is_own(name, number):
                return
            if type(result) is Taken:
                claim.may_be_held = False
                raise NameTakenError(f"the name {name!r} is that of {_who(result.winner)}")
            # It may have happened, or could not yet.
            await asyncio.sleep(pause)
            pause = min(2 * pause, _AGAIN_MAX_SECONDS)
        raise ClusterError(f"the name {name!r} was not claimed: this node belongs to no cluster any more")

    def _is_own(self, name: str, number: int) -> bool:
        entry, node = self._member.node.state.name(name), self._member.node
        return entry is not None and (entry.node, entry.number) == (node.key, number)

    def _give_up(self, name: str, claim: _Claim) -> None:
        """The actor has ended, or nobody waits for the name any more."""
        if self._forget(name, claim) and claim.may_be_held:
            self._member.feed(said.ReleaseName(None, name, claim.number))

    def _forget(self, name: str, claim: _Claim) -> bool:
        claims = self._claims.get(name, {})
        if claims.pop(claim.number, None) is None:
            return False
        if not claims:
            del self._claims[name]
        if claim.cell.phase != Phase.STOPPED:
            claim.cell.body.forget_at_end(claim.at_end)
        if claim.again is not None:
            claim.again.cancel()
        return True

    # -- having lost it ------------------------------------------------------------------------------------------------

    def changed(self, name: str) -> None:
        """Whose name it is has changed, perhaps without the will of whoever had it."""
        for claim in list(self._claims.get(name, {}).values()):
            if not claim.is_held or self._is_own(name, claim.number):
                continue
            claim.is_held = False
            self._runtime.log.warning(
                "%s has lost the cluster-wide name %r: its node was held to be dead; it is claimed again when the node "
                "is held to be there",
                claim.cell.path,
                name,
            )
            if claim.again is None:
                work = self._claim_again(name, claim)
                claim.again = self._runtime.tracker.start(work, f"casty-claim {name}")

    async def _claim_again(self, name: str, claim: _Claim) -> None:
        log, path = self._runtime.log, claim.cell.path
        try:
            await self._views.until(self._is_there)
            await self._claim(name, claim)
            claim.is_held = True
            log.info("%s has the cluster-wide name %r again", path, name)
        except NameTakenError as error:
            log.error(
                "%s goes on without the cluster-wide name %r, which it has lost while its node was held to be dead: "
                "%s; stop the one that is not wanted, or claim another name",
                path,
                name,
                error,
            )
        except ClusterError as error:
            log.debug("%s", error)  # It has stopped, or its node is no member any more.
        finally:
            claim.again = None
            if not claim.is_held and not claim.calls:
                self._give_up(name, claim)

    def _is_there(self) -> bool:
        """Whether all others hold this node to be there, as far as it knows: no other one may have a name."""
        node = self._member.node
        member = node.state.member(node.key)
        return member is not None and member.status is not Status.DOWN

    # -- giving it up --------------------------------------------------------------------------------------------------

    async def release(self, name: str, timeout: float) -> None:
        """Give up the name of an actor of this node; see `DistributedSystem.release_name`."""
        _check_name(name)
        node = self._member.node
        for claim in list(self._claims.get(name, {}).values()):
            if claim.again is not None and not claim.calls:
                self._give_up(name, claim)
        try:
            async with asyncio.timeout(timeout):
                while (entry := node.state.name(name)) is not None and entry.node == node.key:
                    self._let_go(name, entry)
                    number = entry.number
                    result = await self._regions.request(
                        lambda request, number=number: said.ReleaseName(request, name, number)  # type: ignore[misc]
                    )
                    if type(result) is said.Done:
                        return
                    if self._views.gone.is_set():
                        return  # All its names are free with that.
                    await asyncio.sleep(_AGAIN_SECONDS)
        except TimeoutError as error:
            raise ClusterTimeoutError(f"the name {name!r} could not be released within {timeout:g} s") from error

    def _let_go(self, name: str, entry: NameEntry) -> None:
        claim = self._claims.get(name, {}).get(entry.number)
        if claim is not None:
            claim.is_held = False
            if not claim.calls:
                self._forget(name, claim)


def path_of(entry: NameEntry) -> str:
    """The path of the actor that has a name."""
    return entry.path[entry.path.find("/") :]


def _who(entry: NameEntry) -> str:
    return f"{path_of(entry)} of {split_key(entry.node)[0]}"


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise InvalidNameError(f"a cluster-wide name must be a text, not {name!r}")
    if (problem := actor_name_problem(name)) is not None:
        raise InvalidNameError(problem)
    if is_reserved(name):
        raise InvalidNameError(f"names that begin with '_' belong to the system; rename {name!r}")
