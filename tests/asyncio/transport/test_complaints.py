"""One line in the log for each peer and cause, with how many were left out, and never a flood."""

from __future__ import annotations

import logging

import pytest

from casty_asyncio.transport.complaints import _LINES_MAX, _REMEMBERED, Complaints
from casty_proto.machine import SECOND

LOG = logging.getLogger("casty.complaints")
LIKE = "; the like of it is not logged for a minute"


class Clock:
    def __init__(self) -> None:
        self.now = 5 * SECOND


def begin() -> tuple[Clock, Complaints]:
    clock = Clock()
    return clock, Complaints(LOG, lambda: clock.now)


def test_the_first_of_a_kind_is_logged_and_the_next_a_minute_later_with_how_many_were_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, complaints = begin()
    for _ in range(1000):
        complaints.add("peer", "cause", "it is bad")
    clock.now += 60 * SECOND
    complaints.add("peer", "cause", "it is bad")
    assert caplog.messages == [
        f"it is bad{LIKE}",
        f"it is bad (and 999 more of the kind in the last minute){LIKE}",
    ]


def test_another_peer_and_another_cause_are_logged_as_well(caplog: pytest.LogCaptureFixture) -> None:
    _, complaints = begin()
    for peer, cause in (("a", "x"), ("b", "x"), ("a", "y"), ("a", "x")):
        complaints.add(peer, cause, f"{peer} {cause}")
    assert caplog.messages == [f"a x{LIKE}", f"b x{LIKE}", f"a y{LIKE}"]


def test_what_may_happen_to_an_honest_peer_is_logged_a_few_times_at_its_own_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, complaints = begin()
    for _ in range(10):
        complaints.add("peer", "lost", "it is lost", logging.ERROR, burst=3)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    assert caplog.messages == ["it is lost"] * 3
    clock.now += 60 * SECOND
    complaints.add("peer", "lost", "it is lost", logging.ERROR, burst=3)
    assert caplog.messages[-1] == "it is lost (and 7 more of the kind in the last minute)"


def test_news_does_not_crowd_out_warnings_and_costs_nothing_where_nobody_sees_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, complaints = begin()
    with caplog.at_level(logging.INFO, LOG.name):
        for number in range(2 * _LINES_MAX):
            complaints.add(f"peer {number}", "lost", "it has ended", logging.INFO)
        complaints.add("peer", "secret", "the secrets differ")
    assert caplog.messages[-1] == f"the secrets differ{LIKE}"
    with caplog.at_level(logging.WARNING, LOG.name):
        complaints.add("another", "cause", "unseen", logging.INFO)
    complaints.add("another", "cause", "seen now")
    assert caplog.messages[-1] == f"seen now{LIKE}"


def test_who_has_many_addresses_fills_neither_the_log_nor_the_memory(caplog: pytest.LogCaptureFixture) -> None:
    clock, complaints = begin()
    for number in range(3 * _REMEMBERED):
        complaints.add(f"peer {number}", "cause", f"bad {number}")
    assert len(caplog.messages) == _LINES_MAX
    assert caplog.messages[-1].endswith("within a minute, and there are no more of them")
    assert len(complaints._seen) == _REMEMBERED
    clock.now += 60 * SECOND
    complaints.add("another", "cause", "bad")
    assert caplog.messages[-1] == f"bad{LIKE}"
