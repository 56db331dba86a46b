"""A node of a cluster: everything that it must decide, in one machine.

Theory of operation
-------------------
A node is made of parts, each with a subject of its own, on a common core (`core.py`):

    forming.py     how it finds or founds a cluster            watching.py    SWIM: who is alive
    consensus.py   Raft, and the control state that it applies orders.py      how a command gets to the leader
    plans.py       who should own what                         registry.py    which actors can be discovered
    routing.py     messages to the owners of shards            owning.py      its own shards: lease, states, messages
    governing.py   the leader: members and voters              assigning.py   the leader: leases and owners
    direct.py      what can be asked of it at any time         early.py       what it is told before it can count
    disk.py        what it has written down, and recovers

This file gives each event to the part that it is for, and tells the parts of what others have found. A message for a
shard goes this way:

    Tell --routing--> Post --> the owner: owning --> Deliver --> a handler --> Handled --> Replica --> Durable

and a change of owners this one:

    SWIM --> governing: MarkDown --> Raft --> every node applies it: plans --> the leader: assigning: Assign --> Raft
        --> every node applies it: routing leads to the new owner; there: owning opens the shard

A node begins outside of a cluster (SEEKING), becomes a MEMBER, and ends as DEPARTED or EXPELLED. Before it is a member,
it answers nothing but what forming.py is about.

Rules
-----
 1. Whatever happens, a lease that is over ends first; then the event is looked at.
 2. Only envelopes of the own cluster count, and only of members, but for those by which nodes become members, or learn
    who is one.
 3. Who was removed and does not know it is told. Who learns that it was removed, by another one that was removed too
    if need be, stops, and says so.
 4. What is applied is said to the parts in this order: owners first, then what was applied; so that no lease is used
    before it is known what it is for (shard/leases.py, rule 2).
 5. A process that starts again on its disk marks its beginning in the log before it owns or sends anything, and before
    it registers anything: what was registered before that is dropped.
 6. Who leaves goes when nothing is left here that others might want, or after `leave_ns`.
 7. Messages for shards, their answers, and the states that handlers leave are most of what a node hears, and change
    nothing but channels and copies. They go straight to `Routing` and `Owning`: the other parts are not asked whether
    anything has changed for them. This holds only for a member whose lease, if it has one, lasts; and it leads to the
    same effects as the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, assert_never

from ..machine import Instant, Persist, Persisted, Rejected, Reply, Severity, Wake, shown
from ..raft import Received as RaftReceived
from ..raft import Recovered, Unreachable
from . import core as keys
from . import events
from .applying import Discovering
from .checks import NodeKey
from .core import SEEK, Core, is_due
from .direct import Direct
from .disk import Membership, NodeRecovered, checkpoint_node, founding_records, recover_node
from .doors import Door, door_of, is_envelope
from .early import Early
from .events import NodeEffect, NodeEvent, Received, Standing, Tell
from .forming import Admitted, Forming, Found, TurnedAway, Verdict
from .inside import Inside
from .messages import Belongs, Envelope, Expelled, Routed, Seek
from .options import NodeOptions
from .owning import Owning
from .plans import Plans
from .records import NodeInfo
from .registry import Deregister, Register, Registry, RegistryReceived
from .routing import Routing
from .watching import Watching

__all__ = ["Node", "NodeRecovered", "checkpoint_node", "recover_node"]


class Node(Direct):
    """One node: the way of an event. What it can be asked at any time stands in `Direct`.

    `info` is what it says of itself. `rng` is its own; its parts get sources that are drawn from it. Without `options`
    the defaults hold. `recovered` is what is on its disk, and then `info` must have that id and generation.
    Raises `ValueError` where `info` is another node than the one on the disk.
    """

    __slots__ = (
        "_deadline",
        "_deadlines",
        "_early",
        "_forming",
        "_life",
        "_plans",
        "_recovered",
        "_rng",
        "_routing",
        "_strangers",
        "_watching",
    )

    def __init__(
        self,
        info: NodeInfo,
        rng: Random,
        options: NodeOptions | None = None,
        recovered: NodeRecovered | None = None,
    ) -> None:
        if recovered is not None and recovered.node.key != info.key:
            raise ValueError(
                f"the disk is that of {recovered.node.key}, and this is {info.key}; take another directory"
            )
        options = options or NodeOptions()
        self._core = core = Core(info, options)
        self._rng = rng
        self._recovered = recovered
        self._life = rng.getrandbits(62)
        """Tells this process from others that have the same key."""
        self._strangers: dict[str, None] = {}
        """Other clusters that were heard of."""
        self._early = Early(core)
        self._plans = Plans(core)
        self._owning = Owning(core, self._plans, Random(rng.getrandbits(64)))
        self._routing = Routing(core)
        self._watching = Watching(core, Random(rng.getrandbits(64)))
        self._discovering = Discovering(core, Registry(core.key, Random(rng.getrandbits(64)), options.registry))
        self._forming = Forming(core)
        self._in = None
        self._deadlines = self._queries()
        self._deadline: Instant | None = None

    # -- the contract --------------------------------------------------------------------------------------------------

    def handle(self, event: NodeEvent, now: Instant) -> tuple[NodeEffect, ...]:
        """Apply one event; see `casty_proto.machine`."""
        core = self._core
        core.now = now
        if self._goes_straight(event):
            out, core.out = tuple(core.out), []
            return out
        self._owning.expire()
        self._on_event(event)
        self._settle()
        if self._early.waiting and self._early.looked_at != core.state.changed:
            self._hear_early()
            self._settle()
        self._deadline = self._earliest()
        # What is due led to more that is due, and a driver that was just woken is not to be told so at once.
        while type(event) is Wake and self._deadline is not None and self._deadline <= now:
            self._on_wake()
            self._settle()
            self._deadline = self._earliest()
        out, core.out = tuple(core.out), []
        return out

    def _goes_straight(self, event: NodeEvent) -> bool:
        """Rule 7: do what a message for a shard, its answer, or a state asks for, if that can concern nothing else.

        False, and nothing was done, where more may have to be looked at.
        """
        core = self._core
        if core.standing is not Standing.MEMBER or core.failure or self._owning.is_over(core.now):
            return False
        if type(event) is events.Tells:
            self._routing.on_tells(event)
        elif type(event) is Tell:
            self._routing.on_tell(event)
        elif type(event) is events.Handled:
            self._owning.on_handled(event)
        elif type(event) is Received:
            message = event.message
            if type(message) is not Envelope or type(message.body) is not Routed or not self._is_of_member(message):
                return False
            body: Any = message.body
            door = door_of(body)
            if door is Door.TO_OWNER:
                self._owning.on_routed(message.sender, body.region, body.shard, body.body)
            elif door is Door.TO_SENDER:
                self._routing.on_routed(message.sender, body.region, body.shard, body.body)
            else:
                return False
        else:
            return False
        if core.mail:
            self._settle()
        # No other deadline can have become earlier. One that is met too early does no harm.
        is_state = type(event) is events.Handled
        deadline = self._owning.keeping_deadline() if is_state else self._routing.deadline()
        if deadline is not None and (self._deadline is None or deadline < self._deadline):
            self._deadline = deadline
        return True

    def _is_of_member(self, message: Envelope) -> bool:
        """Whether it is for this node, in this cluster, from another member that is where it is known to be."""
        core, sender = self._core, message.sender
        if message.to not in (None, core.key) or message.cluster != core.cluster or type(sender) is not str:
            return False
        member = core.state.member(sender)
        return member is not None and sender != core.key and member.node.address == message.address

    def _settle(self) -> None:
        """Hear what this node says to itself, and see what has become of it, until neither leads to anything more."""
        core, inside = self._core, self._in
        while True:
            while core.mail:
                sender, body = core.mail.popleft()
                door = door_of(body)
                assert door is not None, f"{core.key} says {shown(body)} to itself"
                self._on_body(sender, core.info.address, door, body)
            if inside is None:
                return
            inside.look_around()
            if not core.mail:
                return

    def deadline(self) -> Instant | None:
        """When the node wants `Wake`."""
        return self._deadline

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        core = self._core
        core.deadlines.invariants()
        assert not core.mail, "something was left unsaid"
        assert not core.out, "something was left undone"
        self._owning.invariants()
        self._routing.invariants()
        self._discovering.registry.invariants()
        self._watching.invariants()
        if self._in is not None:
            self._in.consensus.raft.invariants()
            self._in.assigning.invariants()
            core.state.invariants()

    # -- events --------------------------------------------------------------------------------------------------------

    def _on_event(self, event: NodeEvent) -> None:
        match event:
            case Received(message):
                self._on_received(message)
            case Wake():
                self._on_wake()
            case Tell():
                self._routing.on_tell(event)
            case events.Tells():
                self._routing.on_tells(event)
            case events.Handled():
                self._owning.on_handled(event)
            case events.Touched():
                self._owning.on_touched(event)
            case events.Rested():
                self._owning.on_rested(event)
            case events.Closed():
                self._owning.on_closed(event)
            case Persisted(ticket):
                if self._in is not None and not self._has_ended:
                    self._in.consensus.persisted(ticket)
            case events.Start(seeds):
                self._on_start(seeds)
            case events.Depart(request):
                self._on_depart(request)
            case events.ConnectionLost(address):
                self._on_connection_lost(address)
            case Register() | Deregister():
                if not self._has_ended:
                    self._discovering.feed(event)
            case (
                events.AddRegion()
                | events.RemoveRegion()
                | events.ClaimName()
                | events.ReleaseName()
                | events.ForgetNode()
                | events.Confer()
            ):
                self._on_request(event)
            case _:
                assert_never(event)

    @property
    def _has_ended(self) -> bool:
        return self._core.standing in (Standing.DEPARTED, Standing.EXPELLED)

    def _on_request(self, event: _Request) -> None:
        inside = self._in
        if inside is None or self._has_ended:
            reason = f"{self.key} belongs to no cluster {'any more' if self._has_ended else 'yet'}"
            self._core.out.append(Reply(event.request, Rejected(reason)))
            return
        match event:
            case events.AddRegion():
                inside.on_add_region(event)
            case events.RemoveRegion():
                inside.on_remove_region(event)
            case events.ClaimName():
                inside.on_claim_name(event)
            case events.ReleaseName():
                inside.on_release_name(event)
            case events.ForgetNode():
                inside.on_forget(event)
            case events.Confer():
                inside.on_confer(event)
            case _:
                assert_never(event)

    def _on_depart(self, request: Any) -> None:
        core = self._core
        core.out.append(Reply(request, None))
        if self._has_ended:
            return
        if self._in is not None:
            self._in.depart()
            return
        core.deadlines.clear()
        core.stand(Standing.DEPARTED)

    def _on_connection_lost(self, address: str) -> None:
        if self._in is None or self._has_ended:
            return
        self._watching.lost(address)
        for member in self._core.state.members():
            if member.node.address == address and member.key != self.key:
                self._in.consensus.feed(Unreachable(member.key))

    # -- becoming a member ---------------------------------------------------------------------------------------------

    def _on_start(self, seeds: tuple[str, ...]) -> None:
        core, recovered = self._core, self._recovered
        if self._in is not None or self._forming.has_begun or self._has_ended:
            core.note(Severity.ERROR, f"{core.key} was started before, and goes on as it is")
            return
        if recovered is None:
            self._act_on(self._forming.begin(seeds))
            return
        core.cluster = recovered.cluster
        if recovered.node != core.info:
            core.out.append(Persist(1, Membership(core.cluster, core.info)))
        if core.cluster == core.key and not recovered.raft.base.configuration.voters:
            # It was about to found the cluster, and has not written that down to the end.
            self._found()
            return
        contacts = [one for one in (*seeds, *recovered.contacts) if one != core.info.address]
        self._enter(recovered.raft, tuple(dict.fromkeys(contacts))).come_back()

    def _act_on(self, verdict: Verdict | None) -> None:
        core = self._core
        match verdict:
            case None:
                pass
            case Found():
                self._found()
            case Admitted(cluster, contacts):
                core.cluster = cluster
                core.out.append(Persist(1, Membership(cluster, core.info)))
                self._enter(Recovered(), contacts).join()
            case TurnedAway(reason):
                core.deadlines.clear()
                core.stand(Standing.EXPELLED, reason)
            case _:
                assert_never(verdict)

    def _found(self) -> None:
        core = self._core
        core.cluster = core.key
        recovered, writes = founding_records(core)
        core.out.extend(writes)
        self._enter(recovered, ()).found()

    def _enter(self, recovered: Recovered, contacts: tuple[str, ...]) -> Inside:
        core = self._core
        core.deadlines.cancel(SEEK)
        self._in = inside = Inside(
            core,
            Random(self._rng.getrandbits(64)),
            recovered,
            self._plans,
            self._owning,
            self._routing,
            self._watching,
            self._discovering,
            self._life,
        )
        self._deadlines = self._queries()
        self._watching.begin(contacts)
        return inside

    # -- messages ------------------------------------------------------------------------------------------------------

    def _on_received(self, message: object) -> None:
        """Rules 2 and 3."""
        core = self._core
        if not is_envelope(message):
            core.note(Severity.WARNING, f"{shown(message)} is no envelope; dropped")
            return
        assert isinstance(message, Envelope)
        sender, address, body = message.sender, message.address, message.body
        if message.to not in (None, core.key) or sender == core.key or self._has_ended:
            return
        door = door_of(body)
        if door is None:
            core.note(Severity.WARNING, f"{sender}: {shown(body)} is no message; dropped")
            return
        if door is Door.FORMING:
            self._on_forming(sender, address, body)
            return
        if self._in is None:
            return
        if message.cluster != core.cluster:
            if door is Door.JOIN and not message.cluster:
                self._on_body(sender, address, door, body)
            elif message.cluster:
                self._on_stranger(sender, message.cluster)
            return
        if core.state.member(sender) is None:
            if not core.state.is_removed(sender):
                core.learn(sender, address)
            elif door is not Door.EXPELLED:
                core.send_to(address, Expelled(sender, "it is no member any more"), sender)
                return
            # That somebody was removed is for good, whoever says it. To answer it in kind would go on for ever.
        if not self._early.keep(sender, address, door, body):
            self._on_body(sender, address, door, body)

    def _hear_early(self) -> None:
        """More is applied, and what came early may be in time now."""
        for sender, address, door, body in self._early.in_time():
            if not self._has_ended:
                self._on_body(sender, address, door, body)

    def _on_forming(self, sender: NodeKey, address: str, body: Any) -> None:
        core = self._core
        if self._in is None:
            if self._forming.has_begun:
                self._act_on(self._forming.on_message(sender, address, body))
        elif type(body) is Seek and core.standing in (Standing.MEMBER, Standing.LEAVING):
            core.send_to(address, Belongs(core.cluster), sender)

    def _on_stranger(self, sender: NodeKey, cluster: str) -> None:
        if cluster not in self._strangers and len(self._strangers) < _STRANGERS_MAX:
            self._strangers[cluster] = None
            own = self._core.cluster
            self._core.note(
                Severity.ERROR,
                f"{sender} belongs to the cluster that {cluster} has founded, and this node to that of {own}; nothing "
                "that is said there counts here. Start the nodes of one of them again, with seeds of the other",
            )

    def _on_body(self, sender: NodeKey, address: str, door: Door, body: Any) -> None:
        """A message of a member, or of this node to itself."""
        inside = self._in
        assert inside is not None
        match door:
            case Door.RAFT:
                inside.consensus.feed(RaftReceived(sender, body))
            case Door.SWIM:
                self._watching.received(address, body)
            case Door.REPLICA:
                self._owning.on_replica(sender, body)
            case Door.TO_OWNER:
                self._owning.on_routed(sender, body.region, body.shard, body.body)
            case Door.TO_SENDER:
                self._routing.on_routed(sender, body.region, body.shard, body.body)
            case Door.LEASE:
                inside.assigning.on_lease_request(sender, body)
            case Door.GRANT:
                self._owning.on_grant(sender, body)
            case Door.RELEASED:
                inside.assigning.on_released(sender, body)
            case Door.REGISTRY:
                self._discovering.feed(RegistryReceived(sender, body))
            case Door.ORDER:
                inside.orders.on_order(sender, body)
            case Door.ORDER_DONE:
                inside.orders.on_done(body)
            case Door.ORDER_REFUSED:
                inside.orders.on_refused(sender, body)
            case Door.OPEN_ORDERS:
                inside.orders.on_open(sender, body)
            case Door.ORDERS_OPENED:
                inside.orders.on_opened(body)
            case Door.JOIN:
                inside.governing.on_join_request(body)
            case Door.EXPELLED:
                if body.node == self.key:
                    inside.on_expelled(body.reason)
            case Door.FORMING:
                raise AssertionError(body)
            case _:
                assert_never(door)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _on_wake(self) -> None:
        core, now = self._core, self._core.now
        if self._has_ended:
            return
        for key in core.deadlines.due(now):
            self._on_due(key)
        for part in (self._watching, self._owning, self._routing):
            if is_due(part.deadline(), now):
                part.wake()
        if is_due(self._discovering.registry.deadline(), now):
            self._discovering.feed(Wake())
        if self._in is not None:
            self._in.wake(now)

    def _on_due(self, key: str) -> None:
        inside = self._in
        if key == SEEK:
            self._act_on(self._forming.due())
            return
        assert inside is not None, f"{key} is due, and there is nobody to see to it"
        match key:
            case keys.REVIEW:
                inside.review_due()
            case keys.BATCH:
                inside.governing.batch_due()
            case keys.ORDERS:
                inside.orders.due()
            case keys.STALE:
                self._owning.give_back()
            case keys.LIFE:
                inside.mark_life()
            case keys.LEAVE:
                inside.leave_due()
            case _:
                raise AssertionError(key)

    def _queries(self) -> tuple[Callable[[], Instant | None], ...]:
        """Who knows of a deadline. They are asked after every event, so nothing stands in between."""
        return (
            self._core.deadlines.earliest,
            self._watching.deadline,
            *self._owning.deadlines,
            self._routing.deadline,
            self._discovering.registry.deadline,
            *(() if self._in is None else self._in.deadlines),
        )

    def _earliest(self) -> Instant | None:
        if self._has_ended:
            return None
        earliest: Instant | None = None
        for deadline in self._deadlines:
            at = deadline()
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest


_STRANGERS_MAX = 16

type _Request = (
    events.AddRegion | events.RemoveRegion | events.ClaimName | events.ReleaseName | events.ForgetNode | events.Confer
)
