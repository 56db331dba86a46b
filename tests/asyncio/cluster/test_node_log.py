"""What the log says of where a line comes from: the node, the epoch, and the actor."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from casty_asyncio import Actor, Context

from .node_kit import cluster, node


class Talker(Actor[str]):
    async def receive(self, msg: str, ctx: Context) -> None:
        ctx.log.warning("%d items of 100%%", 3)
        ctx.log.warning("all of it, 100%")
        ctx.reply(None)


async def test_lines_of_a_node_begin_with_it_and_have_the_epoch_and_the_actor(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="casty")
    async with cluster(1) as [system]:
        await (await system.spawn(Talker, "talker")).ask("go")
        founded = found(caplog, "is a member of the cluster")
        assert founded.getMessage().startswith("node-1: ")
        assert founded.__dict__["node"] == "node-1"
        said = found(caplog, "3 items of 100%")
        assert said.getMessage() == "node-1: /talker: 3 items of 100%"
        assert said.__dict__["actor"] == "/talker"
        assert said.__dict__["epoch"] == system.status()["epoch"]
        assert said.filename == "test_node_log.py"
        assert found(caplog, "all of it").getMessage() == "node-1: /talker: all of it, 100%"


async def test_a_node_whose_name_has_a_per_cent_sign_can_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="casty")
    async with node("a%sb") as system:
        await system.wait_for(1)
    assert found(caplog, "is a member of the cluster").getMessage().startswith("a%sb: ")


def found(caplog: pytest.LogCaptureFixture, text: str) -> Any:
    """The first line with this text."""
    return next(record for record in caplog.records if text in record.getMessage())
