"""What cannot be set is refused when it is set."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import fields

from casty_proto.link import LinkOptions

NAMES = [attribute.name for attribute in fields(LinkOptions)]


def test_the_defaults_are_good() -> None:
    LinkOptions()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, 2**80])
def test_a_number_out_of_range_is_refused(name: str, value: int) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        LinkOptions(**options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [1.5, "1", None])
def test_what_is_no_whole_number_is_refused(name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(TypeError, match=name):
        LinkOptions(**options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("backoff_max_ns", {"backoff_min_ns": 11, "backoff_max_ns": 10}),
        ("mute_after_ns", {"ping_after_ns": 10, "mute_after_ns": 10}),
        ("max_frames", {"ack_every": 6, "max_frames": 11}),
        ("max_bytes", {"ack_bytes": 6, "max_bytes": 5}),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(name: str, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=name):
        LinkOptions(**options)


def test_numbers_at_the_edge_are_taken() -> None:
    LinkOptions(backoff_min_ns=10, backoff_max_ns=10, ping_after_ns=10, mute_after_ns=11, ack_every=6, max_frames=12)
    LinkOptions(ack_bytes=6, max_bytes=6)


@pytest.mark.parametrize(("kept", "acknowledged"), [(1, 1), (80, 10), (2**20, 2**17), (2**30, 2**18)])
def test_rule_03_an_eighth_of_what_may_be_kept_is_acknowledged_at_once_and_no_more_than_256_kib(
    kept: int, acknowledged: int
) -> None:
    assert LinkOptions(max_bytes=kept).ack_bytes == acknowledged
