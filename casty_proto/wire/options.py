"""The limits of a connection. Both ends check them: the sender so that the error comes where the mistake is."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen
from attrs.validators import ge, instance_of, le

from ..address import system_name_problem
from ..machine import SECOND, Nanoseconds
from .frame import check_max_frame


def _is_frame_limit(_options: WireOptions, _attribute: Attribute[Any], value: int) -> None:
    check_max_frame(value)


@frozen
class WireOptions:
    """What a peer may send, and what may be sent to it. Raises `ValueError` or `TypeError` for what makes no sense."""

    max_frame: int = field(default=16 * 2**20, validator=_is_frame_limit)
    """The longest body, in bytes."""
    max_depth: int = field(default=64, validator=[instance_of(int), ge(1), le(128)])
    """How deep values may be nested. A value that is an atom has the depth 0, a list of atoms 1."""
    max_items: int = field(default=2**18, validator=[instance_of(int), ge(16)])
    """How many values one body may have, at all depths together."""
    max_length: int = field(default=16 * 2**20, validator=[instance_of(int), ge(16)])
    """The longest text or string of bytes, in bytes."""
    max_types: int = field(default=1024, validator=[instance_of(int), ge(1)])
    """How many types may be announced on a connection."""
    max_fields: int = field(default=256, validator=[instance_of(int), ge(1)])
    """How many fields a type may have."""
    max_announced: int = field(default=2**20, validator=[instance_of(int), ge(1024)])
    """How many bytes of announcements a connection may have."""


@frozen
class HandshakeOptions:
    """Who we are and whom we talk to. Raises `ValueError` or `TypeError` for what makes no sense."""

    system: str = field(validator=instance_of(str))
    """The name that both must have."""
    secret: bytes | None = field(default=None, repr=False)
    """What both must know. It is never sent, and should be long and random: a peer can try to guess it at leisure."""
    lowest_version: int = field(default=1, validator=[instance_of(int), ge(1), le(2**16 - 1)])
    """The oldest version of the protocol that is spoken, from 1."""
    highest_version: int = field(default=1, validator=[instance_of(int), ge(1), le(2**16 - 1)])
    """The newest, at least as high. The highest that both ends speak is used (rule 21)."""
    timeout_ns: Nanoseconds = field(default=10 * SECOND, validator=[instance_of(int), ge(1)])
    """How long the whole of the handshake may take."""

    @system.validator
    def _is_system_name(self, _attribute: Attribute[Any], value: str) -> None:
        if (problem := system_name_problem(value)) is not None:
            raise ValueError(problem)

    @secret.validator
    def _is_a_secret(self, _attribute: Attribute[Any], value: bytes | None) -> None:
        if value is not None and (type(value) is not bytes or not value):
            raise ValueError("secret must be bytes, at least one, or None")

    @highest_version.validator
    def _is_a_range(self, _attribute: Attribute[Any], value: int) -> None:
        if value < self.lowest_version:
            raise ValueError(f"highest_version must be at least lowest_version, {self.lowest_version}, not {value}")
