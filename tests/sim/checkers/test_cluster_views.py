"""The checker of what users of a cluster are told, where it is about what nodes know."""

from __future__ import annotations

import pytest

from casty_proto.cluster.events import Done, Unknown
from casty_sim.checkers.cluster_views import Views
from casty_sim.world import Violation


def views() -> Views:
    return Views(lambda _: None)


def test_rule_5_who_has_conferred_knows_whatever_was_known_before() -> None:
    made = views()
    known = made.newest([3, 7, 5])
    assert known == 7
    made.conferred("n1.1", known, Done(7), 7)
    with pytest.raises(Violation, match=r"n1.1 has conferred, and knows of 6; 7 was known"):
        made.conferred("n1.1", known, Done(6), 6)


def test_rule_5_what_was_known_to_those_who_are_gone_counts() -> None:
    made = views()
    made.newest([9])
    assert made.newest([3]) == 9


def test_rule_5_who_does_not_know_promises_nothing() -> None:
    views().conferred("n1.1", 7, Unknown("no leader"), 6)
