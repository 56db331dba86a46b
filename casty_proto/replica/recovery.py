"""What a new owner asks of those who may have copies, and what it makes of the answers.

Theory of operation
-------------------
First everybody lists what it has: names and versions only. When all lists are there, the newest version of each entity
is known, and its state is pulled from one who has it, this node itself first.

    Fetch --> Page, Fetch --> Page, ... ; then Pull --> States, Pull --> States, ... ; then the shard is recovered

One question at a time is open to each replica. It is asked again until it is answered. A replica is given up when it is
known to be down and the grace is over; then what it said does not count either, because its states cannot be had.
Nobody is given up for being slow: it may have the only copy of an acknowledged write. For the same reason those who
count are not given up when more of them are missing than a write bears: then each of them may have what nobody else
has. It is waited until enough are back, or will never be heard of again.

Whenever somebody is left out, or asked after all, it is planned anew which states are pulled from whom, and pulls of
the former plan are open no more: their answers may be older than what is wanted now.

What was deleted may still be in a copy that missed it. Of an entity's newest version:
-   if it is a deletion, the entity is gone;
-   if some copy is complete up to that version and lacks the entity, it was deleted, and the deletion was cleared away;
-   otherwise it is alive.
"""

from __future__ import annotations

from itertools import islice

from attrs import define, field

from ..machine import Instant
from .counting import Counting
from .messages import NEVER, Fetch, Page, Pull, States, Version
from .options import ReplicaOptions

type _Questions = list[tuple[str, Fetch | Pull]]


@define
class _Replica:
    """What one of them has said."""

    question: Fetch | Pull | None
    life: int | None = None
    whole: Version = NEVER
    index: int = 0
    """Of the membership as of which its copy is complete."""
    listed: dict[str, tuple[Version, bool]] = field(factory=dict)


@define
class Found:
    """An entity that is alive."""

    entity: str
    state: bytes
    version: Version
    holders: dict[str, int]
    """Who has this version, and in which life."""


