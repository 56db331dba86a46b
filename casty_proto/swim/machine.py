"""A member of a cluster: it finds out who else is there, who is silent, and tells the others.

Theory of operation
-------------------
The machine has its parts on a common state (`core.py`): `learning.py` decides what is believed of others, `myself.py`
what is answered to statements about oneself, `probe.py` finds out who is silent, `sync.py` compares whole states,
`joining.py` and `leaving.py` begin and end a membership. This file feeds them: it lets in messages (`door.py`), runs
the deadlines, and knows the phase.

    NEW --Join--> ACTIVE --Leave--> LEAVING --they have heard, or time is up--> LEFT
                     |
                     +--replaced by a higher generation, or no incarnation left--> DEFUNCT

A message is handled in this order: what it says about members is learned first; then it is answered, and the answer
already knows it; then, if it accused us and has no answer of its own, its sender is contradicted at once.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import Never, assert_never

from attrs import evolve

from ..machine import Instant, Note, Rejected, Reply, Severity, Wake, shown
from .core import (
    FORGET,
    GOSSIP,
    GOSSIP_KEY,
    JOIN,
    PROBE,
    PROBE_TIMEOUT,
    RECENT,
    RELAY,
    SUSPICION,
    SYNC,
    Core,
    Effects,
    Key,
)
from .door import admit
from .events import (
    ConnectionLost,
    Departed,
    Join,
    Leave,
    Member,
    Received,
    Send,
    SwimEffect,
    SwimEvent,
    UpdatePayload,
)
from .joining import Joining
from .learning import Learning
from .leaving import Leaving
from .maths import retransmit_limit, sync_scale
from .messages import (
    NUMBER_MAX,
    PAYLOAD_MAX,
    Ack,
    Gossip,
    Identity,
    IndirectAck,
    Message,
    Nack,
    Ping,
    PingRequest,
    Records,
    State,
    SyncReply,
    SyncRequest,
)
from .options import SwimOptions
from .pool import draw
from .probe import Probing
from .sync import Sync

_SYNC_KEY: Key = (SYNC, 0)


class _Phase(Enum):
    NEW = "has not joined"
    ACTIVE = "is a member"
    LEAVING = "is leaving"
    LEFT = "has left"
    DEFUNCT = "is defunct"


class Swim:
    """One member. Its identity and address are for life; its payload can be changed (`UpdatePayload`)."""

    __slots__ = (
        "_core",
        "_deadlines",
        "_joining",
        "_learning",
        "_leaving",
        "_phase",
        "_probing",
        "_sync",
        "_verified",
    )

    def __init__(
        self,
        identity: Identity,
        address: str,
        payload: bytes = b"",
        *,
        rng: Random,
        options: SwimOptions | None = None,
        incarnation: int = 0,
    ) -> None:
        """Be `identity`, reachable at `address`. `incarnation` is where to begin, if an earlier one is known.

        `payload` is told to all others. `rng` draws whom to ask; without `options` the defaults hold. Raises
        `ValueError` or `TypeError` for an identity, an address or a payload that others would refuse.
        """
        me = Member(identity, incarnation, State.ALIVE, address, payload, told=incarnation)
        self._core = Core(me, rng, options or SwimOptions())
        self._deadlines = self._core.deadlines
        self._sync = Sync(self._core)
        self._learning = Learning(self._core, self._sync)
        self._probing = Probing(self._core, self._learning)
        self._joining = Joining(self._core, self._sync)
        self._leaving = Leaving(self._core)
        self._phase = _Phase.NEW
        self._verified = -1

    # The machine ----------------------------------------------------------------------------------------------------

    def handle(self, event: SwimEvent, now: Instant) -> tuple[SwimEffect, ...]:
        """Apply one event and return all of its effects, in order; see `casty_proto.machine`."""
        out: Effects = []
        match event:
            case Received():
                self._on_received(event.peer, event.message, now, out)
            case Wake():
                self._on_wake(now, out)
            case Join():
                self._on_join(event, now, out)
            case Leave():
                self._on_leave(event, now, out)
            case UpdatePayload():
                self._on_update_payload(event, now, out)
            case ConnectionLost():
                self._on_connection_lost(event)
            case never:
                _not_an_event(never)
        return tuple(out)

    def deadline(self) -> Instant | None:
        """When the machine wants `Wake`, or `None`."""
        return self._deadlines.earliest()

    @property
    def me(self) -> Member:
        """What this member says of itself."""
        return self._core.members.me

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody who is known, in the order of their node ids: this member, and those who died or left, too."""
        members = self._core.members
        return tuple(members[node_id] for node_id in members.between("", None))

    @property
    def health(self) -> int:
        """How slow this member seems to be: 0 for not at all (rule 14)."""
        return self._core.health.score

    # Local requests and hints ---------------------------------------------------------------------------------------

    def _on_join(self, event: Join, now: Instant, out: Effects) -> None:
        core = self._core
        if self._phase not in (_Phase.NEW, _Phase.ACTIVE):
            reason = f"{core.identity} {self._phase.value}: join with a higher generation"
            out.append(Reply(event.request, Rejected(reason)))
            return
        out.append(Reply(event.request, None))
        if self._phase is _Phase.NEW:
            self._phase = _Phase.ACTIVE
            self._probing.start(now)
            # Not everybody at the same time, and the first time soon.
            self._deadlines.set(_SYNC_KEY, now + int((1 + core.rng.random()) * core.options.sync_interval_ns / 2))
            core.pass_on(core.own, now)
        self._joining.start(event.seeds, now, out)

    def _on_leave(self, event: Leave, now: Instant, out: Effects) -> None:
        if self._phase is not _Phase.ACTIVE:
            reason = f"{self._core.identity} {self._phase.value}: there is nothing to leave"
            out.append(Reply(event.request, Rejected(reason)))
            return
        out.append(Reply(event.request, None))
        self._stop(_Phase.LEAVING)
        self._leaving.start(now, out)
        self._depart_if_over(out)

    def _depart_if_over(self, out: Effects) -> None:
        if not self._leaving.is_over:
            return
        self._stop(_Phase.LEFT)
        out.append(Departed())

    def _stop(self, phase: _Phase) -> None:
        self._phase = phase
        self._deadlines.clear()
        self._probing.stop()
        self._sync.stop()
        self._joining.stop()

    def _on_update_payload(self, event: UpdatePayload, now: Instant, out: Effects) -> None:
        me, reason = self.me, None
        if self._phase is not _Phase.ACTIVE:
            reason = f"{me.identity} {self._phase.value}: there is nobody to tell"
        elif type(event.payload) is not bytes or len(event.payload) > PAYLOAD_MAX:
            reason = f"a payload is at most {PAYLOAD_MAX} bytes"
        elif me.incarnation == NUMBER_MAX:
            reason = f"{me.identity} has no incarnation left: join with a higher generation"
        if reason is not None:
            out.append(Reply(event.request, Rejected(reason)))
            return
        out.append(Reply(event.request, None))
        if event.payload != me.payload:
            incarnation = me.incarnation + 1
            self._core.set_me(evolve(me, payload=event.payload, incarnation=incarnation, told=incarnation), now)

    def _on_connection_lost(self, event: ConnectionLost) -> None:
        node_id = self._core.members.live_at(event.peer)
        if node_id is not None and node_id != self.me.identity.node_id:
            self._core.members.rotation.hurry(node_id)

    # Messages -------------------------------------------------------------------------------------------------------

    def _on_received(self, peer: str, rubbish: object, now: Instant, out: Effects) -> None:
        core = self._core
        message = admit(rubbish, core.identity)
        if isinstance(message, str):
            self._turn_away(peer, rubbish, message, out)
            return
        match self._phase:
            case _Phase.ACTIVE:
                self._on_message(peer, message, now, out)
            case _Phase.LEAVING:
                self._leaving.on_message(peer, message, now, out)
                self._depart_if_over(out)
            case _Phase.LEFT:
                self._leaving.on_message(peer, message, now, out)
                self._deadlines.clear()
            case _Phase.NEW | _Phase.DEFUNCT:
                out.append(Note(Severity.DEBUG, f"dropped from {peer}: {core.identity} {self._phase.value}"))
        core.accused = core.contradicted = False
        if core.defunct is not None and self._phase is not _Phase.DEFUNCT:
            self._stop(_Phase.DEFUNCT)
            out.append(core.defunct)

    def _on_message(self, peer: str, message: Message, now: Instant, out: Effects) -> None:
        core, source = self._core, message.source
        if type(message) is SyncReply and (reason := self._sync.strays(message)) is not None:
            self._turn_away(peer, message, reason, out)
            return
        if type(message) is Records:
            self._learning.learn_records(message.updates, source, now, out)
        elif message.updates:
            self._learning.learn(message.updates, source, now, out)
        if core.defunct is not None:
            return
        match message:
            case Ping():
                self._probing.on_ping(peer, message, out)
                if not core.members.knows(source):
                    self._sync.introduce(peer, source, out)
            case Ack():
                self._probing.on_ack(message, out)
            case Gossip() | Records():
                pass
            case PingRequest():
                self._probing.on_ping_request(peer, message, now, out)
            case IndirectAck():
                self._probing.on_indirect_ack(message)
            case Nack():
                self._probing.on_nack(message)
            case SyncRequest():
                self._sync.on_request(peer, message, out)
            case SyncReply():
                contact = self._sync.on_reply(peer, message, now, out)
                if contact is not None:
                    self._joining.finish(contact, out)
            case _:
                assert_never(message)
        if core.contradicted:
            core.speak_up(peer, source, out)

    def _turn_away(self, peer: str, rubbish: object, reason: str, out: Effects) -> None:
        """Rubbish is noted. But a seed may turn out to be ourselves: then what it was sent comes back."""
        if isinstance(rubbish, Gossip | SyncRequest) and rubbish.source == self._core.identity:
            out.append(Note(Severity.INFO, f"{peer} is this member: what it was sent came back"))
            seed = self._sync.own_seed(rubbish.number) if isinstance(rubbish, SyncRequest) else None
            if seed is not None:
                self._joining.drop(seed, out)
            return
        out.append(Note(Severity.WARNING, f"dropped from {peer}: {reason} (rule 29)"))

    # Deadlines ------------------------------------------------------------------------------------------------------

    def _on_wake(self, now: Instant, out: Effects) -> None:
        earliest = self._deadlines.earliest()
        if earliest is None or earliest > now:
            return
        late_ns = now - earliest
        late = late_ns > self._core.options.probe_timeout_ns
        if late:
            self._core.health.change(+1)
            out.append(Note(Severity.DEBUG, f"{self.me.identity} was away for {late_ns // 1_000_000} ms (rule 15)"))
        for kind, about in self._deadlines.due(now):
            self._on_due(kind, about, late, now, out)

    def _on_due(self, kind: int, about: str | int, late: bool, now: Instant, out: Effects) -> None:
        match about:
            case int() if kind == PROBE:
                self._probing.on_probe_due(now, out)
            case int() if kind == PROBE_TIMEOUT:
                self._probing.on_probe_timeout_due(now, out)
            case int() if kind == GOSSIP:
                self._on_gossip_due(now, out)
            case int() if kind == RELAY:
                self._probing.on_relay_due(about, now, out)
            case int() if kind == SYNC:
                self._on_sync_due(now, out)
            case int() if kind == JOIN:
                self._joining.on_join_due(now, out)
            case str() if kind == SUSPICION:
                self._learning.on_suspicion_due(about, late, now, out)
            case str() if kind == RECENT:
                self._learning.on_recent_due(about)
            case str() if kind == FORGET:
                self._learning.on_forget_due(about)
            case _:
                raise AssertionError((kind, about))

    def _on_gossip_due(self, now: Instant, out: Effects) -> None:
        """Send news to a few, and come again while there is any (rule 22)."""
        if self._phase is _Phase.LEAVING:
            self._leaving.go_on(now, out)
            self._depart_if_over(out)
            return
        core, members = self._core, self._core.members
        core.rumours.expire(retransmit_limit(core.options.retransmit_mult, members.count))
        receivers = draw(core.rng, core.options.gossip_nodes, members.alive, members.suspects, members.recent)
        for node_id in receivers:
            member = members[node_id]
            updates = core.cargo(core.gossip_room, member.identity)
            if updates:
                out.append(Send(member.address, Gossip(core.identity, updates)))
        if receivers and core.rumours:
            self._deadlines.set(GOSSIP_KEY, now + core.options.gossip_interval_ns)

    def _on_sync_due(self, now: Instant, out: Effects) -> None:
        """Compare states with somebody who is there, and with somebody who should be (rules 23 and 25)."""
        core, members = self._core, self._core.members
        interval_ns = core.options.sync_interval_ns * sync_scale(members.count)
        self._deadlines.set(_SYNC_KEY, now + interval_ns)
        self._sync.expire(now - interval_ns)
        for node_id in draw(core.rng, 1, members.alive):
            self._sync.ask(members[node_id], now, out)
        lost_seeds = self._joining.lost_seeds()
        picked = int(core.rng.random() * (len(members.dead) + len(lost_seeds)))
        if picked < len(members.dead):
            self._sync.ask(members[members.dead[picked]], now, out)
        elif lost_seeds:
            self._sync.ask_seed(lost_seeds[picked - len(members.dead)], now, out)

    # ----------------------------------------------------------------------------------------------------------------

    def invariants(self) -> None:
        """Assert what holds between two calls. Looks at the members only if they have changed since the last time."""
        core, deadlines = self._core, self._deadlines
        assert not core.accused, "an answer is due"
        assert not core.contradicted, "an answer is due"
        core.health.invariants()
        self._probing.invariants(active=self._phase is _Phase.ACTIVE)
        self._sync.invariants()
        if self._phase in (_Phase.NEW, _Phase.LEFT, _Phase.DEFUNCT):
            assert deadlines.earliest() is None, f"a deadline, and {core.identity} {self._phase.value}"
        if self._phase is _Phase.ACTIVE:
            assert _SYNC_KEY in deadlines, "states are not compared any more"
            assert self._joining.is_joining == ((JOIN, 0) in deadlines), "joining without an end"
            receivers = core.members.count - 1 + len(core.members.recent)
            assert GOSSIP_KEY in deadlines or not (core.rumours and receivers), "news is kept back"
        if self._verified != core.members.version:
            self._verified = core.members.version
            core.invariants(active=self._phase is _Phase.ACTIVE)


def _not_an_event(thing: Never) -> Never:
    raise AssertionError(f"not an event: {shown(thing)}")
