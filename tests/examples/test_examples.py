"""An example is a guide: it runs in seconds, prints what it shows, and its text says what that will be."""

from __future__ import annotations

from pathlib import Path

import pytest

from .programs import EXAMPLES, ROOT, announced, execute

OWN_TESTS = {"two_terminals.py", "word_count.py"}
"""Examples whose output depends on their input, and what tests them: `test_<name>`."""

SAYS_IT_ALL = [path for path in EXAMPLES if path.name not in OWN_TESTS]


def test_the_examples_are_found() -> None:
    names = {path.name for path in EXAMPLES}
    assert {"hello.py", "behaviors.py", "supervision.py", "streams.py", "cluster_counters.py"} <= names
    assert names >= OWN_TESTS
    assert all((Path(__file__).parent / f"test_{name}").is_file() for name in OWN_TESTS)


@pytest.mark.parametrize("example", SAYS_IT_ALL, ids=lambda path: path.stem)
def test_an_example_prints_exactly_what_its_text_says(example: Path, tmp_path: Path) -> None:
    expected = announced(example)
    assert expected is not None, f"the docstring of {example.name} does not say what it prints"
    done = execute(example, folder=tmp_path)
    assert done.stdout == expected
    assert done.returncode == 0
    assert not [word for word in ("Traceback", "Warning", "never awaited") if word in done.stderr], done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_to_run_it_and_does_nothing_when_it_is_imported(example: Path) -> None:
    source = example.read_text(encoding="utf-8")
    assert f"python examples/{example.name}" in source
    assert source.count('\nif __name__ == "__main__":\n') == 1


def test_the_streams_example_prints_what_the_guide_to_streams_shows() -> None:
    text = announced(ROOT / "examples" / "streams.py")
    assert text is not None
    assert text.startswith(
        "── Pushing 5 prices into producer ──\n"
        "── Consuming via async for (initial_demand=2) ──\n"
        "  #1 AAPL: $142.50\n"
        "  #2 AAPL: $143.10\n"
        "  #3 AAPL: $141.80\n"
        "  #4 AAPL: $144.20\n"
        "  #5 AAPL: $145.00\n"
        "\n"
        "── Stream complete: 5 prices received ──\n"
        "\n"
        "── Early break: take 5 from 20 ──\n"
        "  Took: [0, 1, 2, 3, 4]\n"
        "  Stream cancelled — producer stopped via StreamCancel\n"
    )


def test_the_counter_on_a_cluster_prints_what_the_guide_to_clusters_shows() -> None:
    text = announced(ROOT / "examples" / "cluster_counters.py")
    assert text is not None
    assert text.endswith("Total hits: 100\n")
