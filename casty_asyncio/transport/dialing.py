"""Opening a connection to an address: its name resolved, each of its addresses tried, the handshake made."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from ssl import SSLCertVerificationError, SSLError
from typing import TYPE_CHECKING

from casty_proto.address import NodeAddress
from casty_proto.wire import Dialer, Established, Kind

from .connection import Connection, ConnectionRefused, MetItself

if TYPE_CHECKING:
    from .transport import Transport


class DialError(ConnectionError):
    """A node could not be reached. `refused`: its machine says that nobody listens there."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class DialedItself(DialError):
    """The address leads to this node."""


class NotWelcome(ConnectionError):
    """A node that this one does not talk to, for the reason in the text."""


async def dial(transport: Transport, address: NodeAddress, kind: Kind) -> tuple[Connection, Established]:
    """A connection whose handshake is over. Raises `DialError`, and leaves nothing behind then."""
    goal = transport.options.address_map.get(address, address)
    where = str(address) if goal == address else f"{address} (through {goal})"
    limit = transport.options.connect_timeout
    try:
        async with asyncio.timeout(limit):
            return await _dial(transport, address, goal, kind)
    except MetItself as error:
        raise DialedItself(f"{where} leads to this node itself") from error
    except TimeoutError as error:
        raise DialError(f"{where} did not answer within {limit:g} s; is it the right address?") from error
    except OSError as error:
        refused = isinstance(error, ConnectionRefusedError)
        raise DialError(f"{where} cannot be reached: {_described(error)}", refused=refused) from error


async def _dial(
    transport: Transport, address: NodeAddress, goal: NodeAddress, kind: Kind
) -> tuple[Connection, Established]:
    hosts = await _resolved(transport.loop, goal)
    errors: list[OSError] = []
    for host in hosts:
        try:
            # An address that swallows everything must not use up the time of the others.
            async with asyncio.timeout(transport.options.connect_timeout / len(hosts)):
                return await _dial_one(transport, address, NodeAddress(host, goal.port), kind)
        except MetItself:
            raise
        except OSError as error:
            errors.append(error)
    # The one that says most: a refusal by one of several addresses does not mean that nobody listens at the others.
    raise next((error for error in errors if not isinstance(error, ConnectionRefusedError)), errors[0])


async def _dial_one(
    transport: Transport, address: NodeAddress, goal: NodeAddress, kind: Kind
) -> tuple[Connection, Established]:
    nonce = transport.nonce()
    handshake = Dialer(transport.own, kind, transport.handshake_options, nonce)
    connection = Connection(transport, handshake, str(goal), nonce)
    connection.established = established = transport.loop.create_future()
    transport.nonces[nonce] = False
    try:
        await _connect(transport, address, goal, connection)
        return connection, await _established(transport, connection, established)
    except BaseException:
        connection.abort()
        if established.done() and not established.cancelled():
            established.exception()  # It has been looked at.
        raise
    finally:
        del transport.nonces[nonce]


async def _connect(transport: Transport, address: NodeAddress, goal: NodeAddress, connection: Connection) -> None:
    client = transport.contexts.client if transport.contexts is not None else None
    try:
        await transport.loop.create_connection(
            lambda: connection,
            goal.host,
            goal.port,
            ssl=client,
            # Whose certificate it must be does not depend on the way there.
            server_hostname=address.host if client is not None else None,
        )
    except ConnectionRefusedError:
        raise
    except (SSLError, ConnectionError) as error:
        if client is None:
            raise
        why = _tls_problem(error)
        transport.complain(connection.machine, "TLS", f"{connection.peer} was refused: {why}")
        raise ConnectionError(why) from error


async def _established(
    transport: Transport, connection: Connection, established: asyncio.Future[Established]
) -> Established:
    try:
        return await established
    except ConnectionRefused:
        raise
    except ConnectionError as error:
        if transport.contexts is None:
            raise
        # With TLS 1.3 a dialler learns only now what the other end thinks of its certificate.
        why = f"{error}; does it trust the certificate of this node (Remote.tls)?"
        transport.complain(connection.machine, "TLS", f"{connection.peer}: {why}")
        raise ConnectionError(why) from error


def _tls_problem(error: OSError) -> str:
    if isinstance(error, SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    return f"TLS failed: {_described(error)}; has it TLS as well (Remote.tls)?"


async def _resolved(loop: asyncio.AbstractEventLoop, goal: NodeAddress) -> list[str]:
    try:
        ip_address(goal.host.partition("%")[0])
    except ValueError:
        found = await loop.getaddrinfo(goal.host, goal.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys([str(entry[4][0]) for entry in found]))
    return [goal.host]


def _described(error: BaseException) -> str:
    return str(error) or type(error).__name__
