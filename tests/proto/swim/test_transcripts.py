"""What the transcripts say is what the machine does. See `transcripts.py` for how to read and rewrite them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .transcripts import files, replay

SUBJECTS = ("indirect_probe", "join", "leave", "probe", "push_pull", "suspicion_and_refutation")


def test_every_subject_has_a_transcript() -> None:
    assert tuple(file.stem for file in files()) == SUBJECTS


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.stem))
def test_transcript(file: Path) -> None:
    text = file.read_text()
    assert replay(text) == text


def test_a_transcript_that_is_wrong_is_noticed() -> None:
    text = "> member me\n> join\n0.000 Reply None\n0.000 Joined through None\n"
    assert replay(text) == text
    assert replay(text.replace("Joined", "Left")) == text
    assert replay("> member me\n> join\n") == text
