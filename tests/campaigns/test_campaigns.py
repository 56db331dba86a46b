"""What the campaigns check is found when it is not so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from casty_asyncio import NotHandledError, OutcomeUnknownError
from tests.asyncio.cluster.node_kit import until
from tests.asyncio.cluster.things import Add, Get

from .__main__ import main
from .load import Load
from .node import overlaps


class Fake:
    """A counter, or the singleton, that does what a test says."""

    path = "/fake"

    def __init__(self, *, loses: int = 0, fails: Exception | None = None, sticks: bool = False) -> None:
        self.count = 0
        self._loses = loses
        self._fails = fails
        self._sticks = sticks

    async def ask(self, msg: Any, timeout: float) -> int:
        if type(msg) is Add:
            if self._fails is not None:
                raise self._fails
            if not self._sticks or not self.count:
                self.count += 1
        elif type(msg) is Get:
            self.count -= self._loses
        return self.count


async def findings_of(**faults: Any) -> list[str]:
    """What is said of counters with these faults."""
    counters: dict[str, Fake] = {}
    boss = Fake()
    load = Load("fake", lambda name: counters.setdefault(name, Fake(**faults)), lambda: boss)
    await until(lambda: load.total > 30 or sum(load.unknown) > 30)
    await load.end()
    await load.check()
    return load.findings


async def test_counters_that_are_as_they_should_be_are_no_finding() -> None:
    assert await findings_of() == []


async def test_an_increment_that_is_lost_is_found() -> None:
    found = await findings_of(loses=1)
    assert len(found) == 12
    assert "and not from" in found[0]


async def test_an_answer_that_goes_back_is_found() -> None:
    assert any("answers 1 after 1" in finding for finding in await findings_of(sticks=True))


async def test_an_ask_that_fails_in_another_way_than_it_may_is_found() -> None:
    assert any("nobody did" in finding for finding in await findings_of(fails=NotHandledError("nobody did")))
    assert await findings_of(fails=OutcomeUnknownError("who knows")) == []


@pytest.mark.parametrize(
    ("acts", "count"),
    [
        ("1 x a\n2 x a\n3 y b\n4 z a\n", 0),
        ("1 x a\n2 y b\n3 x a\n", 1),
        ("3 x a\n1 x a\n2 y b\n", 1),
        ("1 x a\n2 y b\n3 x a\n4 y b\n", 2),
    ],
)
def test_a_singleton_that_acts_after_another_one_has_begun_is_found(tmp_path: Path, acts: str, count: int) -> None:
    (tmp_path / "acts").write_text(acts)
    assert len(overlaps(tmp_path / "acts")) == count


def test_what_is_no_campaign_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "processes" in capsys.readouterr().err
