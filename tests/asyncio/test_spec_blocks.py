"""Every Python block of the specification runs as it is written.

The programs are in `spec_blocks`, with the names that the blocks leave to the reader; a block stands between `# -- the
block` and `# -- its end`, or is the whole program. Two things are changed. `casty`, `casty.persistence` and
`casty.cluster.control_plane` in their imports are read as `casty_asyncio`. And nodes listen on this machine alone, on a
port that is free.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import casty_asyncio

BLOCKS = Path(__file__).parent / "spec_blocks"

PRINTED: dict[str, list[str]] = {
    "lifecycle_of_a_class": ["connected", "rows of select 1", "closed"],
    "type_safe_references": ["Greet(name='Alice')", "invalid", "GetGreetingCount()"],
    "context_object": [
        "a child of /parent got work",
        "None ActorRef(/parent)",
        "a child of /parent got work",
        "ActorRef(/some-name) ActorRef(/parent)",
        "some result some result",
    ],
    "message_patterns": ["done: [123]", "5 6"],
    "hierarchies": [
        "['/supervisor/worker-0', '/supervisor/worker-1', '/supervisor/worker-2']",
        "/supervisor/worker-2 stopped",
        "/supervisor/worker-1 stopped",
        "/supervisor/worker-0 stopped",
        "supervisor stopped",
    ],
    "named_actors": ["main-cache CacheSet(key='key', value='value')", "None"],
    "supervision": [
        "processed one",
        "processed two",
        "processed three",
        "processed four",
        "1 2",
        "processed five",
        "1",
        "processed six",
        "done",
    ],
    "lifecycle_hooks": [],
    "event_stream": [
        "Started: ActorRef(/lifecycle-logger)",
        "Started: ActorRef(/worker)",
        "Stopped: ActorRef(/worker)",
        "Dead letter: too late",
    ],
    "mailbox": ["full at 1100", "True", "True", "[-1] 51"],
    "scheduling": ["Timeout()", "BalanceReport()"],
    "task_runner": [
        "running",
        "running",
        "True TaskCompleted(key='my-job', result=None)",
        "False TaskFailed(key='my-job', exception=ValueError('as asked'))",
        "False TaskCancelled(key='my-other-job')",
    ],
    "cluster_start": ["()", "1 ['DistributedSystem', 'DistributedSystem']"],
    "sharded_actors": ["Alice's score: 100"],
    "singleton_actors": ["['backup']", "True"],
    "state_replication": [
        "('search', {'select 1': 0}, ['select 1'], 1)",
        "('thing', ['one'])",
        "70",
        "('search', {'select 2': 1}, ['select 2'], 2)",
        "('thing', ['one', 'two'])",
    ],
    "configuration": [
        "ReplicationConfig(factor=3, sync_count=0, timeout=5.0)",
        "SupervisionStrategy.RESTART 3",
        "unique-id True",
    ],
    "chat_room": ["['alice', 'bob']"],
    "distributed_counter": ["Total hits: 100"],
    "streams_over_the_network": [
        "node-1 temp sensor@127.0.0.1 20",
        "node-2 humidity sensor@127.0.0.1 20",
        "node-3 pressure sensor@127.0.0.1 20",
        "True",
    ],
}
"""What each program prints."""


READ_AS = {
    r"^from casty(\.persistence|\.cluster\.control_plane)? import": "from casty_asyncio import",
    r'"0\.0\.0\.0"': '"127.0.0.1"',
    r"\b800[123]\b(?!\")": "0",
}


def program(name: str) -> Any:
    """The text of a program, ready to be executed."""
    path = BLOCKS / f"{name}.txt"
    text = path.read_text(encoding="utf-8")
    for written, read in READ_AS.items():
        text = re.sub(written, read, text, flags=re.MULTILINE)
    return compile(text, str(path), "exec", dont_inherit=True)


@pytest.mark.parametrize("run", [asyncio.run, casty_asyncio.run], ids=["asyncio.run", "casty_asyncio.run"])
def test_the_quick_start_prints_what_it_says(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asyncio, "run", run)
    exec(program("quick_start"), {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines() == ["Hello, Alice!", "Hello, Bob!", "Total greetings: 2"]


@pytest.mark.parametrize("name", PRINTED)
async def test_a_block_does_what_the_text_around_it_says(
    name: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "casty")
    # What nodes send each other is found by the names of modules.
    module = ModuleType(f"spec_{name}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(program(name), module.__dict__)
    await module.main()
    printed = capsys.readouterr().out.splitlines()
    if name == "chat_room":
        # They are in a set, which has no order.
        assert printed.pop(0) in ("Members: ['alice', 'bob']", "Members: ['bob', 'alice']")
    assert printed == PRINTED[name]
    if name == "lifecycle_hooks":
        lines = [record.getMessage() for record in caplog.records]
        assert [line for line in lines if "Actor" in line] == [
            "/my-actor: Actor starting",
            "/other: Actor starting",
            "/my-actor: Actor stopped",
            "/other: Actor stopped",
        ]
    if name == "supervision":
        assert "Failed after 2 tasks: bad" in [record.getMessage() for record in caplog.records]


def test_no_program_is_left_out() -> None:
    assert {path.stem for path in BLOCKS.glob("*.txt")} == {"quick_start", *PRINTED}
