"""What the clients of a simulated application have done, and whether it could have happened one at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from ..checkers.history import record
from ..checkers.linearizability import NEVER, Model, Operation, Verdict, check, draw
from ..world import Violation, World


class Call:
    """One operation that is under way. Set `result`, or call `did_not_happen`."""

    def __init__(self) -> None:
        self.result: Any = None
        self.happened = True

    def did_not_happen(self) -> None:
        """It was refused, so it is no part of the history."""
        self.happened = False


class History:
    """The operations of all clients, with the instants of the world at which they were called and returned."""

    def __init__(self, world: World) -> None:
        self.operations: list[Operation] = []
        """Those that are over, in the order of their ends."""
        self._under_way: dict[Call, Operation] = {}
        self._world = world

    @contextmanager
    def call(self, client: Hashable, key: Hashable, argument: Any) -> Iterator[Call]:
        """One operation on the object `key`. One that is left by an exception may have happened, or not; nor is that
        known of one whose client was lost in the middle of it.

        with sim.history.call("alice", "balance", ("add", 5)) as call:
            call.result = await account.ask(Add(5))
        """
        call, began = Call(), self._world.now
        # One that is cut off with its host never comes back from here, and may have happened all the same.
        self._under_way[call] = unanswered = Operation(client, key, began, NEVER, argument)
        try:
            yield call
        except BaseException:
            self._under_way.pop(call)
            if call.happened:
                self.operations.append(unanswered)
            raise
        self._under_way.pop(call)
        if call.happened:
            self.operations.append(Operation(client, key, began, self._world.now, argument, call.result))

    def check(self, model: Model, budget: int = 200_000) -> bool:
        """Whether it is linearizable. Raises `Violation`, with a drawing of where it broke, when it is not.

        Operations that are under way count as such that have no answer. False when the search ran out of its budget of
        steps, and nothing can be said.
        """
        under_way = [operation for call, operation in self._under_way.items() if call.happened]
        operations = [*self.operations, *under_way]
        finding = check(operations, model, budget)
        if (timeline := self._world.trace.timeline) is not None:
            record(timeline, operations, finding)
        if finding.verdict is Verdict.NOT_LINEARIZABLE:
            about = [*finding.longest, *finding.stuck]
            raise Violation("linearizability", f"the history of {finding.key!r} has no order\n{draw(about)}")
        return finding.verdict is Verdict.LINEARIZABLE

    def __len__(self) -> int:
        """How many operations are over."""
        return len(self.operations)
