"""The codec, against packing and unpacking the same list by hand and calling the class."""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgpack  # type: ignore[import-untyped]
from attrs import frozen

from casty_proto.wire import Decoder, Encoder, FrameDecoder, Types, WireOptions

from .harness import Figure

ROUNDS = 100_000
LINES = 20


@dataclass(frozen=True)
class Reading:
    """A small message."""

    sensor: int
    name: str
    value: float
    good: bool


@frozen
class Line:
    """A part of a larger message."""

    sku: str
    count: int


@dataclass
class Order:
    """A larger message."""

    number: int
    lines: list[Line]
    tags: dict[str, str]


READING = Reading(12345, "north wall", 21.5, True)
ORDER = Order(7, [Line(f"sku-{n}", n) for n in range(LINES)], {"colour": "red", "size": "large"})


def _pair() -> tuple[Encoder, Decoder]:
    types, options = Types(), WireOptions()
    return Encoder(types, options), Decoder(types, options)


def _rate(message: object, rounds: int) -> float:
    encoder, decoder = _pair()
    encode, decode = encoder.encode, decoder.decode
    assert decode(encode(message)) == message
    began = time.process_time()
    for _ in range(rounds):
        decode(encode(message))
    return rounds / (time.process_time() - began)


async def four_fields() -> float:
    """Encode and decode a dataclass with four fields."""
    return _rate(READING, ROUNDS)


async def four_fields_by_hand() -> float:
    """The same values as a list."""
    packb, unpackb, message = msgpack.packb, msgpack.unpackb, READING
    began = time.process_time()
    for _ in range(ROUNDS):
        Reading(*unpackb(packb([message.sensor, message.name, message.value, message.good])))
    return ROUNDS / (time.process_time() - began)


async def nested() -> float:
    """Encode and decode an order with 20 lines."""
    return _rate(ORDER, ROUNDS // 20)


async def nested_by_hand() -> float:
    """The same values as lists."""
    packb, unpackb, message = msgpack.packb, msgpack.unpackb, ORDER
    began = time.process_time()
    for _ in range(ROUNDS // 20):
        packed = packb([message.number, [[line.sku, line.count] for line in message.lines], message.tags])
        number, lines, tags = unpackb(packed)
        Order(number, [Line(*line) for line in lines], tags)
    return ROUNDS // 20 / (time.process_time() - began)


async def frames() -> float:
    """Frames per second out of reads of 64 KiB."""
    encoder, _ = _pair()
    encoder.encode(READING)
    stream = encoder.encode_frame(READING) * ROUNDS
    reads = [stream[at : at + 2**16] for at in range(0, len(stream), 2**16)]
    decoder = FrameDecoder(2**20)
    began = time.process_time()
    found = sum(len(decoder.feed(read)) for read in reads)
    took = time.process_time() - began
    assert found == ROUNDS
    return ROUNDS / took


FIGURES = [
    Figure("codec: four-field dataclass, encode and decode", four_fields, four_fields_by_hand, bar=0.5),
    Figure("codec: 20 attrs objects and a dict in a dataclass", nested, nested_by_hand),
    Figure("frames out of reads of 64 KiB", frames),
]
