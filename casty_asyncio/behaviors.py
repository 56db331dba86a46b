"""The behavior style: how behaviors are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any

from casty_proto.actor import (
    IGNORE,
    RESTART,
    SAME,
    STOPPED,
    UNHANDLED,
    Behavior,
    Boxed,
    Discoverable,
    Lifecycle,
    Mailbox,
    Receive,
    Setup,
    Spied,
    Supervised,
)

from .arguments import check_behavior, check_callable, check_function, check_ref
from .cluster.options import NUM_SHARDS
from .cluster.styles import BroadcastBehavior, ShardedBehavior, SingletonBehavior
from .context import ActorContext
from .errors import UsageError
from .receptionist import ServiceKey
from .refs import ActorRef
from .spy import SpyEvent
from .supervision import SupervisorConfig

type Hook[M] = Callable[[ActorContext[M]], Awaitable[None] | None]
type RestartHook[M] = (
    Hook[M]
    | Callable[[ActorContext[M], Exception], Awaitable[None] | None]
    | Callable[[ActorContext[M], Exception, Any], Awaitable[None] | None]
)


class Behaviors:
    """Makes behaviors. A behavior is a value: nothing runs before it is spawned, and it can be spawned many times."""

    @staticmethod
    def receive[M](
        handler: Callable[[ActorContext[M], M], Awaitable[Behavior[M]] | Behavior[M]],
    ) -> Behavior[M]:
        """Handle each message with `handler(ctx, msg)`, which returns the behavior for the next one."""
        if type(handler) is not FunctionType:
            check_function("the handler given to Behaviors.receive", handler)
        return Receive(handler)

    @staticmethod
    def setup[M](factory: Callable[[ActorContext[M]], Awaitable[Behavior[M]] | Behavior[M]]) -> Behavior[M]:
        """Run `factory(ctx)` at the start, and again at each restart, to get the behavior."""
        check_function("the factory given to Behaviors.setup", factory)
        return Setup(factory)

    @staticmethod
    def same() -> Behavior[Any]:
        """For handlers: go on with the current behavior."""
        return SAME

    @staticmethod
    def stopped() -> Behavior[Any]:
        """For handlers: stop this actor."""
        return STOPPED

    @staticmethod
    def unhandled() -> Behavior[Any]:
        """For handlers: go on, and publish an `UnhandledMessage`."""
        return UNHANDLED

    @staticmethod
    def ignore() -> Behavior[Any]:
        """Handle every message by doing nothing."""
        return IGNORE

    @staticmethod
    def restart() -> Behavior[Any]:
        """For handlers: begin anew from the original behavior, whatever the policy says, and without back-off.

        The restart hooks are given a `RestartRequestedError`.
        """
        return RESTART

    @staticmethod
    def with_lifecycle[M](
        behavior: Behavior[M],
        pre_start: Hook[M] | None = None,
        post_stop: Hook[M] | None = None,
        pre_restart: RestartHook[M] | None = None,
        post_restart: RestartHook[M] | None = None,
    ) -> Behavior[M]:
        """Run hooks at the boundaries of the actor's life, each with its context.

        `pre_start(ctx)` runs before the first message and `post_stop(ctx)` after the last one. At a restart,
        `pre_restart(ctx, exc, msg)` runs for the incarnation that failed, and `post_restart(ctx, exc)` for the new one
        before its first message; the trailing parameters may be left out. Without a `post_restart`, `pre_start` runs
        for the new incarnation too. Hooks may be `async def` or `def`.
        """
        check_behavior("Behaviors.with_lifecycle", behavior)
        for hook in (pre_start, post_stop, pre_restart, post_restart):
            check_callable("each hook given to Behaviors.with_lifecycle", hook)
        return Lifecycle(behavior, pre_start, post_stop, pre_restart, post_restart)

    @staticmethod
    def supervise[M](behavior: Behavior[M], strategy: SupervisorConfig) -> Behavior[M]:
        """Deal with failures as `strategy` says: a `SupervisorConfig`, or a `OneForOneStrategy(...)`."""
        check_behavior("Behaviors.supervise", behavior)
        if not isinstance(strategy, SupervisorConfig):
            raise UsageError(
                f"Behaviors.supervise wants a SupervisorConfig or OneForOneStrategy(...), not {strategy!r}"
            )
        return Supervised(behavior, strategy.policy)

    @staticmethod
    def discoverable[M](behavior: Behavior[M], *, key: ServiceKey[M]) -> Behavior[M]:
        """List the actor under `key` for as long as it lives; `system.lookup(key)` finds it."""
        check_behavior("Behaviors.discoverable", behavior)
        if not isinstance(key, ServiceKey):
            raise UsageError(f"Behaviors.discoverable wants a ServiceKey as its key, not {key!r}")
        return Discoverable(behavior, key)

    @staticmethod
    def sharded[M](
        factory: Callable[[str], Behavior[M]],
        *,
        num_shards: int = NUM_SHARDS,
        idle_timeout: float | None = None,
        role: str | None = None,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
    ) -> ShardedBehavior[M]:
        """A type of entities, for nodes of a cluster: `factory(entity_id)` makes the behavior of one where it belongs.

        `ref = system.spawn(Behaviors.sharded(player), "players")` gives their ref: `ref["alice"]` is one of them, and
        `ref.tell(ShardEnvelope("alice", message))` tells it something. The state of a behavior is its own affair: it
        begins anew where it moves to. Keep states in `Actor` classes, or elsewhere, if they must outlive that.

        For the other arguments see the `spawn` of a node.
        """
        check_function("the factory given to Behaviors.sharded", factory)
        return ShardedBehavior(factory, num_shards, idle_timeout, role, mailbox, supervision)

    @staticmethod
    def singleton[M](
        factory: Callable[[], Behavior[M]],
        *,
        role: str | None = None,
        mailbox: Mailbox | None = None,
        supervision: SupervisorConfig | None = None,
    ) -> SingletonBehavior[M]:
        """One actor in the whole cluster: `factory()` makes its behavior where it lives, and anew where it moves to."""
        check_function("the factory given to Behaviors.singleton", factory)
        return SingletonBehavior(factory, role, mailbox, supervision)

    @staticmethod
    def broadcasted[M](behavior: Behavior[M]) -> BroadcastBehavior[M]:
        """An actor on every node that spawns it under the same name. What its ref is told goes to all of them.

        An ask of the ref gives a tuple with the answers of all.
        """
        check_behavior("Behaviors.broadcasted", behavior)
        return BroadcastBehavior(behavior)

    @staticmethod
    def spy[M](behavior: Behavior[M], observer: ActorRef[SpyEvent[Any]], *, spy_children: bool = False) -> Behavior[M]:
        """Tell `observer` a `SpyEvent` for every message before it is handled; for those of its children too, if asked.

        Grandchildren are included. An observer that has stopped, or whose mailbox is full, is no concern of the actor.
        Nobody is told of the observer's own messages, nor of `SpyEvent`s.
        """
        check_behavior("Behaviors.spy", behavior)
        check_ref("the observer given to Behaviors.spy", observer)
        return Spied(behavior, observer, spy_children)

    @staticmethod
    def with_mailbox[M](behavior: Behavior[M], mailbox: Mailbox) -> Behavior[M]:
        """Give the actor this mailbox, unless `spawn` names another."""
        check_behavior("Behaviors.with_mailbox", behavior)
        if not isinstance(mailbox, Mailbox):
            raise UsageError(f"Behaviors.with_mailbox wants a Mailbox(...), not {mailbox!r}")
        return Boxed(behavior, mailbox)
