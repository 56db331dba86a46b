"""One machine and a clock: events in, effects out. The other members are only names."""

from __future__ import annotations

from random import Random

from casty_proto.machine import SECOND, Instant, Note, Wake
from casty_proto.swim import (
    Ack,
    Gossip,
    Identity,
    Join,
    Member,
    Message,
    Nack,
    Ping,
    PingRequest,
    Received,
    Records,
    Send,
    State,
    Swim,
    SwimEffect,
    SwimEvent,
    SwimOptions,
    Update,
)
from casty_proto.swim.core import GOSSIP_KEY

from .watch import Watch

ME = Identity("me", 1)


def who(name: str) -> Identity:
    """`x` is x in its first generation, `x/2` in its second."""
    node_id, _, generation = name.partition("/")
    return Identity(node_id, int(generation or 1))


def at(name: str) -> str:
    """Where somebody is."""
    return f"{who(name).node_id}:1"


def alive(name: str, incarnation: int = 0, payload: bytes = b"", address: str | None = None) -> Update:
    return Update(who(name), incarnation, State.ALIVE, address=address or at(name), payload=payload)


def suspect(name: str, incarnation: int = 0, by: str = "p") -> Update:
    return Update(who(name), incarnation, State.SUSPECT, by)


def dead(name: str, incarnation: int = 0, by: str = "p") -> Update:
    return Update(who(name), incarnation, State.DEAD, by)


def left(name: str, incarnation: int = 0) -> Update:
    return Update(who(name), incarnation, State.LEFT)


def member(name: str, state: State = State.ALIVE, incarnation: int = 0, payload: bytes = b"", told: int = 0) -> Member:
    return Member(who(name), incarnation, state, at(name), payload, told)


class Script:
    """A member that has joined nobody, and knows those it was given."""

    def __init__(
        self,
        *others: str,
        me: str = "me",
        options: SwimOptions | None = None,
        seed: int = 1,
        payload: bytes = b"",
        incarnation: int = 0,
    ) -> None:
        self.options = options or SwimOptions()
        self.now: Instant = 0
        self.silent: dict[str, None] = {}
        """Who does not answer in `advance`, by node id. Helpers say so, unless they are silent themselves."""
        self.machine = Swim(who(me), at(me), payload, rng=Random(seed), options=self.options, incarnation=incarnation)
        self.watch = Watch(self.machine, self.options)
        self.do(Join())
        for other in others:
            self.hear(alive(other), source=other)
        self.calm()

    # Events ---------------------------------------------------------------------------------------------------------

    def do(self, event: SwimEvent) -> list[SwimEffect]:
        """Feed one event. Returns its effects."""
        effects = self.machine.handle(event, self.now)
        self.machine.invariants()
        self.watch.see(event, effects)
        return list(effects)

    def receive(self, message: object, source: str = "p") -> list[SwimEffect]:
        """A message comes from where `source` is."""
        return self.do(Received(at(source), message))

    def hear(self, *updates: Update, source: str = "p") -> list[SwimEffect]:
        """Somebody gossips. Returns the effects."""
        return self.receive(Gossip(who(source), updates), source)

    def compare(self, *updates: Update, source: str = "p") -> list[SwimEffect]:
        """Somebody sends parts of its state."""
        return self.receive(Records(who(source), updates), source)

    def wake(self) -> list[SwimEffect]:
        """Let time pass until the deadline, and wake."""
        deadline = self.machine.deadline()
        assert deadline is not None, "nothing to wait for"
        self.now = max(self.now, deadline)
        return self.do(Wake())

    def advance(self, seconds: float) -> list[SwimEffect]:
        """Let time pass, with every alarm in it, and everybody answering at once. Returns all effects."""
        until = self.now + round(seconds * SECOND)
        effects: list[SwimEffect] = []
        while (deadline := self.machine.deadline()) is not None and deadline <= until:
            for effect in self.wake():
                effects += [effect, *self._answered(effect)]
        self.now = until
        return effects

    def _answered(self, effect: SwimEffect) -> list[SwimEffect]:
        if not isinstance(effect, Send) or effect.to.partition(":")[0] in self.silent:
            return []
        match effect.message:
            case Ping():
                return self.answer(effect.message)
            case PingRequest():
                helper = effect.to.partition(":")[0]
                return self.receive(Nack(who(helper), effect.message.number), helper)
            case _:
                return []

    def sleep(self, seconds: float) -> list[SwimEffect]:
        """Let time pass, and notice only then."""
        self.now += round(seconds * SECOND)
        return self.do(Wake())

    # Probing --------------------------------------------------------------------------------------------------------

    def probe(self) -> tuple[str, Ping]:
        """Go on to the next probe. Returns whom it asks, and how."""
        for _ in range(1000):
            for effect in self.wake():
                if isinstance(effect, Send) and isinstance(effect.message, Ping):
                    return effect.to, effect.message
        raise AssertionError("nobody is probed")

    def answer(self, ping: Ping) -> list[SwimEffect]:
        """The target answers."""
        return self.do(Received(at(ping.target.node_id), Ack(ping.target, ping.number)))

    # What is known --------------------------------------------------------------------------------------------------

    def get(self, name: str) -> Member | None:
        """The record of a node."""
        known = {one.identity.node_id: one for one in self.machine.members}
        return known.get(who(name).node_id)

    def state(self, name: str) -> tuple[State, int] | None:
        """State and incarnation of a node."""
        known = self.get(name)
        return None if known is None else (known.state, known.incarnation)

    def news(self) -> list[Update]:
        """What is still to be passed on, each once, by node id."""
        return [update for _, update in sorted(self.machine._core.rumours._updates.items())]

    def calm(self) -> None:
        """Forget all news, as if everything had been said."""
        for update in self.news():
            self.machine._core.rumours.drop(update.identity.node_id)
        self.machine._deadlines.cancel(GOSSIP_KEY)


def sent[M: Message](effects: list[SwimEffect], kind: type[M]) -> list[tuple[str, M]]:
    """The messages of one kind, and to whom."""
    return [(e.to, e.message) for e in effects if isinstance(e, Send) and isinstance(e.message, kind)]


def quiet(effects: list[SwimEffect]) -> list[SwimEffect]:
    """All effects but messages and notes."""
    return [effect for effect in effects if not isinstance(effect, Send | Note)]
