"""What a driver tells the engine, and what the engine asks of a driver.

`Cell` values in events and effects are handles. Nothing here is sent to another node.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import instance_of

from ..machine import Nanoseconds, Note, Reply, Wake
from .cell import Cell, Task
from .mailbox import Mailbox, Reason
from .supervision import Policy, SupervisionStrategy

_DEFAULT_MAILBOX = Mailbox()


@frozen
class Spawn:
    """Create a child of `parent`. Answered with `Reply(request, cell)` or `Reply(request, Rejected(reason))`."""

    request: Any
    parent: Cell
    name: str | None
    """`None` for a name that the engine makes up: `$1`, `$2` and so on."""
    policy: Policy
    body: Any = None
    """The driver's own; the engine never looks at it."""
    mailbox: Mailbox = _DEFAULT_MAILBOX
    judges: bool = False
    """Whether the actor is to be asked (job `JUDGE`) about its failing children."""


@frozen
class Stop:
    """Stop the actor: after the handler in hand, bottom-up. A no-op for one that is stopping or has stopped."""

    cell: Cell


@frozen
class Watch:
    """Tell `watcher` when `subject` has stopped; at once if it has already."""

    watcher: Cell
    subject: Cell


@frozen
class Unwatch:
    """Undo `Watch`. A notice that is already waiting in the mailbox is still handled."""

    watcher: Cell
    subject: Cell


@frozen
class Done:
    """The job `task` (`START`, `PRE_RESTART`, `RESTART` or `POST_STOP`) ran to its end.

    A `PRE_RESTART` or `POST_STOP` hook that raised counts as done too: the driver reports the error, and the actor
    goes on to what it was about to do.
    """

    cell: Cell
    task: Task


@frozen
class Failed:
    """A handler, a `START` or a `RESTART` raised `error`. `item` is the message in hand, if it was one.

    Raises `TypeError` for an `error` that is no `Exception`: what ends a program is not for supervision.
    """

    cell: Cell
    error: Exception = field(validator=instance_of(Exception))
    item: Any = None


@frozen
class Renew:
    """The actor asked for its own restart: without a verdict, without back-off, and without counting.

    `error` is what the hooks are told. `item` is the message in hand. A no-op while a verdict about the actor is due.
    """

    cell: Cell
    error: Exception
    item: Any = None


@frozen
class Judged:
    """The answer to the job `JUDGE`. `None` leaves the decision to the child's own policy."""

    subject: Cell
    error: Exception
    item: Any
    strategy: SupervisionStrategy | None


type Event = Spawn | Stop | Watch | Unwatch | Done | Failed | Renew | Judged | Wake
"""What `ActorMachine.handle` takes."""


@frozen
class Ready:
    """Put the actor into the run queue and, in its turn, call `take` until it returns `IDLE`."""

    cell: Cell


@frozen
class Undelivered:
    """`item` will not be handled by `cell`: a dead letter, and the end of the ask that it may belong to."""

    cell: Cell
    item: Any
    reason: Reason


@frozen
class Terminated:
    """Hand the notice that `subject` has stopped to `watcher`, with `ActorMachine.notify`."""

    watcher: Cell
    subject: Cell


@frozen
class Started:
    """The first incarnation runs."""

    cell: Cell


@frozen
class Restarted:
    """A new incarnation runs, after `error`."""

    cell: Cell
    error: Exception


@frozen
class Stopped:
    """The actor has stopped and its name is free.

    `error` is why: what it raised itself. `None` when it was asked to stop, or had to because of another actor.
    """

    cell: Cell
    error: Exception | None


@frozen
class Failure:
    """What was decided about a failure, in words that an operator can read. For reports only."""

    cell: Cell
    error: Exception
    strategy: SupervisionStrategy
    text: str
    delay_ns: Nanoseconds = 0
    """How long the restart waits; 0 where there is none, or at once."""


type Effect = Reply | Ready | Undelivered | Terminated | Started | Restarted | Stopped | Failure | Note
"""What `ActorMachine.handle` returns, in the order in which it is to be carried out."""
