"""Watches one machine from outside: what it announces, what it says, and that it never forgets what it knew.

It shares no code with the machine but the precedence of states, which has its own table in `test_precedence.py`, and
the sizes of messages, which have theirs in `test_sizes.py`.
"""

from __future__ import annotations

from casty_proto.machine import Wake
from casty_proto.swim import (
    Gossip,
    Identity,
    Member,
    MemberAlive,
    MemberDead,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    Records,
    Send,
    State,
    Swim,
    SwimEffect,
    SwimEvent,
    SwimOptions,
    Update,
    message_size,
    retransmit_limit,
)

type Rank = tuple[int, int, State]
type Said = tuple[Identity, int, State, str]


def rank(member: Member) -> Rank:
    """What must never go down."""
    return member.identity.generation, member.incarnation, member.state


class Watch:
    """The rules on one machine, as an onlooker can check them."""

    def __init__(self, machine: Swim, options: SwimOptions) -> None:
        self.machine = machine
        self.options = options
        self.announced: dict[str, Member] = {}
        self.ranks: dict[str, Rank] = {}
        self.passed_on: dict[Said, int] = {}
        self.largest = 1
        self.largest_message = 0

    def see(self, event: SwimEvent, effects: tuple[SwimEffect, ...]) -> None:
        """One call of `handle`."""
        for effect in effects:
            if isinstance(effect, Send):
                self._sent(effect)
            else:
                self._announced(effect)
        if isinstance(event, Wake) or len(effects) > 1 or (effects and not isinstance(effects[0], Send)):
            self._grown()

    def _announced(self, effect: SwimEffect) -> None:
        match effect:
            case MemberAlive(member, previous):
                self._enters(member, previous)
            case MemberUpdated(member):
                before = self._same(member)
                assert before.state is State.ALIVE, "updated, and not alive"
            case MemberSuspected(member):
                before = self._same(member)
                assert before.state is State.ALIVE, f"suspected while {before.state.name}"
            case MemberDead(member, _):
                before = self._same(member)
                assert before.state in (State.ALIVE, State.SUSPECT), f"died while {before.state.name}"
            case MemberLeft(member):
                before = self._same(member)
                assert before.state is not State.LEFT, "left twice"
            case _:
                return
        self.announced[member.identity.node_id] = member

    def _enters(self, member: Member, previous: State | None) -> None:
        if previous is None and len(self.machine.members) >= self.options.max_members:
            self._forgotten_for_another(member.identity.node_id)
        before = self.announced.get(member.identity.node_id)
        if previous is None:
            known = before is not None and before.identity.generation >= member.identity.generation
            assert not known or rank(member) > rank(before), f"{member} entered twice"  # type: ignore[arg-type]
            gone = before is None or before.state in (State.DEAD, State.LEFT)
            assert gone, f"{member} entered in place of {before}, who was not said to be dead"
            return
        same = self._same(member)
        assert same.state is previous, f"{member} was {same.state.name}, not {previous.name}"
        assert member.incarnation > same.incarnation, "came back without a word of its own"

    def _forgotten_for_another(self, node_id: str) -> None:
        """One message may have room made for a stranger, and bring back the one who was forgotten for it."""
        before, said = self.ranks.get(node_id), self.announced.get(node_id)
        if before is not None and before[2] in (State.DEAD, State.LEFT):
            del self.ranks[node_id]
        if said is not None and said.state in (State.DEAD, State.LEFT):
            del self.announced[node_id]

    def _same(self, member: Member) -> Member:
        before = self.announced.get(member.identity.node_id)
        assert before is not None, f"{member} was never announced"
        assert before.identity == member.identity, f"{member} instead of {before}"
        return before

    def _grown(self) -> None:
        ranks = {member.identity.node_id: rank(member) for member in self.machine.members}
        for node_id, before in self.ranks.items():
            if node_id in ranks:
                assert ranks[node_id] >= before, f"{node_id} went from {before} back to {ranks[node_id]}"
            else:
                said = self.announced.pop(node_id, None)
                last = before[2] if said is None else max(before[2], said.state)
                assert last in (State.DEAD, State.LEFT), f"{node_id} was forgotten while {last.name}"
                self.passed_on = {said: n for said, n in self.passed_on.items() if said[0].node_id != node_id}
        self.ranks = ranks
        live = sum(state in (State.ALIVE, State.SUSPECT) for _, _, state in ranks.values())
        self.largest = max(self.largest, live)

    def _sent(self, effect: Send) -> None:
        message, me = effect.message, self.machine.me.identity
        size = message_size(message)
        assert size <= self.options.message_limit, f"{size} bytes: {message}"
        self.largest_message = max(self.largest_message, size)
        assert message.source == me
        about = [update.identity.node_id for update in message.updates]
        if isinstance(message, Records):
            return
        assert len(about) == len(dict.fromkeys(about)), f"says two things about one member: {message}"
        assert message.updates or not isinstance(message, Gossip), "gossip without news"
        for update in message.updates:
            self._said(effect.to, update)

    def _said(self, to: str, update: Update) -> None:
        node_id = update.identity.node_id
        if node_id == self.machine.me.identity.node_id or to.partition(":")[0] == node_id:
            return
        said = (update.identity, update.incarnation, update.state, update.by)
        self.passed_on[said] = times = self.passed_on.get(said, 0) + 1
        limit = retransmit_limit(self.options.retransmit_mult, max(self.largest, len(self.machine.members)))
        assert times <= limit, f"{update} was passed on {times} times"
