"""The tape's rules, by their numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_sim.tape import Stream, Tape, TapeError, same_scenario


def draws(tape: Tape, label: str, count: int) -> list[float]:
    return [tape.stream(label).raw() for _ in range(count)]


def test_rule_1_a_draw_more_in_one_stream_changes_nothing_in_another() -> None:
    quiet, busy = Tape(7), Tape(7)
    draws(busy, "net/a", 100)
    assert draws(quiet, "net/b", 5) == draws(busy, "net/b", 5)


def test_rule_1_streams_and_seeds_differ() -> None:
    assert len({tuple(draws(Tape(seed), label, 3)) for seed in range(20) for label in "abc"}) == 60


def test_rule_1_a_stream_is_the_same_in_every_process_whatever_the_hash_seed() -> None:
    program = "from casty_sim.tape import Tape; print(Tape(3).stream('net/a').raw())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(outputs) == 1


def test_rule_2_zero_is_the_plainest_choice() -> None:
    stream = Stream("x", 0, [], then_zero=True)
    assert not stream.chance(0.99)
    assert stream.below(10) == 0
    assert stream.between(3, 9) == 3
    assert stream.uniform(1.5, 2.5) == 1.5
    assert stream.pick("abc") == "a"
    assert stream.shuffled([1, 2, 3]) == [1, 2, 3]


def test_rule_3_a_forced_choice_draws_nothing() -> None:
    stream, fresh = Stream("x", 5), Stream("x", 5)
    assert not stream.chance(0.0)
    assert stream.chance(1.0)
    assert stream.below(1) == 0
    assert stream.uniform(2.0, 2.0) == 2.0
    assert stream.pick(["only"]) == "only"
    assert stream.raw() == fresh.raw()


def test_rule_4_a_recorded_tape_plays_the_same_again() -> None:
    tape = Tape(11, record=True)
    drawn = draws(tape, "a", 4) + draws(tape, "b", 2)
    played = Tape(99, played=tape.recorded())
    assert draws(played, "a", 4) + draws(played, "b", 2) == drawn


def test_rule_4_beyond_its_end_a_record_goes_on_as_the_seed_would_have() -> None:
    whole = draws(Tape(11), "a", 6)
    assert draws(Tape(11, played={"a": whole[:2]}), "a", 6) == whole


def test_rule_4_beyond_its_end_an_edited_record_is_zero() -> None:
    assert draws(Tape(11, played={"a": [0.5]}, edited=True), "a", 3) == [0.5, 0.0, 0.0]


def test_a_machines_random_numbers_come_from_the_tape() -> None:
    tape = Tape(5, record=True)
    rng = tape.random("machine/a")
    first = [rng.random(), rng.getrandbits(64), rng.randrange(1000), rng.uniform(1, 2), rng.sample(range(9), 3)]
    again = Tape(5, played=tape.recorded(), edited=True).random("machine/a")
    assert first == [
        again.random(),
        again.getrandbits(64),
        again.randrange(1000),
        again.uniform(1, 2),
        again.sample(range(9), 3),
    ]


@given(st.integers(1, 200))
def test_getrandbits_stays_in_range(bits: int) -> None:
    assert 0 <= Tape(bits).random("r").getrandbits(bits) < 1 << bits


def test_a_saved_tape_is_a_small_readable_file_that_plays(tmp_path: Path) -> None:
    tape = Tape(11, record=True)
    drawn = draws(tape, "net/a", 3)
    path = tmp_path / "failure.tape"
    tape.save(path, {"scenario": "raft", "nodes": 5})
    assert path.read_text().count("\n") < 20
    loaded, about = Tape.load(path)
    assert about == {"scenario": "raft", "nodes": 5}
    assert draws(loaded, "net/a", 3) == drawn


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cannot be read"),
        ("{}", "not a tape"),
        ('{"format": 99}', "not a tape"),
        ('{"format": 1, "seed": 1, "streams": {"a": [2]}}', "from 0 to 1"),
        ('{"format": 1, "seed": 1, "streams": {"a": ["x"]}}', "from 0 to 1"),
    ],
)
def test_what_is_no_tape_is_refused_with_the_reason(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "bad.tape"
    path.write_text(text)
    with pytest.raises(TapeError, match=problem):
        Tape.load(path)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("raft", "raft", True),
        ("test_it:test_a", "tests.test_it:test_a", True),
        ("tests.test_it:test_a", "test_it:test_a", True),
        ("test_it:test_a", "tests.test_it:test_b", False),
        ("test_it:test_a", "tests.not_test_it:test_a", False),
        ("cluster", "app-cluster", False),
    ],
)
def test_a_tape_belongs_to_a_test_by_whichever_name_its_module_was_imported(one: str, other: str, same: bool) -> None:
    assert same_scenario(one, other) == same
