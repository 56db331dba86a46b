"""The properties of SWIM, watched from outside: by effects, messages, and what each member says of itself.

One `SwimChecker` watches a whole cluster. It knows every word that any member has ever said of itself, which no single
member does, and so it can tell an invention from old news. The rules that are cited by number are those of
`casty_proto.swim`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import define, evolve, field

from casty_proto.machine import SECOND, Instant, Note, Severity, Wake
from casty_proto.swim import (
    Defunct,
    Departed,
    Identity,
    IndirectAck,
    Joined,
    Leave,
    Member,
    MemberAlive,
    MemberConflict,
    MemberDead,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    Message,
    Nack,
    Ping,
    PingRequest,
    Received,
    Send,
    State,
    SwimEffect,
    SwimEvent,
    SwimOptions,
    SyncReply,
    SyncRequest,
    Update,
    UpdatePayload,
)

from ..world import Violation
from .swim_load import Load
from .swim_probes import Probes
from .swim_views import LIVE, bounds

type Name = tuple[str, int]
"""An identity as a plain tuple, because it is hashed often."""


@define
class _Words:
    """All that one identity has said of itself."""

    payloads: dict[int, bytes] = field(factory=dict)
    """By incarnation."""
    left: bool = False


@define
class _Life:
    """One identity, as long as it runs, and what it has told its host."""

    me: Member
    words: _Words
    load: Load
    probes: Probes
    announced: dict[str, Member] = field(factory=dict)
    accusers: dict[tuple[str, int, int], str] = field(factory=dict)
    """By identity and incarnation: whom it named first as the one who found that member silent."""
    replaced: dict[str, int] = field(factory=dict)
    """By node id: the generation that it announced as replaced. Nothing that is said of it counts any more (rule 1)."""
    may_leave: bool = False
    has_left: bool = False


class SwimChecker:
    """Raises `Violation` at the event that broke a rule. Calls `reach` with the states that are worth reaching."""

    def __init__(
        self, options: SwimOptions, nodes: int, reach: Callable[[str], None], is_up: Callable[[str], bool]
    ) -> None:
        """`is_up`: whether the host of that node id runs."""
        self.bounds = bounds(options, nodes)
        self.calm = False
        """Whether nothing goes wrong but crashes: then nobody who is there may be found silent."""
        self.even_clocks = True
        """Whether no clock jumps: then a suspicion lasts for as long as it has to."""
        self._is_up = is_up
        self._options = options
        self._reach = reach
        self._words: dict[Name, _Words] = {}
        self._newest: dict[str, int] = {}
        self._lives: dict[str, _Life] = {}
        self._accused_at: dict[tuple[str, int, int], Instant] = {}
        """By identity and incarnation: when anybody said first that it is silent, on the clock of the world."""

    def started(self, me: Member) -> None:
        """A new identity is there; whatever went by its node id before is gone."""
        words = _Words({me.incarnation: me.payload})
        self._words[_name(me.identity)] = words
        self._newest[me.identity.node_id] = me.identity.generation
        self._lives[me.identity.node_id] = _Life(me, words, Load(self._options, self.bounds), Probes(self.bounds.turn))

    def announced(self, node_id: str) -> Mapping[str, Member]:
        """What that node's member has announced of the others."""
        return self._lives[node_id].announced

    def departed(self, node_id: str) -> bool:
        """Whether that node's member has gone to the end of its goodbye."""
        return self._lives[node_id].has_left

    # One call of `handle` -------------------------------------------------------------------------------------------

    def handled(self, me: Member, event: SwimEvent, effects: Iterable[SwimEffect], now: Instant, at: Instant) -> None:
        """A member handled an event. `me` is what it says of itself now.

        `now` is on the clock of its host, `at` on that of the world.
        """
        life = self._lives[me.identity.node_id]
        if isinstance(event, Leave):
            life.may_leave = True
        life.probes.hears(event)
        said = life.me.incarnation
        if me is not life.me:
            self._says_of_itself(life, me, event)
        others = 0
        if isinstance(event, Leave):
            others = sum(member.state in LIVE for member in life.announced.values())
        sends = [effect for effect in effects if type(effect) is Send]
        if sends or isinstance(event, Received | Leave):
            life.load.handled(me, said, event, sends, others, now)
        for effect in effects:
            if type(effect) is Send:
                self._says(life, effect.message, at)
                if type(effect.message) is Ping and not isinstance(event, Received) and me.state is State.ALIVE:
                    life.probes.pings(me, effect.message, life.announced)
            else:
                if type(effect) is MemberSuspected and isinstance(event, Wake):
                    life.probes.suspects(me, effect.member)
                self._announces(life, effect, at)
        if isinstance(event, Received) and me.state is State.ALIVE:
            self._hears(life, event)

    def _says_of_itself(self, life: _Life, me: Member, event: SwimEvent) -> None:
        """Its incarnation is raised by itself alone, and for a reason (rules 2 and 7)."""
        before, rule = life.me, "own word"
        if me.identity != before.identity or me.address != before.address:
            raise Violation(rule, f"{before} became {me}")
        if me.state not in (State.ALIVE, State.LEFT) or (me.state is State.LEFT and not life.may_leave):
            raise Violation("never itself", f"{me} says of itself that it is {me.state.name}")
        if before.state is State.LEFT and me.state is not State.LEFT:
            raise Violation(rule, f"{me} is back after its goodbye")
        if me.incarnation < before.incarnation:
            raise Violation(rule, f"{me} went back from incarnation {before.incarnation}")
        if me.incarnation == before.incarnation and me.payload != before.payload:
            raise Violation(rule, f"{me} has another payload in the same incarnation")
        if me.incarnation > before.incarnation and not _is_reason(event, before):
            raise Violation(rule, f"{me} raised its incarnation from {before.incarnation} without a reason: {event}")
        life.me = me
        life.words.payloads[me.incarnation] = me.payload
        life.words.left = me.state is State.LEFT

    def _hears(self, life: _Life, event: Received) -> None:
        """Who was heard to say goodbye has left, and is not dead for it (rule 27)."""
        updates: tuple[Update, ...] = getattr(event.message, "updates", ())
        for update in updates:
            if (
                update.state is State.LEFT
                and life.replaced.get(update.identity.node_id, -1) < update.identity.generation
            ):
                member = life.announced.get(update.identity.node_id)
                if member is not None and member.identity == update.identity and member.state is not State.LEFT:
                    raise Violation("goodbye", f"{life.me} heard '{update}', and still announces {member}")

    # What it says to others -----------------------------------------------------------------------------------------

    def size(self, message: Message, size: int) -> None:
        """No message exceeds the limit (rule 21)."""
        if size > self._options.message_limit:
            raise Violation("size", f"{size} bytes, {self._options.message_limit} at most: {message}")

    def _says(self, life: _Life, message: Message, at: Instant) -> None:
        if message.source != life.me.identity:
            raise Violation("own word", f"{life.me} speaks in the name of {message.source}: {message}")
        for update in message.updates:
            self._says_of_a_member(life, update, at)
        match message:
            case PingRequest():
                self._reach("a helper was asked")
            case IndirectAck():
                self._reach("a helper passed an answer on")
            case Nack():
                self._reach("a helper got no answer")
            case SyncRequest():
                for digest in message.digests:
                    if digest.incarnation not in self._heard(life, digest.identity, digest).payloads:
                        raise Violation("invention", f"{life.me} compares {digest}, which that never said")
            case SyncReply():
                self._reach("states were compared")
            case _:
                pass

    def _says_of_a_member(self, life: _Life, update: Update, at: Instant) -> None:
        """Nobody says of another what goes beyond its own word (rule 2). SWIM 4.2"""
        words = self._heard(life, update.identity, update)
        payload = words.payloads.get(update.incarnation)
        if payload is None:
            highest = max(words.payloads)
            raise Violation("invention", f"{life.me} says '{update}'; its own word ends at incarnation {highest}")
        if update.state is State.ALIVE and update.payload != payload:
            raise Violation("invention", f"{life.me} says '{update}'; it said {payload!r} itself")
        if update.state is State.LEFT and not words.left:
            raise Violation("invention", f"{life.me} says '{update}', who has not left")
        if update.identity == life.me.identity and update.state not in (State.ALIVE, State.LEFT):
            raise Violation("never itself", f"{life.me} says '{update}' of itself")
        if update.state is State.SUSPECT:
            key = (*_name(update.identity), update.incarnation)
            self._accused_at.setdefault(key, at)
            if life.accusers.setdefault(key, update.by) != update.by:
                self._reach("a confirmation shortened a suspicion")

    def _heard(self, life: _Life, identity: Identity, what: object) -> _Words:
        words = self._words.get(_name(identity))
        if words is None:
            raise Violation("invention", f"{life.me} says '{what}', and {identity} never was")
        return words

    # What it announces ----------------------------------------------------------------------------------------------

    def _announces(self, life: _Life, effect: SwimEffect, at: Instant) -> None:
        """Announcements of one member are in a legal order, and no view goes back (rules 1, 3 and 4)."""
        match effect:
            case MemberAlive(member, previous):
                member = self._enters(life, member, previous)
            case MemberUpdated(member):
                before = self._same(life, member, State.ALIVE)
                if member.payload == before.payload:
                    raise Violation("announcements", f"{life.me}: {member} is no update of {before}")
                self._reach("a payload changed")
            case MemberSuspected(member):
                self._same(life, member, State.ALIVE)
                self._accused(life, member)
                self._accused_at.setdefault((*_name(member.identity), member.incarnation), at)
                self._reach("a member was suspected")
            case MemberDead(member, replaced):
                self._dies(life, member, replaced, at)
            case MemberLeft(member):
                before = self._same(life, member, State.ALIVE, State.SUSPECT, State.DEAD)
                if not self._heard(life, member.identity, member).left:
                    raise Violation("announcements", f"{life.me}: {member} did not say goodbye")
                self._reach("a member left" if before.state in LIVE else "one who was held dead had left")
            case Departed():
                if life.me.state is not State.LEFT:
                    raise Violation("own word", f"{life.me} departed without a goodbye")
                life.load.departed(life.me)
                life.has_left = True
                return
            case MemberConflict() | Defunct():
                raise Violation("announcements", f"{life.me}: every identity is used once, and yet {effect}")
            case Joined():
                life.load.joining = False
                return
            case Note(severity, text) if severity >= Severity.WARNING:
                raise Violation("honest peers", f"{life.me} turned away what no member should send: {text}")
            case _:
                return
        if life.replaced.get(member.identity.node_id, -1) >= member.identity.generation and not _replaces(effect):
            raise Violation("no way back", f"{life.me} announces {member}, which was replaced")
        life.announced[member.identity.node_id] = member

    def _enters(self, life: _Life, member: Member, previous: State | None) -> Member:
        """Returns what the host knows of it now. That a suspect has another payload follows as news of its own."""
        before = life.announced.get(member.identity.node_id)
        if member.identity == life.me.identity or member.state is not State.ALIVE:
            raise Violation("announcements", f"{life.me} announces {member} as alive")
        if previous is not None:
            same = self._same(life, member, previous)
            if same.state is State.LEFT or member.incarnation <= same.incarnation:
                raise Violation("no way back", f"{life.me}: {member} is back, and was {same}")
            if previous is State.DEAD:
                life.probes.enters(member.identity.node_id)
            self._reach("a dead member came back" if previous is State.DEAD else "a suspicion was refuted")
            return evolve(member, payload=same.payload) if previous is State.SUSPECT else member
        if before is not None and (before.state in LIVE or _rank(member) <= _rank(before)):
            raise Violation("no way back", f"{life.me}: {member} is new, and was {before}")
        if before is not None and before.state is State.LEFT:
            self._reach("one who had left came back")
        self._heard(life, member.identity, member)
        life.probes.enters(member.identity.node_id)
        return member

    def _dies(self, life: _Life, member: Member, replaced: bool, at: Instant) -> None:
        """Dead is who was suspected for as long as it takes at least, or was replaced (rules 1 and 17)."""
        self._same(life, member, *LIVE)
        newest = self._newest[member.identity.node_id]
        if replaced:
            if newest <= member.identity.generation:
                raise Violation("announcements", f"{life.me}: {member} was replaced, and nobody took its place")
            life.replaced[member.identity.node_id] = member.identity.generation
            self._reach("a member was replaced")
            return
        self._accused(life, member)
        since = self._accused_at.get((*_name(member.identity), member.incarnation))
        if since is None:
            raise Violation("suspicion", f"{life.me} announces {member}, whom nobody has suspected before")
        if self.even_clocks and at - since < self.bounds.suspected_ns:
            after, least = (at - since) / SECOND, self.bounds.suspected_ns / SECOND
            raise Violation(
                "suspicion", f"{life.me}: {member}, {after:.3f} s after it was suspected; {least} s at least"
            )
        self._reach("a member was declared dead")

    def _accused(self, life: _Life, member: Member) -> None:
        """Where nothing goes wrong, nobody is found silent. SWIM 4.2 calls that a false positive."""
        node_id, generation = name = _name(member.identity)
        is_there = self._newest[node_id] == generation and not self._words[name].left and self._is_up(node_id)
        if self.calm and is_there:
            raise Violation("false positive", f"{life.me} announces {member}, who is up, and nothing is wrong")
        if is_there and member.state is State.DEAD:
            self._reach("a member that was up was declared dead")

    def _same(self, life: _Life, member: Member, *states: State) -> Member:
        """What was announced of this identity. It was in one of these states, and said no more than is said now."""
        before = life.announced.get(member.identity.node_id)
        if before is None or before.identity != member.identity or before.state not in states:
            was = "never announced" if before is None else f"announced as {before}"
            raise Violation("announcements", f"{life.me} announces {member}, which was {was}")
        if member.incarnation < before.incarnation:
            raise Violation("no way back", f"{life.me} announces {member} after {before}")
        return before


def _name(identity: Identity) -> Name:
    return identity.node_id, identity.generation


def _replaces(effect: SwimEffect) -> bool:
    return isinstance(effect, MemberDead) and effect.replaced


def _rank(member: Member) -> tuple[int, int, State]:
    return member.identity.generation, member.incarnation, member.state


def _is_reason(event: SwimEvent, me: Member) -> bool:
    """Whether this makes a member raise its incarnation: a new payload, or a claim that reaches what it says."""
    if isinstance(event, UpdatePayload):
        return event.payload != me.payload
    if not isinstance(event, Received):
        return False
    updates: tuple[Update, ...] = getattr(event.message, "updates", ())
    return any(update.identity == me.identity and update.incarnation >= me.incarnation for update in updates)
