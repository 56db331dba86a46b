"""The mailbox and supervision engine: who may run next, and what becomes of those that fail.

The vocabulary is that of the supervisors of Erlang/OTP and of Akka (`supervision.py`). `machine.py` has the rules.

What the fields of events, effects and behaviors hold
    Times end in `_ns`: nanoseconds. Mailboxes are counted in messages.

    `cell`            the handle of an actor, which the engine makes. So are `parent`, `watcher` and `subject`
    `item`            a message as it waits in a mailbox, of any type
    `error`           the exception that a handler or a hook has raised
    `policy`          what to do when an actor fails
    `strategy`        what was decided
    `mailbox`         how many messages may wait, and what happens to the next
    `inner`           the behavior that another one is wrapped around
    `request`         the driver's own token, of any type, which comes back in the `Reply`
    `reason`          why a message was not delivered
    `text`            what was done, for people
"""

from .behavior import (
    IGNORE,
    RESTART,
    SAME,
    STOPPED,
    UNHANDLED,
    Behavior,
    BehaviorError,
    Boxed,
    Discoverable,
    Layers,
    Lifecycle,
    Receive,
    Setup,
    Signal,
    Spied,
    Supervised,
    Wrapper,
    unwrap,
)
from .cell import Cell, Job, Phase, Task
from .events import (
    Done,
    Effect,
    Event,
    Failed,
    Failure,
    Judged,
    Ready,
    Renew,
    Restarted,
    Spawn,
    Started,
    Stop,
    Stopped,
    Terminated,
    Undelivered,
    Unwatch,
    Watch,
)
from .machine import IDLE, READY, ActorMachine
from .mailbox import Envelope, Mailbox, MailboxOverflowStrategy, Reason
from .supervision import STOP_ON_FAILURE, MultiChildStrategy, Policy, RestartWindow, SupervisionStrategy

__all__ = [
    "IDLE",
    "IGNORE",
    "READY",
    "RESTART",
    "SAME",
    "STOPPED",
    "STOP_ON_FAILURE",
    "UNHANDLED",
    "ActorMachine",
    "Behavior",
    "BehaviorError",
    "Boxed",
    "Cell",
    "Discoverable",
    "Done",
    "Effect",
    "Envelope",
    "Event",
    "Failed",
    "Failure",
    "Job",
    "Judged",
    "Layers",
    "Lifecycle",
    "Mailbox",
    "MailboxOverflowStrategy",
    "MultiChildStrategy",
    "Phase",
    "Policy",
    "Ready",
    "Reason",
    "Receive",
    "Renew",
    "RestartWindow",
    "Restarted",
    "Setup",
    "Signal",
    "Spawn",
    "Spied",
    "Started",
    "Stop",
    "Stopped",
    "Supervised",
    "SupervisionStrategy",
    "Task",
    "Terminated",
    "Undelivered",
    "Unwatch",
    "Watch",
    "Wrapper",
    "unwrap",
]
