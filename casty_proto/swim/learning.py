"""How a member comes to believe something else about the others.

Theory of operation
-------------------
Every statement about a member passes `learn`, from whomever it comes, even our own suspicion. It is compared with the
record (`members.py`). What prevails is written down, reported as an effect, and passed on; what does not changes
nothing, and is passed on to nobody, so news dies out when everybody has it. The ways that a record can go:

    (unknown) -> ALIVE          heard of
    ALIVE -> SUSPECT            found silent by somebody
    SUSPECT -> ALIVE            has objected, with a later incarnation
    ALIVE, SUSPECT -> DEAD      the time to object is up, here or elsewhere
    DEAD -> ALIVE               was not dead, and says so with a later incarnation
    any but LEFT -> LEFT        has said goodbye
    any -> ALIVE                a higher generation is there: the record begins anew
    DEAD, LEFT -> (unknown)     after `reclaim_ns`, or when there is no room for somebody who is there

What strangers say may be invented, and every record costs memory. So there are `max_members` at most (rule 30). Where
a stranger who is said to be alive would be one too many, somebody who is gone is forgotten before its time. That is
sound: no record of the dead is needed to agree on who is alive, it only saves the work of finding out again. Older news
may raise a ghost, which is probed, found silent and declared dead once more; and one who was lost in a partition is not
looked for any more, but finds us by itself, or through a seed. Those whom this costs least go first, and nobody goes
who died so short a time ago that it is still told, or of whom there is news to pass on. If nobody can go, the stranger
is not taken in. Members that were invented are found silent like any others, so there will be room again.

Statements about oneself are another matter: `myself.py`.

The rules that are cited by number are those of the package.
"""

from __future__ import annotations

from attrs import evolve

from ..machine import SECOND, Instant, Nanoseconds, Note, Severity
from .core import FORGET, RECENT, SUSPICION, Core, Effects
from .events import Member, MemberAlive, MemberConflict, MemberDead, MemberLeft, MemberSuspected, MemberUpdated
from .maths import confirmations_wanted, suspicion_minimum
from .members import is_live, prevails
from .messages import Identity, State, Update
from .myself import LEAP, learn_about_me
from .suspicion import Suspicion
from .sync import Sync

NOTE_INTERVAL: Nanoseconds = 60 * SECOND
"""It is not noted more often that there is no room for strangers."""


