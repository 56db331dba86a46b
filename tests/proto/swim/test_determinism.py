"""P-6: what happens follows from the events and the seed alone."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from casty_proto.machine import MILLISECOND

from .bench import Bench

ROOT = Path(__file__).parents[3]


def digest(seed: int) -> str:
    """Everything that is sent and announced in a cluster that has a hard time."""
    bench = Bench(seed, loss=0.1, delay_ns=(MILLISECOND, 300 * MILLISECOND))
    found = hashlib.sha256()
    bench.forwarded = lambda sender, receiver, message: found.update(repr((sender, receiver, message)).encode())
    bench.grow(7)
    bench.run(10)
    bench.crash("n2")
    bench.leave("n3")
    bench.partition(["n0", "n1"], ["n4", "n5", "n6"])
    bench.run(30)
    bench.partition()
    bench.run(40)
    found.update(repr([host.log for host in bench.hosts.values()]).encode())
    return found.hexdigest()


def elsewhere(hash_seed: int) -> str:
    """The digest as another process finds it."""
    code = "from tests.proto.swim.test_determinism import digest; import sys; sys.stdout.write(digest(1))"
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    return done.stdout.decode()


def test_p_6_the_same_seed_gives_the_same_run_and_another_another() -> None:
    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


def test_p_6_the_same_seed_gives_the_same_run_in_processes_that_hash_differently() -> None:
    assert elsewhere(1) == elsewhere(2) == digest(1)
