"""The tree of actors: who is whose child, who watches whom, and how an actor ends.

Stopping is bottom-up. An actor that is to stop closes its mailbox at once, tells its children to stop, and gets the job
`POST_STOP` when the last of them is gone. If it still has a handler in hand, that job simply comes after it. An actor
that was never begun has nothing to clean up and ends on the spot.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from ..timers import Deadlines
from .cell import CLOSED, Cell, Job, Phase, Task
from .events import Effect, Ready, Stopped, Terminated, Undelivered
from .mailbox import Mailbox, Reason
from .supervision import STOP_ON_FAILURE


class Tree:
    """The state of the engine, and the ends of actors."""

    def __init__(self, rng: Random) -> None:
        self.user = _guardian(1)
        self.system = _guardian(2)
        self._uid = 2
        self._rng = rng
        self._deadlines: Deadlines[Cell] = Deadlines()
        self._spare: list[deque[Any]] = []
        self._out: list[Effect] = []

    def _give(self, cell: Cell, job: Job) -> None:
        """Queue a job, ahead of all messages."""
        if cell.jobs is None:
            cell.jobs = [job]
        else:
            cell.jobs.append(job)
        if not cell.held:
            cell.held = True
            self._out.append(Ready(cell))

    def _unstash(self, cell: Cell) -> int:
        stashed = cell.stashed
        if not stashed:
            return 0
        if cell.queue is None:
            cell.queue = deque()
        cell.queue.extendleft(reversed(stashed))
        cell.stashed = None
        return len(stashed)

    # -- watching --------------------------------------------------------------------------------------------------

    def _on_watch(self, watcher: Cell, subject: Cell) -> None:
        if watcher.phase >= Phase.STOPPING or watcher is subject:
            return
        if subject.phase == Phase.STOPPED:
            self._out.append(Terminated(watcher, subject))
            return
        if subject.watchers is None:
            subject.watchers = {}
        if watcher.watching is None:
            watcher.watching = {}
        subject.watchers[watcher] = None
        watcher.watching[subject] = None

    def _unlink(self, watcher: Cell, subject: Cell) -> None:
        if subject.watchers:
            subject.watchers.pop(watcher, None)
        if watcher.watching:
            watcher.watching.pop(subject, None)

    # -- stopping --------------------------------------------------------------------------------------------------

    def _stop(self, cell: Cell, error: Exception | None) -> None:
        """Begin to stop the actor and all below it (rules 10 and 11). Not recursive: trees may be deep."""
        if cell.phase >= Phase.STOPPING:
            return
        below = [cell]
        for each in below:
            below.extend(child for child in (each.children or {}).values() if child.phase < Phase.STOPPING)
            # One that failed and escalated, or still waits for its verdict, stops for that reason.
            failed = each.error if each.phase == Phase.SUSPENDED else None
            each.phase = Phase.STOPPING
            each.error = error if each is cell and error is not None else failed
            each.limit = CLOSED
            each.jobs = None
            self._deadlines.cancel(each)
            self._drain(each)
        for each in reversed(below):
            if not each.children:
                self._childless(each)

    def _drain(self, cell: Cell) -> None:
        waiting = [*(cell.stashed or ()), *(cell.queue or ())]
        cell.stashed = cell.queue = cell.put = None
        cell.notices = 0
        for item in waiting:
            if type(item) is not Job:
                self._out.append(Undelivered(cell, item, Reason.STOPPED))

    def _childless(self, cell: Cell) -> None:
        """No child of a stopping actor is left."""
        if cell.began:
            self._give(cell, Job(Task.POST_STOP))
        else:
            self._end(cell)

    def _end(self, cell: Cell) -> None:
        """The actor is gone: free its name first, then tell everybody (rule 12)."""
        cell.phase = Phase.STOPPED
        if cell.parent is not None and cell.parent.children is not None:
            del cell.parent.children[cell.name]
        for subject in list(cell.watching or ()):
            self._unlink(cell, subject)
        # Its traceback leads to the state of the actor, which nobody should keep who keeps the cell.
        error, cell.error = cell.error, None
        self._out.append(Stopped(cell, error))
        for watcher in list(cell.watchers or ()):
            self._unlink(watcher, cell)
            self._out.append(Terminated(watcher, cell))

    def _finish(self, cell: Cell) -> Cell | None:
        """`POST_STOP` has run. Returns the parent if it was waiting for just this in order to begin anew."""
        assert cell.phase == Phase.STOPPING, cell
        self._end(cell)
        parent = cell.parent
        while parent is not None and parent.phase == Phase.STOPPING and not parent.children:
            self._childless(parent)
            # One that was never begun has no last hook, and has ended just now.
            parent = parent.parent
        return parent if parent is not None and parent.phase == Phase.CLEARING and not parent.children else None


def _guardian(uid: int) -> Cell:
    cell = Cell(uid, "", None, Mailbox(), STOP_ON_FAILURE, None, judges=False)
    cell.phase = Phase.RUNNING
    return cell
