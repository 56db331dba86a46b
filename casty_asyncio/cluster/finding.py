"""Finding an actor by its name on whichever node has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from ..errors import UnreachableError
from ..refs import ActorRef
from .claims import NAMES


async def find_somewhere(
    look: Callable[[str], Awaitable[ActorRef[Any] | None]], system: str, addresses: Sequence[str], path: str
) -> ActorRef[Any] | None:
    """Ask all nodes at once: who has the cluster-wide name, or else the first in their order that has such a path.

    `look` looks up an actor by its whole address. Nodes that are out of reach have nothing.
    """

    async def at(address: str, where: str) -> ActorRef[Any] | None:
        with suppress(UnreachableError):
            return await look(f"casty://{system}@{address}/{where}")
        return None

    places = [*[(address, f"{NAMES}/{path}") for address in addresses], *[(address, path) for address in addresses]]
    found = await asyncio.gather(*[at(address, where) for address, where in places])
    return next((ref for ref in found if ref is not None), None)
