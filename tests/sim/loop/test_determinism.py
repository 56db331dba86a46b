"""What a seed does is the same in every process, whatever the program is made of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from casty_sim.determinism import Difference, check

from .unordered import everything, sets_of_objects

ROOT = Path(__file__).parents[3]
SEEDS = ("0", "1", "2")


def digests(*arguments: str, hash_seed: str) -> dict[str, str]:
    """Those of the seeds, in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim.loop.unordered", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    return {line.partition(" ")[0]: line for line in done.stdout.splitlines()}


def test_a_program_of_everything_that_has_no_order_does_the_same_in_every_process() -> None:
    plain = digests(*SEEDS, hash_seed="0")
    assert len(set(plain.values())) == len(SEEDS)
    assert digests(*reversed(SEEDS), "--junk", "100000", "--gc", "5", hash_seed="1") == plain
    assert digests("7", "8", *SEEDS, "--junk", "7777", hash_seed="2").items() >= plain.items()
    here = {seed: everything.run(int(seed)).digest for seed in SEEDS}
    assert all(here[seed] in line for seed, line in plain.items())


def test_a_set_of_objects_without_a_hash_has_another_order_each_time_and_that_is_found() -> None:
    options = {"scenario": f"{sets_of_objects.scenario.module}:sets_of_objects", "mutant": "", "module": ""}
    found = next(iter(check(options, sets_of_objects.options.settings(), range(1))))
    assert isinstance(found, Difference)
    assert found.events[0] != found.events[1]
