"""The programs of the specification's chapters on clusters run as they are written.

They are in `spec_blocks`; a block stands between `# -- the block` and `# -- its end`. What is changed is the import
names, and the address, which is one of loopback that is free.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BLOCKS = Path(__file__).parent / "spec_blocks"
PRINTED = {
    "sharded_actors": r"Alice's score: 100",
    "singleton_actors": r"\['my job'\]",
    "chat_room": r"Members: \['(alice', 'bob|bob', 'alice)'\]",
    "distributed_counter": r"Total hits: 100",
}
"""What each program prints."""


def program(name: str) -> Any:
    """The text of a program, ready to be executed."""
    path = BLOCKS / f"{name}.txt"
    text = path.read_text(encoding="utf-8").replace('"0.0.0.0", 8001', '"127.0.0.1", 0')
    text = re.sub(r"^from casty(\.persistence)? import", "from casty_asyncio import", text, flags=re.MULTILINE)
    return compile(text, str(path), "exec", dont_inherit=True)


@pytest.mark.parametrize("name", PRINTED)
async def test_a_block_does_what_the_text_around_it_says(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever reads a message looks for its class in the module of that name, as in every program.
    module = ModuleType(f"spec_{name}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(program(name), module.__dict__)
    await module.main()
    assert re.fullmatch(PRINTED[name], capsys.readouterr().out.strip())


def test_no_program_is_left_out() -> None:
    assert {path.stem for path in BLOCKS.glob("*.txt")} == set(PRINTED)
