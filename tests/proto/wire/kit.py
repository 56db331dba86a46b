"""Classes that are sent, and two ends of a connection."""

from __future__ import annotations

import dataclasses
import math
from collections import namedtuple
from dataclasses import InitVar, dataclass, field
from datetime import datetime, time
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgpack  # type: ignore[import-untyped]

from casty_proto.wire import Decoder, Encoder, Types, WireOptions, message

OPTIONS = WireOptions()


class Link:
    """An encoder and a decoder that share what they know, as in one process."""

    def __init__(self, types: Types | None = None, options: WireOptions = OPTIONS) -> None:
        self.types = Types() if types is None else types
        self.encoder = Encoder(self.types, options)
        self.decoder = Decoder(self.types, options)

    def carry(self, value: object) -> Any:
        return self.decoder.decode(self.encoder.encode(value))


def carried(value: object, types: Types | None = None) -> Any:
    """The value at the other end of a new connection."""
    return Link(types).carry(value)


def announced(value: object, *types: tuple[str, list[str]]) -> bytes:
    """A body, made by hand, that announces types with the numbers from 32 on."""
    head = msgpack.packb([[32 + n, name, fields] for n, (name, fields) in enumerate(types)])
    body: bytes = msgpack.packb(value)
    return b"".join((b"\xc1", len(head).to_bytes(4), head, body))


def registered() -> Types:
    """What a driver registers."""
    types = Types()
    types.register(UUID, "uuid", lambda value: value.bytes, lambda plain: UUID(bytes=plain))
    types.register(PurePosixPath, "path", str, PurePosixPath)
    types.register(ZoneInfo, "zone", lambda value: value.key, ZoneInfo)
    return types


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, all the way down."""
    if type(one) is not type(other):
        return False
    match one:
        case float():
            return math.copysign(1, one) == math.copysign(1, other) and (
                one == other or (one != one and other != other)
            )
        case complex():
            return same(one.real, other.real) and same(one.imag, other.imag)
        case Decimal():
            return bool(one.as_tuple() == other.as_tuple())
        case list() | tuple():
            return len(one) == len(other) and all(map(same, one, other))
        case set() | frozenset():
            return len(one) == len(other) and all(any(same(a, b) for b in other) for a in one)
        case dict():
            return same(list(one.items()), list(other.items()))
        case datetime() | time():
            return (
                one.fold == other.fold
                and one.replace(tzinfo=None) == other.replace(tzinfo=None)
                and same(one.tzinfo, other.tzinfo)
            )
    if dataclasses.is_dataclass(one) or attrs.has(type(one)):
        names = [
            f.name for f in (dataclasses.fields(one) if dataclasses.is_dataclass(one) else attrs.fields(type(one)))
        ]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other)


# -- classes -----------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "r"
    GREEN = "g"
    ROUGE = "r"  # noqa: PIE796 - a second name for the first


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Word(StrEnum):
    YES = "yes"


class Right(Flag):
    READ = auto()
    WRITE = auto()
    RUN = auto()


class Bits(IntFlag):
    A = 1
    B = 4


class Point(NamedTuple):
    x: int
    y: int = 0


Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Plain:
    a: int
    b: str = "b"


@dataclass(frozen=True, slots=True)
class Small:
    number: int
    name: str
    value: float
    good: bool


@dataclass(kw_only=True)
class Keywords:
    one: int
    two: list[int] = field(default_factory=list)


@dataclass
class Child(Plain):
    c: tuple[int, ...] = ()
    d: int = field(default=4, kw_only=True)


@dataclass
class Box[T]:
    content: T


@dataclass
class Empty:
    pass


@dataclass
class One:
    value: Any


@dataclass
class Counted:
    """Has a field that is not given, one that only the constructor sees, and one that does not count."""

    start: int
    step: InitVar[int] = 2
    count: int = field(init=False, default=0)
    cache: Any = field(init=False, default=None, compare=False)


@dataclass
class Needs:
    start: int
    step: InitVar[int]


Renamed = Plain


class Outer:
    @dataclass(frozen=True)
    class Inner:
        deep: int


@attrs.frozen
class Attrs:
    x: int
    _hidden: str
    y: list[int] = attrs.field(factory=list, kw_only=True)
    z: int = attrs.field(init=False, default=1)


@attrs.define
class Checked:
    n: int = attrs.field(validator=attrs.validators.ge(0))


@attrs.frozen
class Failed(Exception):
    code: int


@message(name="kit.named")
@dataclass
class Named:
    n: int


@message
@dataclass
class Marked:
    n: int


class Bare:
    """Cannot be sent."""


class Text(str):
    """Cannot be sent either."""


@dataclass
class Stringly(str):
    n: int


class Undecorated(Plain):
    pass


@dataclass(init=False)
class Handmade:
    n: int

    def __init__(self, *args: int) -> None:
        self.n = sum(args)


@dataclass(frozen=True)
class Line:
    sku: str
    price: Any


@dataclass
class Order:
    number: int
    lines: list[Line]


small = partial(Small, 1, "one", 1.5, True)
