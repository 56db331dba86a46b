"""Behaviors as values: what the wrappers add, in every nesting, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError

from casty_proto.actor import (
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
    Mailbox,
    Policy,
    Receive,
    Setup,
    Signal,
    Spied,
    Supervised,
    SupervisionStrategy,
    Wrapper,
    unwrap,
)


def handle(context: Any, message: Any) -> Behavior[Any]:
    return SAME


def hook(context: Any) -> None:
    return None


CORE = Receive(handle)
STOP = Policy(strategy=SupervisionStrategy.STOP)
ESCALATE = Policy(strategy=SupervisionStrategy.ESCALATE)

WRAP: dict[str, Callable[[Behavior[Any]], Wrapper[Any]]] = {
    "lifecycle": lambda inner: Lifecycle(inner, pre_start=hook),
    "supervised": lambda inner: Supervised(inner, STOP),
    "discoverable": lambda inner: Discoverable(inner, "key"),
    "spied": lambda inner: Spied(inner, "observer"),
    "boxed": lambda inner: Boxed(inner, Mailbox(5)),
}


@pytest.mark.parametrize("core", [CORE, Setup(hook), STOPPED, IGNORE])
def test_a_core_alone_adds_nothing(core: Behavior[Any]) -> None:
    assert unwrap(core) == Layers(core)
    layers = unwrap(core)
    assert layers.core is core
    assert (layers.hooks, layers.policy, layers.mailbox, layers.keys, layers.spies) == ((), None, None, (), ())


def test_every_nesting_of_the_wrappers_gives_the_same_layers() -> None:
    for order in permutations(WRAP):
        behavior: Behavior[Any] = CORE
        wrapped: dict[str, Wrapper[Any]] = {}
        for name in order:
            behavior = wrapped[name] = WRAP[name](behavior)
        layers = unwrap(behavior)
        assert layers.core is CORE
        assert layers.hooks == (wrapped["lifecycle"],)
        assert (layers.policy, layers.mailbox, layers.keys) == (STOP, Mailbox(5), ("key",))
        assert layers.spies == (wrapped["spied"],)


@pytest.mark.parametrize("name", WRAP)
def test_one_wrapper_alone(name: str) -> None:
    wrapper = WRAP[name](CORE)
    layers = unwrap(wrapper)
    assert layers.core is CORE
    assert (layers.hooks == (wrapper,)) == (name == "lifecycle")
    assert (layers.policy is STOP) == (name == "supervised")
    assert (layers.keys == ("key",)) == (name == "discoverable")
    assert (layers.spies == (wrapper,)) == (name == "spied")
    assert (layers.mailbox == Mailbox(5)) == (name == "boxed")


def test_an_outer_policy_and_an_outer_mailbox_win() -> None:
    behavior = Boxed(Supervised(Boxed(Supervised(CORE, STOP), Mailbox(1)), ESCALATE), Mailbox(2))
    layers = unwrap(behavior)
    assert (layers.policy, layers.mailbox) == (ESCALATE, Mailbox(2))


def test_hooks_keys_and_spies_add_up_from_the_innermost_to_the_outermost() -> None:
    inner = Lifecycle(CORE, pre_start=hook)
    spy = Spied(Discoverable(inner, 1), "first")
    outer = Lifecycle(spy, post_stop=hook)
    layers = unwrap(Spied(Discoverable(outer, 2), "second", children=True))
    assert layers.hooks == (inner, outer)
    assert layers.keys == (1, 2)
    assert [(each.observer, each.children) for each in layers.spies] == [("first", False), ("second", True)]


def test_a_long_nesting_is_no_problem() -> None:
    behavior: Behavior[Any] = CORE
    for _ in range(5_000):
        behavior = Supervised(behavior, STOP)
    assert unwrap(behavior).core is CORE


def test_unwrapping_leaves_the_behavior_as_it_is() -> None:
    behavior = WRAP["supervised"](WRAP["lifecycle"](CORE))
    assert unwrap(behavior) == unwrap(behavior)
    assert behavior.inner.inner is CORE  # type: ignore[attr-defined]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 1, "behavior", handle, Receive, Mailbox()])
def test_what_is_no_behavior_is_refused(value: Any) -> None:
    for behavior in (value, Supervised(value, STOP)):
        with pytest.raises(BehaviorError, match=r"is not a behavior; use Behaviors.receive\(...\)") as caught:
            unwrap(behavior)
        assert repr(value) in str(caught.value)


@pytest.mark.parametrize("signal", [SAME, UNHANDLED, RESTART])
def test_a_signal_that_means_nothing_at_the_start_is_refused(signal: Signal) -> None:
    for behavior in (signal, Lifecycle(signal)):
        with pytest.raises(BehaviorError) as caught:
            unwrap(behavior)
        assert str(caught.value).startswith(f"{signal!r} means nothing before there is a message")


def test_a_wrapper_that_the_engine_does_not_know_is_refused() -> None:
    class Strange(Wrapper[Any]):
        pass

    with pytest.raises(BehaviorError, match="is not a wrapper that the engine knows"):
        unwrap(Strange(CORE))


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: Receive(1), "handler"),  # type: ignore[arg-type]
        (lambda: Setup(None), "factory"),  # type: ignore[arg-type]
        (lambda: Lifecycle(CORE, pre_start=1), "pre_start"),  # type: ignore[arg-type]
        (lambda: Lifecycle(CORE, post_stop="x"), "post_stop"),  # type: ignore[arg-type]
        (lambda: Lifecycle(CORE, pre_restart=1), "pre_restart"),  # type: ignore[arg-type]
        (lambda: Lifecycle(CORE, post_restart=1), "post_restart"),  # type: ignore[arg-type]
        (lambda: Supervised(CORE, "restart"), "policy"),  # type: ignore[arg-type]
        (lambda: Boxed(CORE, 5), "mailbox"),  # type: ignore[arg-type]
    ],
)
def test_a_part_of_the_wrong_kind_is_refused_where_it_is_written(build: Callable[[], Any], name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}' must be"):
        build()


# -- values and signals ------------------------------------------------------------------------------------------------


def test_behaviors_are_values_that_cannot_be_changed_and_are_told_apart_by_identity() -> None:
    with pytest.raises(FrozenInstanceError):
        CORE.handler = print  # type: ignore[misc]
    assert CORE == CORE
    assert Receive(handle) != CORE
    assert len({CORE, Receive(handle)}) == 2


def test_signals_are_told_apart_by_identity_and_have_names() -> None:
    signals = [SAME, STOPPED, UNHANDLED, RESTART, IGNORE]
    assert len(set(signals)) == 5
    assert Signal("same") != SAME
    names = ["same", "stopped", "unhandled", "restart", "ignore"]
    assert [repr(signal) for signal in signals] == [f"Behaviors.{name}()" for name in names]
