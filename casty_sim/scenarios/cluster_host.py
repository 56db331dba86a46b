"""What runs on a host of the cluster scenario: the node, its driver, an application, and clients.

The address of a node is the name of its host. A host that keeps its disk comes back as the node that it was; one that
does not is a new generation at every start, and so is one whose node has left, or was removed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.cluster import events
from casty_proto.cluster.checks import NodeKey
from casty_proto.cluster.events import NodeEffect, NodeEvent, Received, Send, Standing
from casty_proto.cluster.messages import Envelope
from casty_proto.cluster.node import Node, checkpoint_node, recover_node
from casty_proto.cluster.outcomes import Removal
from casty_proto.cluster.registry import ListingChanged
from casty_proto.machine import MILLISECOND, Instant, Nanoseconds, Note, Persist, Persisted, Reply, Wake

from ..checkers.cluster_copies import ANSWERS
from ..timeline import OWNS
from ..world import Host, Program, Violation
from .cluster_clients import Asks, Client
from .cluster_entities import Application
from .cluster_ops import Answer

if TYPE_CHECKING:
    from .cluster import ClusterWorld

CHECKPOINT_RECORDS = 64
"""A restart that finds more records than this rewrites them."""
AGAIN = 250 * MILLISECOND
"""When a region is registered again that could not be."""
SIZE = 150
"""About how many bytes a message takes."""


class ClusterProgram(Program):
    """One life of a host."""

    def __init__(self, cluster: ClusterWorld) -> None:
        self.cluster = cluster
        self.pausing = False
        """Whether its clients want nothing more."""
        self.ready = False
        """Whether it was a member, and all regions are registered."""
        self.was_member = False
        self.given: dict[tuple[str, int], tuple[int, NodeKey | None]] = {}
        """How this node heard that it has a shard: at which epoch, and who gave it; `None` where it was taken."""
        self.registered: dict[int, tuple[str, str]] = {}
        """Actors that can be discovered: key and path by number."""
        self.conferring: dict[int, Instant] = {}
        """Since when this node is asked to know all that is known, by the number of the question."""
        self.numbers = 0
        self._todo: deque[Callable[[], None]] = deque()
        self._busy = False
        self._unanswered = 0
        """The last write of a host without a disk that was not answered yet."""

    # -- the host's side -----------------------------------------------------------------------------------------------

    def start(self, host: Host, records: list[Any]) -> None:
        self.host = host
        self.name = host.name
        cluster = self.cluster
        self.keeps = cluster.keeps_disk(host.name)
        recovered = recover_node(records) if self.keeps else None
        if recovered is None:
            host.disk.wipe()
            info = cluster.roles.info(host.name, cluster.next_generation(host.name))
        else:
            info = cluster.roles.info(host.name, recovered.node.generation)
            cluster.world.reach("a node came back with its disk")
            if len(records) > CHECKPOINT_RECORDS:
                host.disk.compact(list(checkpoint_node(recovered)))
        rng = host.world.tape.random(f"node/{host.name}")
        self.node: Node = cluster.machine(info, rng, cluster.options, recovered)
        # Asked after every event, so without a call in between.
        self.deadline = self.node.deadline  # type: ignore[method-assign]
        self.app = Application(self)
        self.asks = Asks(self)
        self.clients = [Client(self, number, cluster.think_ns) for number in range(cluster.clients_at(host))]
        cluster.started(self)
        self.feed(events.Start(cluster.seeds_for(host)))

    def receive(self, peer: Host, message: Any) -> None:
        if type(message) is Answer:
            self.asks.answered(message)
            self._go_on()
        else:
            assert type(message) is Envelope
            self.feed(Received(message))

    def persisted(self, ticket: int) -> None:
        self.feed(Persisted(ticket))

    def wake(self) -> None:
        self.feed(Wake())
        deadline, now = self.node.deadline(), self.host.now()
        if deadline is not None and deadline <= now:
            raise Violation(
                "deadlines", f"{self.node.key} was woken and wants to be woken in the past: {deadline} <= {now}"
            )

    def deadline(self) -> Instant | None:
        return self.node.deadline()

    def invariants(self) -> None:
        self.node.invariants()

    def fingerprint(self) -> Any:
        node = self.node
        return (node.key, node.standing.value, node.term, node.leader, node.state.version, len(self.app.shards))

    def kind_of(self, message: Any) -> str:
        return type(message.body if isinstance(message, Envelope) else message).__name__

    def label(self) -> str:
        return "leader" if self.node.is_leader else self.node.standing.value

    # -- the driver ----------------------------------------------------------------------------------------------------

    def feed(self, event: NodeEvent) -> None:
        """One event to the node, and all of its effects; then whatever they have led to here."""
        for effect in self.node.handle(event, self.host.now()):
            if type(effect) is Send:
                if type(effect.message.body) in ANSWERS:
                    self.cluster.copies.says(self.host, self.node.key, effect.message.body)
                self.host.send(effect.to, effect.message, SIZE)
            else:
                self._carry_out(effect)
        self._go_on()

    def soon(self, what: Callable[[], None]) -> None:
        """Do something as soon as all effects of the present event are carried out."""
        self._todo.append(what)

    def later(self, delay_ns: Nanoseconds, what: Callable[[], None]) -> None:
        """Do something on this host after a while, unless it has crashed by then."""

        def act() -> None:
            what()
            self._go_on()

        self.host.local(delay_ns, act)

    def answer(self, to: str, answer: Answer) -> None:
        """Send the answer to an ask."""
        if to == self.name:
            self.soon(lambda: self.asks.answered(answer))
        else:
            self.host.send(to, answer, SIZE)

    def _go_on(self) -> None:
        if self._busy:
            return
        self._busy = True
        while self._todo:
            self._todo.popleft()()
        self._busy = False

    def _carry_out(self, effect: NodeEffect) -> None:
        cluster, app = self.cluster, self.app
        if cluster.world.trace.keeps and type(effect) not in (Persist, Reply):
            self._keep(effect)
        match effect:
            case Persist(ticket, record):
                self._persist(ticket, record)
            case Reply(request, result):
                self._on_reply(request, result)
            case events.OpenShard():
                cluster.opens(self, effect)
                app.open(effect)
            case events.ResumeShard():
                cluster.owners.resumes(self.host, effect)
                app.resume(effect)
            case events.Deliver():
                app.deliver(effect)
            case events.CloseShard():
                app.close(effect)
            case events.HaltShard():
                cluster.owners.halts(self.host, effect)
                app.halt(effect)
            case events.DropShard():
                cluster.owners.drops(self.host, effect)
                app.drop(effect)
            case events.Rest():
                app.rest(effect)
            case events.Durable(request):
                app.saved(request, durable=True)
            case events.NotDurable(request, _):
                app.saved(request, durable=False)
            case Send():
                raise AssertionError("it was sent")
            case Note() | ListingChanged() | events.RegionAdded() | events.RegionRemoved():
                pass
            case _:
                self._on_said(effect)

    def _keep(self, effect: NodeEffect) -> None:
        """An effect for people: a line, and what is owned where."""
        world = self.cluster.world
        timeline = world.trace.timeline
        if timeline is not None and isinstance(effect, Note):
            timeline.log(world.now, self.name, effect.severity.name.lower(), effect.text)
            return
        world.trace.note(world.now, self.name, "effect", f"{self.node.key}: {effect}", finer=type(effect).__name__)
        if timeline is None:
            return
        match effect:
            case events.OpenShard() | events.ResumeShard():
                name = f"{effect.region}/{effect.shard}"
                timeline.begin(world.now, self.name, OWNS, name, f"{name} at epoch {effect.epoch}")
            case events.LeaderChanged():
                timeline.role(world.now, self.name, self.label(), f"term {self.node.term}")
            case events.HaltShard() | events.DropShard():
                timeline.end(world.now, self.name, OWNS, f"{effect.region}/{effect.shard}")
            case _:
                return

    def _on_reply(self, request: Any, result: Any) -> None:
        if type(request) is int:
            self.app.refused(request, result)
        elif request is not None:
            request(result)

    def _on_said(self, effect: Any) -> None:
        """What is for users to know."""
        cluster = self.cluster
        match effect:
            case events.StandingChanged():
                self._standing_changed(effect)
            case events.OwnersChanged():
                self._owners_changed(effect)
            case events.AcceptedLost():
                self.asks.accepted_lost(effect)
            case events.LeaderChanged():
                cluster.views.leader(self.host, effect)
                if effect.leader == self.node.key:
                    self.host.moment()
            case _:
                cluster.views.told(self.host, effect)
                if isinstance(effect, events.MemberChanged):
                    cluster.world.reach("a member said something else of itself")
                elif isinstance(effect, events.MemberUnreachable):
                    cluster.losses.doubted(effect)
                elif isinstance(effect, events.MemberGone) and effect.reason is Removal.LEFT:
                    cluster.left[effect.member.key] = None

    def _persist(self, ticket: int, record: Any) -> None:
        if self.keeps:
            self.host.persist(ticket, record)
            self.host.moment()
            return
        # Nothing is written, so everything is: one answer speaks for all tickets before it.
        if not self._unanswered:
            self.host.local(0, self._answer_writes)
        self._unanswered = ticket

    def _answer_writes(self) -> None:
        ticket, self._unanswered = self._unanswered, 0
        self.feed(Persisted(ticket))

    def _standing_changed(self, effect: events.StandingChanged) -> None:
        self.cluster.standing_changed(self, effect)
        if effect.standing is Standing.MEMBER and not self.was_member:
            self.was_member = True
            self.host.moment()
            self.soon(self.register_regions)
            for client in self.clients:
                client.begin()

    def _owners_changed(self, effect: events.OwnersChanged) -> None:
        self.cluster.owners_changed(self, effect)
        self.asks.owners_changed(effect)

    # -- regions -------------------------------------------------------------------------------------------------------

    def register_regions(self) -> None:
        """Say which regions there are, one after the other, until all are known."""
        self._register(list(self.cluster.regions.items()))

    def _register(self, left: list[tuple[str, Any]]) -> None:
        if not left:
            self.ready = True
            return
        name, (kind, settings) = left[0]

        def answered(result: Any) -> None:
            if type(result) is events.Done:
                self.soon(lambda: self._register(left[1:]))
            else:
                self.later(AGAIN, lambda: self._register(left))

        self.feed(events.AddRegion(answered, name, kind, settings))
