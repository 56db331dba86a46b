"""Every exception of the public interface. All of them are `CastyError`."""

from __future__ import annotations

import asyncio

from casty_proto.actor import BehaviorError


class CastyError(Exception):
    """The base of every exception that this framework raises by itself."""


class SystemShutDownError(CastyError, RuntimeError):
    """The actor system is shutting down or was shut down. Nothing was changed."""


class SpawnError(CastyError, ValueError):
    """An actor could not be spawned. Nothing was changed."""


class InvalidNameError(SpawnError):
    """An actor's name is malformed or reserved. Nothing was changed."""


class DuplicateNameError(SpawnError):
    """A live actor has that name already. Nothing was changed."""


class NotAnActorError(CastyError, TypeError):
    """What was to be spawned is neither a `Behavior` nor an `Actor` class that can run. Nothing was changed."""


class InvalidBehaviorError(CastyError, BehaviorError):
    """A handler or a setup returned something that is no behavior, or none that it may return. The actor has failed."""


class UsageError(CastyError, RuntimeError):
    """A call in a place where it cannot work; the text says what to do instead. Nothing was changed."""


class WrongThreadError(UsageError):
    """A call from a thread other than the one of the system's event loop. Nothing was changed."""


class MailboxFullError(CastyError, asyncio.QueueFull):
    """A bounded mailbox did not take the message: it rejects, or dropped the message of an ask."""


class StashFullError(CastyError):
    """The stash holds as many messages as the mailbox may. The message was not stashed."""


class AskError(CastyError):
    """The base of what `ask` raises. Whether the message was handled is unknown unless the text says so."""


class AskTimeoutError(AskError, TimeoutError):
    """No reply came in time. The message may have been handled, or may still be."""


class ActorStoppedError(AskError):
    """The actor has stopped, and no reply can come any more."""


class UnreachableError(ActorStoppedError, ConnectionError):
    """The process of the actor is gone or cannot be reached, or takes no more. What was asked may have been done."""


class NotSendableError(CastyError, TypeError):
    """A message cannot be sent to another process; the text names the part of it, and why. Nothing was sent."""


class ActorFailedError(AskError):
    """The handler of the message raised, and the cause is chained as `__cause__`.

    Or the actor restarted without having answered, and the text says why.
    """


class NotHandledError(AskError):
    """No entity has handled the message, and none will: its shard moved, or has no owner. Asking again is safe."""


class OutcomeUnknownError(AskError):
    """The node that had the message is gone, or had to stop. It may have been handled, before or after."""


class ReplicationError(OutcomeUnknownError):
    """The message was handled, and not enough backups have said in time that they have the state after it.

    Whether it survives a failure of the owner is unknown.
    """


class ClusterError(CastyError):
    """The cluster refused something, or did not answer in time; the text says which, and what to do."""


class ClusterTimeoutError(ClusterError, TimeoutError):
    """The cluster did not get there in time. What was asked of it may yet happen."""


class NameTakenError(ClusterError):
    """Another actor of the cluster has the name, or a type or a singleton has. Nothing was changed."""


class ContactError(ClusterError):
    """An outside client reaches no node of its cluster; the text names each address that was tried, and why not."""


class ExpelledError(ClusterError):
    """This node is no member of its cluster any more. Start the process again: it joins as a new one."""


class StartError(CastyError):
    """An actor did not start: its start hook failed, and its policy gave up. The cause is chained."""


class HandlerCancelledError(CastyError):
    """A handler, or what an actor piped to itself, was cancelled although nobody had asked the actor to stop."""


class HandlerExitError(CastyError):
    """A handler or hook raised something that is no `Exception`, like `SystemExit`; it is chained as `__cause__`."""


class RestartRequestedError(CastyError):
    """The reason that restart hooks are given when a handler returned `Behaviors.restart()`."""


def described(error: BaseException | None) -> str:
    """`repr` of an exception of the application's, whose own `__repr__` may fail."""
    try:
        return repr(error)
    except Exception:
        return f"<{type(error).__name__} whose repr failed>"


class StreamError(CastyError):
    """The base of what streams raise."""


class StreamClosedError(StreamError):
    """An element was put into a stream that takes no more, and was not accepted; or asked of one that was left."""


class StreamFailedError(StreamError):
    """The producer failed or was lost, or one of the ends was stopped or broke the protocol.

    Elements may be missing; the stream did not complete.
    """


class StreamTimeoutError(StreamError, TimeoutError):
    """The producer gave no sign for longer than the consumer's timeout. The stream did not complete."""
