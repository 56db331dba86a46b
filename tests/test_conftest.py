"""What the conftest promises of async tests, each shown on a small suite that is run by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
HEADER = "import asyncio\nimport pytest\nfrom hypothesis import given, strategies as st\n"

needs_uvloop = pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not exist for Windows")


@pytest.fixture(autouse=True)
def suite_of_its_own(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(HEADER + source)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-vv", *options)


def test_an_async_test_runs_to_its_end(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
class TestGroup:
    async def test_method(self):
        await asyncio.sleep(0)

@pytest.mark.parametrize("x", [1, 2])
async def test_good(x, tmp_path):
    await asyncio.sleep(0)
    print("reached the end", x, tmp_path.exists(), type(asyncio.get_running_loop()).__module__)

async def test_bad():
    await asyncio.sleep(0)
    assert 1 == 2

async def test_skipped():
    await asyncio.sleep(0)
    pytest.skip("not here")
""",
        "-s",
    )
    result.assert_outcomes(passed=3, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*reached the end 1 True asyncio.*", "*reached the end 2 True asyncio.*"])
    result.stdout.fnmatch_lines(["*assert 1 == 2*"])


def test_a_plain_test_is_left_alone(pytester: pytest.Pytester) -> None:
    run(
        pytester,
        """
def test_plain():
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
""",
    ).assert_outcomes(passed=1)


def test_given_works_on_async_tests(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
@given(st.integers())
async def test_small(x):
    await asyncio.sleep(0)
    assert x < 1000

@given(st.integers(1, 9))
async def test_good(x):
    await asyncio.sleep(0)
    assert x < 10

class TestGroup:
    @given(st.integers(1, 9))
    async def test_leak(self, x):
        self.task = asyncio.create_task(asyncio.sleep(9))
""",
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*x=1000,*", "*these tasks are not:*"])


def test_a_leaked_task_fails_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_leaks():
    asyncio.create_task(asyncio.sleep(100), name="leaky")

async def test_cleans_up():
    task = asyncio.create_task(asyncio.sleep(100))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
""",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["The test is over, but these tasks are not:", "*name='leaky'*", "*in sleep*"])


@pytest.mark.parametrize(
    ("source", "reported"),
    [
        ("asyncio.get_running_loop().call_soon(lambda: 1 / 0)", "ZeroDivisionError: division by zero"),
        ("task = asyncio.create_task(boom())", "ValueError: boom"),
        ("asyncio.get_running_loop().create_future().set_exception(ValueError('boom'))", "ValueError: boom"),
        ("task = asyncio.create_task(boom()); cycle = [task]; cycle.append(cycle)", "ValueError: boom"),
        ("asyncio.get_running_loop().call_exception_handler({'message': 'odd', 'what': 5})", "what: 5"),
    ],
)
def test_an_exception_that_reached_the_loop_fails_the_test(
    pytester: pytest.Pytester, source: str, reported: str
) -> None:
    result = run(
        pytester,
        f"""
async def boom():
    raise ValueError("boom")

async def test_reports():
    {source}
    await asyncio.sleep(0)
    await asyncio.sleep(0)
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["These were reported to the event loop's exception handler:", f"*{reported}*"])


def test_a_report_that_the_test_asked_for_is_its_own_business(pytester: pytest.Pytester) -> None:
    run(
        pytester,
        """
async def test_expects_a_report():
    reports = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    assert len(reports) == 1
""",
    ).assert_outcomes(passed=1)


def test_the_tests_own_failure_is_reported_before_what_it_left(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_fails_and_leaks():
    asyncio.create_task(asyncio.sleep(100))
    assert 1 == 2
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2*"])
    result.stdout.no_fnmatch_line("*these tasks are not*")


@needs_uvloop
@pytest.mark.parametrize(
    ("option", "lines"),
    [
        ("asyncio", ["*::test_loop loop: asyncio*"]),
        ("uvloop", ["*::test_loop loop: uvloop*"]),
        ("both", ["*::test_loop?asyncio? loop: asyncio*", "*::test_loop?uvloop? loop: uvloop*"]),
    ],
)
def test_the_loop_is_chosen_by_an_option(pytester: pytest.Pytester, option: str, lines: list[str]) -> None:
    result = run(
        pytester,
        """
async def test_loop():
    print("loop:", type(asyncio.get_running_loop()).__module__)

def test_plain():
    pass
""",
        "-s",
        f"--loop={option}",
    )
    result.assert_outcomes(passed=len(lines) + 1)
    result.stdout.fnmatch_lines(lines)


def test_debug_mode_is_an_option(pytester: pytest.Pytester) -> None:
    run(
        pytester,
        "async def test_debug():\n    assert asyncio.get_running_loop().get_debug()",
        "--loop-debug",
    ).assert_outcomes(passed=1)


def test_an_async_test_that_hangs_fails_with_the_stacks_of_all_tasks(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def test_hangs():
    other = asyncio.create_task(asyncio.Event().wait(), name="other")
    await asyncio.Event().wait()
""",
        "--test-timeout=0.2",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*The test did not end in 0.1 s. The other tasks were:*", "*name='other'*"])


def test_a_hang_that_cannot_be_cancelled_prints_stacks_and_ends_the_process(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import threading\n\ndef test_hangs():\n    threading.Event().wait()\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--test-timeout=0.2", timeout=60)
    assert result.ret == 1
    result.stderr.fnmatch_lines(["Timeout (*", "*in test_hangs*"])


@pytest.mark.parametrize(
    ("environment", "derandomized"),
    [({}, False), ({"CI": "true"}, True), ({"HYPOTHESIS_PROFILE": "ci"}, True)],
)
def test_the_hypothesis_profile_follows_the_environment(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], derandomized: bool
) -> None:
    for name in ("CI", "HYPOTHESIS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(
        f"""
from hypothesis import settings

def test_profile():
    assert settings().derandomize is {derandomized}
    assert settings().deadline is None
    assert settings().print_blob
"""
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
