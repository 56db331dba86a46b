"""Transcripts of elections, replication, snapshots, membership, transfer and reads, compared with what is on file."""

from __future__ import annotations

from pathlib import Path

import pytest

from .transcript import FOLDER, Transcript, played

FILES = sorted(FOLDER.glob("*.txt"))


def test_there_are_transcripts() -> None:
    assert [path.stem for path in FILES] == [
        "conflict",
        "election",
        "membership",
        "reads",
        "replication",
        "snapshot",
        "transfer",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_happens_is_what_is_on_file(path: Path) -> None:
    """After a change that is meant: python -m tests.proto.raft.transcript"""
    expected, actual = played(path)
    assert actual == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_commands_alone_give_the_whole_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if line.startswith(("#", ">"))]
    assert Transcript().play("\n".join(commands)) == text
