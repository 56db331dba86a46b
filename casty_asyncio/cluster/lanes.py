"""The connections over which the nodes of a cluster talk: lanes, one way each.

Theory of operation
-------------------
Whoever has something to say to an address dials it, and writes. Nothing but signs comes back over that connection: the
other node has lanes of its own. So there is nothing to agree upon, and a lane can break at any time and be made anew:
nodes bear it that messages are lost, and repeat what must not be (`casty_proto/cluster/messages.py`).

1.  There are two lanes to an address, so that bulk never delays a heartbeat: `Kind.CLUSTER` for few words about who is
    alive, leads, and owns what, and `Kind.SHARDS` for messages of shards and states of entities.
2.  What is said in one turn of the loop is written at once.
3.  Nothing waits that would come too late anyhow: while a lane is not open, or its peer does not read, the last
    `WAITING_MAX` messages are kept, or the last that weigh `WAITING_BYTES` together, and written when it is.
4.  A lane that breaks is dialled again when there is something to say, after a back-off that grows to `BACKOFF_MAX`.
5.  Who receives says so, at most once in `SIGN_SECONDS`. A lane that was written to and gives no sign for
    `SILENT_SECONDS` is closed: TCP alone would go on for a quarter of an hour.
    One that says nothing for `IDLE_SECONDS`, or `FIRST_SECONDS` after it was opened, is closed by who is told nothing,
    and a node has one of a kind at a time: the next one takes its place. Of all connections that this node takes, the
    lanes from one machine are a quarter at most: one more takes the place of the one that was silent for longest. So
    strangers who hold connections open do not crowd out others.
6.  A message that cannot be decoded is lost like any other, and logged. What is no message ends the connection, and so
    does a message in the name of another node than the one that has shaken hands.
7.  That a message was accepted is said a little later, unless somebody waits for that or it is about many messages: the
    answer, or what is said next, is on its way first, and of several acknowledgements the last one is enough.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from casty_proto.address import AddressError, NodeAddress
from casty_proto.cluster.messages import Envelope, Routed
from casty_proto.cluster.packed import packed
from casty_proto.machine import MILLISECOND, SECOND, Instant
from casty_proto.shard.channel import Accepted
from casty_proto.wire import EncodeError, Encoder, Established, Kind, WireOptions
from casty_proto.wire.frame import HEADER

from ..transport.connection import SILENT, Connection
from ..transport.dialing import DialedItself, DialError, dial
from .incoming import PATIENT_COUNT, Incoming
from .protocol import lane_of, node_types, weight_of

if TYPE_CHECKING:
    from ..transport.transport import Transport

WAITING_MAX = 4096
WAITING_BYTES = 16 * 2**20
"""Several times what Raft, the replicas and the channels have under way to one node, by the defaults."""
BACKOFF_MIN = 0.05
BACKOFF_MAX = 1.0
PATIENT_SECONDS = 0.01
SILENT_SECONDS = 5.0
FIRST_SECONDS = 5.0
LANES_MAX = 4096
"""To more addresses than that nothing is said: strangers may name as many as they like."""
_CHUNK = 512


class Lanes:
    """What one node says to others, and what others say to it.

    `on_message` is given every message that comes, and `on_lost` every address to which a lane has broken.
    """

    def __init__(
        self, transport: Transport, on_message: Callable[[object], None], on_lost: Callable[[str], None]
    ) -> None:
        self.transport = transport
        self.on_message = on_message
        self.on_lost = on_lost
        self.types = node_types()
        self.wire_options = WireOptions(max_frame=transport.options.max_message)
        self.closing = False
        self.sent = 0
        self.received = 0
        self._out: dict[tuple[str, Kind], _Lane] = {}
        self._in: dict[Incoming, None] = {}
        self._of: dict[tuple[str, int, Kind], Incoming] = {}
        """The same by the node that has dialled, and for what."""
        self._from: dict[str, dict[Incoming, None]] = {}
        """The same by the machine."""
        self._dirty: list[_Lane] = []
        """Those for which something waits that was not looked at yet."""
        self._patient: dict[_Lane, None] = {}
        """Those for which something waits that can wait a little."""
        self._later: asyncio.TimerHandle | None = None
        self.will_flush = False
        """Whether `flush` is called at the end of what is being done: another turn of the loop would cost a call of the
        system."""
        self.is_hurried = False
        """Whether somebody waits for what the present messages lead to."""

    def send(self, to: str, message: Envelope) -> None:
        """Say something to whoever listens at an address. It may be lost."""
        if self.closing:
            return
        is_routed = type(message.body) is Routed
        kind = Kind.SHARDS if is_routed else lane_of(message)
        lane = self._out.get((to, kind))
        if lane is None:
            lane = self._open(to, kind)
            if lane is None:
                return
        self.sent += 1
        lane.say(message, gives_way=is_routed and type(message.body.body) is Accepted)

    def lane(self, to: str, kind: Kind) -> object:
        """The lane that leads there, if there is one."""
        return self._out.get((to, kind))

    def problem_with(self, to: str) -> str | None:
        """Why nobody could be reached at an address when that was tried last; `None` where nothing is known."""
        lane = self._out.get((to, Kind.CLUSTER))
        return None if lane is None else lane.problem

    def _open(self, to: str, kind: Kind) -> _Lane | None:
        try:
            address = NodeAddress.parse(to)
        except AddressError as error:
            self.transport.complain(to, "address", f"nothing can be said to {to!r}: {error}")
            return None
        if len(self._out) >= LANES_MAX:
            self._forget_closed()
        if len(self._out) >= LANES_MAX:
            self.transport.complain("this machine", "lanes", f"nothing is said to {to}: too many addresses are known")
            return None
        lane = self._out[to, kind] = _Lane(self, to, address, kind)
        return lane

    def _forget_closed(self) -> None:
        self._out = {key: lane for key, lane in self._out.items() if lane.is_open}

    def accept(self, connection: Connection, established: Established) -> None:
        """Another node has dialled."""
        if self.closing:
            connection.close()
            return
        peer = established.peer
        key = (peer.node_id, peer.generation, established.kind)
        before = self._of.get(key)
        if before is not None:
            before.close()
        incoming = Incoming(self, established, connection)
        self._make_room(incoming.machine)
        self._in[incoming] = None
        self._of[key] = incoming
        self._from.setdefault(incoming.machine, {})[incoming] = None
        connection.give_to(incoming)
        connection.must_speak_within(FIRST_SECONDS)

    def _make_room(self, machine: str) -> None:
        """For one more lane from there."""
        there = self._from.get(machine, {})
        most = max(1, self.transport.options.max_connections // 4)
        if len(there) < most:
            return
        quiet = min(there, key=lambda incoming: incoming.heard_at)
        self.transport.complain(
            machine, "lanes", f"{quiet.connection.peer} was closed: {most} nodes at {machine} are connected"
        )
        quiet.close()

    def over(self, incoming: Incoming) -> None:
        """A connection that another node has dialled is gone."""
        self._in.pop(incoming, None)
        if self._of.get(incoming.key) is incoming:
            del self._of[incoming.key]
        there = self._from.get(incoming.machine)
        if there is not None:
            there.pop(incoming, None)
            if not there:
                del self._from[incoming.machine]

    def forget(self, address: str) -> None:
        """Nobody is there any more to whom anything would have to be said."""
        for kind in (Kind.CLUSTER, Kind.SHARDS):
            lane = self._out.pop((address, kind), None)
            if lane is not None:
                lane.close()

    def flush_soon(self, lane: _Lane) -> None:
        """Write what waits for a lane, at the latest in the next turn of the loop."""
        if not self._dirty and not self.will_flush:
            self.transport.loop.call_soon(self.flush)
        self._dirty.append(lane)

    def flush_later(self, lane: _Lane) -> None:
        """Write what waits for a lane a little later (rule 7)."""
        if self._later is None:
            self._later = self.transport.loop.call_later(PATIENT_SECONDS, self.hurry)
        self._patient[lane] = None

    def hurry(self) -> None:
        """Somebody waits for what could wait otherwise."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        patient, self._patient = self._patient, {}
        for lane in patient:
            lane.flush()

    def flush(self) -> None:
        """Write what waits now, and not in the next turn of the loop."""
        self.will_flush = False
        dirty, self._dirty = self._dirty, []
        for lane in dirty:
            lane.flush()

    def close(self) -> None:
        """Close all lanes, after what was written."""
        self.flush()
        self.hurry()
        self.closing = True
        for lane in self._out.values():
            lane.close()
        for incoming in list(self._in):
            incoming.close()
        self._out.clear()


