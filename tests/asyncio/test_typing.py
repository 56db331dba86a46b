"""What a type checker says about user code under `--strict`: errors on exactly the lines that are wrong.

The cases are texts in `typing_cases`, so that the project's own check does not read their mistakes. A line that ends
with `# E: text` must have an error that contains the text, one with `# R: type` must reveal that type, and no other
line may have either. The programs of the specification (`spec_blocks`) are checked the same way.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CASES = sorted((HERE / "typing_cases").glob("*.txt"))
BLOCKS = sorted(set((HERE / "spec_blocks").glob("*.txt")) - {HERE / "spec_blocks" / "configuration.txt"})
"""The reference of the configuration is several programs in a row, which call different things `config`."""

UNTYPED = (
    "# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators, "
    'allow-any-generics, disable-error-code="var-annotated"\n'
)
"""The specification leaves out annotations where they say nothing. Goes in front of its first line."""
IMPORTS = r"^from casty(\.persistence|\.cluster\.control_plane)? import"

REPORT = re.compile(r"(?P<file>.+)\.py:(?P<line>\d+): (?P<kind>error|note): (?P<text>.*)")
REVEALED = re.compile(r'Revealed type is "(?P<type>.*)"')
EXPECTED = re.compile(r"  # (?P<kind>[ER]): (?P<text>.*)$")

type Reports = dict[str, dict[int, list[str]]]


def program(path: Path) -> str:
    """The text of a case as a module that can be imported."""
    text = path.read_text(encoding="utf-8")
    return text if path in CASES else UNTYPED + re.sub(IMPORTS, "from casty_asyncio import", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """What mypy says, by module and line: errors as `E: text`, revealed types as `R: type`."""
    folder = tmp_path_factory.mktemp("cases")
    for path in (*CASES, *BLOCKS):
        (folder / f"{path.stem}.py").write_text(program(path), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=/dev/null"]
    files = [f"{folder}/{path.stem}.py" for path in (*CASES, *BLOCKS)]
    ran = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    found: Reports = defaultdict(lambda: defaultdict(list))
    for line in ran.stdout.splitlines():
        if (report := REPORT.match(line)) is None:
            continue
        lines = found[Path(report["file"]).name]
        if report["kind"] == "error":
            lines[int(report["line"])].append(f"E: {report['text']}")
        elif (revealed := REVEALED.match(report["text"])) is not None:
            lines[int(report["line"])].append(f"R: {revealed['type'].replace('casty_asyncio.', '')}")
    return found


def short(type_name: str) -> str:
    """A type without the modules of the framework: `refs.ActorRef[int]` is `ActorRef[int]`."""
    return re.sub(r"\b(refs|context|lookup|receptionist|casty_proto\.address|builtins)\.", "", type_name)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_the_marked_lines_are_wrong_and_no_others(case: Path, reports: Reports) -> None:
    found = reports[case.stem]
    mistakes = []
    for number, line in enumerate(case.read_text(encoding="utf-8").splitlines(), 1):
        said = [short(each) for each in found.get(number, [])]
        if (expected := EXPECTED.search(line)) is None:
            mistakes += [f"line {number}: {line.strip()}\n    unexpected: {each}" for each in said]
            continue
        kind, text = expected["kind"], expected["text"]
        fits = [each for each in said if (text in each[3:] if kind == "E" else text == each[3:]) and each[0] == kind]
        if not fits or len(said) != len([each for each in said if each[0] == kind]):
            mistakes.append(f"line {number}: {line.strip()}\n    found: {said}")
    assert not mistakes, "\n".join(mistakes)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda path: path.stem)
def test_the_code_of_the_specification_is_correct_but_for_what_it_calls_a_type_error(
    block: Path, reports: Reports
) -> None:
    lines = program(block).splitlines()
    wrong = {lines[number - 1].strip() for number, said in reports[block.stem].items() if said}
    meant = {line.strip() for line in lines if line.endswith("# Type error!")}
    assert wrong == meant, reports[block.stem]
