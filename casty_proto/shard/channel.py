"""Channels: the way of messages from one node to the owner of a shard, wherever that moves.

Theory of operation
-------------------
A sending node numbers the messages that it has for a shard. The owner accepts them in that order and remembers, for
each sending node, how many it has accepted: so a repetition is recognized, and a gap is not stepped over. When the
shard is handed over, this record moves with it, and the sender goes on where the old owner stopped. When the owner
crashed, its record is gone, and nobody can tell which of the messages under way it had accepted: these fail, and are
not sent again, since that could be once too often. Messages that were never sent are not concerned, and go to the next
owner.

Nobody forwards anything: a message that was forwarded could be overtaken by a later one that went straight. Who does
not own the shard says so, and the sender looks for the owner.

    sender                                      owner (epoch 7)
      | Post(channel 1, first 1, a b c) ---------> | accepts a b c
      | <------------------------ Accepted(1, 3)   |
      | Post(channel 1, first 4, d) ------------->X  the shard has moved, or its owner has crashed
      | <-------------------------------- Moved    |
                                                owner (epoch 9)
      | Hello(channel 1) ------------------------> | has the record of a hand-over?
      | <--------------------- Welcome(1, 3)       | yes: go on with d     (None: d fails, and channel 2 begins)

Rules
-----
 1. Messages are accepted in the order in which they were given to the channel, each at most once.
 2. A message ends in one of three ways: accepted; failed, when an owner is gone that may have accepted it; or returned,
    when it was never sent, because there was no room or its time was up.
 3. At most `window` messages are under way. They are sent again after `resend_ns`, since messages may be lost.
 4. What was sent to one owner is not sent to the next before that one has said how many of it were accepted. Who has
    nothing under way needs not ask, and begins a new channel.
 5. An owner accepts for the latest channel of each sender only. A channel begins with its message 1.
 6. What waits is limited. A message waits at most `patience_ns` for an owner.
 7. What comes of another epoch than the owner's, or to a node that does not own the shard, changes nothing.
 8. A record says since which epoch it has been handed over without a break. Of what was sent before that, nobody knows.
 9. What others tell of a later owner is believed for a while. If that owner is never heard of, it does not exist.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from attrs import field, frozen

from ..machine import MILLISECOND, SECOND, Instant, Nanoseconds
from ..values import value
from .leases import in_range

# Messages ------------------------------------------------------------------------------------------------------------


@value
class Post:
    """Sender to owner: the messages `first`, `first + 1` and so on of a channel."""

    epoch: int
    channel: int
    first: int
    items: tuple[Any, ...]


@value
class Accepted:
    """Owner to sender: all messages up to `count` of this channel are accepted."""

    epoch: int
    channel: int
    count: int


@value
class Hello:
    """Sender to a new owner: how many messages of this channel were accepted before you?"""

    epoch: int
    channel: int
    since: int
    """The earliest epoch whose owner may have accepted any of those that are under way."""


@value
class Welcome:
    """Owner to sender: so many; or `None`, nobody knows."""

    epoch: int
    channel: int
    count: int | None


@value
class Moved:
    """To a sender: this node does not own the shard at that epoch. `owner` and `newest` are what it knows."""

    epoch: int
    owner: str | None
    newest: int


type ToOwner = Post | Hello
type ToSender = Accepted | Welcome | Moved

# The sender ----------------------------------------------------------------------------------------------------------


@frozen
class ChannelOptions:
    """How channels behave. Raises `ValueError` or `TypeError` for what makes no sense."""

    window: int = field(default=256, validator=in_range(1, 2**20))
    """The most messages that are under way."""
    max_waiting: int = field(default=4096, validator=in_range(1, 2**31))
    """The most that are kept, those under way included."""
    resend_ns: Nanoseconds = field(default=200 * MILLISECOND, validator=in_range(1, 86_400 * SECOND))
    patience_ns: Nanoseconds = field(default=10 * SECOND, validator=in_range(1, 86_400 * SECOND))
    """How long a message may wait until it is sent for the first time."""


@value
class ToSend:
    """Effect: send `message` to the node `to`. It may be lost."""

    to: str
    message: ToOwner


@value
class Settled:
    """Effect: an owner has accepted these."""

    items: tuple[Any, ...]


@value
class Failed:
    """Effect: an owner is gone that may have accepted these: whether they were handled, nobody knows."""

    items: tuple[Any, ...]


@value
class Returned:
    """Effect: these were never sent to anybody."""

    items: tuple[Any, ...]
    reason: str


type SenderEffects = tuple[ToSend | Settled | Failed | Returned, ...]


class Sender:
    """A node's channel to one shard."""

    __slots__ = (
        "_asking",
        "_channel",
        "_epoch",
        "_next",
        "_options",
        "_owner",
        "_resend_at",
        "_sent",
        "_since",
        "_waiting",
    )

    def __init__(self, options: ChannelOptions, channel: int = 1) -> None:
        """`channel` is higher than that of any earlier sender of the same name to this shard."""
        self._options = options
        self._owner: str | None = None
        self._epoch = 0
        self._channel = channel
        self._next = 1
        """The number of the first message that was not sent yet."""
        self._sent: deque[Any] = deque()
        """Under way: numbers `_next - len(_sent)` and so on."""
        self._since = 0
        """The earliest epoch at which any of them was sent."""
        self._waiting: deque[tuple[Instant, Any]] = deque()
        """Not sent yet, each with the instant at which its time is up."""
        self._asking = False
        """Whether the owner was asked how much of what is under way its predecessor had accepted (rule 4)."""
        self._resend_at: Instant | None = None

    def __len__(self) -> int:
        return len(self._sent) + len(self._waiting)

    @property
    def epoch(self) -> int:
        """The epoch of that owner."""
        return self._epoch

    @property
    def owner(self) -> str | None:
        """Whom this channel leads to."""
        return self._owner

    def deadline(self) -> Instant | None:
        """When `wake` is wanted."""
        until = self._waiting[0][0] if self._waiting else None
        if until is None or self._resend_at is None:
            return until if self._resend_at is None else self._resend_at
        return min(until, self._resend_at)

    def post(self, items: tuple[Any, ...], now: Instant) -> SenderEffects:
        """Send messages, now or when there is an owner. They travel together, as far as that is possible."""
        options, sent = self._options, self._sent
        free = options.max_waiting - len(sent) - len(self._waiting)
        refused: SenderEffects = ()
        if len(items) > free:
            reason = f"{options.max_waiting} messages wait for this shard already"
            items, refused = items[:free], (Returned(items[free:], reason),)
        if self._waiting or self._owner is None or self._asking or len(sent) + len(items) > options.window:
            until = now + options.patience_ns
            self._waiting.extend([(until, item) for item in items])
            return (*refused, *self._send_more(now))
        # Nothing is before them, and the window has room: they need not wait.
        return (*refused, *self._send(items, now)) if items else refused

    def lead_to(self, owner: str | None, epoch: int, now: Instant) -> SenderEffects:
        """The shard is owned by `owner` at `epoch`, as far as is known here. What is older changes nothing."""
        if epoch < self._epoch or (epoch == self._epoch and owner == self._owner):
            return ()
        if epoch == self._epoch and self._owner is not None:
            return ()  # There is one owner for an epoch: that is a lie.
        same = epoch == self._epoch
        self._owner, self._epoch = owner, epoch
        if owner is None:
            self._resend_at = None
            return ()
        if same:
            return (*self._repeat(now), *self._send_more(now))
        if not self._sent:
            self._begin_anew()
            return self._send_more(now)
        self._asking = True
        return self._repeat(now)

    def lead_back(self, owner: str | None, epoch: int, now: Instant) -> SenderEffects:
        """The later owner that somebody told of was never heard of again, and this is what is known here (rule 9)."""
        self._owner, self._epoch = owner, epoch
        self._asking = bool(self._sent)
        return (*self._repeat(now), *self._send_more(now))

    def accepted(self, peer: str, message: Accepted, now: Instant) -> SenderEffects:
        """The owner has accepted some."""
        if not self._is_of_owner(peer, message) or self._asking or message.channel != self._channel:
            return ()
        first = self._next - len(self._sent)
        if not first <= message.count < self._next:
            return ()
        settled = self._settle(message.count)
        self._resend_at = now + self._options.resend_ns if self._sent else None
        return (settled, *self._send_more(now))

    def welcome(self, peer: str, message: Welcome, now: Instant) -> SenderEffects:
        """The new owner says how many of this channel were accepted before."""
        if not self._is_of_owner(peer, message) or not self._asking or message.channel != self._channel:
            return ()
        first = self._next - len(self._sent)
        if message.count is None:
            failed = tuple(self._sent)
            self._begin_anew()
            return (Failed(failed), *self._send_more(now))
        if not first - 1 <= message.count < self._next:
            return ()
        self._asking = False
        settled = (self._settle(message.count),) if message.count >= first else ()
        return (*settled, *self._repeat(now), *self._send_more(now))

    def wake(self, now: Instant) -> SenderEffects:
        """The deadline has come, or not."""
        returned: list[Any] = []
        while self._waiting and self._waiting[0][0] <= now:
            returned.append(self._waiting.popleft()[1])
        effects: SenderEffects = ()
        if returned:
            why = "no owner of this shard was found in time" if self._owner is None else "the owner takes no more"
            effects = (Returned(tuple(returned), why),)
        if self._resend_at is not None and now >= self._resend_at:
            effects += self._repeat(now)
        return effects

    def give_up(self, reason: str) -> SenderEffects:
        """The sender ends: all that is left fails or is returned."""
        failed, returned = tuple(self._sent), tuple([item for _, item in self._waiting])
        self._begin_anew()
        self._waiting.clear()
        effects: SenderEffects = (Failed(failed),) if failed else ()
        return (*effects, Returned(returned, reason)) if returned else effects

    def invariants(self) -> None:
        """Assert what must hold between two calls."""
        assert len(self._sent) <= self._options.window, "too many are under way"
        assert len(self) <= self._options.max_waiting, "too many are kept"
        assert self._next > len(self._sent), "numbers begin with 1"
        assert not self._asking or self._sent, "it asks about nothing"
        assert self._resend_at is None or self._sent, "nothing is to be sent again"
        assert self._owner is None or not self._sent or self._resend_at is not None, "nobody looks after what is sent"

    def _is_of_owner(self, peer: str, message: Accepted | Welcome) -> bool:
        return peer == self._owner and message.epoch == self._epoch

    def _begin_anew(self) -> None:
        """Everything of this channel is settled: begin the next one (rule 4)."""
        self._channel += 1
        self._next = 1
        self._sent.clear()
        self._asking = False
        self._resend_at = None

    def _settle(self, count: int) -> Settled:
        sent = self._sent
        settled = count - (self._next - len(sent)) + 1
        if settled == len(sent):
            items = tuple(sent)
            sent.clear()
            self._resend_at = None
            return Settled(items)
        return Settled(tuple([sent.popleft() for _ in range(settled)]))

    def _send_more(self, now: Instant) -> SenderEffects:
        owner = self._owner
        room = self._options.window - len(self._sent)
        if owner is None or self._asking or room <= 0 or not self._waiting:
            return ()
        return self._send(tuple([self._waiting.popleft()[1] for _ in range(min(room, len(self._waiting)))]), now)

    def _send(self, items: tuple[Any, ...], now: Instant) -> SenderEffects:
        """Send these for the first time. There is an owner, and room in the window."""
        owner = self._owner
        assert owner is not None
        if not self._sent:
            self._since = self._epoch
        first = self._next
        self._next += len(items)
        self._sent.extend(items)
        if self._resend_at is None:
            self._resend_at = now + self._options.resend_ns
        return (ToSend(owner, Post(self._epoch, self._channel, first, items)),)

    def _repeat(self, now: Instant) -> SenderEffects:
        """Send again what is under way, or ask again about it."""
        if self._owner is None or not self._sent:
            self._resend_at = None
            return ()
        self._resend_at = now + self._options.resend_ns
        if self._asking:
            return (ToSend(self._owner, Hello(self._epoch, self._channel, self._since)),)
        first = self._next - len(self._sent)
        return (ToSend(self._owner, Post(self._epoch, self._channel, first, tuple(self._sent))),)