class Learning:
    """Writes the records of the others."""

    __slots__ = ("_core", "_deadlines", "_members", "_note_after", "_sync", "_turned_away")

    def __init__(self, core: Core, sync: Sync) -> None:
        self._core = core
        self._sync = sync
        self._members = core.members
        self._deadlines = core.deadlines
        self._turned_away = 0
        """How many statements about strangers found no room since that was noted."""
        self._note_after: Instant | None = None
        """Until when it is not noted again."""

    def learn(self, updates: tuple[Update, ...], source: Identity, now: Instant, out: Effects) -> None:
        """Take in what `source` says."""
        members = self._members
        for update in updates:
            known = members.get(update.identity.node_id)
            if known is members.me:
                learn_about_me(self._core, update, now, out)
            elif known is None or prevails(update, known):
                self._learn_news(update, known, source, now, out)
            elif update.state is State.SUSPECT and known.state is State.SUSPECT:
                self._confirm(update, known, now, out)

    def learn_records(self, records: tuple[Update, ...], source: Identity, now: Instant, out: Effects) -> None:
        """Take in parts of the state of `source`. That somebody is dead is believed as far as a suspicion (rule 24).

        After a partition each side has the other on its list of the dead. If these lists were believed, the first
        exchange would kill whoever is there.
        """
        for update in records:
            known = self._members.get(update.identity.node_id)
            if update.state is not State.DEAD or (known is not None and not is_live(known)):
                self.learn((update,), source, now, out)
            elif known is not None:
                accusation = Update(update.identity, update.incarnation, State.SUSPECT, source.node_id)
                self.learn((accusation,), source, now, out)

    def suspect(self, identity: Identity, incarnation: int, now: Instant, out: Effects) -> None:
        """We found somebody silent."""
        me = self._core.identity
        self.learn((Update(identity, incarnation, State.SUSPECT, me.node_id),), me, now, out)

    def _learn_news(self, update: Update, known: Member | None, source: Identity, now: Instant, out: Effects) -> None:
        if not _is_credible(update, known, source):
            text = f"dropped from {source}: {update}: no incarnation rises so far at once (rule 8)"
            out.append(Note(Severity.WARNING, text))
            if update.state is State.ALIVE and (known is None or not is_live(known)):
                self._sync.introduce(update.address, update.identity, out)
            return
        if known is None:
            self._learn_about_stranger(update, source, now, out)
            return
        if update.identity.generation != known.identity.generation:
            self._learn_of_successor(update, known, now, out)
            return
        match update.state:
            case State.ALIVE:
                self._learn_alive(update, known, now, out)
            case State.SUSPECT:
                self._learn_suspect(update, known, now, out)
            case State.DEAD | State.LEFT:
                self._learn_gone(update, known, now, out)

    # Who is there ---------------------------------------------------------------------------------------------------

    def _learn_about_stranger(self, update: Update, source: Identity, now: Instant, out: Effects) -> None:
        if update.state is State.SUSPECT:
            return
        if len(self._members) >= self._core.options.max_members and not self._make_room(update):
            self._turn_away(update, source, now, out)
        elif update.state is State.ALIVE:
            self._enter(update, None, now, out)
        else:
            # Remembered, so that older news that comes later does not raise a ghost; but nobody is told (rule 5).
            self._bury_unseen(update, now)

    def _make_room(self, stranger: Update) -> bool:
        """Forget somebody for a stranger who is there. For one who is not, nobody is forgotten (rule 30)."""
        node_id = self._core.expendable()
        if node_id is None or stranger.state is not State.ALIVE:
            return False
        self._deadlines.cancel((FORGET, node_id))
        self._deadlines.cancel((RECENT, node_id))
        self.on_forget_due(node_id)
        return True

    def _turn_away(self, stranger: Update, source: Identity, now: Instant, out: Effects) -> None:
        """There is no room. Noted now and then, with the number of times that it was so (rule 30)."""
        self._turned_away += 1
        if self._note_after is not None and now < self._note_after:
            return
        text = (
            f"dropped from {source}: {stranger}, and {self._turned_away - 1} more about strangers: "
            f"{len(self._members)} members are known, which is max_members (rule 30)"
        )
        out.append(Note(Severity.WARNING, text))
        self._turned_away = 0
        self._note_after = now + NOTE_INTERVAL

    def _learn_of_successor(self, update: Update, known: Member, now: Instant, out: Effects) -> None:
        """A higher generation is or was there, so the one that we know is gone (rule 1)."""
        if update.state is State.SUSPECT:
            return
        if is_live(known):
            self._end_suspicion(known)
            out.append(MemberDead(evolve(known, state=State.DEAD), replaced=True))
        if update.state is State.ALIVE:
            self._enter(update, known, now, out)
            return
        self._bury_unseen(update, now)
        self._core.pass_on(update, now)

    def _learn_alive(self, update: Update, known: Member, now: Instant, out: Effects) -> None:
        if known.address not in ("", update.address) and known.state is not State.LEFT:
            out.append(MemberConflict(known, update.address))
            return
        if not is_live(known):
            self._enter(update, known, now, out)
            return
        member = _told(update)
        self._end_suspicion(known)
        self._members.put(member)
        if known.state is State.SUSPECT:
            out.append(MemberAlive(member, State.SUSPECT))
        if member.payload != known.payload:
            out.append(MemberUpdated(member))
        self._core.pass_on(update, now)

    def _enter(self, update: Update, known: Member | None, now: Instant, out: Effects) -> None:
        """Somebody is there who was not."""
        member = _told(update)
        self._members.put(member)
        self._deadlines.cancel((FORGET, member.identity.node_id))
        was_seen = known is not None and known.identity == member.identity and known.address
        out.append(MemberAlive(member, known.state if known is not None and was_seen else None))
        self._core.pass_on(update, now)

    # Who is not -----------------------------------------------------------------------------------------------------

    def _learn_suspect(self, update: Update, known: Member, now: Instant, out: Effects) -> None:
        """Only of those who are there: see `prevails`."""
        options, n = self._core.options, self._members.count
        minimum_ns = suspicion_minimum(options.suspicion_mult, n, options.probe_interval_ns)
        wanted = confirmations_wanted(options.confirmations_wanted, n)
        suspicion = Suspicion(update.by, now, wanted, minimum_ns, minimum_ns * options.suspicion_max_mult)
        node_id = update.identity.node_id
        self._core.suspicions[node_id] = suspicion
        self._deadlines.set((SUSPICION, node_id), suspicion.deadline)
        member = evolve(known, incarnation=update.incarnation, state=State.SUSPECT)
        self._members.put(member)
        if known.state is State.ALIVE:
            out.append(MemberSuspected(member))
        self._core.pass_on(update, now)

    def _confirm(self, update: Update, known: Member, now: Instant, out: Effects) -> None:
        """Another accuser, of what is suspected already, whom we know to be there (rule 18)."""
        if update.incarnation != known.incarnation or update.identity.generation != known.identity.generation:
            return
        accuser = self._members.get(update.by)
        if accuser is None or accuser is known or not is_live(accuser):
            return
        suspicion = self._core.suspicions[update.identity.node_id]
        if not suspicion.confirm(update.by):
            return
        if suspicion.deadline <= now:
            self._declare_dead(known, now, out)
            return
        self._deadlines.set((SUSPICION, update.identity.node_id), suspicion.deadline)
        self._core.pass_on(update, now)

    def _learn_gone(self, update: Update, known: Member, now: Instant, out: Effects) -> None:
        """Dead or left. One who was not there in our eyes is not announced, except that one who died has left."""
        node_id, was_live = update.identity.node_id, is_live(known)
        if known.state is State.LEFT and update.state is State.DEAD:
            # It had come back, and we missed it.
            self._bury_unseen(update, now)
            self._core.pass_on(update, now)
            return
        self._end_suspicion(known)
        gone = evolve(known, incarnation=update.incarnation, state=update.state)
        self._members.put(evolve(gone, payload=b""))
        if was_live:
            self._deadlines.set((FORGET, node_id), now + self._core.options.reclaim_ns)
        if update.state is State.LEFT:
            if known.address and known.state is not State.LEFT:
                out.append(MemberLeft(gone))
        elif was_live:
            self._members.recent.add(node_id)
            self._deadlines.set((RECENT, node_id), now + self._core.options.gossip_to_dead_ns)
            out.append(MemberDead(gone, replaced=False))
        self._core.pass_on(update, now)

    def _bury_unseen(self, update: Update, now: Instant) -> None:
        """Remember one who was gone before we heard of it."""
        node_id = update.identity.node_id
        self._members.put(Member(update.identity, update.incarnation, update.state, "", b"", 0))
        self._deadlines.set((FORGET, node_id), now + self._core.options.reclaim_ns)

    def _declare_dead(self, member: Member, now: Instant, out: Effects) -> None:
        update = Update(member.identity, member.incarnation, State.DEAD, self._core.identity.node_id)
        self._learn_gone(update, member, now, out)

    def _end_suspicion(self, member: Member) -> None:
        node_id = member.identity.node_id
        if self._core.suspicions.pop(node_id, None) is not None:
            self._deadlines.cancel((SUSPICION, node_id))

    # Deadlines ------------------------------------------------------------------------------------------------------

    def on_suspicion_due(self, node_id: str, late: bool, now: Instant, out: Effects) -> None:
        """The time to object is up. If we were away, an objection may be waiting to be read (rule 15)."""
        suspicion = self._core.suspicions[node_id]
        if late and not suspicion.extended:
            suspicion.extend(now + self._core.options.probe_timeout_ns)
            self._deadlines.set((SUSPICION, node_id), suspicion.deadline)
            return
        self._declare_dead(self._members[node_id], now, out)

    def on_recent_due(self, node_id: str) -> None:
        """One who is dead for long is sent no gossip any more (rule 22). Harmless for one who is not dead any more."""
        self._members.age(node_id)

    def on_forget_due(self, node_id: str) -> None:
        """A name is free again (rule 28)."""
        self._members.forget(node_id)
        self._core.rumours.drop(node_id)


def _told(update: Update) -> Member:
    return Member(
        update.identity, update.incarnation, State.ALIVE, update.address, update.payload, told=update.incarnation
    )


def _is_credible(update: Update, known: Member | None, source: Identity) -> bool:
    """Whether an incarnation can have risen so far. Its owner is believed anything."""
    if update.identity == source:
        return True
    before = known.incarnation if known is not None and known.identity == update.identity else 0
    return update.incarnation <= before + LEAP
