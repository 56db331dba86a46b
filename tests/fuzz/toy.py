"""A target with a planted bug, to see that the fuzzer finds one: only some watching of lines gets this far."""

from __future__ import annotations

WORD = b"cast!"


def fuzz_toy(data: bytes) -> None:
    """Raises for what begins with `WORD`."""
    if _begins(data):
        raise RuntimeError("the planted bug")


def _begins(data: bytes) -> bool:
    if len(data) < len(WORD) or data[0] != WORD[0]:
        return False
    if data[1] != WORD[1]:
        return False
    if data[2] != WORD[2]:
        return False
    if data[3] != WORD[3]:
        return False
    return data[4] == WORD[4]
