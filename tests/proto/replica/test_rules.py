"""The table of rules and the tests belong together: each rule has a test, and each test of the folder cites a rule."""

from __future__ import annotations

import re
from pathlib import Path

import casty_proto.replica


def test_each_rule_is_cited_by_a_test_and_each_test_cites_a_rule_that_exists() -> None:
    table = casty_proto.replica.__doc__ or ""
    rules = [int(number) for number in re.findall(r"^ ?(\d+)\. ", table, re.MULTILINE)]
    assert rules == list(range(1, len(rules) + 1))
    proven: dict[int, str] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path.name == "test_rules.py":
            continue
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            numbers = [int(number) for number in re.findall(r"rule_(\d+)", name)]
            assert numbers or name.startswith("test_rules_"), f"{name} cites no rule"
            proven.update(dict.fromkeys(numbers, name))
    assert sorted(proven) == rules
