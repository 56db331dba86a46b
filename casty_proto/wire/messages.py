"""What the two ends of a connection say to each other before anything else. Each message is the body of one frame.

["casty", HELLO, lowest version, highest version, system, node_id, generation, address, kind, secured, nonce]
["casty", CHALLENGE, version, system, node_id, generation, address, secured, nonce]
["casty", PROOF, digest]
["casty", WELCOME, digest]
["casty", REFUSAL, reason, text]
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, assert_never

import msgpack  # type: ignore[import-untyped]
from attrs import field, frozen
from attrs.validators import instance_of

from ..address import NAME_MAX, AddressError, NodeAddress, system_name_problem
from .errors import SHOWN_MAX, Malformed, clipped, shown
from .options import WireOptions
from .scan import scan

MAGIC = "casty"
HANDSHAKE_FRAME_MAX = 4096
"""The longest body of a handshake, in bytes."""
NONCE_SIZE = 32
"""How many random bytes each end contributes to a handshake. They are never used again."""
DIGEST_SIZE = 32
GENERATION_MAX = 2**64 - 1
VERSION_MAX = 2**16 - 1
_LIMITS = WireOptions(max_frame=HANDSHAKE_FRAME_MAX, max_depth=1, max_items=16)


class Kind(IntEnum):
    """What a connection is for. The values are those on the wire."""

    CONTROL = 1
    DATA = 2
    CLIENT = 3
    CLUSTER = 4
    """What members of a cluster say to each other in few words: who is alive, who leads, who owns what."""
    SHARDS = 5
    """What they say in many: messages for shards, and the states of entities."""


class Reason(IntEnum):
    """Why a connection was refused. The values are those on the wire."""

    MALFORMED = 1
    VERSION = 2
    SYSTEM = 3
    SELF = 4
    SECRET = 5
    KIND = 6
    TIMEOUT = 7


def _is_address(_instance: object, _attribute: object, text: str) -> None:
    if text and str(NodeAddress.parse(text)) != text:
        raise AddressError(f"address {shown(text)} is not in its one spelling, {NodeAddress.parse(text)}")


def _is_node_id(_instance: object, _attribute: object, text: str) -> None:
    if type(text) is not str or not 0 < len(text) <= NAME_MAX:
        raise ValueError(f"node_id must be a text of 1 to {NAME_MAX} characters, not {shown(text)}")


def _is_generation(_instance: object, _attribute: object, number: int) -> None:
    if type(number) is not int or not 0 <= number <= GENERATION_MAX:
        raise ValueError(f"generation must be an int between 0 and {GENERATION_MAX}, not {shown(str(number))}")


@frozen
class Node:
    """Who is at an end of a connection. Raises `ValueError` or `TypeError` unless all parts are good.

    `node_id` has 1 to 255 characters. `generation` tells its lives apart: 0 to 2**64 - 1, and later ones are higher.
    """

    node_id: str = field(validator=_is_node_id)
    generation: int = field(validator=_is_generation)
    address: str = field(default="", validator=[instance_of(str), _is_address])
    """Where others can dial it, as `host:port`; empty for one that only dials."""

    def __str__(self) -> str:
        """For people: in one line, and as long as it may be. A peer has chosen what is in it."""
        name = "".join(letter if letter.isprintable() else "?" for letter in self.node_id[: SHOWN_MAX + 1])
        where = f" at {clipped(self.address)}" if self.address else ""
        return f"{clipped(name)}.{self.generation}{where}"


@frozen
class Hello:
    """The one that dialled begins."""

    lowest: int
    highest: int
    system: str
    node: Node
    kind: Kind
    secured: bool
    nonce: bytes


@frozen
class Challenge:
    """The answer to `Hello`, with the version that both speak."""

    version: int
    system: str
    node: Node
    secured: bool
    nonce: bytes


@frozen
class Proof:
    """The one that dialled knows the secret. Empty where there is none."""

    digest: bytes


@frozen
class Welcome:
    """The other one knows it as well, and the connection is open."""

    digest: bytes


@frozen
class Refusal:
    """The end, from either side."""

    reason: Reason
    text: str


type Message = Hello | Challenge | Proof | Welcome | Refusal

_HELLO, _CHALLENGE, _PROOF, _WELCOME, _REFUSAL = range(1, 6)


def packed(message: Message) -> bytes:
    """The body for a message."""
    match message:
        case Hello(lowest, highest, system, node, kind, secured, nonce):
            parts = [_HELLO, lowest, highest, system, *_flat(node), int(kind), secured, nonce]
        case Challenge(version, system, node, secured, nonce):
            parts = [_CHALLENGE, version, system, *_flat(node), secured, nonce]
        case Proof(digest):
            parts = [_PROOF, digest]
        case Welcome(digest):
            parts = [_WELCOME, digest]
        case Refusal(reason, text):
            parts = [_REFUSAL, int(reason), text]
        case _:
            assert_never(message)
    body: bytes = msgpack.packb([MAGIC, *parts])
    return body


def unpacked(body: bytes) -> Message:
    """The message of a body. Raises `Malformed`."""
    if len(body) > HANDSHAKE_FRAME_MAX:
        raise Malformed(f"a handshake has {len(body)} bytes; the limit is {HANDSHAKE_FRAME_MAX} bytes")
    scan(body, _LIMITS)
    try:
        found = msgpack.unpackb(body, max_ext_len=0, max_map_len=0)
        message = _message(found)
    except Exception as error:
        raise Malformed(f"a handshake cannot be read: {type(error).__name__}: {clipped(str(error))}") from error
    if message is None:
        raise Malformed("a frame is no message of a handshake")
    return message


def _message(found: Any) -> Message | None:
    if type(found) is not list or len(found) < 2 or found[0] != MAGIC or type(found[1]) is not int:
        return None
    parts: list[Any] = found[2:]
    kinds = [type(part) for part in parts]
    match found[1]:
        case 1 if kinds == [int, int, str, str, int, str, int, bool, bytes]:
            lowest, highest, system, *node, kind, secured, nonce = parts
            return Hello(
                _version(lowest), _version(highest), _system(system), Node(*node), Kind(kind), secured, _nonce(nonce)
            )
        case 2 if kinds == [int, str, str, int, str, bool, bytes]:
            version, system, *node, secured, nonce = parts
            return Challenge(_version(version), _system(system), Node(*node), secured, _nonce(nonce))
        case 3 if kinds == [bytes]:
            return Proof(_digest(parts[0]))
        case 4 if kinds == [bytes]:
            return Welcome(_digest(parts[0]))
        case 5 if kinds == [int, str]:
            # A later version may have more reasons; the text is what people read.
            reason = Reason(parts[0]) if parts[0] in [*Reason] else Reason.MALFORMED
            return Refusal(reason, clipped_reason(parts[1]))
    return None


def clipped_reason(text: str) -> str:
    """The text of a refusal at its greatest length, and in one line."""
    line = "".join(character if character.isprintable() else "?" for character in text[:301])
    return line if len(line) <= 300 else line[:300] + "..."


def _flat(node: Node) -> list[Any]:
    return [node.node_id, node.generation, node.address]


def _version(number: int) -> int:
    if not 0 < number <= VERSION_MAX:
        raise ValueError(f"{number} is no version")
    return number


def _system(name: str) -> str:
    if (problem := system_name_problem(name)) is not None:
        raise ValueError(problem)
    return name


def _nonce(nonce: bytes) -> bytes:
    if len(nonce) != NONCE_SIZE:
        raise ValueError(f"a nonce has {len(nonce)} bytes; expected {NONCE_SIZE}")
    return nonce


def _digest(digest: bytes) -> bytes:
    if len(digest) not in (0, DIGEST_SIZE):
        raise ValueError(f"a digest has {len(digest)} bytes; expected {DIGEST_SIZE}, or none without a secret")
    return digest
