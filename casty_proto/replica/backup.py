"""The copies that a node holds for others.

Theory of operation
-------------------
A copy belongs to one shard and obeys one owner: the one with the highest epoch that it has heard of. Within the epoch
it obeys the highest stage. What comes from an earlier epoch is refused, so that its sender learns that it is no owner
any more; what comes from an earlier stage was overtaken by something newer of the same owner, and is dropped.

    Update ---> the entity's entry, if its version is higher     Fetch ---> fence, and list the entries
    Whole  ---> what was not confirmed is removed                Pull  ---> their states
    Drop   ---> everything is removed, the fence stays          Ended ---> the fences of a region go too

An entry has a version, and the stage in which it was last confirmed. Entries of epochs before the present one were not
confirmed in it. `whole` says up to where the copy is complete: an entity that the copy lacks, and whose version
elsewhere is not beyond `whole`, was deleted. So deletions need not be remembered for ever (rule 20).

What this node had as an owner comes in as `Keep`, and is a copy like the others from then on.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from random import Random
from typing import assert_never

from attrs import define, field

from ..machine import Instant, Note, Severity, Wake, shown
from . import delta
from .door import to_copy
from .events import BackupEffect, BackupEvent, Began, Ended, Keep, Received, Send
from .messages import (
    NEVER,
    Ack,
    Drop,
    Dropped,
    Fetch,
    Held,
    InUse,
    NeedsWhole,
    Page,
    Pull,
    Refused,
    State,
    States,
    ToCopy,
    Update,
    Version,
    Whole,
    WholeAck,
)
from .options import ReplicaOptions

type _Effects = tuple[BackupEffect, ...]


@define
class Entry:
    """What a copy has of one entity."""

    version: Version
    state: bytes | None
    stage: int
    """Of the epoch of the version: when it was last confirmed."""


@define
class Copy:
    """What this node has of one shard."""

    epoch: int = 0
    stage: int = 0
    """0: the owner of this epoch has only asked so far."""
    owner: str | None = None
    entries: dict[str, Entry] = field(factory=dict)
    whole: Version = NEVER
    index: int = 0
    """Of the membership as of which it is complete."""
    listing: tuple[str, ...] | None = None
    """What the owner of this epoch is being told page by page."""


class Backup:
    """The copies of one node. Remembers one epoch for each shard of which it ever had one.

    `rng` draws the number by which this process is told from others of the same node. Without `options` the defaults
    hold.
    """

    __slots__ = ("_began", "_copies", "_life", "_options")

    def __init__(self, rng: Random, options: ReplicaOptions | None = None) -> None:
        self._copies: dict[tuple[str, int], Copy] = {}
        self._life = rng.getrandbits(62)
        self._options = options or ReplicaOptions()
        self._began: int | None = 0

    def handle(self, event: BackupEvent, now: Instant) -> _Effects:
        """Apply one event and return all of its effects, in order; see `casty_proto.machine`."""
        match event:
            case Received():
                return self._on_received(event)
            case Keep():
                return self._on_keep(event)
            case Ended(region, below):
                for key in [key for key in self._copies if key[0] == region]:
                    self._end(key, below)
                return ()
            case Began(index):
                self._began = index
                return ()
            case Wake():
                return ()
            case _:
                assert_never(event)

    def deadline(self) -> Instant | None:
        """Never: a copy waits to be spoken to."""
        return None

    def copies(self) -> tuple[tuple[str, int], ...]:
        """The shards of which it has something."""
        return tuple([key for key, copy in self._copies.items() if copy.entries])

    def _on_received(self, event: Received) -> _Effects:
        peer, message = event.peer, to_copy(event.message)
        if isinstance(message, str):
            return _note(peer, message)
        copy = self._copies.get((message.region, message.shard)) or Copy()
        if message.epoch < copy.epoch:
            return (Send(peer, Refused(message.region, message.shard, copy.epoch)),)
        if message.epoch == copy.epoch and peer != copy.owner:
            return _note(peer, f"it is not the owner in epoch {copy.epoch}, {copy.owner} is: {shown(message)}")
        match message:
            case Update():
                return self._on_update(peer, message, copy)
            case Whole():
                return self._on_whole(peer, message, copy)
            case Drop():
                return self._on_drop(peer, message, copy)
            case Fetch():
                return self._on_fetch(peer, message, copy)
            case Pull():
                return self._on_pull(peer, message, copy)
            case _:
                assert_never(message)

    # From an owner to its backup ------------------------------------------------------------------------------------

    def _on_update(self, peer: str, message: Update, copy: Copy) -> _Effects:
        if _is_late(message, copy):
            return ()
        region, shard, epoch, stage = message.region, message.shard, message.epoch, message.stage
        entity, version = message.entity, (epoch, message.sequence)
        entry = copy.entries.get(entity)
        if entry is not None and entry.version >= version:
            self._obey(peer, message, stage, copy)
            entry.stage = stage
            return (Send(peer, Ack(region, shard, epoch, stage, self._life, entity, entry.version[1])),)
        state = message.state
        if message.base is not None and state is not None:
            if entry is None or entry.state is None or entry.version != message.base:
                self._obey(peer, message, stage, copy)
                return (Send(peer, NeedsWhole(region, shard, epoch, stage, self._life, entity, version[1])),)
            try:
                state = delta.apply(entry.state, state)
            except delta.DeltaError as error:
                return _note(peer, f"malformed delta ({error}): {shown(message)}")
        self._obey(peer, message, stage, copy)
        copy.entries[entity] = Entry(version, state, stage)
        return (Send(peer, Ack(region, shard, epoch, stage, self._life, entity, version[1])),)

    def _on_whole(self, peer: str, message: Whole, copy: Copy) -> _Effects:
        if _is_late(message, copy):
            return ()
        epoch = message.epoch
        answer = WholeAck(message.region, message.shard, epoch, message.stage, self._life)
        if message.life not in (None, self._life):
            # It was said to a process that is gone, and had all that. The owner learns from the answer that it is.
            return (Send(peer, answer),)
        self._obey(peer, message, message.stage, copy)
        whole = (epoch, message.sequence)
        if copy.whole <= whole:
            copy.whole = whole
            copy.index = max(copy.index, message.index)
        for name, entry in list(copy.entries.items()):
            confirmed = (entry.version[0], entry.stage) >= (epoch, message.since)
            if not confirmed or (entry.state is None and entry.version <= whole):
                del copy.entries[name]
        return (Send(peer, answer),)

    def _on_drop(self, peer: str, message: Drop, copy: Copy) -> _Effects:
        if _is_late(message, copy):
            return ()
        self._obey(peer, message, message.stage, copy)
        copy.entries = {}
        copy.whole, copy.index = NEVER, 0
        return (Send(peer, Dropped(message.region, message.shard, message.epoch, message.stage)),)

    def _obey(self, peer: str, message: ToCopy, stage: int, copy: Copy) -> None:
        """From now on nothing counts that is older than this message (rules 12 and 13)."""
        copy.epoch, copy.stage, copy.owner = message.epoch, stage, peer
        copy.listing = None
        self._copies[message.region, message.shard] = copy

    # From a new owner -----------------------------------------------------------------------------------------------

    def _on_fetch(self, peer: str, message: Fetch, copy: Copy) -> _Effects:
        if self._began is None:
            return ()  # Who asks would take this process for the one before it. It asks again.
        if not self._hear(peer, message, copy):
            return (Send(peer, InUse(message.region, message.shard, message.epoch)),)
        if copy.listing is None:
            copy.listing = tuple(copy.entries)
        start, entries, size = message.start, [], 0
        listing, options = copy.listing, self._options
        for name in listing[start : start + options.page_entries]:
            entry = copy.entries[name]
            held: Held = (name, *entry.version, entry.state is None)
            entries.append(held)
            size += len(name)
            if size >= options.page_bytes:
                break
        end = start + len(entries)
        following = end if entries and end < len(listing) else 0
        page = Page(
            *(message.region, message.shard, message.epoch, self._life),
            copy.whole,
            start,
            tuple(entries),
            following,
            copy.index,
            self._began,
        )
        return (Send(peer, page),)

    def _on_pull(self, peer: str, message: Pull, copy: Copy) -> _Effects:
        if not self._hear(peer, message, copy):
            return (Send(peer, InUse(message.region, message.shard, message.epoch)),)
        entries: list[State] = []
        size = 0
        for name in message.entities[: self._options.page_entries]:
            entry = copy.entries.get(name)
            if entry is None:
                continue
            size += len(name) + len(entry.state or b"")
            if entries and size > self._options.page_bytes:
                break
            entries.append((name, *entry.version, entry.state))
        answer = States(message.region, message.shard, message.epoch, self._life, tuple(entries))
        return (Send(peer, answer),)

    def _hear(self, peer: str, message: Fetch | Pull, copy: Copy) -> bool:
        """Whether it is the owner of this epoch, and still asks. Earlier owners are fenced off (rule 16)."""
        if message.epoch > copy.epoch:
            self._obey(peer, message, 0, copy)
        return copy.stage == 0

    # Regions that are no more ----------------------------------------------------------------------------------------

    def _end(self, key: tuple[str, int], below: int) -> None:
        """Rule 26."""
        copy = self._copies[key]
        if copy.epoch < below:
            del self._copies[key]
            return
        copy.entries = {name: entry for name, entry in copy.entries.items() if entry.version[0] >= below}
        copy.listing = None
        if copy.whole[0] < below:
            copy.whole, copy.index = NEVER, 0

    # From the owner that this node was ------------------------------------------------------------------------------

    def _on_keep(self, event: Keep) -> _Effects:
        """Of both the newer, entity by entity; what one of them knows to be deleted is not brought back."""
        copy = self._copies.setdefault((event.region, event.shard), Copy())
        own, copy.entries = copy.entries, {}
        kept = dict.fromkeys(entry[0] for entry in event.entries)
        for name, entry in own.items():
            if name in kept or entry.version > event.whole:
                copy.entries[name] = entry
        for name, epoch, sequence, state in event.entries:
            version = (epoch, sequence)
            mine = own.get(name)
            if mine is None and version <= copy.whole:
                continue
            if mine is None or mine.version < version:
                copy.entries[name] = Entry(version, state, event.stage)
        copy.whole = max(copy.whole, event.whole)
        copy.index = max(copy.index, event.index)
        copy.listing = None
        if event.epoch >= copy.epoch:
            copy.epoch, copy.stage, copy.owner = event.epoch, event.stage, None
        return ()

    def invariants(self) -> None:
        """Assert what holds between two calls."""
        for copy in self._copies.values():
            assert copy.epoch > 0, "a copy that obeys nobody"
            for name, entry in copy.entries.items():
                assert entry.version > NEVER, name
                assert entry.version[0] <= copy.epoch, f"{name} is of an owner that was never heard of"
                assert entry.version[0] < copy.epoch or entry.stage <= copy.stage, f"{name} is ahead of its stage"
            assert copy.whole[0] <= copy.epoch
            assert copy.listing is None or copy.stage == 0, "a listing that nobody reads"
            assert copy.listing is None or list(copy.listing) == list(copy.entries)


def _is_late(message: Update | Whole | Drop, copy: Copy) -> bool:
    """Whether something newer of the same owner has come already."""
    return message.epoch == copy.epoch and message.stage < copy.stage


def _note(peer: str, text: str) -> _Effects:
    return (Note(Severity.WARNING, f"replication: dropped from {peer}: {text} (rule 25)"),)
