"""One item of news among many members: the queues, draws and orders of the machine, and nothing else of it.

Members are numbers; each has its own `Rumours`, draws its receivers with `draw`, or its probe targets with `Rotation`.
That is enough to measure what the formulas of epidemics say, for a thousand members and many runs, in a second or two.
"""

from __future__ import annotations

from math import ceil
from random import Random

from casty_proto.swim.gossip import Rumours
from casty_proto.swim.pool import Pool, draw, shuffle
from casty_proto.swim.rotation import Rotation

from .script import alive

NEWS = alive("news", 1)
_SIZE = 10


class Epidemic:
    """`n` members of which one has the news. Each tells it `limit` times at most."""

    def __init__(self, n: int, limit: int, *, seed: int, loss: float = 0.0) -> None:
        self.n = n
        self.limit = limit
        self.loss = loss
        self.rng = Random(seed)
        self.told = [0] * n
        """How often each has told it."""
        self.rounds = 0
        self._everybody = Pool()
        for number in range(n):
            self._everybody.add(str(number))
        self._queues: dict[int, Rumours] = {}
        self._hear([0])

    def _order(self, number: int) -> Rotation:
        """Everybody else, from a random place on, as it is some time after the start."""
        order = Rotation(self.rng)
        order._order = [str(other) for other in range(self.n) if other != number]
        shuffle(self.rng, order._order)
        order._next = int(self.rng.random() * self.n)
        return order

    def _hear(self, numbers: list[int]) -> None:
        for number in numbers:
            if number not in self._queues:
                self._queues[number] = queue = Rumours()
                queue.put(NEWS, _SIZE)

    def _tells(self, number: int) -> bool:
        """Whether the next message of a member has the news, and arrives."""
        queue = self._queues.get(number)
        if queue is None or not queue.take(_SIZE, self.limit):
            return False
        self.told[number] += 1
        return self.rng.random() >= self.loss

    @property
    def uninfected(self) -> int:
        """How many have not heard the news."""
        return self.n - len(self._queues)

    @property
    def is_over(self) -> bool:
        """Whether nobody tells it any more."""
        return not any(self._queues.values())

    def gossip(self, fan_out: int) -> None:
        """One round in which everybody who has news sends it to some members. It is told from the next round on."""
        self.rounds += 1
        heard = []
        for number, queue in [*self._queues.items()]:
            if queue:
                receivers = draw(self.rng, fan_out, self._everybody, but=(str(number),))
                heard += [int(receiver) for receiver in receivers if self._tells(number)]
        self._hear(heard)

    def probe(self, periods: float) -> None:
        """Time in which everybody pings one member a period, at a moment of its own; the answers carry news as well."""
        moments = [self.rng.random() for _ in range(self.n)]
        turns = [(moments[number] + period, number) for number in range(self.n) for period in range(ceil(periods))]
        orders = [self._order(number) for number in range(self.n)]
        for moment, number in sorted(turns):
            if moment > periods:
                break
            name = orders[number].next()
            assert name is not None
            target = int(name)
            heard = [target] if self._tells(number) else []
            heard += [number] if self._tells(target) else []
            self._hear(heard)
