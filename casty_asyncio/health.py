"""Whether a system is well, for orchestrators: as a value, and by a tiny HTTP server.

    async with HealthServer(system, "127.0.0.1", 8080):
        await system.serve()

    GET /live      200 while the process is of use; 503 when it should be started again
    GET /ready     200 when it can be sent work; 503 with the reasons when not
    GET /metrics   the figures, as Prometheus reads them
    GET /status    what `python -m casty_asyncio inspect` shows, as JSON

It reads the first line of a request and nothing else, and answers one request for each connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import frozen

from .errors import UsageError, described
from .metrics import prometheus_text

if TYPE_CHECKING:
    from .system import ActorSystem

_LINE_MAX = 8192
_SECONDS = 5.0
_LOGGED = 200
_CONNECTIONS_MAX = 64
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@frozen
class Health:
    """How a system is."""

    live: bool
    """Whether it is of use. If not, it should be started again."""
    ready: bool
    """Whether it can be sent work."""
    reasons: tuple[str, ...] = ()
    """Why it is not ready."""


class HealthServer:
    """Answers orchestrators. It listens from `start` to `close`, or while it is used with `async with`."""

    def __init__(self, system: ActorSystem, host: str, port: int) -> None:
        self._system = system
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._handling: dict[asyncio.Task[None], None] = {}

    async def start(self) -> None:
        """Begin to listen. Raises `UsageError` where that is impossible."""
        try:
            self._server = await asyncio.start_server(self._accept, self._host, self._port, limit=_LINE_MAX)
        except OSError as error:
            raise UsageError(f"the health server cannot listen on {self._host}:{self._port}: {error}") from error

    @property
    def port(self) -> int:
        """Where it listens. Raises `UsageError` before the start."""
        if self._server is None:
            raise UsageError("the health server was not started yet")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Listen no more. Harmless when repeated."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        tasks = list(self._handling)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._handling) >= _CONNECTIONS_MAX:
            writer.close()
            return
        self._handling[task] = None
        try:
            async with asyncio.timeout(_SECONDS):
                first = await reader.readuntil(b"\n")
                # What else is in the request is read, since closing with something unread would reset the connection.
                while (await reader.readuntil(b"\n")).strip():
                    pass
                writer.write(self._response(first))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # It is no request, or whoever made it does not wait. What is not read must not keep the connection open.
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()  # This is the end of the server, which waits for it.
        finally:
            del self._handling[task]
            writer.close()

    def _response(self, line: bytes) -> bytes:
        try:
            status, kind, text = self._answer(line)
        except Exception as error:
            log = logging.getLogger(f"casty.{self._system.name}")
            log.exception("the health server cannot answer %r", line[:_LOGGED])
            status, kind, text = 500, "text/plain", f"{described(error)}\n"
        body = text.encode()
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        return head if line.startswith(b"HEAD ") else head + body

    def _answer(self, line: bytes) -> tuple[int, str, str]:
        """The status, the type and the text of the answer to a request."""
        parts = line.decode("latin-1").split()
        if len(parts) != 3:
            return 400, "text/plain", "this is no HTTP request\n"
        method, path, _ = parts
        if method not in ("GET", "HEAD"):
            return 405, "text/plain", "only GET is understood\n"
        health = self._system.health()
        match path.partition("?")[0]:
            case "/live":
                return (200 if health.live else 503), "text/plain", _text(health.live, health)
            case "/ready":
                return (200 if health.ready else 503), "text/plain", _text(health.ready, health)
            case "/metrics":
                return 200, "text/plain; version=0.0.4", prometheus_text(self._system.metrics())
            case "/status":
                return 200, "application/json", json.dumps(self._system.status(), indent=2) + "\n"
            case _:
                return 404, "text/plain", "there are /live, /ready, /metrics and /status\n"


def _text(good: bool, health: Health) -> str:
    return "ok\n" if good else "".join([f"{reason}\n" for reason in health.reasons]) or "not yet\n"
