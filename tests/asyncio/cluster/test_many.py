"""Thousands of entities on nodes in processes of their own, and a node that joins."""

from __future__ import annotations

from tests.benchmarks.nodes_many import run

from .node_kit import FAST

ENTITIES = 3000


async def test_thousands_of_entities_move_to_a_node_that_joins_and_no_ask_fails() -> None:
    """Each is asked for its count afterwards: none was lost, and none was made a second time."""
    found = await run(ENTITIES, FAST)
    assert found.failures == []
    assert found.move.failures == []
    assert found.move.waits
    assert found.move.moved >= ENTITIES // 8
