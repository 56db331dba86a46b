"""What the parts of a member share: its members, its news, its deadlines, and what goes into its messages.

Theory of operation
-------------------
A message has room for a certain number of bytes after its own fields (`sizes.py`). The room is filled in this order:

1.  What answers the message in hand: our own state, if its sender has a wrong one. An objection that waited its turn
    might come when we are dead.
2.  What its receiver must know about itself: that it is suspected, dead, left, or replaced. It is the only one who can
    object. Lifeguard calls this the buddy system.
3.  News, those that were passed on least first.

1 and 2 are not counted as passed on: they are said as often as there is reason to, once for each message that is sent
anyway.
"""

from __future__ import annotations

from random import Random

from ..machine import Instant
from ..timers import Deadlines
from .events import Defunct, Member, Send, SwimEffect
from .gossip import Rumours
from .health import Health
from .maths import retransmit_limit
from .members import Members, is_live
from .messages import Gossip, Identity, State, Update
from .options import SwimOptions
from .sizes import answer_overhead, gossip_overhead, update_size
from .suspicion import Suspicion

PROBE, PROBE_TIMEOUT, RELAY, GOSSIP, SYNC, JOIN, SUSPICION, RECENT, FORGET = range(9)
type Key = tuple[int, str | int]
"""A deadline: one of the above, and whom or what it is about. Plain tuples, because they are hashed often."""

GOSSIP_KEY: Key = (GOSSIP, 0)

_NUMBER_BITS = 40
_LIVES = 2**22 - 1
"""The numbers of messages are below 2**62: so many lives in a row have different ones, of 2**40 each."""

type Effects = list[SwimEffect]


class Core:
    """The state of one member."""

    __slots__ = (
        "accused",
        "answer_room",
        "contradicted",
        "deadlines",
        "defunct",
        "gossip_room",
        "health",
        "identity",
        "members",
        "number",
        "options",
        "own",
        "rng",
        "rumours",
        "suspicions",
    )

    def __init__(self, me: Member, rng: Random, options: SwimOptions) -> None:
        self.identity = me.identity
        self.options = options
        self.rng = rng
        self.members = Members(me, rng)
        self.rumours = Rumours()
        self.suspicions: dict[str, Suspicion] = {}
        self.health = Health(options.awareness_max)
        self.deadlines: Deadlines[Key] = Deadlines()
        self.own = _own(me)
        """What we say about ourselves."""
        self.defunct: Defunct | None = None
        """Why this identity is at its end."""
        self.accused = False
        """Whether the message in hand has a wrong idea of us. Whoever sent it is told better."""
        self.contradicted = False
        """Whether we raised our incarnation because of it."""
        self.gossip_room = options.message_limit - gossip_overhead(me.identity)
        self.answer_room = options.message_limit - answer_overhead(me.identity)
        # Answers to a former life, which had a lower generation, must not be taken for answers to this one.
        self.number = (me.identity.generation - 1 & _LIVES) << _NUMBER_BITS

    def next_number(self) -> int:
        """A number for a message that is to be answered."""
        self.number += 1
        return self.number

    def has_room(self) -> bool:
        """Whether a stranger who is there can be taken in, be it by forgetting somebody (rule 30 of the package)."""
        return len(self.members) < self.options.max_members or self.expendable() is not None

    def expendable(self) -> str | None:
        """Whom to forget for a stranger, if anybody."""
        return self.members.expendable(self.rumours)

    # What is to be said ---------------------------------------------------------------------------------------------

    def set_me(self, me: Member, now: Instant) -> None:
        """Say something new about ourselves."""
        self.members.put(me)
        self.own = _own(me)
        self.pass_on(self.own, now)

    def pass_on(self, update: Update, now: Instant) -> None:
        """Tell everybody."""
        self.rumours.put(update, update_size(update))
        if GOSSIP_KEY not in self.deadlines:
            self.deadlines.set(GOSSIP_KEY, now + self.options.gossip_interval_ns)

    def record(self, member: Member) -> tuple[Update, ...]:
        """All that we know about a member. Of a suspect: how it was when it was last heard of, then the suspicion."""
        if member is self.members.me:
            return (self.own,)
        match member.state:
            case State.ALIVE:
                return (_alive(member),)
            case State.SUSPECT:
                return (_alive(member), self._accusation(member))
            case State.DEAD | State.LEFT:
                return (Update(member.identity, member.incarnation, member.state),)

    def _accusation(self, member: Member) -> Update:
        by = self.suspicions[member.identity.node_id].by
        return Update(member.identity, member.incarnation, State.SUSPECT, by)

    # What goes into a message ---------------------------------------------------------------------------------------

    def notice(self, receiver: Identity) -> Update | None:
        """What the receiver of a message must know about itself."""
        member = self.members.get(receiver.node_id)
        if member is None:
            return None
        if member.identity.generation != receiver.generation:
            return self.record(member)[0] if member.identity.generation > receiver.generation else None
        match member.state:
            case State.ALIVE:
                return None
            case State.SUSPECT:
                return self._accusation(member) if self.options.buddy else None
            case State.DEAD | State.LEFT:
                return Update(member.identity, member.incarnation, member.state)

    def cargo(self, room: int, receiver: Identity | None) -> tuple[Update, ...]:
        """The updates that go into a message to `receiver` with so much room."""
        notice = None if receiver is None else self.notice(receiver)
        if notice is None and not self.accused and not self.rumours:
            return ()
        limit = retransmit_limit(self.options.retransmit_mult, self.members.count)
        if notice is None and not self.accused:
            return tuple(self.rumours.take(room, limit))
        first = [update for update in (self.own if self.accused else None, notice) if update is not None]
        updates: list[Update] = []
        for update in first:
            if (size := update_size(update)) <= room:
                updates.append(update)
                room -= size
        skip = [update.identity.node_id for update in updates]
        return (*updates, *self.rumours.take(room, limit, skip))

    def speak_up(self, peer: str, receiver: Identity | None, out: Effects) -> None:
        """Tell somebody at once who we are and how."""
        self.accused = True
        out.append(Send(peer, Gossip(self.identity, self.cargo(self.gossip_room, receiver))))
        self.accused = self.contradicted = False

    def invariants(self, *, active: bool) -> None:
        """The books agree. Looks at every member."""
        members, deadlines = self.members, self.deadlines
        members.invariants()
        assert len(members) <= self.options.max_members
        self.rumours.invariants()
        deadlines.invariants()
        assert self.own == _own(members.me)
        suspects = [members.suspects[place] for place in range(len(members.suspects))]
        assert len(suspects) == len(self.suspicions), "a suspicion of nobody"
        if active:
            assert all((SUSPICION, node_id) in deadlines for node_id in suspects), "suspected for ever"
            for member in members.others():
                kept = (FORGET, member.identity.node_id) in deadlines
                assert kept != is_live(member), f"{member}: remembered for ever, or forgotten while there"


def _own(me: Member) -> Update:
    if me.state is State.LEFT:
        return Update(me.identity, me.incarnation, State.LEFT)
    return _alive(me)


def _alive(member: Member) -> Update:
    return Update(member.identity, member.told, State.ALIVE, address=member.address, payload=member.payload)
