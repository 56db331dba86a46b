"""Whether a history of concurrent operations could have happened one at a time.

A history is linearizable (Herlihy and Wing, 1990) when every operation can be given one instant between its call and
its return, such that the results are those of a sequential object. The search is that of Wing and Gong (1993) with the
memory of Lowe (2017): among the operations that may come next, try one, and go back when nothing fits; never try the
same set of operations with the same state twice. Operations on different keys do not touch each other, so each key is
searched by itself, which is sound for linearizability (it is a local property) and turns one hopeless search into many
easy ones.

An operation without a return (its client crashed, or got no answer) may have happened at any time after its call, or
not at all. The search is exponential in the worst case: it has a budget of steps, and says `UNKNOWN` when that is used
up, never that all is well.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from enum import Enum
from typing import Any

from attrs import define, field, frozen

NEVER = 2**63 - 1
"""The return of an operation that got no answer."""


@frozen
class Operation:
    """One call of a client. `call` and `ret` are simulated instants; `ret` is `NEVER` without an answer."""

    client: Hashable
    key: Hashable
    call: int
    ret: int
    argument: Any
    result: Any = None

    @property
    def answered(self) -> bool:
        """Whether the client learned the result."""
        return self.ret != NEVER


type Step = Callable[[Any, Operation], tuple[bool, Any]]
"""`step(state, operation)`: whether the result fits a sequential object in that state, and the state after it.

For an operation without an answer, any result fits. States are hashable values.
"""


@frozen
class Model:
    """A sequential object: its first state, and what an operation does."""

    name: str
    initial: Hashable
    step: Step


class Verdict(Enum):
    """What the search found."""

    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not linearizable"
    UNKNOWN = "unknown"


@frozen
class Finding:
    """The verdict on a history; for one that is not linearizable, where it broke."""

    verdict: Verdict
    key: Hashable = None
    longest: tuple[Operation, ...] = ()
    """The longest order that fits, of the key that does not."""
    stuck: tuple[Operation, ...] = ()
    """The operations of which one would have had to come next."""
    steps: int = 0

    def __bool__(self) -> bool:
        return self.verdict is not Verdict.NOT_LINEARIZABLE


def check(history: Iterable[Operation], model: Model, budget: int = 200_000) -> Finding:
    """Check each key by itself, the easiest first. `budget` bounds the steps of all searches together."""
    by_key: dict[Hashable, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    steps, unknown = 0, None
    for key, operations in sorted(by_key.items(), key=lambda item: len(item[1])):
        search = _Search(operations, model, budget - steps)
        verdict = search.run()
        steps += search.steps
        if verdict is Verdict.NOT_LINEARIZABLE:
            return Finding(verdict, key, tuple(search.longest), tuple(search.stuck), steps)
        if verdict is Verdict.UNKNOWN and unknown is None:
            unknown = key
    verdict = Verdict.LINEARIZABLE if unknown is None else Verdict.UNKNOWN
    return Finding(verdict, unknown, steps=steps)


@define
class _Search:
    """One key."""

    operations: Sequence[Operation]
    model: Model
    budget: int
    steps: int = 0
    longest: list[Operation] = field(factory=list)
    stuck: list[Operation] = field(factory=list)

    def run(self) -> Verdict:
        operations = sorted(self.operations, key=lambda each: (each.call, each.ret))
        wanted = sum(1 << index for index, each in enumerate(operations) if each.answered)
        step = self.model.step
        order: list[int] = []
        # Each level: what is done, the state, and which operations may come next there.
        levels = [(0, self.model.initial, _candidates(operations, 0))]
        seen: dict[tuple[int, Any], None] = {(0, self.model.initial): None}
        while True:
            done, state, candidates = levels[-1]
            if done & wanted == wanted:
                return Verdict.LINEARIZABLE
            advanced = False
            while candidates and not advanced:
                index = candidates.pop()
                self.steps += 1
                if self.steps > self.budget:
                    return Verdict.UNKNOWN
                fits, after = step(state, operations[index])
                place = (done | 1 << index, after)
                if fits and place not in seen:
                    seen[place] = None
                    order.append(index)
                    levels.append((place[0], after, _candidates(operations, place[0])))
                    advanced = True
            if advanced:
                continue
            if len(order) >= len(self.longest):
                self.longest = [operations[index] for index in order]
                self.stuck = [operations[index] for index in _candidates(operations, done)]
            levels.pop()
            if not levels:
                return Verdict.NOT_LINEARIZABLE
            order.pop()


def _candidates(operations: Sequence[Operation], done: int) -> list[int]:
    """Those not done that were called before every other one not done had returned; the likeliest last."""
    first_return = NEVER
    found: list[int] = []
    for index, operation in enumerate(operations):
        if operation.call > first_return:
            break
        if not done >> index & 1:
            found.append(index)
            first_return = min(first_return, operation.ret)
    found = [index for index in found if operations[index].call <= first_return]
    found.sort(key=lambda index: -operations[index].ret)
    return found


# -- sequential objects ------------------------------------------------------------------------------------------------


@frozen
class Write:
    """Set the register."""

    value: Hashable


@frozen
class Read:
    """Get the register; the result is its value."""


@frozen
class CompareAndSet:
    """Set the register if it has the expected value; the result says whether it had."""

    expected: Hashable
    value: Hashable


@frozen
class Add:
    """Add to the counter; the result is its value afterwards, or `None` where that is not told."""

    amount: int


def _register_step(state: Any, operation: Operation) -> tuple[bool, Any]:
    match operation.argument:
        case Write(value):
            return True, value
        case Read():
            return not operation.answered or operation.result == state, state
        case CompareAndSet(expected, value):
            hit = state == expected
            return not operation.answered or operation.result is hit, value if hit else state
        case other:
            raise TypeError(f"{other!r} is no operation of a register")


def _counter_step(state: Any, operation: Operation) -> tuple[bool, Any]:
    match operation.argument:
        case Add(amount):
            after = state + amount
            return not operation.answered or operation.result in (None, after), after
        case Read():
            return not operation.answered or operation.result == state, state
        case other:
            raise TypeError(f"{other!r} is no operation of a counter")


def register(initial: Hashable = None) -> Model:
    """A register with `Write`, `Read` and `CompareAndSet`."""
    return Model("register", initial, _register_step)


def counter(initial: int = 0) -> Model:
    """A counter with `Add` and `Read`."""
    return Model("counter", initial, _counter_step)


# -- a history that can be looked at -----------------------------------------------------------------------------------


def draw(operations: Iterable[Operation], width: int = 72) -> str:
    """The history as text: a line for each operation, by client, with its call and its return on a common axis."""
    operations = sorted(operations, key=lambda each: (str(each.client), each.call))
    if not operations:
        return "(no operations)"
    begin = min(each.call for each in operations)
    end = max([each.ret for each in operations if each.answered] + [each.call for each in operations])
    scale = (width - 1) / max(1, end - begin)
    lines = []
    for each in operations:
        left = round((each.call - begin) * scale)
        right = width - 1 if not each.answered else round((each.ret - begin) * scale)
        bar = " " * left + "|" + "-" * max(0, right - left - 1) + ("|" if each.answered else ">")
        result = f" = {each.result!r}" if each.answered else " = ?"
        lines.append(f"{each.client!s:>8} {bar:<{width + 1}} {each.key!s}: {each.argument!r}{result}")
    return "\n".join(lines)
