"""The operations of clients in a run: what the check of their history says of it, and what a report shows of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from casty_proto.machine import Instant

from ..scenario import Outcome
from ..timeline import Operation, Timeline, Verdict
from ..world import Violation
from . import linearizability
from .linearizability import Finding

BUDGET = 100_000
"""How many steps the check of the history of one run may take."""
WORDS = {
    linearizability.Verdict.LINEARIZABLE: Verdict.LINEARIZABLE,
    linearizability.Verdict.NOT_LINEARIZABLE: Verdict.NOT_CHECKED,
    linearizability.Verdict.UNKNOWN: Verdict.UNKNOWN,
}
"""What a finding says of the keys that it is not about: once one has no order, the others do not matter any more."""


def record(
    timeline: Timeline,
    history: Iterable[linearizability.Operation],
    finding: Finding | None,
    lane: Callable[[linearizability.Operation], str] = lambda operation: str(operation.client),
) -> None:
    """Put a history on the timeline, with what was found; `None` where the run ended before anybody looked.

    What is there already, with the same client, key and call, only gets its verdict. Where no order exists, the moment
    to look at is the return of the first operation that does not fit.
    """
    known = {(each.client, each.key, each.called_at): each for each in timeline.operations}
    order: dict[tuple[Hashable, Hashable, int], int] = {}
    stuck: dict[tuple[Hashable, Hashable, int], None] = {}
    if finding is not None:
        order = {_name(each): place for place, each in enumerate(finding.longest, 1)}
        stuck = dict.fromkeys(_name(each) for each in finding.stuck if each.answered)
        _focus(timeline, finding)
    for each in history:
        made = known.get((str(each.client), str(each.key), each.call))
        if made is None:
            made = _made(each, lane(each))
            timeline.operation(made)
        made.place = order.get(_name(each))
        made.verdict = Verdict.STUCK if _name(each) in stuck else _verdict(each, finding)
    _give_up(timeline.operations)


def judge(history: Iterable[linearizability.Operation], finding: Finding, outcome: Outcome) -> None:
    """What a finding means for a run. Raises `Violation`, with a drawing, where operations of a key have no order."""
    if finding.verdict is linearizability.Verdict.UNKNOWN:
        outcome.unknown = True
    if finding.verdict is linearizability.Verdict.NOT_LINEARIZABLE:
        about = [each for each in history if each.key == finding.key]
        drawing = linearizability.draw(about)
        raise Violation("linearizability", f"the history of {finding.key} has no order\n{drawing}")


def _focus(timeline: Timeline, finding: Finding) -> None:
    returns = [each.ret for each in finding.stuck if each.answered]
    if finding.verdict is linearizability.Verdict.NOT_LINEARIZABLE and returns:
        timeline.focus(min(returns))


def _verdict(operation: linearizability.Operation, finding: Finding | None) -> Verdict:
    if finding is None:
        return Verdict.NOT_CHECKED
    if finding.verdict is linearizability.Verdict.NOT_LINEARIZABLE and operation.key == finding.key:
        return Verdict.BROKEN
    return WORDS[finding.verdict]


def _name(operation: linearizability.Operation) -> tuple[Hashable, Hashable, int]:
    return operation.client, operation.key, operation.call


def _made(operation: linearizability.Operation, lane: str) -> Operation:
    return Operation(
        lane,
        str(operation.client),
        str(operation.key),
        operation.call,
        _words(operation),
        operation.ret if operation.answered else None,
        result="" if operation.result is None else repr(operation.result),
    )


def _words(operation: linearizability.Operation) -> str:
    key = operation.key
    match operation.argument:
        case linearizability.Read():
            return f"read {key}"
        case linearizability.Write(value):
            return f"write {key} := {value}"
        case linearizability.CompareAndSet(expected, value):
            return f"write {key} := {value} if it is {expected}"
        case linearizability.Add(amount):
            return f"add {amount} to {key}"
        case other:
            return f"{key}: {other}"


def _give_up(operations: list[Operation]) -> None:
    """Who asks for something else does not wait for an answer any more."""
    calls: dict[str, list[Instant]] = {}
    for each in sorted(operations, key=lambda each: each.called_at):
        calls.setdefault(each.client, []).append(each.called_at)
    for each in operations:
        if each.returned_at is None and each.gave_up_at is None:
            each.gave_up_at = next((at for at in calls[each.client] if at > each.called_at), None)
