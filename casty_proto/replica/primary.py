"""The owner's end: the shards that a node owns, and what their backups have.

Theory of operation
-------------------
    Own --> recovering -- all replicas have said what they have --> owned --> Disown, or a later owner --> Keep
                                                                      ^
                                              Changed, Deleted -------+------> Update ... Ack ------> Durable

A write gets the next sequence of the shard, is put into the queue of each backup, and waits until enough of them have
acknowledged that sequence of that entity, or a later one. What is sent, how much of it at a time, and when again is
the business of `sending.py`; what is asked of whom before a shard is ready, that of `recovery.py`.

Whenever the backups change, a new stage begins. Each backup gets what it lacks of the state at that time, and is told
that it is complete (`Whole`). When all are, the copies of those who are no backups any more are dropped; not earlier,
because they may be the only ones. A stage also begins when enough deletions were acknowledged by all: their records are
forgotten, and nothing from before the stage counts any more, so that no late message brings the deleted back.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from typing import Any, assert_never

from ..machine import Instant, Note, Rejected, Reply, Severity, Wake, shown
from ..timers import Deadlines
from .answers import Answers
from .counting import Counting
from .door import to_owner
from .events import (
    Backups,
    Changed,
    Deleted,
    Disown,
    Down,
    Durable,
    Flush,
    Gone,
    Keep,
    Lost,
    Overtaken,
    Own,
    PrimaryEffect,
    PrimaryEvent,
    Received,
    Recovered,
    Send,
    Superseded,
)
from .messages import NEVER, Ack, Drop, Dropped, InUse, NeedsWhole, Page, Refused, States, WholeAck
from .options import ReplicaOptions
from .owned import Link, Owned, Record
from .recovery import Recovery
from .sending import PEER, RECOVERY, WRITE, Due, Sending, ShardKey
from .waits import Waits

type _Out = list[PrimaryEffect]


class Primary:
    """The shards that the node `node` owns. Without `options` the defaults hold."""

    __slots__ = (
        "_answers",
        "_deadlines",
        "_down",
        "_epochs",
        "_node",
        "_noted",
        "_options",
        "_sending",
        "_shards",
        "_waits",
    )

    def __init__(self, node: str, options: ReplicaOptions | None = None) -> None:
        self._node = node
        self._options = options = options or ReplicaOptions()
        self._shards: dict[ShardKey, Owned] = {}
        self._epochs: dict[ShardKey, int] = {}
        """The last epoch in which each shard was owned, or overtaken."""
        self._down: dict[str, None] = {}
        self._noted: dict[str, None] = {}
        """Regions of which it was said that there are too few backups."""
        self._deadlines: Deadlines[Due] = Deadlines()
        self._sending = Sending(self._shards, self._deadlines, options)
        self._waits = Waits(self._shards, self._deadlines, options)
        self._answers = Answers(self._shards, self._sending, self._waits)

    # The machine ----------------------------------------------------------------------------------------------------

    def handle(self, event: PrimaryEvent, now: Instant) -> tuple[PrimaryEffect, ...]:
        """Apply one event and return all of its effects, in order; see `casty_proto.machine`."""
        out: _Out = []
        match event:
            case Changed():
                self._on_write(event, event.state, now, out)
            case Deleted():
                self._on_write(event, None, now, out)
            case Received():
                self._on_received(event, now, out)
            case Own():
                self._on_own(event, now, out)
            case Disown():
                self._on_disown(event, now, out)
            case Backups():
                self._on_backups(event, now, out)
            case Flush():
                self._on_flush(event, now, out)
            case Down():
                self._on_down(event, now, out)
            case Gone():
                self._on_gone(event, now, out)
            case Lost():
                self._on_lost(event, now, out)
            case Overtaken():
                self._on_overtaken(event, now, out)
            case Wake():
                self._on_wake(now, out)
            case _:
                assert_never(event)
        return tuple(out)

    def deadline(self) -> Instant | None:
        """When the machine wants `Wake`, or `None`."""
        return self._deadlines.earliest()

    def epoch_of(self, region: str, shard: int) -> int:
        """The epoch in which the shard is owned, or 0. For the door of the node: see `Overtaken`."""
        owned = self._shards.get((region, shard))
        return 0 if owned is None else owned.epoch

    def shards_of(self, region: str, below: int) -> tuple[ShardKey, ...]:
        """The shards of a region that are owned here, or about to be, at an epoch below that one."""
        return tuple([key for key, owned in self._shards.items() if key[0] == region and owned.epoch < below])

    def state_of(self, region: str, shard: int, entity: str) -> bytes | None:
        """The state of an entity of a shard that is owned here; `None` where it has none."""
        owned = self._shards.get((region, shard))
        record = None if owned is None else owned.records.get(entity)
        return None if record is None else record.state

    def is_safe(self, region: str, shard: int, entity: str) -> bool:
        """Whether an entity's present state is wherever its writes wanted it, and on one backup if there is any."""
        owned = self._shards.get((region, shard))
        if owned is None or owned.recovery is not None or entity not in owned.records:
            return False
        if owned.records[entity].waiting:
            return False
        return not owned.links or any(entity not in link.behind for link in owned.links.values())

    def gaps(self, region: str, shard: int) -> tuple[str, ...]:
        """The backups of a shard that have no complete copy; none where it is not owned, or is being recovered."""
        owned = self._shards.get((region, shard))
        return () if owned is None else tuple([node for node, link in owned.links.items() if not link.whole])

    def complete(self, region: str, shard: int) -> tuple[str, ...]:
        """The backups of a shard that have a complete copy; none where it is not owned, or is being recovered."""
        owned = self._shards.get((region, shard))
        return () if owned is None else tuple([node for node, link in owned.links.items() if link.whole])

    def lacks(self, region: str, shard: int) -> int:
        """How many backups a shard that is owned here lacks for its writes to be acknowledged."""
        owned = self._shards.get((region, shard))
        return 0 if owned is None else max(0, owned.required - len(owned.links))

    def _on_wake(self, now: Instant, out: _Out) -> None:
        for kind, what in self._deadlines.due(now):
            if kind == PEER:
                assert type(what) is str
                self._sending.on_peer_due(what, now, out)
            elif kind == WRITE:
                assert type(what) is int
                self._waits.on_write_due(what, out)
            else:
                assert type(what) is tuple
                self._on_recovery_due(self._shards[what], now, out)

    # Ownership ------------------------------------------------------------------------------------------------------

    def _on_own(self, event: Own, now: Instant, out: _Out) -> None:
        key, epoch = (event.region, event.shard), event.epoch
        owned, last = self._shards.get(key), self._epochs.get(key, 0)
        if owned is not None and owned.epoch == epoch:
            self._on_backups(Backups(*key, event.backups, event.possible, event.index), now, out)
            return
        if epoch <= last:
            # Its states were given away with it, and its sequences may be in use: an epoch is owned once.
            out.append(Superseded(*key, last))
            return
        if owned is not None:
            self._lose(owned, f"was assigned again, in epoch {epoch}", now, out)
        self._epochs[key] = epoch
        backups = self._others(event.backups)
        most = max(len(backups), event.possible)
        replicas = (self._node, *self._others(event.replicas))
        counting = Counting(event.counting, event.owners, dict(event.began), event.bearable, event.several)
        recovery = Recovery(*key, epoch, replicas, now, self._options, counting)
        owned = Owned(*key, epoch, event.settings, backups, most, self._options.tombstones_max, recovery)
        owned.index = event.index
        self._shards[key] = owned
        self._ask(owned, recovery, now, out)

    def _others(self, nodes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node for node in nodes if node != self._node))

    def _on_disown(self, event: Disown, now: Instant, out: _Out) -> None:
        owned = self._shards.get((event.region, event.shard))
        if owned is not None:
            self._lose(owned, "is not owned here any more", now, out)

    def _on_overtaken(self, event: Overtaken, now: Instant, out: _Out) -> None:
        key = (event.region, event.shard)
        owned = self._shards.get(key)
        if owned is None or owned.epoch >= event.epoch:
            return
        self._lose(owned, f"has had another owner since epoch {event.epoch}", now, out)
        self._epochs[key] = event.epoch
        out.append(Superseded(*key, event.epoch))

    def _lose(self, owned: Owned, why: str, now: Instant, out: _Out) -> None:
        """Own it no more. What is here may be the only copy of something: it stays on this node (rule 15)."""
        key = (owned.region, owned.shard)
        self._waits.fail_all(owned, f"{owned.region}/{owned.shard} {why}", out)
        for node in (*owned.links, *owned.leaving):
            self._sending.forget(node, owned)
        del self._shards[key]
        self._deadlines.cancel((RECOVERY, key))
        if owned.recovery is None:
            whole = (owned.epoch, owned.sequence)
            out.append(Keep(*key, owned.epoch, owned.stage, whole, owned.entries(), owned.index))
        self._pump(now, out)

    # Writes ---------------------------------------------------------------------------------------------------------

    def _on_write(self, event: Changed | Deleted, state: bytes | None, now: Instant, out: _Out) -> None:
        owned = self._ready(event.region, event.shard, event.request, out)
        if owned is None:
            return
        entity = event.entity
        record = owned.records.get(entity)
        if state != (None if record is None else record.state):
            record = self._put(owned, entity, state)
            self._pump(now, out)
        self._note_few(owned, out)
        if record is None:
            out.append(Durable(event.request))
        else:
            self._waits.begin(owned, entity, event.request, now, out)
        if state is None and len(owned.tombstones) >= owned.purge_at:
            self._clear_away(owned, now, out)

    def _ready(self, region: str, shard: int, request: Any, out: _Out) -> Owned | None:
        owned = self._shards.get((region, shard))
        if owned is not None and owned.recovery is None:
            return owned
        reason = "is being recovered" if owned is not None else "is not owned here"
        out.append(Reply(request, Rejected(f"{region}/{shard} {reason}")))
        return None

    def _put(self, owned: Owned, entity: str, state: bytes | None) -> Record:
        """The entity has a new state: each backup is behind."""
        owned.sequence += 1
        version = (owned.epoch, owned.sequence)
        record = owned.records.get(entity)
        before = NEVER
        if record is None:
            record = owned.records[entity] = Record(version, state)
        else:
            before = record.version
            if record.state is not None:
                record.older[before] = record.state
            record.version, record.state = version, state
        if state is None:
            owned.tombstones[entity] = None
        else:
            owned.tombstones.pop(entity, None)
        for node, link in owned.links.items():
            link.behind.setdefault(entity, before)
            self._sending.add(node, (owned.region, owned.shard, entity))
        self._sending.prune(owned, entity, record)
        return record

    def _clear_away(self, owned: Owned, now: Instant, out: _Out) -> None:
        """Forget the deletions that all have; who is silent is brought up to date from nothing later (rule 20)."""
        silent = [node for node in owned.links if self._sending.is_silent(node)]
        heard = [link for node, link in owned.links.items() if node not in silent]
        clear = [
            entity
            for entity in owned.tombstones
            if entity not in owned.waiting and not any(entity in link.behind for link in heard)
        ]
        if 2 * len(clear) >= self._options.tombstones_max:
            for node in silent:
                self._sending.forget(node, owned)
                owned.links[node].behind = {}
            for entity in clear:
                del owned.records[entity], owned.tombstones[entity]
            self._sending.begin_stage(owned)
            for node in silent:
                self._answers.renew(owned, node)
            self._pump(now, out)
        # A stage costs time for each entity that somebody lacks: so it is begun once for many deletions.
        many = max(self._options.tombstones_max, len(owned.records) // 8)
        owned.purge_at = len(owned.tombstones) + many

    def _note_few(self, owned: Owned, out: _Out) -> None:
        wanted = owned.settings.sync_count
        few = owned.most < wanted or (wanted < 0 and not owned.links)
        if few and owned.region not in self._noted:
            self._noted[owned.region] = None
            text = f"{owned.region}: sync_count is {wanted}, and there were never more than {owned.most} backups"
            out.append(Note(Severity.WARNING, f"{text}: a write waits for {owned.required}"))

    def _on_flush(self, event: Flush, now: Instant, out: _Out) -> None:
        owned = self._ready(event.region, event.shard, event.request, out)
        if owned is None:
            return
        if event.backup not in owned.links:
            reason = f"{event.backup} is no backup of {event.region}/{event.shard}"
            out.append(Reply(event.request, Rejected(reason)))
            return
        self._sending.begin_stage(owned)
        self._waits.begin_flush(owned, event.backup, event.request, now)
        self._pump(now, out)

    # Who is there ---------------------------------------------------------------------------------------------------

    def _on_backups(self, event: Backups, now: Instant, out: _Out) -> None:
        owned = self._shards.get((event.region, event.shard))
        if owned is None:
            return
        backups = self._others(event.backups)
        owned.most = max(owned.most, len(backups), event.possible)
        is_later = event.index > owned.index
        owned.index = max(owned.index, event.index)
        if backups == owned.backups:
            if is_later and owned.recovery is None and owned.settings.sync_count:
                # Copies that say that they are complete as of long ago leave it open who has held the shard since then.
                self._sending.begin_stage(owned)
                self._pump(now, out)
            return
        owned.backups = backups
        if owned.recovery is not None:
            return
        links = owned.links
        owned.links = {node: links[node] for node in backups if node in links}
        for node in links:
            if node not in owned.links:
                self._sending.forget(node, owned)
                self._waits.fail_flush(owned, node, f"{node} is no backup any more", out)
                owned.leaving[node] = None
        self._sending.begin_stage(owned)
        for node in backups:
            if node not in links:
                owned.leaving.pop(node, None)
                self._sending.forget(node, owned)
                self._answers.renew(owned, node)
        owned.links = {node: owned.links[node] for node in backups}
        for entity in list(owned.waiting):
            self._waits.settle(owned, entity, out)
        for entity, record in owned.records.items():
            self._sending.prune(owned, entity, record)
        if not owned.links:
            self._answers.drop_leavers(owned)
        self._pump(now, out)

    def _on_down(self, event: Down, now: Instant, out: _Out) -> None:
        self._down = dict.fromkeys(event.nodes)
        for owned in list(self._shards.values()):
            if owned.recovery is not None:
                out.extend(Send(node, question) for node, question in owned.recovery.ask_back(self._down))
                self._go_on(owned, owned.recovery, now, out)

    def _on_gone(self, event: Gone, now: Instant, out: _Out) -> None:
        for owned in list(self._shards.values()):
            if event.node in owned.leaving:
                del owned.leaving[event.node]
                self._sending.forget(event.node, owned)
            if owned.recovery is not None:
                owned.recovery.forget(event.node)
                self._go_on(owned, owned.recovery, now, out)
        self._pump(now, out)

    def _on_lost(self, event: Lost, now: Instant, out: _Out) -> None:
        for owned in self._shards.values():
            if event.node in owned.links:
                self._answers.restart(owned, event.node)
        self._pump(now, out)

    # Recovery -------------------------------------------------------------------------------------------------------

    def _ask(self, owned: Owned, recovery: Recovery, now: Instant, out: _Out) -> None:
        """Ask everybody whatever was not answered yet."""
        owned.asked_at = now
        out.extend(Send(node, question) for node, question in recovery.questions())
        self._arm(owned, recovery, now)

    def _arm(self, owned: Owned, recovery: Recovery, now: Instant) -> None:
        again_at = owned.asked_at + self._options.retry(owned.attempt)
        grace_until = recovery.waits_for(self._down, now)
        due: Due = (RECOVERY, (owned.region, owned.shard))
        self._deadlines.set(due, again_at if grace_until is None else min(again_at, grace_until))

    def _on_recovery_due(self, owned: Owned, now: Instant, out: _Out) -> None:
        recovery = owned.recovery
        assert recovery is not None
        recovery.give_up(self._down, now)
        if recovery.is_finished():
            self._finish(owned, recovery, now, out)
            return
        owned.attempt += 1
        self._note_dead(owned, recovery, now, out)
        self._ask(owned, recovery, now, out)

    def _note_dead(self, owned: Owned, recovery: Recovery, now: Instant, out: _Out) -> None:
        """Somebody has to know why the shard is not there: once for each recovery."""
        dead = () if owned.is_noted else recovery.waits_for_the_dead(self._down, now)
        if dead:
            owned.is_noted = True
            text = f"{owned.region}/{owned.shard} waits for {', '.join(dead)}, which are down: nobody else may have all"
            out.append(Note(Severity.WARNING, f"{text} that was acknowledged. Forget those that do not come back"))

    def _go_on(self, owned: Owned, recovery: Recovery, now: Instant, out: _Out) -> None:
        """Somebody's state has changed: leave out who is down."""
        questions = recovery.give_up(self._down, now)
        if recovery.is_finished():
            self._finish(owned, recovery, now, out)
            return
        out.extend(Send(node, question) for node, question in questions)
        self._arm(owned, recovery, now)

    def _on_answer(self, peer: str, message: Page | States, now: Instant, out: _Out) -> None:
        owned = self._shards.get((message.region, message.shard))
        recovery = None if owned is None or owned.epoch != message.epoch else owned.recovery
        if owned is None or recovery is None or not recovery.asks(peer):
            return
        questions = recovery.on_page(peer, message) if type(message) is Page else None
        if type(message) is States:
            questions = recovery.on_states(peer, message)
        if questions is None:
            return
        owned.attempt, owned.asked_at = 0, now
        out.extend(Send(node, question) for node, question in questions)
        self._go_on(owned, recovery, now, out)

    def _finish(self, owned: Owned, recovery: Recovery, now: Instant, out: _Out) -> None:
        """All is known. Everything gets a version of this epoch, above all that is left elsewhere (rule 19)."""
        key = (owned.region, owned.shard)
        self._deadlines.cancel((RECOVERY, key))
        found = recovery.found()
        owned.recovery, owned.attempt = None, 0
        owned.links = {node: Link(owned.stage, recovery.life_of(node)) for node in owned.backups}
        for one in found:
            owned.sequence += 1
            record = owned.records[one.entity] = Record((owned.epoch, owned.sequence), one.state)
            if not owned.links:
                continue
            record.older[one.version] = one.state
            for node, link in owned.links.items():
                holds = node in one.holders and one.holders[node] == link.life
                link.behind[one.entity] = one.version if holds else NEVER
                link.missing[one.entity] = owned.sequence
            self._sending.prune(owned, one.entity, record)
        owned.mark = owned.sequence
        owned.leaving = {node: None for node in recovery.holders() if node not in (*owned.backups, self._node)}
        out.append(Recovered(*key, owned.epoch, tuple([(one.entity, one.state) for one in found])))
        out.append(Send(self._node, Drop(*key, owned.epoch, owned.stage)))
        for node in owned.links:
            self._sending.add_all(node, owned)
        self._sending.complete(owned)
        if not owned.links:
            self._answers.drop_leavers(owned)
        self._pump(now, out)

    # Messages -------------------------------------------------------------------------------------------------------

    def _on_received(self, event: Received, now: Instant, out: _Out) -> None:
        peer, message = event.peer, to_owner(event.message)
        if isinstance(message, str):
            out.append(_note(peer, message))
            return
        match message:
            case Page() | States():
                self._on_answer(peer, message, now, out)
            case Refused():
                self._on_refused(message, now, out)
            case InUse():
                self._on_in_use(message, now, out)
            case Ack() | NeedsWhole() | WholeAck() | Dropped():
                if not self._answers.on_answer(peer, message, out):
                    out.append(_note(peer, f"an answer to what was never said: {shown(message)}"))
                self._pump(now, out)
            case _:
                assert_never(message)

    def _on_refused(self, message: Refused, now: Instant, out: _Out) -> None:
        """We are no owner any more. It may answer what was sent long ago, and is true nevertheless."""
        self._on_overtaken(Overtaken(message.region, message.shard, message.epoch), now, out)

    def _on_in_use(self, message: InUse, now: Instant, out: _Out) -> None:
        """We ask what an earlier life of this node has asked before. Its sequences are not ours to go on with."""
        key = (message.region, message.shard)
        owned = self._shards.get(key)
        if owned is None or owned.recovery is None or owned.epoch != message.epoch:
            return  # the answer to a question that came twice
        self._lose(owned, "was owned in an earlier life of this node", now, out)
        out.append(Superseded(*key, message.epoch))

    def _pump(self, now: Instant, out: _Out) -> None:
        self._sending.pump(now, out)

    def invariants(self) -> None:
        """Assert what holds between two calls."""
        self._deadlines.invariants()
        self._sending.invariants()
        self._waits.invariants()
        for key, owned in self._shards.items():
            owned.invariants()
            assert self._epochs[key] == owned.epoch
            assert (owned.recovery is not None) == ((RECOVERY, key) in self._deadlines)
            if owned.recovery is not None:
                owned.recovery.invariants()


def _note(peer: str, text: str) -> Note:
    return Note(Severity.WARNING, f"replication: dropped from {peer}: {text} (rule 25)")
