"""The tests that the standard library has for asyncio, run against simulated loops in a process of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .stdlib import LEFT_OUT, MODULES, NOT_THERE


def test_asyncio_s_own_tests_pass_and_what_is_left_out_is_exact() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim.loop.stdlib"], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode == NOT_THERE:
        pytest.skip("this interpreter does not come with the tests of its standard library")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert all(f"{module}: " in done.stdout for module in MODULES)


def test_all_that_is_left_out_has_a_reason() -> None:
    assert all(LEFT_OUT.values())
