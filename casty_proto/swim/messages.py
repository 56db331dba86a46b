"""What members say to each other.

Every message names its sender and may carry updates: what the sender has learned about members, its own state
included. `Identity`, `Update` and `Digest` cannot be built from nonsense, so whoever holds one may rely on it; the
other fields of a message are checked on arrival (`door.py`).

Addresses are texts that a driver can dial. They are compared and passed on, never looked into; so is the payload.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from attrs import Attribute, field
from attrs.validators import instance_of

from ..values import value

NODE_ID_MAX = 64
"""The longest node id, in bytes of UTF-8."""
ADDRESS_MAX = 160
"""The longest address, in bytes of UTF-8."""
PAYLOAD_MAX = 1024
"""The longest payload, in bytes."""
NUMBER_MAX = 2**63 - 1
"""The highest generation, incarnation and sequence number. Nothing wraps round."""


class State(IntEnum):
    """What is believed of a member. At equal incarnations the higher one prevails."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


def is_number(value: object) -> bool:
    """Whether this is a number as messages carry them: 0 to `NUMBER_MAX`."""
    return type(value) is int and 0 <= value <= NUMBER_MAX


def _number(_: object, attribute: Attribute[Any], value: object) -> None:
    if not is_number(value):
        raise ValueError(f"{attribute.name} must be a whole number from 0 to 2**63 - 1, not {value!r}")


def _text(attribute: Attribute[Any], value: object, limit: int) -> None:
    if type(value) is not str:
        raise TypeError(f"{attribute.name} must be a str, not {value!r}")
    if len(value.encode()) > limit:
        raise ValueError(f"{attribute.name} must have at most {limit} bytes, not {len(value.encode())}")


def _node_id(_: object, attribute: Attribute[Any], value: object) -> None:
    _text(attribute, value, NODE_ID_MAX)
    if not value:
        raise ValueError(f"{attribute.name} must not be empty")


def _accuser(_: object, attribute: Attribute[Any], value: object) -> None:
    _text(attribute, value, NODE_ID_MAX)


def _address(_: object, attribute: Attribute[Any], value: object) -> None:
    _text(attribute, value, ADDRESS_MAX)


def _payload(_: object, attribute: Attribute[Any], value: object) -> None:
    if type(value) is not bytes:
        raise TypeError(f"{attribute.name} must be bytes, not {value!r}")
    if len(value) > PAYLOAD_MAX:
        raise ValueError(f"{attribute.name} must have at most {PAYLOAD_MAX} bytes, not {len(value)}")


@value
class Identity:
    """One life of a node. A restarted process has a higher generation. Raises `ValueError` or `TypeError`."""

    node_id: str = field(validator=_node_id)
    generation: int = field(validator=_number)

    def __str__(self) -> str:
        return f"{self.node_id}/{self.generation}"


@value
class Update:
    """A statement about one member. Raises `ValueError` or `TypeError` for one that makes no sense."""

    identity: Identity = field(validator=instance_of(Identity))
    incarnation: int = field(validator=_number)
    state: State = field(validator=instance_of(State))
    by: str = field(default="", validator=_accuser)
    """The node id of whoever found the member silent. With `SUSPECT` always, with `DEAD` where it is known."""
    address: str = field(default="", validator=_address)
    """With `ALIVE` always, and only there."""
    payload: bytes = field(default=b"", validator=_payload)
    """With `ALIVE` only."""

    def __attrs_post_init__(self) -> None:
        if (self.state is State.ALIVE) != bool(self.address):
            raise ValueError(f"an address belongs to the living: {self.state.name} {self.identity}, {self.address!r}")
        if self.state is not State.ALIVE and self.payload:
            raise ValueError(f"a payload belongs to the living: {self.state.name} {self.identity}")
        if self.state is State.SUSPECT and not self.by:
            raise ValueError(f"{self.identity} is suspected by nobody")

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        at = f" at {self.address}" if self.address else ""
        payload = f" with {self.payload!r}" if self.payload else ""
        return f"{self.state.name.lower()} {self.identity}.{self.incarnation}{by}{at}{payload}"


@value
class Digest:
    """How new the sender's knowledge of one member is. Raises `ValueError` or `TypeError`."""

    identity: Identity = field(validator=instance_of(Identity))
    incarnation: int = field(validator=_number)
    state: State = field(validator=instance_of(State))
    check: int = field(default=0, validator=_number)
    """The CRC-32 of the payload of one who is alive; 0 for others."""

    def __str__(self) -> str:
        return f"{self.state.name.lower()} {self.identity}.{self.incarnation}"


# Failure detection ---------------------------------------------------------------------------------------------------


@value
class Ping:
    """Are you `target`, and alive? Answered by `Ack`."""

    source: Identity
    number: int
    target: Identity
    updates: tuple[Update, ...] = ()


@value
class Ack:
    """The answer to the `Ping` of that number."""

    source: Identity
    number: int
    updates: tuple[Update, ...] = ()


@value
class PingRequest:
    """Please ping `target` for me. Answered by `IndirectAck`, and by `Nack` while there is nothing to say yet."""

    source: Identity
    number: int
    target: Identity
    address: str
    updates: tuple[Update, ...] = ()


@value
class IndirectAck:
    """The target of your `PingRequest` of that number has answered me."""

    source: Identity
    number: int
    updates: tuple[Update, ...] = ()


@value
class Nack:
    """The target of your `PingRequest` of that number has not answered me so far; but you see that I have."""

    source: Identity
    number: int
    updates: tuple[Update, ...] = ()


# Dissemination -------------------------------------------------------------------------------------------------------


@value
class Gossip:
    """News, and nothing else. Not answered."""

    source: Identity
    updates: tuple[Update, ...]


@value
class SyncRequest:
    """All that I know of the members whose node id is after `after` and not after `upto`, compared as texts.

    Answered by `Records` for what the sender lacks, as many as are needed, and by `SyncReply`.
    """

    source: Identity
    number: int
    after: str
    upto: str | None
    """`None`: to the end."""
    digests: tuple[Digest, ...]
    """In the order of their node ids. A member of the range that is not here is not known to the sender."""
    updates: tuple[Update, ...] = ()


@value
class Records:
    """What the sender believes about some members: parts of its state, and no news of its own."""

    source: Identity
    updates: tuple[Update, ...]


@value
class SyncReply:
    """The end of the answer to the `SyncRequest` of that number."""

    source: Identity
    number: int
    wants: tuple[str, ...]
    """Node ids about which the asker knows more. Answered by `Records`."""
    covered: str | None
    """The answer covers the range up to this node id. `None`: all of it."""
    updates: tuple[Update, ...] = ()


type Message = Ping | Ack | PingRequest | IndirectAck | Nack | Gossip | SyncRequest | Records | SyncReply
"""What `Send` holds and `Received` is fed. Any of it may be lost, late, repeated and overtaken."""
