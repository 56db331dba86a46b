"""Runs one target under atheris, in a process of its own, which libFuzzer ends: `python -m tests.fuzz.engine`.

The arguments are the name of a target and what libFuzzer takes. `tests.fuzz` knows them all; use that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

TARGETS = {
    "frames": "cutting of a stream into frames",
    "handshake": "handshakes with strangers, and with somebody in the middle",
    "codec": "decoding, and encoding and decoding of what was decoded",
    "envelopes": "the layouts of what a session carries",
    "toy": "a target with a planted bug, to see that the fuzzer finds one",
}
"""Each is a function `fuzz_NAME` in a module NAME of this package."""
WATCHED = ["casty_proto", "tests.fuzz.toy"]


def target(name: str) -> Callable[[bytes], None]:
    """The function of a target, whose modules are loaded now."""
    found: Callable[[bytes], None] = getattr(import_module(f".{name}", __package__), f"fuzz_{name}")
    return found


def main() -> None:
    """Does not return."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=WATCHED):
        run = target(sys.argv[1])
    atheris.Setup([sys.argv[0], *sys.argv[2:]], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
