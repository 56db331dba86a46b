"""What an owner learns from its backups.

Which answers count (rule 9)
----------------------------
An answer names epoch, stage, entity, sequence, and the life of the process that gives it. It counts for the copy that
it is about, and for no other:

1.  Of another epoch: it is about the updates of another owner, or of this node in another time.
2.  Of a stage before the backup's link began: it is from the last time that it was a backup. Its copy may have been
    dropped since then.
3.  Of another life: the process that acknowledged is gone, and what it had with it. The link begins anew. Its stage is
    new too, so what the dead process said last cannot be taken for what the new one says.
"""

from __future__ import annotations

from .events import PrimaryEffect, UpToDate
from .messages import NEVER, Ack, Dropped, NeedsWhole, WholeAck
from .owned import Link, Owned
from .peers import Control, Key
from .sending import Sending, ShardKey
from .waits import Waits

type _Out = list[PrimaryEffect]
type _Answer = Ack | NeedsWhole | WholeAck


class Answers:
    """Takes the answers of backups to heart."""

    __slots__ = ("_sending", "_shards", "_waits")

    def __init__(self, shards: dict[ShardKey, Owned], sending: Sending, waits: Waits) -> None:
        self._shards = shards
        self._sending = sending
        self._waits = waits

    def on_answer(self, peer: str, message: _Answer | Dropped, out: _Out) -> bool:
        """False, and nothing changed, where it answers what was never said."""
        owned = self._shards.get((message.region, message.shard))
        if owned is None or message.epoch != owned.epoch or owned.recovery is not None:
            return True
        if message.stage > owned.stage:
            return False
        if isinstance(message, Dropped):
            self._on_dropped(owned, peer, message)
            return True
        link = owned.links.get(peer)
        if link is None or message.stage < link.since:
            return True
        if isinstance(message, Ack | NeedsWhole) and not _is_possible(owned, message):
            return False
        self._sending.heard(peer)
        if link.life is None:
            link.life = message.life
        if link.life != message.life:
            self.restart(owned, peer)
        elif isinstance(message, WholeAck):
            self._on_whole_ack(owned, peer, link, message, out)
        elif message.entity not in owned.records:
            pass  # its deletion was cleared away meanwhile
        elif isinstance(message, Ack):
            self._on_ack(owned, peer, link, message, out)
        else:
            self._on_needs_whole(owned, peer, link, message)
        return True

    def _on_ack(self, owned: Owned, peer: str, link: Link, message: Ack, out: _Out) -> None:
        entity, sequence = message.entity, message.sequence
        key: Key = (owned.region, owned.shard, entity)
        flight = self._sending.flight(peer, key)
        if flight is not None and sequence >= flight.sequence:
            self._sending.land(peer, key)
        version, record = (owned.epoch, sequence), owned.records[entity]
        if version <= link.behind.get(entity, record.version):
            return
        if version == record.version:
            del link.behind[entity]
        else:
            link.behind[entity] = version
            self._sending.add(peer, key)
        self._sending.prune(owned, entity, record)
        if link.missing.get(entity, sequence + 1) <= sequence:
            del link.missing[entity]
            if not link.missing:
                self._sending.add(peer, (owned.region, owned.shard, Control.WHOLE))
        self._waits.settle(owned, entity, out)

    def _on_needs_whole(self, owned: Owned, peer: str, link: Link, message: NeedsWhole) -> None:
        key: Key = (owned.region, owned.shard, message.entity)
        flight = self._sending.flight(peer, key)
        if flight is None or flight.sequence != message.sequence:
            return
        self._sending.land(peer, key)
        link.behind[message.entity] = NEVER
        self._sending.add(peer, key)
        self._sending.prune(owned, message.entity, owned.records[message.entity])

    def _on_whole_ack(self, owned: Owned, peer: str, link: Link, message: WholeAck, out: _Out) -> None:
        if message.stage < owned.stage or link.missing or link.whole:
            return
        # It may be under way once more, or wait to be, because the answer was slow.
        self._sending.cancel(peer, (owned.region, owned.shard, Control.WHOLE))
        link.whole = True
        if not link.announced:
            link.announced = True
            out.append(UpToDate(owned.region, owned.shard, peer))
        self._waits.settle_flush(owned, peer, out)
        self.drop_leavers(owned)

    def drop_leavers(self, owned: Owned) -> None:
        """Copies of former backups are of no use when all present ones are complete, or there are to be none."""
        if all(link.whole for link in owned.links.values()):
            for node in owned.leaving:
                self._sending.add(node, (owned.region, owned.shard, Control.DROP))

    def _on_dropped(self, owned: Owned, peer: str, message: Dropped) -> None:
        key: Key = (owned.region, owned.shard, Control.DROP)
        if peer in owned.leaving and self._sending.flight(peer, key) is not None:
            self._sending.heard(peer)
            self._sending.land(peer, key)
            del owned.leaving[peer]

    # Beginning anew -------------------------------------------------------------------------------------------------

    def restart(self, owned: Owned, node: str) -> None:
        """What that backup had is lost."""
        self._sending.begin_stage(owned)
        self.renew(owned, node)

    def renew(self, owned: Owned, node: str) -> None:
        """Bring a backup up to date from nothing. A new stage has begun."""
        self._sending.forget(node, owned)
        owned.links[node] = owned.empty_link()
        self._sending.add_all(node, owned)
        self._sending.complete(owned)


def _is_possible(owned: Owned, message: Ack | NeedsWhole) -> bool:
    """Whether that sequence of that entity may have been sent."""
    record = owned.records.get(message.entity)
    return message.sequence <= (owned.sequence if record is None else record.version[1])
