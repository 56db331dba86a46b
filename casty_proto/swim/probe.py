"""Finding out who is silent. SWIM 3.1, 4.3; Lifeguard IV-A

Theory of operation
-------------------
In each period one member is probed, and there is one probe at a time:

    period begins          probe timeout                       period ends, the next begins
        | Ping --->             | PingRequest ---> k helpers         |
        |      <--- Ack         |      <--- IndirectAck, or Nack     | no answer by either way: suspected
        +-----------------------+------------------------------------+

A helper pings the target with a number of its own, and passes the answer on. If none has come after 80% of its probe
timeout it says so with a `Nack`. That says nothing about the target, but something about us: who gets no answers from
helpers either is probably deaf itself, or slow, and raises its health score for each answer that it misses. With the
score grow period and timeout. (The paper also counts the failed probe itself. As in memberlist it counts here only
where nobody could be asked: a dead target says nothing about us if all helpers are heard.)

An answer counts if it has the number of the probe that is going on and comes from the target, or from a helper that
was asked. Everything else is old, or none of our business, and is dropped without a word.

The deadlines of a probe may be seen late, when the driver was busy or the process was stopped. Then (rule 15):

1.  The helpers get their whole time, counted from when they were asked. Otherwise a process that wakes up from a pause
    would accuse its target in the same breath in which it asks for help.
2.  We are not healthy.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from attrs import define

from ..machine import Instant, Nanoseconds, Note, Severity
from .core import PROBE, PROBE_TIMEOUT, RELAY, Core, Effects, Key
from .events import Send
from .learning import Learning
from .members import is_live
from .messages import Ack, Identity, IndirectAck, Nack, Ping, PingRequest
from .pool import draw
from .sizes import ping_overhead, text_size

RELAYS_MAX = 256
"""How many probes one helps with at a time. Each takes a little memory for one period."""

_PROBE_KEY: Key = (PROBE, 0)
_TIMEOUT_KEY: Key = (PROBE_TIMEOUT, 0)


@define
class _Probe:
    """The probe of this period."""

    target: Identity
    address: str
    incarnation: int
    """What the target said last when the probe began. If it says more meanwhile, it is not silent."""
    number: int
    rest_ns: Nanoseconds
    """The time that helpers have."""
    helpers: dict[str, bool]
    """The helpers that were asked, and whether they have sent a `Nack`."""


@define
class _Relay:
    """A probe that we do for somebody else."""

    origin: Identity
    origin_address: str
    origin_number: int
    target: Identity
    ends_at: Instant
    nacked: bool = False


def ping(core: Core, address: str, target: Identity, number: int, out: Effects) -> None:
    """Ask `target` whether it is there, and tell it what there is room for."""
    room = core.options.message_limit - ping_overhead(core.identity, target)
    out.append(Send(address, Ping(core.identity, number, target, core.cargo(room, target))))


class Probing:
    """Probes others, and helps others to probe."""

    __slots__ = ("_core", "_learning", "_probe", "_relays")

    def __init__(self, core: Core, learning: Learning) -> None:
        self._core = core
        self._learning = learning
        self._probe: _Probe | None = None
        self._relays: dict[int, _Relay] = {}

    def start(self, now: Instant) -> None:
        """Begin with the periods, at a random time, so that members that start together do not probe together."""
        delay_ns = int(self._core.rng.random() * self._core.options.probe_interval_ns)
        self._core.deadlines.set(_PROBE_KEY, now + delay_ns)

    def stop(self) -> None:
        """Probe nobody, and help nobody, any more."""
        self._probe = None
        self._relays.clear()

    # Probing --------------------------------------------------------------------------------------------------------

    def on_probe_due(self, now: Instant, out: Effects) -> None:
        """A period ends, and the next begins."""
        if self._probe is not None:
            self._fail(self._probe, now, out)
            self._probe = None
        core = self._core
        interval_ns = core.health.scale(core.options.probe_interval_ns)
        core.deadlines.set(_PROBE_KEY, now + interval_ns)
        node_id = core.members.rotation.next()
        if node_id is None:
            return
        target = core.members[node_id]
        timeout_ns = core.health.scale(core.options.probe_timeout_ns)
        number = core.next_number()
        self._probe = _Probe(
            target.identity, target.address, target.incarnation, number, interval_ns - timeout_ns, helpers={}
        )
        core.deadlines.set(_TIMEOUT_KEY, now + timeout_ns)
        ping(core, target.address, target.identity, number, out)

    def on_probe_timeout_due(self, now: Instant, out: Effects) -> None:
        """The target has not answered: ask others. Those who are suspected themselves are no help."""
        probe, core = self._probe, self._core
        assert probe is not None
        core.deadlines.set(_PROBE_KEY, now + probe.rest_ns)
        target = probe.target
        if not self._is_there(target):
            return
        helpers = draw(core.rng, core.options.indirect_probes, core.members.alive, but=(target.node_id,))
        for node_id in helpers:
            probe.helpers[node_id] = False
            helper = core.members[node_id]
            overhead = ping_overhead(core.identity, target) + text_size(probe.address)
            updates = core.cargo(core.options.message_limit - overhead, helper.identity)
            request = PingRequest(core.identity, probe.number, target, probe.address, updates)
            out.append(Send(helper.address, request))

    def _succeed(self) -> None:
        self._probe = None
        self._core.deadlines.cancel(_TIMEOUT_KEY)
        self._core.health.change(-1)

    def _fail(self, probe: _Probe, now: Instant, out: Effects) -> None:
        """No answer by any way. It costs health for as many helpers as are silent, or for the target if none helped."""
        if not self._is_there(probe.target):
            return
        missed = sum(not nacked for nacked in probe.helpers.values())
        self._core.health.change(missed if probe.helpers else +1)
        self._learning.suspect(probe.target, probe.incarnation, now, out)

    def _is_there(self, target: Identity) -> bool:
        """Whether the target has not left, died or been replaced since its probe began."""
        known = self._core.members.get(target.node_id)
        return known is not None and is_live(known) and known.identity == target

    def on_ack(self, message: Ack, out: Effects) -> None:
        """The target has answered us, or somebody for whom we probe it."""
        probe = self._probe
        if probe is not None and message.number == probe.number:
            if message.source == probe.target:
                self._succeed()
            return
        relay = self._relays.get(message.number)
        if relay is not None and message.source == relay.target:
            self._end_relay(message.number)
            core = self._core
            updates = core.cargo(core.answer_room, relay.origin)
            out.append(Send(relay.origin_address, IndirectAck(core.identity, relay.origin_number, updates)))

    def on_indirect_ack(self, message: IndirectAck) -> None:
        """The target has answered a helper."""
        probe = self._probe
        if probe is not None and message.number == probe.number and message.source.node_id in probe.helpers:
            self._succeed()

    def on_nack(self, message: Nack) -> None:
        """A helper is there, and has no answer so far."""
        probe = self._probe
        if probe is not None and message.number == probe.number and message.source.node_id in probe.helpers:
            probe.helpers[message.source.node_id] = True

    # Helping --------------------------------------------------------------------------------------------------------

    def on_ping(self, peer: str, message: Ping, out: Effects) -> None:
        """Answer, if it is really us who was asked."""
        core, target = self._core, message.target
        if target == core.identity:
            out.append(Send(peer, Ack(core.identity, message.number, core.cargo(core.answer_room, message.source))))
            core.accused = core.contradicted = False
        elif target.node_id == core.identity.node_id:
            core.speak_up(peer, message.source, out)
        else:
            out.append(Note(Severity.INFO, f"dropped from {peer}: a ping for {target}, who is not here"))

    def on_ping_request(self, peer: str, message: PingRequest, now: Instant, out: Effects) -> None:
        """Probe somebody for somebody else. At the address that we know, if we know one."""
        core = self._core
        if len(self._relays) >= RELAYS_MAX:
            out.append(
                Note(Severity.WARNING, f"dropped from {peer}: {len(self._relays)} probes for others are going on")
            )
            return
        options, number = core.options, core.next_number()
        self._relays[number] = _Relay(
            message.source, peer, message.number, message.target, now + options.probe_interval_ns
        )
        core.deadlines.set((RELAY, number), now + options.probe_timeout_ns * 4 // 5)
        address = core.members.address_of(message.target) or message.address
        ping(core, address, message.target, number, out)

    def on_relay_due(self, number: int, now: Instant, out: Effects) -> None:
        """At first: say that there is no answer yet, so that we at least are known to be there. Then forget it."""
        relay, core = self._relays[number], self._core
        if relay.nacked or now >= relay.ends_at:
            self._end_relay(number)
            return
        relay.nacked = True
        core.deadlines.set((RELAY, number), relay.ends_at)
        updates = core.cargo(core.answer_room, relay.origin)
        out.append(Send(relay.origin_address, Nack(core.identity, relay.origin_number, updates)))

    def _end_relay(self, number: int) -> None:
        del self._relays[number]
        self._core.deadlines.cancel((RELAY, number))

    def invariants(self, *, active: bool) -> None:
        """Whatever goes on has an end."""
        deadlines = self._core.deadlines
        assert (_PROBE_KEY in deadlines) == active, "nobody is probed any more"
        assert _TIMEOUT_KEY not in deadlines or self._probe is not None, "a timeout of no probe"
        assert len(self._relays) <= RELAYS_MAX
        assert all((RELAY, number) in deadlines for number in self._relays), "a probe for another never ends"
