"""What a node does to get messages to the owners of shards: a channel for each shard that it has something for."""

from __future__ import annotations

from typing import assert_never

from attrs import evolve

from ..machine import Instant, Rejected, Reply
from ..shard.channel import Accepted, Failed, Moved, Post, Returned, Sender, SenderEffects, Settled, ToSend, Welcome
from ..shard.steward import Spot
from ..timers import Deadlines
from .checks import NodeKey
from .core import Core
from .events import Done, Entry, Tell, Tells, Unknown
from .messages import Routed
from .outcomes import ShardsMoved

_CHANNELS = 2**24
"""More channels than one process can use up for a shard."""


class Routing:
    """The channels of a node."""

    __slots__ = ("_believed_until", "_core", "_deadlines", "_due", "_first", "_senders")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._senders: dict[Spot, Sender] = {}
        self._deadlines: Deadlines[Spot] = Deadlines()
        self._due: dict[Spot, Instant] = {}
        """The same by channel. A channel is due then or later."""
        self._believed_until: dict[Spot, Instant] = {}
        """Of channels that lead to owners that only others have told of."""
        self._first: int | None = 1
        """The number of the first channel to any shard; `None` while it is not known which are used up."""

    def await_life(self) -> None:
        """An earlier process has used channels, nobody knows how many."""
        self._first = None

    def life_began(self, index: int) -> None:
        """The command that marks the beginning of this process is applied."""
        self._first = index * _CHANNELS

    # -- events --------------------------------------------------------------------------------------------------------

    def on_tell(self, event: Tell) -> None:
        """A message for a shard."""
        self._post(event.region, event.shard, ((event.item, event.request, True),))

    def on_tells(self, event: Tells) -> None:
        """Several messages for one shard. They travel together."""
        self._post(event.region, event.shard, event.entries)

    def _post(self, name: str, shard: int, entries: tuple[Entry, ...]) -> None:
        core = self._core
        region = core.state.region(name)
        reason = ""
        if self._first is None or not core.is_in:
            reason = f"{core.key} belongs to no cluster at the moment"
        elif region is None:
            reason = f"there is no {name!r}; register it first"
        elif region.closing:
            reason = f"{name!r} is being removed"
        elif not 0 <= shard < region.num_shards:
            reason = f"{name!r} has {region.num_shards} shards, and none with number {shard}"
        if reason:
            self._answer(entries, Rejected(reason))
            return
        assert self._first is not None
        assert region is not None
        spot = (name, shard)
        sender = self._senders.get(spot)
        if sender is None:
            sender = self._senders[spot] = Sender(core.options.channels, self._first)
            sender.lead_to(region.owner(shard), region.epoch(shard), core.now)
        if spot in self._believed_until:
            self._doubt(spot, sender)
        self._perform(spot, sender, sender.post(entries, core.now))

    def moved(self, change: ShardsMoved) -> None:
        """Shards have another owner."""
        for shard, _, _ in change.shards:
            spot = (change.region, shard)
            sender = self._senders.get(spot)
            if sender is not None:
                self._perform(spot, sender, sender.lead_to(change.to, change.epoch, self._core.now))

    def region_removed(self, region: str) -> None:
        """Nobody will own its shards any more. What waits was never sent; of what is under way, nobody knows."""
        for spot in [spot for spot in self._senders if spot[0] == region]:
            sender = self._senders.pop(spot)
            self._perform(spot, sender, sender.give_up(f"{region!r} was removed"))

    def on_routed(self, peer: NodeKey, region: str, shard: int, body: Accepted | Welcome | Moved) -> None:
        """An owner, or somebody who is none, has answered."""
        spot, now = (region, shard), self._core.now
        sender = self._senders.get(spot)
        if sender is None:
            return
        if type(body) is not Moved and (peer, body.epoch) == (sender.owner, sender.epoch):
            self._believed_until.pop(spot, None)  # It is there.
        match body:
            case Accepted():
                self._perform(spot, sender, sender.accepted(peer, body, now))
            case Welcome():
                self._perform(spot, sender, sender.welcome(peer, body, now))
            case Moved(_, owner, newest):
                if newest > sender.epoch:
                    self._believed_until[spot] = now + self._core.options.channels.patience_ns
                self._perform(spot, sender, sender.lead_to(owner, newest, now))
            case _:
                assert_never(body)

    def _doubt(self, spot: Spot, sender: Sender) -> None:
        """Rule 9 of channels: a node that told of an owner that does not exist would keep all messages from the one
        that does."""
        until, region = self._believed_until.get(spot), self._core.state.region(spot[0])
        if until is None or region is None or self._core.now < until:
            return
        del self._believed_until[spot]
        owner, epoch = region.owner(spot[1]), region.epoch(spot[1])
        if sender.epoch > epoch:
            self._perform(spot, sender, sender.lead_back(owner, epoch, self._core.now))

    def wake(self) -> None:
        """The deadline has come."""
        for spot in self._deadlines.due(self._core.now):
            del self._due[spot]
            sender = self._senders.get(spot)
            if sender is None:
                continue
            self._doubt(spot, sender)
            self._perform(spot, sender, sender.wake(self._core.now))

    def deadline(self) -> Instant | None:
        """When `wake` is wanted."""
        return self._deadlines.earliest()

    def end(self, reason: str) -> None:
        """This node does nothing more."""
        for spot, sender in self._senders.items():
            self._perform(spot, sender, sender.give_up(reason))
        self._deadlines.clear()
        self._due.clear()
        self._first = None

    def invariants(self) -> None:
        """Assert what must hold between two events."""
        self._deadlines.invariants()
        assert len(self._due) == len(self._deadlines), "a deadline is not known"
        for spot, sender in self._senders.items():
            sender.invariants()
            deadline, due = sender.deadline(), self._due.get(spot)
            assert deadline is None or (due is not None and due <= deadline), f"{spot} is not looked after"

    # -- effects -------------------------------------------------------------------------------------------------------

    def _perform(self, spot: Spot, sender: Sender, effects: SenderEffects) -> None:
        core = self._core
        for effect in effects:
            match effect:
                case ToSend(to, message):
                    for part in self._parts(message) if type(message) is Post else (message,):
                        core.send(to, Routed(*spot, part))
                case Settled(items):
                    done = Done(core.state.changed)
                    for _, request, wants_done in items:
                        if wants_done and request is not None:
                            core.out.append(Reply(request, done))
                case Failed(items):
                    self._answer(items, Unknown("an owner is gone that may have had it"))
                case Returned(items, reason):
                    self._answer(items, Rejected(reason))
                case _:
                    assert_never(effect)
        # A channel in use changes its deadline with every message, and hardly ever to an earlier one. What is due too
        # early finds nothing to do.
        deadline = sender.deadline()
        if deadline is None:
            return
        due = self._due.get(spot)
        if due is None or deadline < due:
            self._due[spot] = deadline
            self._deadlines.set(spot, deadline)

    def _parts(self, post: Post) -> list[Post]:
        """The same as several messages, none of which is too long to be sent."""
        most = self._core.options.post_bytes
        items = tuple([item for item, _, _ in post.items])
        if sum(map(len, items)) <= most:
            return [Post(post.epoch, post.channel, post.first, items)]
        parts: list[Post] = []
        data: list[bytes] = []
        first, size = post.first, 0
        for item in items:
            if data and size + len(item) > most:
                parts.append(evolve(post, first=first, items=tuple(data)))
                first, size, data = first + len(data), 0, []
            data.append(item)
            size += len(item)
        parts.append(evolve(post, first=first, items=tuple(data)))
        return parts

    def _answer(self, entries: tuple[Entry, ...], result: Unknown | Rejected) -> None:
        """The same answer for all of these."""
        for _, request, _ in entries:
            if request is not None:
                self._core.out.append(Reply(request, result))
