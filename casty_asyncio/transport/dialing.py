"""Opening a connection to an address: its name resolved, each of its addresses tried, the handshake made."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

from casty_proto.address import NodeAddress
from casty_proto.wire import Dialer, Established, Kind

from .connection import Connection

if TYPE_CHECKING:
    from .transport import Transport


class DialError(ConnectionError):
    """A node could not be reached. `refused`: its machine says that nobody listens there."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


async def dial(transport: Transport, address: NodeAddress, kind: Kind) -> tuple[Connection, Established]:
    """A connection whose handshake is over. Raises `DialError`, and leaves nothing behind then."""
    goal = transport.options.address_map.get(address, address)
    where = str(address) if goal == address else f"{address} (through {goal})"
    try:
        async with asyncio.timeout(transport.options.connect_timeout):
            return await _dial(transport, goal, kind)
    except TimeoutError as error:
        raise DialError(
            f"{where} did not answer within {transport.options.connect_timeout:g} s; is it the right address?"
        ) from error
    except OSError as error:
        refused = isinstance(error, ConnectionRefusedError)
        raise DialError(f"{where} cannot be reached: {_described(error)}", refused=refused) from error


async def _dial(transport: Transport, goal: NodeAddress, kind: Kind) -> tuple[Connection, Established]:
    loop = transport.loop
    hosts = await _resolved(loop, goal)
    client = transport.contexts.client if transport.contexts is not None else None
    errors: list[OSError] = []
    for host in hosts:
        connection = Connection(transport, Dialer(transport.own, kind, transport.handshake_options, transport.nonce()))
        connection.established = loop.create_future()
        try:
            await loop.create_connection(
                lambda connection=connection: connection,
                host,
                goal.port,
                ssl=client,
                server_hostname=goal.host if client is not None else None,
            )
            return connection, await connection.established
        except OSError as error:
            connection.abort()
            errors.append(error)
        except BaseException:
            connection.abort()
            raise
        finally:
            if connection.established.done() and not connection.established.cancelled():
                connection.established.exception()  # It has been looked at.
    # The one that says most: a refusal by one of several addresses does not mean that nobody listens at the others.
    raise next((error for error in errors if not isinstance(error, ConnectionRefusedError)), errors[0])


async def _resolved(loop: asyncio.AbstractEventLoop, goal: NodeAddress) -> list[str]:
    try:
        ip_address(goal.host.partition("%")[0])
    except ValueError:
        found = await loop.getaddrinfo(goal.host, goal.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys([str(entry[4][0]) for entry in found]))
    return [goal.host]


def _described(error: BaseException) -> str:
    return str(error) or type(error).__name__
