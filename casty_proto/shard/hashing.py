"""Hashes that are the same in every process, on every machine, and in every version of Python.

`hash` differs from process to process, and a cluster has to agree. BLAKE2 and SHAKE are standards (RFC 7693, FIPS 202);
what they give never changes. Of the fast hashes that Python has, CRC-32 would take a fifth of the time, but it is
linear: names that are numbered in one pattern may then fall into few shards.
"""

from __future__ import annotations

from hashlib import blake2b, shake_128
from struct import unpack
from typing import Literal

_int_from_bytes = int.from_bytes


def stable_hash(key: str | bytes) -> int:
    """64 bits of BLAKE2b, as an unsigned number. A text counts as its UTF-8, lone surrogates included."""
    data = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
    return _int_from_bytes(blake2b(data, digest_size=8).digest())


def shard_of(entity_id: str, num_shards: int) -> int:
    """The shard, from 0 to `num_shards` - 1, that an entity belongs to, wherever that shard is."""
    data = entity_id.encode("utf-8", "surrogatepass")
    return _int_from_bytes(blake2b(data, digest_size=8).digest()) % num_shards


def draws(seed: str, count: int, code: Literal["H", "Q"] = "H") -> tuple[int, ...]:
    """Random numbers of 16 or 64 bits that follow from `seed`. Fewer of them are the beginning of more of them."""
    size = 2 if code == "H" else 8
    return unpack(f">{count}{code}", shake_128(seed.encode("utf-8", "surrogatepass")).digest(size * count))