# The owner -----------------------------------------------------------------------------------------------------------


@value
class Record:
    """What an owner hands over to the next."""

    since: int
    """The epoch of the first owner since when it has been handed over without a break (rule 8)."""
    accepted: tuple[tuple[str, int, int], ...]
    """Sending node, channel, and how many of its messages were accepted; in the order of the nodes."""


class Receiver:
    """The record of an owner: how many messages of which channel of each sending node it has accepted."""

    __slots__ = ("_accepted", "_epoch", "_since")

    def __init__(self, epoch: int, record: Record | None) -> None:
        """`record` is what the previous owner has handed over; `None` when it could not."""
        self._epoch = epoch
        self._since = epoch if record is None else record.since
        accepted = () if record is None else record.accepted
        self._accepted: dict[str, tuple[int, int]] = {sender: (channel, count) for sender, channel, count in accepted}

    def record(self) -> Record:
        """What to hand over to the next owner."""
        return Record(self._since, tuple([(sender, *self._accepted[sender]) for sender in sorted(self._accepted)]))

    def on_post(self, sender: str, message: Post) -> tuple[tuple[Any, ...], Accepted | None]:
        """Accept what is new of a message. Returns that, and the answer."""
        if message.epoch != self._epoch or message.first < 1 or message.channel < 1:
            return (), None
        channel, count = self._accepted.get(sender, (0, 0))
        if message.channel < channel:
            return (), None
        if message.channel > channel:
            count = 0
        skip = count - message.first + 1
        if skip < 0:
            return (), None  # What comes before is still on its way.
        items = message.items[skip:]
        count = max(count, message.first + len(message.items) - 1)
        self._accepted[sender] = (message.channel, count)
        return items, Accepted(self._epoch, message.channel, count)

    def on_hello(self, sender: str, message: Hello) -> Welcome | None:
        """Say how many were accepted before, if that is known."""
        if message.epoch != self._epoch:
            return None
        channel, count = self._accepted.get(sender, (0, 0))
        if message.channel < channel:
            return None
        if channel != message.channel:
            count = 0
        # A channel that is not in the record has had nothing accepted by all those whose record this is.
        return Welcome(self._epoch, message.channel, count if message.since >= self._since else None)

    def forget(self, sender: str) -> None:
        """The sending node is gone for good."""
        self._accepted.pop(sender, None)