class Recovery:
    """One shard that is being recovered."""

    __slots__ = (
        "_asked",
        "_counting",
        "_epoch",
        "_given_up",
        "_gone",
        "_grace_until",
        "_options",
        "_region",
        "_shard",
        "_states",
        "_wanted",
    )

    def __init__(
        self,
        region: str,
        shard: int,
        epoch: int,
        replicas: tuple[str, ...],
        now: Instant,
        options: ReplicaOptions,
        counting: Counting | None = None,
    ) -> None:
        self._region, self._shard, self._epoch = region, shard, epoch
        self._options = options
        self._counting = counting or Counting()
        self._grace_until = now + options.recovery_grace_ns
        first = Fetch(region, shard, epoch, 0)
        self._asked = {node: _Replica(first) for node in replicas}
        self._given_up: dict[str, None] = {}
        self._gone: dict[str, None] = {}
        self._wanted: dict[str, dict[str, None]] | None = None
        """The states that are to be pulled, by whom they are pulled from; `None` until all lists are there."""
        self._states: dict[str, tuple[Version, bytes]] = {}

    def asks(self, node: str) -> bool:
        """Whether that replica was asked, and was not given up."""
        return node in self._asked

    def questions(self) -> _Questions:
        """What is open, and to whom."""
        return [(node, asked.question) for node, asked in self._asked.items() if asked.question is not None]

    def give_up(self, down: dict[str, None], now: Instant) -> _Questions:
        """Leave out those who are known to be down, if the grace is over. Returns what is to be asked instead."""
        self._reconsider()
        excused = down if now >= self._grace_until else {}
        silent = self._silent(excused)
        needed = self._needed(silent)
        silent = [node for node in silent if node in self._gone or node not in needed]
        if not silent:
            return []
        for node in silent:
            del self._asked[node]
            if node not in self._gone:
                self._given_up[node] = None
        self._wanted = None
        return self._advance()

    def ask_back(self, down: dict[str, None]) -> _Questions:
        """Those who were given up and are not down any more are asked after all: they may have what nobody else has."""
        back = [node for node in self._given_up if node not in down]
        questions: _Questions = []
        for node in back:
            del self._given_up[node]
            questions += self._start_again(node)
        return questions

    def _silent(self, excused: dict[str, None]) -> list[str]:
        return [
            node
            for node, asked in self._asked.items()
            if asked.question is not None and (node in excused or node in self._gone)
        ]

    def _needed(self, silent: list[str]) -> dict[str, None]:
        """Those who count and are missing, if some acknowledged write may be with them alone; `silent` are missing."""
        heard = {
            node: asked.index for node, asked in self._asked.items() if asked.life is not None and node not in silent
        }
        # Who is there and has not answered yet is waited for anyhow.
        missing = tuple(
            [
                node
                for node in self._counting.missing(heard)
                if node not in self._asked or node in silent or node in heard
            ]
        )
        return dict.fromkeys(missing) if self._counting.are_too_many(missing, heard) else {}

    def _reconsider(self) -> None:
        """Who was given up may be needed after all: somebody else who has answered turns out to have nothing."""
        for node in [node for node in self._needed([]) if node in self._given_up]:
            del self._given_up[node]
            self._start_again(node)

    def waits_for_the_dead(self, down: dict[str, None], now: Instant) -> tuple[str, ...]:
        """Those who are known to be down, and are waited for all the same."""
        if now < self._grace_until:
            return ()
        silent = self._silent(down)
        needed = self._needed(silent)
        return tuple([node for node in silent if node in needed and node not in self._gone])

    def forget(self, node: str) -> None:
        """It will never answer. `give_up` comes next."""
        self._gone[node] = None
        self._given_up.pop(node, None)

    def waits_for(self, down: dict[str, None], now: Instant) -> Instant | None:
        """When the grace of somebody who is down is over, if somebody is waited for only until then."""
        return self._grace_until if now < self._grace_until and any(node in down for node in self._asked) else None

    def on_page(self, node: str, page: Page) -> _Questions | None:
        """A part of a list. Returns what is to be asked next; `None`: it answers no question that is open."""
        asked = self._asked[node]
        question = asked.question
        if type(question) is not Fetch or question.start != page.start:
            return None
        if page.start and page.life != asked.life:
            return self._start_again(node)
        asked.life, asked.whole = page.life, page.whole
        asked.index = page.index if page.whole != NEVER else 0
        self._counting = self._counting.with_began(node, page.began)
        if not page.start:
            asked.listed = {}
        for entity, epoch, sequence, deleted in page.entries:
            asked.listed[entity] = ((epoch, sequence), deleted)
        if page.following:
            asked.question = Fetch(self._region, self._shard, self._epoch, page.following)
            return [(node, asked.question)]
        asked.question = None
        return self._advance()

    def on_states(self, node: str, states: States) -> _Questions | None:
        """Some states. Returns as `on_page` does."""
        asked = self._asked[node]
        question = asked.question
        if type(question) is not Pull:
            return None
        wanted = dict.fromkeys(question.entities)
        if any(entry[0] not in wanted for entry in states.entries):
            return None  # an answer to an earlier question
        if states.life != asked.life or not states.entries:
            return self._start_again(node)
        for entity, epoch, sequence, state in states.entries:
            if asked.listed.get(entity) != ((epoch, sequence), False) or state is None:
                return self._start_again(node)
            self._states[entity] = ((epoch, sequence), state)
            if self._wanted is not None:
                self._wanted[node].pop(entity, None)
        asked.question = None
        return self._advance()

    def _start_again(self, node: str) -> _Questions:
        """What it has is not what it said: it was started again meanwhile."""
        question = Fetch(self._region, self._shard, self._epoch, 0)
        self._asked[node] = _Replica(question)
        self._wanted = None
        return [(node, question)]

    def _advance(self) -> _Questions:
        """Ask for the states that are missing, once all have said what they have."""
        if any(type(asked.question) is Fetch for asked in self._asked.values()):
            return []
        if self._wanted is None:
            self._wanted = self._plan()
            for asked in self._asked.values():
                asked.question = None
        questions: _Questions = []
        for node, entities in self._wanted.items():
            asked = self._asked[node]
            if entities and asked.question is None:
                some = tuple(islice(entities, self._options.page_entries))
                asked.question = Pull(self._region, self._shard, self._epoch, some)
                questions.append((node, asked.question))
        return questions

    def _plan(self) -> dict[str, dict[str, None]]:
        """Whose states are to be pulled from whom, of those that are not here yet."""
        wanted: dict[str, dict[str, None]] = {node: {} for node in self._asked}
        for entity, (version, node) in self._choose().items():
            held = self._states.get(entity)
            if held is None or held[0] != version:
                wanted[node][entity] = None
        return wanted

    def _choose(self) -> dict[str, tuple[Version, str]]:
        """For each entity that is alive, its newest version and the first who has it."""
        newest: dict[str, tuple[Version, bool, str]] = {}
        for node, asked in self._asked.items():
            for entity, (version, deleted) in asked.listed.items():
                known = newest.get(entity)
                if known is None or known[0] < version:
                    newest[entity] = (version, deleted, node)
        for asked in self._asked.values():
            if asked.whole != NEVER:
                # What a whole copy does not list was cleared away. There may be very many: all of them at once.
                whole, listed = asked.whole, asked.listed
                newest = {entity: one for entity, one in newest.items() if one[0] > whole or entity in listed}
        return {entity: (version, node) for entity, (version, deleted, node) in newest.items() if not deleted}

    # The end --------------------------------------------------------------------------------------------------------

    def is_finished(self) -> bool:
        """Whether nothing is left to be asked."""
        return not any(asked.question is not None for asked in self._asked.values())

    def found(self) -> list[Found]:
        """The entities that are alive. Only once it is finished."""
        found, states = [], self._states
        copies = [(node, asked.life or 0, asked.listed.get) for node, asked in self._asked.items()]
        for entity, (version, _) in self._choose().items():
            listed = (version, False)
            holders = {node: life for node, life, get in copies if get(entity) == listed}
            has, state = states[entity]
            assert has == version, f"{entity!r}: the state of {has} would be taken for that of {version}"
            found.append(Found(entity, state, version, holders))
        return found

    def life_of(self, node: str) -> int | None:
        """The life in which that replica answered."""
        return self._asked[node].life if node in self._asked else None

    def holders(self) -> list[str]:
        """Those who have, or may have, something of the shard."""
        holding = [node for node, asked in self._asked.items() if asked.listed or asked.whole != NEVER]
        return [*holding, *self._given_up]

    def invariants(self) -> None:
        """Assert what holds between two calls."""
        assert not self.is_finished(), "the end of a recovery was missed"
        for node in self._given_up:
            assert node not in self._asked