class _Lane:
    """What is said to one address over one kind of connection."""

    __slots__ = (
        "_address",
        "_attempts",
        "_connection",
        "_dialing",
        "_encode",
        "_expects_sign",
        "_first_count",
        "_flushing",
        "_kind",
        "_lanes",
        "_not_before",
        "_timer",
        "_transport",
        "_waiting",
        "_weight",
        "_weights",
        "problem",
        "to",
    )

    def __init__(self, lanes: Lanes, to: str, address: NodeAddress, kind: Kind) -> None:
        self.to = to
        self.problem: str | None = None
        """Why it could not be opened when that was tried last."""
        self._lanes = lanes
        self._transport = lanes.transport
        self._address = address
        self._kind = kind
        self._connection: Connection | None = None
        self._encode: Callable[[object], bytes] | None = None
        """What is said about classes is said once for each connection."""
        self._waiting: deque[Envelope] = deque()
        self._weights: deque[int] = deque()
        """Those of the first messages that wait. Who does not wait for longer than a turn is not weighed."""
        self._weight = 0
        """All of these together."""
        self._first_count = 0
        """What was acknowledged by the first of those acknowledgements of which only the last is kept."""
        self._flushing = False
        self._dialing = False
        self._attempts = 0
        self._not_before: Instant = 0
        self._timer: asyncio.TimerHandle | None = None
        self._expects_sign = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, or will be."""
        return self._connection is not None or self._dialing

    def say(self, message: Envelope, *, gives_way: bool) -> None:
        """Say something, soon; or a little later, where it `gives_way` to what matters more."""
        if gives_way:
            count = message.body.body.count
            if self._waiting and _supersedes(message, self._waiting[-1]):
                self._waiting.pop()
                self._unweigh(0)
            else:
                self._first_count = count
            gives_way = count - self._first_count < PATIENT_COUNT
        self._waiting.append(message)
        if self._flushing:
            return
        if gives_way:
            self._lanes.flush_later(self)
        else:
            self._flushing = True
            self._lanes.flush_soon(self)

    def flush(self) -> None:
        """Write what waits, as much as the connection takes."""
        self._flushing = False
        connection = self._connection
        if connection is None:
            self._shed()
            if self._waiting and not self._dialing and not self._lanes.closing:
                self._dial()
            return
        waiting = self._waiting
        before = len(waiting)
        encode = self._encode
        assert encode is not None
        most = self._lanes.wire_options.max_frame
        while waiting and connection.writable:
            frames = bytearray()
            for _ in range(min(len(waiting), _CHUNK)):
                message = waiting.popleft()
                try:
                    body = packed(message)
                    if body is None or len(body) > most:
                        frames += encode(message)
                    else:
                        frames += HEADER.pack(len(body))
                        frames += body
                except EncodeError as error:
                    self._transport.complain(self.to, "encode", f"a message to {self.to} cannot be sent: {error}")
            connection.write(bytes(frames))
            if not self._expects_sign:
                self._expects_sign = True
                connection.must_speak_within(SILENT_SECONDS)
        if self._weights:
            self._unweigh(before - len(waiting))
        if waiting:
            self._shed()

    def _shed(self) -> None:
        """Keep of what waits what rule 3 allows."""
        waiting, weights = self._waiting, self._weights
        for message in islice(waiting, len(weights), None):
            weights.append(weight_of(message))
            self._weight += weights[-1]
        lost = 0
        while len(waiting) > WAITING_MAX or (self._weight > WAITING_BYTES and len(waiting) > 1):
            waiting.popleft()
            self._unweigh(1)
            lost += 1
        if lost:
            self._transport.log.debug("%d messages to %s are lost: too much waits for it", lost, self.to)

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._unweigh(0)

    def _unweigh(self, gone: int) -> None:
        """So many of the first do not wait any more, and the last perhaps."""
        weights = self._weights
        for _ in range(min(gone, len(weights))):
            self._weight -= weights.popleft()
        while len(weights) > len(self._waiting):
            self._weight -= weights.pop()

    # -- the connection ------------------------------------------------------------------------------------------------

    def _dial(self) -> None:
        self._dialing = True
        delay = self._not_before - self._transport.clock.now()
        if delay > 0:
            self._timer = self._transport.loop.call_later(delay / SECOND, self._begin_to_dial)
        else:
            self._begin_to_dial()

    def _begin_to_dial(self) -> None:
        self._timer = None
        self._transport.spawn(self._connect(), f"casty-lane {self.to}")

    async def _connect(self) -> None:
        transport = self._transport
        try:
            connection, _ = await dial(transport, self._address, self._kind)
        except DialedItself:
            self._forget_waiting()
            self._delay(BACKOFF_MAX)
            return
        except DialError as error:
            transport.log.debug("no lane to %s: %s", self.to, error)
            self.problem = str(error)
            self._attempts += 1
            self._delay(min(BACKOFF_MAX, BACKOFF_MIN * 2 ** min(self._attempts - 1, 10)))
            self._forget_waiting()
            self._lanes.on_lost(self.to)
            return
        finally:
            self._dialing = False
        if self._lanes.closing or self._lanes.lane(self.to, self._kind) is not self:
            connection.close()
            return
        self._attempts = 0
        self.problem = None
        self._connection = connection
        self._encode = Encoder(self._lanes.types, self._lanes.wire_options).encode_frame
        self._expects_sign = False
        connection.give_to(self)
        self.flush()

    def _delay(self, seconds: float) -> None:
        # A little of it is left to chance, so that nodes that lose each other do not dial in step.
        jitter = 0.75 + 0.5 * self._transport.rng.random()
        self._not_before = self._transport.clock.now() + int(seconds * jitter * 1000) * MILLISECOND

    def close(self) -> None:
        """Close it, after what was written."""
        connection, self._connection = self._connection, None
        self._forget_waiting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._dialing = False
        if connection is not None:
            connection.must_speak_within(None)
            connection.close()

    # -- the sink ------------------------------------------------------------------------------------------------------

    def received(self, connection: Connection, bodies: list[bytes]) -> None:
        """A sign (rule 5)."""
        self._expects_sign = False
        connection.must_speak_within(None)

    def writable(self, connection: Connection) -> None:
        """There is room again."""
        self.flush()

    def broken(self, connection: Connection, text: str) -> None:
        """What comes back is no sign."""
        connection.close()
        self.closed(connection, text)

    def closed(self, connection: Connection, text: str) -> None:
        """The connection is gone."""
        if connection is not self._connection:
            return
        self._connection = self._encode = None
        level = 30 if text == SILENT else 10
        self._transport.report(self.to, f"lane {self._kind.name}", f"the lane to {self.to} is gone: {text}", level)
        self._delay(BACKOFF_MIN)
        if self._lanes.closing:
            return
        # The other end closes a lane that was not used for long: nothing is lost with that.
        if self._expects_sign or self._waiting or self._kind is Kind.CLUSTER:
            self._lanes.on_lost(self.to)
        if self._waiting:
            self._dial()


def _supersedes(later: Envelope, earlier: Envelope) -> bool:
    """Whether an acknowledgement says all that the one before says."""
    one, other = later.body, earlier.body
    if type(other) is not Routed or type(other.body) is not Accepted or earlier.to != later.to:
        return False
    return (one.region, one.shard, one.body.channel, one.body.epoch) == (
        other.region,
        other.shard,
        other.body.channel,
        other.body.epoch,
    )
