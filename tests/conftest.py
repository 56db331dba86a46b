"""Runs `async def` tests without a plugin, and lets none of them leave anything behind.

-   Each async test gets an event loop of its own: asyncio's, uvloop's, or one after the other
    (`--loop=asyncio|uvloop|both`), in debug mode with `--loop-debug`. `@given` goes with `async def` too; then each
    example gets a loop of its own.
-   A test that passed still fails when a task is left besides its own, or when an exception was reported to the loop's
    exception handler. A test that provokes such a report on purpose sets a handler of its own and asserts what it got.
-   A hang ends: an async test is cancelled after half of `--test-timeout` and fails with the stacks of all tasks; any
    test that reaches the whole of it prints the stacks of all threads and ends the process. 0 turns both off.
-   `HYPOTHESIS_PROFILE` chooses the Hypothesis profile. Where it is not set it is `ci`, the same examples in every run,
    if `CI` is set, and `default` otherwise.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import inspect
import io
import os
import traceback
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any

import pytest
from hypothesis import settings

pytest_plugins = ["pytester"]

type AsyncTest = Callable[..., Coroutine[Any, Any, object]]

LOOPS = ("asyncio", "uvloop")
LOOP_NAME = "loop_name"
HUNG_STDERR = pytest.StashKey[int]()

settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("casty")
    group.addoption("--loop", choices=[*LOOPS, "both"], default="asyncio", help="event loop of async tests")
    group.addoption("--loop-debug", action="store_true", help="run event loops in debug mode")
    group.addoption("--test-timeout", type=float, default=120.0, help="seconds after which a test counts as hung")


# -- hangs -------------------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    # Capturing is suspended here and on again while tests run: what descriptor 2 is now is where a person reads.
    config.stash[HUNG_STDERR] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[HUNG_STDERR])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    limit: float = item.config.getoption("--test-timeout")
    if limit > 0:
        faulthandler.dump_traceback_later(limit, exit=True, file=item.config.stash[HUNG_STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


# -- async tests -------------------------------------------------------------------------------------------------------


def pytest_collection_finish() -> None:
    # Every async test ends with a full collection, so that exceptions nobody looked at are reported to the test that
    # raised them. Frozen objects are not visited: the modules loaded so far would cost more than most tests.
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.config.getoption("--loop") == "both" and async_test(metafunc.function) is not None:
        metafunc.fixturenames.append(LOOP_NAME)
        metafunc.parametrize(LOOP_NAME, LOOPS)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    test = async_test(pyfuncitem.obj)
    if test is None:
        return (yield)
    run = runner_of(pyfuncitem, test)
    if test is pyfuncitem.obj:
        pyfuncitem.obj = run
        try:
            return (yield)
        finally:
            pyfuncitem.obj = test
    given = pyfuncitem.obj.hypothesis
    given.inner_test = run
    try:
        return (yield)
    finally:
        given.inner_test = test


def async_test(function: Any) -> AsyncTest | None:
    """The coroutine function that is the test, or that `@given` made one of; `None` for a plain function."""
    inner: Any = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return inner if inspect.iscoroutinefunction(inner) else None


def runner_of(item: pytest.Function, test: AsyncTest) -> Callable[..., None]:
    """The plain function that runs the async one, and has its signature."""
    option = item.config.getoption
    callspec = getattr(item, "callspec", None)
    name = option("--loop") if callspec is None else callspec.params.get(LOOP_NAME, option("--loop"))
    debug: bool = option("--loop-debug")
    limit: float = option("--test-timeout") / 2

    def run(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        run_test(test(*args, **kwargs), loop_factory(name), debug, limit)

    run.__name__ = test.__name__
    return run


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    uvloop = pytest.importorskip("uvloop")
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run_test(
    test: Coroutine[Any, Any, object],
    factory: Callable[[], asyncio.AbstractEventLoop],
    debug: bool,
    limit: float,
) -> None:
    __tracebackhide__ = True
    reports: list[dict[str, Any]] = []
    with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: reports.append(context))
        left = runner.run(watched(test, limit))
        gc.collect()
    if left:
        pytest.fail("\n".join(["The test is over, but these tasks are not:", *left]), pytrace=False)
    if reports:
        lines = ["These were reported to the event loop's exception handler:", *map(describe_report, reports)]
        pytest.fail("\n".join(lines), pytrace=False)


async def watched(test: Coroutine[Any, Any, object], limit: float) -> list[str]:
    """Run the test. Returns the tasks that it left."""
    __tracebackhide__ = True
    clock = asyncio.timeout(limit or None)
    try:
        async with clock:
            await test
    except TimeoutError as error:
        if clock.expired():
            error.add_note("\n".join([f"The test did not end in {limit:g} s. The other tasks were:", *other_tasks()]))
        raise
    return other_tasks()


def other_tasks() -> list[str]:
    return list(map(describe_task, asyncio.all_tasks() - {asyncio.current_task()}))


def describe_task(task: asyncio.Task[Any]) -> str:
    stack = io.StringIO()
    task.print_stack(file=stack)
    return f"{task!r}\n{stack.getvalue()}"


def describe_report(context: dict[str, Any]) -> str:
    error = context.get("exception")
    trace: Iterable[str] = traceback.format_exception(error) if error is not None else ()
    rest = [f"{key}: {value!r}\n" for key, value in context.items() if key not in ("message", "exception")]
    return "".join([f"{context['message']}\n", *rest, *trace])
