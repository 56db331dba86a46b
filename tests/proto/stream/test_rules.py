"""The table of rules and the tests belong together: each rule has a test, and each test of the folder cites a rule."""

from __future__ import annotations

import re
from pathlib import Path

import casty_proto.stream

HERE = Path(__file__).parent
WITHOUT_A_RULE = {"test_rules.py", "test_trace.py", "test_stateful.py"}


def cited(path: Path) -> dict[str, list[int]]:
    """The names of the tests in a file, each with the numbers of the rules in it."""
    names = re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: [int(number) for number in re.findall(r"rule_(\d+)", name)] for name in names}


def test_each_rule_is_cited_by_a_test_and_each_test_cites_a_rule_that_exists() -> None:
    table = casty_proto.stream.__doc__ or ""
    rules = [int(number) for number in re.findall(r"^ ?(\d+)\. ", table, re.MULTILINE)]
    assert rules == list(range(1, len(rules) + 1))
    assert len(rules) > 30
    proven: dict[int, str] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for name, numbers in cited(path).items():
            assert numbers or path.name in WITHOUT_A_RULE or "options" in name, f"{name} cites no rule"
            proven.update(dict.fromkeys(numbers, name))
    assert sorted(proven) == rules
