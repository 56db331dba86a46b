"""Failures and restarts: the part of the engine that decides who begins anew, and when.

The way of a restart, as phases (see `Phase`):

    RUNNING -- it raised --> SUSPENDED -- verdict --> RESTARTING -- PRE_RESTART ran --> CLEARING
        -- children gone --> BACKING_OFF -- delay over --> STARTING -- RESTART ran --> RUNNING

A failure story for each step that looks as if it could be left out:

1.  Two failures, one restart. While an actor is restarting for a sibling's sake, the handler that it still has in hand
    raises. That failure must not count, and must not begin a second restart: the state it spoilt is being dropped.
2.  A stale verdict. The parent is asked about a failure; before it answers, the child is restarted by a sibling's
    failure and fails again. The answer to the first question must not decide about the second. Verdicts therefore
    carry the very error that they are about.
3.  Children of a new incarnation. A new incarnation that starts before the old one's children have stopped would find
    their names taken. It therefore waits for them, however short the back-off is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..machine import SECOND, Instant
from .cell import Cell, Job, Phase, Task
from .events import Failure
from .supervision import MultiChildStrategy, RestartWindow, SupervisionStrategy, describe
from .tree import Tree

_RENEWING = (Phase.RESTARTING, Phase.CLEARING, Phase.BACKING_OFF)


class Restarting(Tree):
    """Failures, verdicts and restarts, on top of the tree."""

    # -- from the failure to the verdict ---------------------------------------------------------------------------

    def _on_failed(self, cell: Cell, error: Exception, item: Any, now: Instant) -> None:
        if cell.phase not in (Phase.STARTING, Phase.RUNNING):
            text = f"{cell.path} failed while it was already {Phase(cell.phase).name.lower().replace('_', ' ')}"
            self._out.append(Failure(cell, error, SupervisionStrategy.STOP, text))
            return
        self._fail(cell, error, item, now)

    def _fail(self, failing: Cell | None, error: Exception, item: Any, now: Instant) -> None:
        """Suspend the actor and find out what is to become of it (rule 5), and of those it escalates to (rule 9)."""
        while failing is not None and failing.phase in (Phase.STARTING, Phase.RUNNING):
            # In any other phase an actor's own fate is being decided, and that decides about its children too.
            failing.phase = Phase.SUSPENDED
            failing.error = error
            parent = failing.parent
            if parent is not None and parent.judges:
                self._give(parent, Job(Task.JUDGE, error=error, item=item, subject=failing))
                return
            failing, item = self._decide(failing, error, item, now), None

    def _on_judged(
        self, cell: Cell, error: Exception, item: Any, strategy: SupervisionStrategy | None, now: Instant
    ) -> None:
        if cell.phase != Phase.SUSPENDED or cell.error is not error:
            return
        if strategy is None:
            above = self._decide(cell, error, item, now)
        else:
            above = self._carry_out(cell, error, item, strategy, now)
        self._fail(above, error, None, now)

    def _decide(self, cell: Cell, error: Exception, item: Any, now: Instant) -> Cell | None:
        """Let the actor's own policy decide. Returns the parent if the failure is now the parent's."""
        try:
            strategy = cell.policy.decide(error)
        except Exception as mistake:
            # The decider is the application's. Its failure must not leave the actor suspended for ever.
            self._report(cell, error, SupervisionStrategy.STOP, f"stops: its decider failed with {mistake!r}")
            self._stop_group(cell, error)
            return None
        return self._carry_out(cell, error, item, strategy, now)

    # -- from the verdict to the restart ---------------------------------------------------------------------------

    def _carry_out(
        self, cell: Cell, error: Exception, item: Any, strategy: SupervisionStrategy, now: Instant
    ) -> Cell | None:
        match strategy:
            case SupervisionStrategy.STOP:
                self._report(cell, error, strategy, "stops")
                self._stop_group(cell, error)
            case SupervisionStrategy.RESTART:
                self._restart_group(cell, error, item, now)
            case SupervisionStrategy.ESCALATE:
                return self._escalate(cell, error)
        return None

    def _escalate(self, cell: Cell, error: Exception) -> Cell | None:
        """The parent, whose failure this is to become; or stop, at the top of the tree."""
        parent = cell.parent
        if parent is None or parent.parent is None:
            self._report(cell, error, SupervisionStrategy.ESCALATE, "stops: nobody is above it to escalate to")
            self._stop(cell, error)
            return None
        self._report(cell, error, SupervisionStrategy.ESCALATE, f"escalates to {parent.path}")
        return parent

    def _restart_group(self, cell: Cell, error: Exception, item: Any, now: Instant) -> None:
        if cell.window is None:
            cell.window = RestartWindow()
        nth = cell.window.grant(cell.policy, now)
        if nth is None:
            self._report(cell, error, SupervisionStrategy.STOP, f"stops: it had its {describe(cell.policy)}")
            self._stop_group(cell, error)
            return
        delay = cell.policy.backoff_ns(nth, self._rng)
        pause = f" after {delay / SECOND:.3g} s" if delay else ""
        text = f"{cell.path} restarts{pause} (restart {nth}; it may have {describe(cell.policy)})"
        self._out.append(Failure(cell, error, SupervisionStrategy.RESTART, text, delay))
        for target in _concerned(cell):
            self._renew(target, error, item if target is cell else None, now + delay)

    def _stop_group(self, cell: Cell, error: Exception) -> None:
        for target in _concerned(cell):
            self._stop(target, error if target is cell else None)

    def _report(self, cell: Cell, error: Exception, strategy: SupervisionStrategy, what: str) -> None:
        self._out.append(Failure(cell, error, strategy, f"{cell.path} {what}"))

    # -- the restart -----------------------------------------------------------------------------------------------

    def _on_renew(self, cell: Cell, error: Exception, item: Any, now: Instant) -> None:
        # While its fate is open, an actor cannot grant itself what a verdict may deny.
        if cell.phase != Phase.SUSPENDED:
            self._renew(cell, error, item, now)

    def _renew(self, cell: Cell, error: Exception, item: Any, resume_at: Instant) -> None:
        """Begin a restart (rule 6), unless the actor is beginning anew or ending already."""
        if cell.phase >= Phase.STOPPING or cell.phase in _RENEWING or _fresh(cell):
            return
        cell.phase = Phase.RESTARTING
        cell.error = error
        cell.resume_at = resume_at
        self._give(cell, Job(Task.PRE_RESTART, error=error, item=item))

    def _clear(self, cell: Cell, now: Instant) -> None:
        """The old incarnation's hook ran: its children go, and it will not hear of their ends, or judge them."""
        cell.phase = Phase.CLEARING
        cell.jobs = None
        self._unstash(cell)
        for child in list(cell.children.values()) if cell.children else ():
            self._unlink(cell, child)
            self._stop(child, None)
        if not cell.children:
            self._cleared(cell, now)

    def _cleared(self, cell: Cell, now: Instant) -> None:
        """The old incarnation's last child is gone."""
        cell.phase = Phase.BACKING_OFF
        if cell.resume_at <= now:
            self._resume(cell)
        else:
            self._deadlines.set(cell, cell.resume_at)

    def _on_backoff_due(self, now: Instant) -> None:
        for cell in self._deadlines.due(now):
            self._resume(cell)

    def _resume(self, cell: Cell) -> None:
        assert cell.phase == Phase.BACKING_OFF, cell
        cell.phase = Phase.STARTING
        self._give(cell, Job(Task.RESTART, error=cell.error))


def _concerned(cell: Cell) -> Iterable[Cell]:
    """The actors that share the fate of a failing one (rule 8), in the order in which they were spawned."""
    siblings = cell.parent.children if cell.parent is not None else None
    if siblings is None or cell.policy.multi_child is MultiChildStrategy.ONE_FOR_ONE:
        return (cell,)
    concerned = list(siblings.values())
    if cell.policy.multi_child is MultiChildStrategy.REST_FOR_ONE:
        concerned = concerned[concerned.index(cell) :]
    return concerned


def _fresh(cell: Cell) -> bool:
    """Whether a start is still to be taken: there is no state yet that a restart could reset."""
    return cell.phase == Phase.STARTING and any(job.task in (Task.START, Task.RESTART) for job in cell.jobs or ())
