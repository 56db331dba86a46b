"""How an outside client follows the cluster: through one node at a time, and through another when that is lost.

Rules
-----
 1. The node that is followed is asked again and again what is new. One that is lost, that says it belongs to no
    cluster, that knows of no leader for long, or that says nothing for longer than it holds a question, is left for
    another member to which there is a link already.
 2. Where there is none, all contact points and all members that are known are tried at the same time, each again and
    again. The first that answers is followed.
 3. A picture that is older than the last one does not count: a node may lag behind, and news is not unlearned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from casty_proto.address import AddressError, NodeAddress

from ..errors import AskError, UnreachableError
from ..remote.asking import ask_remote
from ..transport.connection import ConnectionRefused
from .client_links import SUSPECT_SECONDS, Link, Links, NoClusterError
from .client_view import Copy, View
from .client_wire import HOLD_SECONDS, Changes, Outside, Watch

if TYPE_CHECKING:
    from ..remote.refs import RemoteRef
    from ..runtime import Runtime

PATIENCE_SECONDS = 2.5
"""How much longer than it may hold a question a node has to answer it."""
LEADERLESS_SECONDS = 5.0
"""A node that has known of no leader for so long may be cut off from the others, and the last to learn anything."""
AGAIN_MIN, AGAIN_MAX = 0.1, 2.0
"""How long, in seconds, it takes until an address is tried again."""


class Feed:
    """Follows the cluster.

    `on_view` is given every picture. `on_connection` is called with `None` when there is a node to follow, and with
    the reason when there is none any more; `on_problem` when something was tried in vain.
    """

    def __init__(
        self,
        runtime: Runtime,
        links: Links,
        contacts: tuple[NodeAddress, ...],
        on_view: Callable[[View], None],
        on_connection: Callable[[str | None], None],
        on_problem: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._links = links
        self._contacts = contacts
        self._on_view = on_view
        self._on_connection = on_connection
        self._on_problem = on_problem
        self._view: View | None = None
        self._linked = asyncio.Event()
        """Set when there is another link."""
        self.link: Link | None = None
        """The node that is followed."""
        self.problems: dict[str, str] = {str(address): "it has not answered yet" for address in contacts}
        """Why the contact points, and what else was tried, cannot be used."""
        self._hopeless: dict[str, None] = {}
        """Those that will not be of use later either."""

    @property
    def is_hopeless(self) -> bool:
        """Whether no contact point is one of a cluster that takes this client."""
        return all(str(address) in self._hopeless for address in self._contacts)

    def link_changed(self) -> None:
        """A link is there, or is lost."""
        self._linked.set()

    async def run(self) -> None:
        """Follow, until cancelled."""
        while True:
            link = self._links.best()
            first: Changes | None = None
            if link is None or link.suspect_until > self._runtime.loop.time():
                link, first = await self._found()
            await self._follow(link, first)

    # -- following -----------------------------------------------------------------------------------------------------

    async def _follow(self, link: Link, news: Changes | None) -> None:
        """Take what a node tells, for as long as it does (rule 1)."""
        copy = Copy()
        reason = "it is closing"
        loop = self._runtime.loop
        led_at, seen = loop.time(), 0
        try:
            while link.is_up:
                if news is None:
                    assert link.gateway is not None
                    answer = await self._asked(link.gateway, seen)
                    if isinstance(answer, Outside):
                        reason = answer.reason
                        link.is_closing = answer.has_ended
                        break
                    news = answer
                view = copy.apply(news)
                self._take(view, link)
                seen, news = news.number, None
                if view.topology.leader is not None:
                    led_at = loop.time()
                elif loop.time() > led_at + LEADERLESS_SECONDS and self._links.has_other(link):
                    reason = "it has known of no leader for a while"
                    break
        except AskError as error:
            reason = str(error)
        except (ValueError, TypeError) as error:
            reason = f"what it tells makes no sense: {error}"
        link.suspect_until = loop.time() + SUSPECT_SECONDS
        if self.link is link:
            self.link = None
            self._runtime.log.info("%s is not followed any more: %s", link.node_id, reason)
            self._on_connection(f"{link.node_id}: {reason}")

    def _take(self, view: View, link: Link) -> None:
        if view.is_newer_than(self._view):
            self._view = view
            self._on_view(view)
        if self.link is None:
            self.link = link
            link.suspect_until = 0.0
            self._runtime.log.info("the cluster is followed through %s", link.node_id)
            self._on_connection(None)

    async def _asked(self, gateway: RemoteRef[Any], seen: int) -> Changes | Outside:
        answer: object = await ask_remote(
            self._runtime, gateway, None, lambda reply_to: Watch(seen, reply_to), HOLD_SECONDS + PATIENCE_SECONDS
        )
        if not isinstance(answer, Changes | Outside):
            raise TypeError(f"{type(answer).__name__} is no answer")
        return answer

    # -- finding -------------------------------------------------------------------------------------------------------

    async def _found(self) -> tuple[Link, Changes | None]:
        """A node to follow (rule 2)."""
        addresses = dict.fromkeys(self._contacts)
        for text in self._links.addresses():
            with suppress(AddressError):
                addresses[NodeAddress.parse(text)] = None
        self._linked.clear()
        loop = self._runtime.loop
        tries = [loop.create_task(self._try(each), name=f"casty-contact {each}") for each in addresses]
        waiting = [*tries, loop.create_task(self._another_link(), name="casty-contact a link")]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            for task in waiting:
                if not task.cancelled():
                    task.exception()

    async def _another_link(self) -> tuple[Link, Changes | None]:
        while True:
            await self._linked.wait()
            self._linked.clear()
            link = self._links.best()
            if link is not None and link.suspect_until <= self._runtime.loop.time():
                return link, None

    async def _try(self, address: NodeAddress) -> tuple[Link, Changes]:
        """Try one address, again and again."""
        where = str(address)
        pause = AGAIN_MIN
        while True:
            is_hopeless = False
            try:
                gateway = await self._links.find(address)
                answer = await self._asked(gateway, 0)
                if isinstance(answer, Changes):
                    self.problems.pop(where, None)
                    return self._links.adopt(gateway), answer
                problem = f"{where}: {answer.reason}"
            except NoClusterError as error:
                problem, is_hopeless = str(error), True
            except UnreachableError as error:
                problem, is_hopeless = _told(error), _is_refused(error)
            except (AskError, TypeError) as error:
                problem = f"{where}: {error}"
            self.problems[where] = problem
            if is_hopeless:
                self._hopeless[where] = None
            else:
                self._hopeless.pop(where, None)
            self._on_problem()
            await asyncio.sleep(pause * (0.75 + 0.5 * self._runtime.rng.random()))
            pause = min(2 * pause, AGAIN_MAX)


def _told(error: UnreachableError) -> str:
    """What a failed lookup says, without the path that nobody has asked for."""
    return str(error.__cause__ or error)


def _is_refused(error: UnreachableError) -> bool:
    """Whether a handshake was refused: for a wrong name, version, secret or certificate."""
    cause = error.__cause__
    return cause is not None and isinstance(cause.__cause__, ConnectionRefused)
