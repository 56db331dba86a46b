"""The tests that the standard library has for asyncio, on simulated loops.

`python -m tests.sim.loop.stdlib` runs those of `MODULES` that are not in `LEFT_OUT`, and then those that are, which
must fail: the list is exact. The exit status is 0 if both is so, and 77 where this interpreter comes without its tests.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib.util
import io
import sys
import unittest
import warnings
from collections.abc import Iterator

from casty_sim.loop import SimLoop

NOT_THERE = 77
SECONDS = 200
"""After so long it is taken for one that never ends, and says where it is."""

MODULES = (
    "buffered_proto",
    "context",
    "eager_task_factory",
    "futures",
    "futures2",
    "locks",
    "pep492",
    "queues",
    "runners",
    "server",
    "streams",
    "taskgroups",
    "tasks",
    "threads",
    "timeouts",
    "waitfor",
)

THREAD = "its server is a thread of its own, with real sockets"
SOCKET = "it connects with a real socket"
UNIX = "there are no Unix sockets"
TLS = "there is no TLS"
WAITS = "what runs in the executor waits for the loop, which is in the same thread"
SLEEPS = "a callback sleeps, and with it the whole loop"

LEFT_OUT: dict[str, str] = {
    "RunCoroutineThreadsafeTests.test_run_coroutine_threadsafe": WAITS,
    "RunCoroutineThreadsafeTests.test_run_coroutine_threadsafe_task_cancelled": WAITS,
    "RunCoroutineThreadsafeTests.test_run_coroutine_threadsafe_task_factory_exception": WAITS,
    "RunCoroutineThreadsafeTests.test_run_coroutine_threadsafe_with_exception": WAITS,
    "StreamTests.test_async_writer_api": THREAD,
    "StreamTests.test_async_writer_api_exception_after_close": THREAD,
    "StreamTests.test_drain_raises": THREAD,
    "StreamTests.test_eof_feed_when_closing_writer": THREAD,
    "StreamTests.test_loop_is_closed_resource_warnings": THREAD,
    "StreamTests.test_open_connection": THREAD,
    "StreamTests.test_open_connection_error": THREAD,
    "StreamTests.test_open_connection_no_loop_ssl": TLS,
    "StreamTests.test_open_unix_connection": UNIX,
    "StreamTests.test_open_unix_connection_error": UNIX,
    "StreamTests.test_open_unix_connection_no_loop_ssl": UNIX,
    "StreamTests.test_read_all_from_pipe_reader": "there are no pipes",
    "StreamTests.test_start_server": SOCKET,
    "StreamTests.test_start_tls": TLS,
    "StreamTests.test_start_unix_server": UNIX,
    "StreamTests.test_unclosed_resource_warnings": THREAD,
    "StreamTests.test_wait_closed_on_close": THREAD,
    "StreamTests.test_wait_closed_on_close_with_unread_data": THREAD,
    "TimeoutTests.test_nested_timeouts_concurrent": SLEEPS,
    "TimeoutTests.test_nested_timeouts_loop_busy": SLEEPS,
}
"""Tests, by the ends of their names, and why they cannot pass."""

if sys.version_info >= (3, 13):
    LEFT_OUT |= {
        "StreamTests.test_unclosed_server_resource_warnings": SOCKET,
        "UnixServerCleanupTests.test_unix_server_addr_cleanup": UNIX,
        "UnixServerCleanupTests.test_unix_server_cleanup_gone": UNIX,
        "UnixServerCleanupTests.test_unix_server_cleanup_prevented": UNIX,
        "UnixServerCleanupTests.test_unix_server_cleanup_replaced": UNIX,
        "UnixServerCleanupTests.test_unix_server_sock_cleanup": UNIX,
    }
else:
    PRIVATE = "it calls private methods of asyncio's own servers"
    LEFT_OUT |= {"TestServer2.test_wait_closed_basic": PRIVATE, "TestServer2.test_wait_closed_race": PRIVATE}


class Policy(asyncio.DefaultEventLoopPolicy):
    """All loops are simulated ones."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """A world to itself."""
        return SimLoop()


def cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests of a suite, one by one."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from cases(each)
        elif isinstance(each, unittest.TestCase):
            yield each


def reason(case: unittest.TestCase) -> str | None:
    """Why a test is left out."""
    name = case.id()
    return next((why for end, why in LEFT_OUT.items() if name.endswith(f".{end}")), None)


def passed(result: unittest.TestResult) -> bool:
    """Whether a test was run, and has passed."""
    return result.wasSuccessful() and not result.skipped and not result.expectedFailures


def run(chosen: list[unittest.TestCase]) -> unittest.TestResult:
    """Run tests, quietly."""
    asyncio.set_event_loop_policy(Policy())
    return unittest.TextTestRunner(stream=io.StringIO(), verbosity=0, warnings="ignore").run(unittest.TestSuite(chosen))


def main() -> int:
    """Run all of them. Returns the exit status."""
    if importlib.util.find_spec("test") is None or importlib.util.find_spec("test.test_asyncio") is None:
        print("this interpreter does not come with the tests of its standard library")
        return NOT_THERE
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    warnings.simplefilter("ignore")
    complaints: list[str] = []
    seen: set[str] = set()
    for module in MODULES:
        every = list(cases(unittest.defaultTestLoader.loadTestsFromName(f"test.test_asyncio.test_{module}")))
        chosen = [case for case in every if reason(case) is None]
        result = run(chosen)
        print(f"{module}: {result.testsRun} run, {len(result.skipped)} skipped, {len(every) - len(chosen)} left out")
        for case, text in [*result.failures, *result.errors]:
            complaints.append(f"{case.id()} fails: {text.strip().splitlines()[-1]}")
        for case in every:
            if reason(case) is not None:
                seen.update(end for end in LEFT_OUT if case.id().endswith(f".{end}"))
                if passed(run([case])):
                    complaints.append(f"{case.id()} is left out, and passes")
    complaints += [f"{end} is left out, and is not there" for end in LEFT_OUT if end not in seen]
    print("\n".join(complaints))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
