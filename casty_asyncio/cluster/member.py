"""The driver of a node: feeds the machine what happens, and carries out what it says.

    a lane, the clock, the disk, an application --> feed --> Node --> effects --> lanes, disk, hosting, views

Nothing is decided here. Effects are carried out in their order, and what they lead to comes after them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from casty_proto.cluster import events
from casty_proto.cluster.events import NodeEvent, Received, Send
from casty_proto.cluster.node import Node
from casty_proto.cluster.registry import ListingChanged
from casty_proto.machine import Instant, Note, Persist, Persisted, Rejected, Reply, Wake

from .lanes import Lanes
from .lines import one_line
from .storage import Storage, StorageError

if TYPE_CHECKING:
    from ..runtime import Runtime
    from .hosting import Hosting
    from .views import Views


type OnDisk = Callable[[StorageError], None]


class Request(Protocol):
    """What an event asks for, and who is to be told the answer."""

    def answered(self, result: Any) -> None:
        """The node has answered. Must not raise."""
        ...


class Write(Request, Protocol):
    """A state that a handler has left, and that is to be kept."""

    def durable(self) -> None:
        """It is where it should be."""
        ...

    def not_durable(self, reason: str) -> None:
        """It could not be made sure that it is."""
        ...


class Member:
    """Drives the node of one actor system. `begin` starts it, and `end` lets go of it."""

    def __init__(self, runtime: Runtime, node: Node, lanes: Lanes, storage: Storage | None) -> None:
        self.runtime = runtime
        self.node = node
        self.lanes = lanes
        self.storage = storage
        self.hosting: Hosting
        self.views: Views
        self._clock = runtime.clock
        self._events: deque[NodeEvent] = deque()
        self._busy = False
        self._posts: dict[tuple[str, int], list[events.Entry]] = {}
        """What is to be sent with all else of this turn of the loop, by shard."""
        self._unanswered = 0
        """Without a disk: the last record that is to be reported as written."""
        self._due: Instant | None = None
        self._now: Instant = 0
        self._ended = False
        self._on_disk_failure: OnDisk = _nowhere
        self._carry: dict[type, Callable[[Any], None]] = {}

    def begin(self, hosting: Hosting, views: Views, seeds: tuple[str, ...], on_disk: OnDisk) -> None:
        """Start the node. `on_disk` is told why it cannot go on when its disk fails."""
        self.hosting, self.views = hosting, views
        self._carry = {
            Send: self._send,
            Persist: self._persist,
            Reply: _reply,
            Note: self._note,
            events.OpenShard: hosting.open,
            events.Deliver: hosting.deliver,
            events.CloseShard: hosting.close,
            events.HaltShard: hosting.halt,
            events.ResumeShard: hosting.resume,
            events.DropShard: hosting.drop,
            events.Rest: hosting.rest,
            events.Durable: _durable,
            events.NotDurable: self._not_durable,
            events.StandingChanged: views.standing_changed,
            events.MemberUp: views.member_up,
            events.MemberChanged: views.member_changed,
            events.MemberLeaving: views.member_leaving,
            events.MemberUnreachable: views.member_unreachable,
            events.MemberReachable: views.member_reachable,
            events.MemberGone: views.member_gone,
            events.LeaderChanged: views.leader_changed,
            events.RegionAdded: views.region_added,
            events.RegionRemoved: views.region_removed,
            events.OwnersChanged: views.owners_changed,
            events.AcceptedLost: views.accepted_lost,
            events.NameChanged: views.name_changed,
            ListingChanged: views.listing_changed,
        }
        self._on_disk_failure = on_disk
        if self.storage is not None:
            self.storage.on_written = self._written
            self.storage.on_failed = self._failed
        self.feed(events.Start(seeds))

    def received(self, message: object) -> None:
        """Something has come over a lane. It is lost before the node has begun."""
        if self._carry:
            self.feed(Received(message))

    def lost(self, address: str) -> None:
        """A lane has broken."""
        if self._carry:
            self.feed(events.ConnectionLost(address))

    def post(self, spot: tuple[str, int], entry: events.Entry) -> None:
        """Send a message to a shard, together with all others of this turn of the loop."""
        posts = self._posts
        batch = posts.get(spot)
        if batch is not None:
            batch.append(entry)
            return
        if not posts:
            self.runtime.loop.call_soon(self.flush)
        posts[spot] = [entry]

    def flush(self) -> None:
        """Send the messages that wait for others of this turn."""
        posts, self._posts = self._posts, {}
        self.lanes.will_flush = True
        try:
            for spot, entries in posts.items():
                self._post(spot, entries)
        finally:
            self.lanes.flush()

    def _post(self, spot: tuple[str, int], entries: list[events.Entry]) -> None:
        if not self._ended:
            self.feed(events.Tells(*spot, tuple(entries)))
            return
        for _, request, _ in entries:
            if request is not None:
                request.answered(Rejected("this node belongs to no cluster any more"))

    def feed(self, event: NodeEvent) -> None:
        """Give one event to the node, and carry out what it says. Within an effect, the event comes after it.

        Before the node has begun, it waits for that: clients may be connected by then.
        """
        if self._ended:
            return
        if self._busy or not self._carry:
            self._events.append(event)
            return
        self._busy = True
        waiting = self._events
        try:
            self._apply(event)
            while waiting:
                self._apply(waiting.popleft())
        finally:
            self._busy = False
        self._arm()

    def _apply(self, event: NodeEvent) -> None:
        self._now = now = max(self._now, self._clock.now())
        carry = self._carry
        for effect in self.node.handle(event, now):
            carry[type(effect)](effect)
        if self._unanswered:
            ticket, self._unanswered = self._unanswered, 0
            self._events.append(Persisted(ticket))

    def now(self) -> Instant:
        """The instant, as the node knows it: never earlier than before."""
        return max(self._now, self._clock.now())

    # -- time ----------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        due = self.node.deadline()
        if due == self._due:
            return
        self._due = due
        if due is None:
            self._clock.cancel(self)
        else:
            self._clock.set_at(self, due)

    def on_due(self, now: Instant) -> None:
        """The deadline has come."""
        self._due = None
        # What it leads to goes out now, and does not wake the loop once more.
        self.lanes.will_flush = True
        try:
            self.feed(Wake())
        finally:
            self.lanes.flush()

    # -- the disk ------------------------------------------------------------------------------------------------------

    def _persist(self, effect: Persist) -> None:
        if self.storage is None:
            # Nothing is written, so everything is: one answer speaks for all tickets before it.
            self._unanswered = effect.ticket
        else:
            self.storage.write(effect.ticket, effect.record)

    def _written(self, ticket: int) -> None:
        self.feed(Persisted(ticket))

    def _failed(self, error: StorageError) -> None:
        """What a node has promised rests on its disk. Without it, it must not say another word."""
        self.end()
        self._on_disk_failure(error)

    # -- effects -------------------------------------------------------------------------------------------------------

    def _send(self, effect: Send) -> None:
        self.lanes.send(effect.to, effect.message)

    def _note(self, note: Note) -> None:
        self.runtime.log.log(note.severity, "%s", one_line(note.text))

    def _not_durable(self, effect: events.NotDurable) -> None:
        # Whoever asked may have given up before, and then nobody else hears of it.
        text = f"a write was not acknowledged: {one_line(effect.reason)}"
        self.lanes.transport.complain("this node", "backups", text)
        if effect.request is not None:
            effect.request.not_durable(effect.reason)

    # -- the end -------------------------------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Whether nothing is fed any more."""
        return self._ended

    def end(self) -> None:
        """Feed it nothing any more."""
        self._ended = True
        self._events.clear()
        self._clock.cancel(self)


def _reply(effect: Reply) -> None:
    if effect.request is not None:
        effect.request.answered(effect.result)


def _durable(effect: events.Durable) -> None:
    if effect.request is not None:
        effect.request.durable()


def _nowhere(_: StorageError) -> None:
    """Nobody is told yet."""
