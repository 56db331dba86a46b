"""Thousands of entities on nodes in processes of their own, and a node that joins."""

from __future__ import annotations

from tests.benchmarks.nodes_many import run

ENTITIES = 3000


async def test_thousands_of_entities_move_to_a_node_that_joins_and_no_ask_fails() -> None:
    """Each is asked for its count afterwards: none was lost, and none was made a second time.

    At the default pace: nothing of them is kept elsewhere, and a node that has no processor for a while is not dead.
    """
    found = await run(ENTITIES)
    assert found.failures == []
    assert found.move.failures == []
    assert found.move.waits
    assert found.move.moved >= ENTITIES // 8
