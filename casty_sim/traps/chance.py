"""The randomness of a host. It follows from the seed of the world, the host, and how often that was started.

It is not on the tape: shrinking looks for plainer choices, and random numbers that were all zero would make all nonces
and identifiers the same.
"""

from __future__ import annotations

import os
import random
import uuid
from typing import TYPE_CHECKING, Any

from .replace import Method, Place, method

if TYPE_CHECKING:
    from ..loop import SimLoop

_FUNCTIONS = (
    "betavariate",
    "binomialvariate",
    "choice",
    "choices",
    "expovariate",
    "gammavariate",
    "gauss",
    "getrandbits",
    "getstate",
    "lognormvariate",
    "normalvariate",
    "paretovariate",
    "randbytes",
    "randint",
    "random",
    "randrange",
    "sample",
    "seed",
    "setstate",
    "shuffle",
    "triangular",
    "uniform",
    "vonmisesvariate",
    "weibullvariate",
)


def _of_random(name: str) -> Any:
    return lambda loop, *args, **named: getattr(loop.random, name)(*args, **named)


def _urandom(loop: SimLoop, size: int, *_: Any) -> bytes:
    if size < 0:
        raise ValueError("negative argument not allowed")
    return loop.random.randbytes(size)


def _uuid1(loop: SimLoop, *_: Any, **__: Any) -> uuid.UUID:
    return uuid.UUID(int=loop.random.getrandbits(128), version=1)


def places() -> list[Place]:
    """The functions of `random`, and the sources of random bytes."""
    found = [Place(random, name, _of_random(name)) for name in _FUNCTIONS]
    return [
        *found,
        Place(os, "urandom", _urandom),
        Place(os, "getrandom", _urandom),
        Place(os, "getpid", lambda loop: 1000 + loop.host.number * 100 + loop.host.starts),
        Place(uuid, "uuid1", _uuid1),
        Place(uuid, "getnode", lambda loop: 0x020000000000 + loop.host.number),
    ]


def _seed(loop: SimLoop, original: Any, self: random.Random, a: Any = None, version: int = 2) -> None:
    original(self, loop.random.getrandbits(128) if a is None else a, version)


def methods() -> list[Method]:
    """Generators that are made without a seed."""
    return [method(random.Random, "seed", _seed)]
