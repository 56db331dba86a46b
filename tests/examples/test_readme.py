"""The README tells the truth: its programs run and print what it says, and what it names is there."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

import casty_asyncio
import casty_sim
import examples.bank.__main__
import examples.sensors.__main__
from casty_asyncio import CastyError
from casty_asyncio import __main__ as command_line
from casty_sim import options

from .programs import EXAMPLES, ROOT, execute

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(match[1], match[2]) for match in FENCE.finditer(TEXT)]
PROGRAMS = [code for language, code in BLOCKS if language == "python"]
PROSE = FENCE.sub("", TEXT)
IN_CODE_STYLE = re.findall(r"`([^`\n]+)`", PROSE)


def test_there_is_a_program_in_each_style() -> None:
    assert len(PROGRAMS) >= 2
    assert any("(Actor[" in code for code in PROGRAMS)
    assert any("Behaviors." in code for code in PROGRAMS)
    assert {language for language, _ in BLOCKS} == {"python", "text", "sh"}


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_runs_and_prints_what_stands_below_it(number: int, tmp_path: Path) -> None:
    position = BLOCKS.index(("python", PROGRAMS[number]))
    language, expected = BLOCKS[position + 1]
    assert language == "text", "a program is followed by what it prints"
    program = tmp_path / "program.py"
    program.write_text(PROGRAMS[number], encoding="utf-8")
    done = execute(program, folder=tmp_path)
    assert done.stdout == expected
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_for_a_fresh_machine_stand_where_they_are_looked_for() -> None:
    fresh = "python3 -m pip install uv && python3 -m uv run --python python3"
    assert f"\n<!-- test-command -->\n```sh\n{fresh} pytest\n```\n" in TEXT
    assert re.findall(r"^```sh\n(.*)\n```$", TEXT, re.MULTILINE)[0] == f"{fresh} python -m examples.sensors"
    assert TEXT.count("<!-- test-command -->") == 1


def simulator() -> argparse.ArgumentParser:
    """What the command line of the simulator understands."""
    return options.parser(
        dict.fromkeys(("list", "run", "replay", "shrink", "mutants", "check-determinism"), lambda _: 0)
    )


def test_every_command_is_one_that_its_program_knows() -> None:
    lines = [line for language, code in BLOCKS if language == "sh" for line in code.splitlines()]
    parsers = {
        "casty_asyncio": command_line._parser,
        "casty_sim": simulator,
        "examples.bank": examples.bank.__main__.parser,
        "examples.sensors": examples.sensors.__main__.parser,
    }
    for module, parser in parsers.items():
        known = [line.partition(f" python -m {module}")[2] for line in lines if f" python -m {module}" in line]
        assert known, module
        for arguments in known:
            parser().parse_args(shlex.split(arguments))


def test_every_option_in_code_style_is_one_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    inline = {option for code in IN_CODE_STYLE for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert {"--secret-file", "--ca"} <= inline
    for parser, verb in ((command_line._parser(), "inspect"), (simulator(), "run"), (simulator(), "shrink")):
        with pytest.raises(SystemExit):
            parser.parse_args([verb, "--help"])
    known = re.findall(r"--[a-z-]+", capsys.readouterr().out)
    of_tests = re.findall(r'"(--sim-[a-z]+)"', (ROOT / "casty_sim" / "pytest_plugin.py").read_text(encoding="utf-8"))
    assert not inline - {*known, *of_tests, "--loop", "--python"}


def test_every_link_leads_to_something_that_is_there() -> None:
    links = re.findall(r"\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert len(links) > 20
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing
    assert not [link for link in links if "://" in link]


def test_every_file_and_folder_that_is_named_is_there() -> None:
    named = {
        word for word in re.findall(r"[\w./<>-]+", TEXT) if re.search(r"^\.ci/|^examples/\w|^casty_\w+/|^tests/", word)
    }
    assert "examples/word_count.py" in named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_example_is_linked() -> None:
    assert not [path.name for path in EXAMPLES if f"(examples/{path.name})" not in TEXT]


BUILT_IN_ERRORS = {"ConnectionError", "TimeoutError", "TypeError"}


def test_every_public_name_in_code_style_exists() -> None:
    known = {*casty_asyncio.__all__, *casty_sim.__all__, "TaskGroup", *BUILT_IN_ERRORS, "Decimal"}
    names = {name for code in IN_CODE_STYLE for name in re.findall(r"(?<![\w.'])[A-Z][A-Za-z]+[a-z]\b", code)}
    assert names >= {"Behaviors", "ActorFailedError", "SinkRef", "Mailbox"}
    assert not names - known - {"Account", "Msg", "Player", "Scheduler", "True", "False"}


def test_every_method_in_code_style_exists() -> None:
    owners = {
        "Behaviors": casty_asyncio.Behaviors,
        "ctx": casty_asyncio.Context,
        "client": casty_asyncio.ClusterClient,
        "system": casty_asyncio.DistributedSystem,
        "sink": casty_asyncio.SinkRef,
    }
    calls = {
        call
        for code in IN_CODE_STYLE
        for call in re.findall(r"(?<![.\w])(Behaviors|client|ctx|system|sink)\.(\w+)", code)
    }
    assert ("ctx", "pipe_to_self") in calls
    assert not [f"{owner}.{name}" for owner, name in calls if not hasattr(owners[owner], name)]


def test_an_error_is_a_casty_error_and_what_else_the_readme_says() -> None:
    names = {name for code in IN_CODE_STYLE for name in re.findall(r"^[A-Z]\w+Error$", code)} - BUILT_IN_ERRORS
    assert len(names) > 10
    for name in names:
        assert issubclass(getattr(casty_asyncio, name), CastyError)
    for name, other in re.findall(r"`(\w+)` \(also an? `([\w.]+)`\)", PROSE):
        assert other.rpartition(".")[2] in {base.__name__ for base in getattr(casty_asyncio, name).__mro__}


def test_the_table_of_the_house_names_every_folder_of_it() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert not [name for name in packages if f"[{name}]({name})" not in TEXT]
