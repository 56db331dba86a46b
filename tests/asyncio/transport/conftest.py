"""Peers of these tests are sockets and not nodes: they acknowledge nothing, and whoever shuts down waits in vain."""

from __future__ import annotations

import pytest

from casty_asyncio.transport import transport

ABOUT_THE_END = "test_connections"
"""Where it is tested for how long one waits."""


@pytest.fixture(autouse=True)
def brief_farewell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever shuts down waits a fifth of a second for what was sent, and not ten times as long."""
    if not request.module.__name__.endswith(ABOUT_THE_END):
        monkeypatch.setattr(transport, "FLUSH_SECONDS", 0.2)
