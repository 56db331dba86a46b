"""How an input of the corpus is written down, and the small pieces that they are made of."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any

import msgpack  # type: ignore[import-untyped]
from attrs import frozen

from casty_proto.wire.frame import HEADER

CORPUS = Path(__file__).parent.parent / "proto" / "wire" / "corpus"
FOLDERS = ("bodies", "connections", "frames", "handshakes")

type Part = bytes | tuple[int, bytes]
"""Some bytes, or how often they are repeated and they."""


@frozen
class Nasty:
    """One input. The file is `folder/name.hex`."""

    folder: str
    name: str
    verdict: str
    """What comes of it, see `tests/proto/wire/test_corpus.py`."""
    parts: tuple[Part, ...]

    @property
    def data(self) -> bytes:
        return b"".join([part if isinstance(part, bytes) else part[0] * part[1] for part in self.parts])

    @property
    def path(self) -> Path:
        return CORPUS / self.folder / f"{self.name}.hex"

    @property
    def text(self) -> str:
        """The file: the verdict, and the bytes in hexadecimal, in groups; `N*` repeats the group that follows."""
        groups = [part.hex() if isinstance(part, bytes) else f"{part[0]}*{part[1].hex()}" for part in self.parts]
        lines = [line for group in groups for line in wrap(group, 120)]
        return "\n".join([self.verdict, *lines]) + "\n"


def read(path: Path) -> Nasty:
    """The input of a file."""
    verdict, *lines = path.read_text().splitlines()
    parts: list[Part] = []
    for group in " ".join(lines).split():
        times, _, digits = group.rpartition("*")
        parts.append((int(times), bytes.fromhex(digits)) if times else bytes.fromhex(digits))
    return Nasty(path.parent.name, path.stem, verdict, tuple(parts))


def body(value: object) -> bytes:
    """What MessagePack makes of plain values."""
    packed: bytes = msgpack.packb(value)
    return packed


def stream(*bodies: bytes) -> bytes:
    """Frames, one after the other."""
    return b"".join([HEADER.pack(len(each)) + each for each in bodies])


def announcing(value: object, *types: tuple[str, list[str]], first: int = 32) -> bytes:
    """A body that announces types, numbered from `first` on, before its value."""
    head = body([[first + n, name, fields] for n, (name, fields) in enumerate(types)])
    return b"".join((b"\xc1", HEADER.pack(len(head)), head, body(value)))


def colliding(count: int) -> list[Any]:
    """Integers, as they travel, that all have the hash 0: multiples of the modulus of Python's hashes."""
    return [_of_hash_0(n) for n in range(count)]


def _of_hash_0(n: int) -> Any:
    number = n * (2**61 - 1)
    return number if number < 2**64 else [7, number.to_bytes(12, signed=True)]


def colliding_sets(size: int, depth: int, last: int = 0) -> Any:
    """Frozensets of frozensets, as they travel, where all of one level have the same hash and differ in one leaf."""
    if depth == 0:
        return _of_hash_0(last)
    inner = [colliding_sets(size, depth - 1, place) for place in range(size - 1)]
    return [5, *inner, colliding_sets(size, depth - 1, size - 1 + last)]
