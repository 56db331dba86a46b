"""TLS for both ends of a connection: each shows a certificate, and demands one of the other."""

from __future__ import annotations

import ssl
from os import PathLike
from typing import Any

from attrs import Attribute, field, frozen
from attrs.validators import instance_of, optional

from ..errors import UsageError

type Path = str | PathLike[str]


def _is_path(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, str | PathLike):
        raise UsageError(f"Tls.{attribute.name} must be the path of a PEM file, not {value!r}")


@frozen
class Tls:
    """Mutual TLS from files in PEM format.

    A node is trusted when `ca` has signed its certificate; with `check_hostname` a dialler also demands that the
    certificate is for the name that it dialled. For anything else give a pair of contexts to `Remote(tls=...)`.
    """

    certificate: Path = field(validator=_is_path)
    """The certificate of this node, with those between it and the authority."""
    key: Path = field(validator=_is_path)
    ca: Path = field(validator=_is_path)
    """The certificates of the authorities that are trusted; no others are."""
    check_hostname: bool = field(default=True, validator=instance_of(bool))
    password: str | None = field(default=None, repr=False, validator=optional(instance_of(str)))
    """Of the key."""

    def contexts(self) -> Contexts:
        """Read the files. Raises `UsageError`, with the reason, where they are of no use."""
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for context in (server, client):
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            try:
                context.load_cert_chain(self.certificate, self.key, self.password or "")
                context.load_verify_locations(self.ca)
            except (OSError, ssl.SSLError) as error:
                raise UsageError(
                    f"TLS cannot be set up from {self.certificate}, {self.key} and {self.ca}: {error}"
                ) from error
        server.verify_mode = ssl.CERT_REQUIRED
        client.check_hostname = self.check_hostname
        return Contexts(server, client)


@frozen
class Contexts:
    """Ready contexts, one for each end. Both should demand a certificate of the peer."""

    server: ssl.SSLContext = field(validator=instance_of(ssl.SSLContext))
    client: ssl.SSLContext = field(validator=instance_of(ssl.SSLContext))
