"""The main example counts exactly, whatever crashes, and says so in a way that people and programs can use."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from casty_asyncio import Context
from examples import word_count

from .programs import ROOT, TIMEOUT, command, environment, execute

PROGRAM = ROOT / "examples" / "word_count.py"

MEDDLED = "Somebody changed what was being counted: "

TEXTS = {
    "a.txt": "The quick brown fox\njumps over the lazy dog.\n\nThe END\n",
    "no newline at the end.txt": "one two\nthree",
    "empty.txt": "",
    "folder/windows.txt": "one\r\nTwo\r\ntwo\r\n",
    "folder/deeper/unicode.md": "Straße straße ÄÖÜ äöü naïve 1 2 3 snake_case x2 Ελλάδα λόγος\n" * 7,
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for name, text in TEXTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


def letters_only(text: str) -> Iterator[str]:
    """The words of a text, found letter by letter."""
    word = ""
    for letter in text.lower() + " ":
        if letter.isalpha():
            word += letter
        elif word:
            yield word
            word = ""


class Output:
    """What the program printed, taken apart."""

    def __init__(self, code: object, text: str) -> None:
        self.code, self.text = code, text
        self.rows: dict[str, str] = dict(
            re.findall(r"^ *(input|words|batches|crashes|restarts|time)  (.*)$", text, re.MULTILINE)
        )
        self.table = {
            word: int(count.replace(",", ""))
            for word, count in re.findall(r"^ +\d+  (\S+) +([\d,]+) +[\d.]+%$", text, re.MULTILINE)
        }

    def numbers(self, row: str) -> list[int]:
        return [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", self.rows[row])]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


class Runner:
    """Runs the program in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: object) -> Output:
        try:
            code: object = word_count.main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = leaving.code
        out, self.err = self._capsys.readouterr()
        return Output(code, out)


# -- exact -------------------------------------------------------------------------------------------------------------


def test_the_table_holds_the_counts_of_all_words(run: Runner, corpus: Path) -> None:
    output = run(corpus, "--top", 1000)
    expected = Counter(word for text in TEXTS.values() for word in letters_only(text))
    assert output.code == 0
    assert output.table == expected
    assert output.numbers("words") == [expected.total(), len(expected)]
    assert output.numbers("input") == [5, 16, 0]
    assert output.text.endswith(f"EXACT: all {len(expected)} counts agree\n")


def test_the_table_begins_with_the_most_frequent_words(run: Runner, corpus: Path) -> None:
    assert list(run(corpus, "--top", 2).table) == ["straße", "äöü"]
    assert run(corpus, "--top", 0).table == {}


@pytest.mark.parametrize("workers", [1, 3, 16])
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_crashes_lose_nothing_and_count_nothing_twice(run: Runner, corpus: Path, rate: float, workers: int) -> None:
    output = run(corpus, "--crash-rate", rate, "--workers", workers)
    batches, again = output.numbers("batches")
    crashes, before, after, late = output.numbers("crashes")
    assert output.code == 0
    assert "EXACT" in output.text
    assert crashes == before + after + late
    # Only a crash before the reply makes a batch go round again, and every crash is followed by one restart.
    assert again == before + after
    assert output.numbers("restarts") == [crashes]
    assert batches == 9
    if rate == 0.0:
        assert crashes == 0
    if rate == 1.0:
        assert crashes == batches + again
        assert late == batches


def test_the_seed_decides_what_crashes_and_the_number_of_workers_does_not(run: Runner, corpus: Path) -> None:
    def crashes(seed: int, workers: int) -> str:
        rows = run(corpus, "--crash-rate", 0.5, "--seed", seed, "--workers", workers).rows
        return rows["crashes"]

    assert crashes(7, 1) == crashes(7, 4) == crashes(7, 9)
    assert len({crashes(seed, 2) for seed in range(5)}) > 1


def test_a_batch_that_was_lost_is_found_out(run: Runner, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(self: word_count.WordCounter, msg: word_count.Batch, ctx: Context) -> None:
        ctx.reply(Counter())

    monkeypatch.setattr(word_count.WordCounter, "receive", forgetful)
    output = run(corpus / "a.txt")
    assert output.code == 1
    assert "the: 0 by the actors, 3 in plain Python\n" in output.text
    assert output.text.endswith("DIFFERENT: 9 counts disagree\n")


def test_a_word_that_was_counted_twice_is_found_out(run: Runner, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_count, "plain_count", lambda files: Counter(one=1, two=1, three=1, four=1))
    output = run(corpus / "no newline at the end.txt", corpus / "folder/windows.txt")
    assert output.code == 1
    assert "four: 0 by the actors, 1 in plain Python\none: 2 by the actors, 1 in plain Python\n" in output.text
    assert "three:" not in output.text


def test_a_file_that_changes_meanwhile_is_named(run: Runner, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_count, file = word_count.plain_count, corpus / "a.txt"

    def meddled(files: list[Path]) -> word_count.Counts:
        file.write_text("meddled", encoding="utf-8")
        os.utime(file, (2**32, 2**32))
        return plain_count(files)

    monkeypatch.setattr(word_count, "plain_count", meddled)
    output = run(corpus)
    assert output.code == 1
    assert f"\n{MEDDLED}{file}\n" in output.text


def test_a_bug_in_a_worker_ends_the_program_and_is_logged(
    run: Runner, corpus: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: word_count.WordCounter, batch: word_count.Batch) -> str | None:
        raise LookupError("a bug")

    monkeypatch.setattr(word_count.WordCounter, "crash_at", broken)
    with pytest.raises(ExceptionGroup):
        run(corpus)
    assert [record for record in caplog.records if record.exc_info and isinstance(record.exc_info[1], LookupError)]


def test_crashes_on_purpose_are_not_logged(run: Runner, corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(corpus, "--crash-rate", 0.9)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("casty")] == []
    assert run.err == ""


# -- input -------------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_named_and_the_exit_code_is_2(run: Runner, corpus: Path) -> None:
    output = run(corpus, "no such file.txt")
    assert output.code == 2
    assert output.text == ""
    assert run.err.endswith("error: cannot read no such file.txt: No such file or directory\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--workers", "0"), "--workers must be at least 1"),
        (("--crash-rate", "1.5"), "--crash-rate from 0 to 1"),
        (("--crash-rate", "nan"), "--crash-rate from 0 to 1"),
        (("--top", "-1"), "--top at least 0"),
        (("--seed", "x"), "argument --seed: invalid int value: 'x'"),
        (("--unknown",), "unrecognized arguments: --unknown"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(run: Runner, arguments: tuple[str, ...], error: str) -> None:
    assert run(*arguments).code == 2
    assert error in run.err
    assert "Traceback" not in run.err


def test_without_any_text_there_is_nothing_to_do(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "picture.bin").write_bytes(b"\x89PNG\0\0")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.txt").write_text("a", encoding="utf-8")
    assert run(tmp_path).code == 2
    assert run.err.endswith("error: there is no text file\n")


def test_a_file_that_is_empty_is_counted(run: Runner, corpus: Path) -> None:
    output = run(corpus / "empty.txt")
    assert output.code == 0
    assert output.numbers("words") == [0, 0]


def test_binary_files_are_skipped_and_that_is_said(run: Runner, corpus: Path) -> None:
    (corpus / "folder" / "program.bin").write_bytes(b"\x7fELF\0one two")
    output = run(corpus / "folder")
    assert output.rows["input"].endswith("; 1 binary files skipped")
    assert output.numbers("input") == [2, 10, 1]


def test_bytes_that_are_no_text_separate_words(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("one tw\xf6 one\n".encode("latin-1"))
    output = run(tmp_path / "latin.txt")
    assert output.code == 0
    assert output.table == {"one": 2, "tw": 1}


def test_hidden_folders_and_caches_are_not_looked_into(run: Runner, corpus: Path) -> None:
    for name in (".git", "__pycache__", "folder/.venv"):
        (corpus / name).mkdir()
        (corpus / name / "a.txt").write_text("zzz\n", encoding="utf-8")
    assert "zzz" not in run(corpus, "--top", 1000).table


def own_sources() -> set[str]:
    return {path.relative_to(word_count.ROOT).as_posix() for path in word_count.own_sources()}


def test_without_arguments_the_input_is_what_git_tracks() -> None:
    paths = own_sources()
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is not a clone")
    assert {"README.md", "pyproject.toml", "casty_asyncio/system.py"} <= paths
    assert {Path(path).suffix for path in paths} == {".py", ".md", ".toml"}


def test_without_git_the_input_is_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    paths = own_sources()
    assert {"README.md", "pyproject.toml", "casty_asyncio/system.py", "examples/word_count.py"} <= paths
    assert {Path(path).suffix for path in paths} == {".py", ".md", ".toml"}
    assert not [path for path in paths if path.startswith((".venv", ".git")) or "__pycache__" in path]


def test_in_a_copy_that_is_no_clone_the_input_is_what_is_there(monkeypatch: pytest.MonkeyPatch, corpus: Path) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(corpus.parent))
    monkeypatch.setattr(word_count, "ROOT", corpus)
    assert own_sources() == {"folder/deeper/unicode.md"}


# -- as a program ------------------------------------------------------------------------------------------------------


def test_the_default_is_the_sources_of_the_project_and_no_escape_code_leaves_for_a_pipe(tmp_path: Path) -> None:
    done = execute(PROGRAM, folder=tmp_path)
    if MEDDLED in done.stdout:  # by whoever is working in this tree right now
        done = execute(PROGRAM, folder=tmp_path)
    output = Output(done.returncode, done.stdout)
    assert done.stderr == ""
    assert output.code == 0, output.text
    assert "EXACT" in output.text
    assert "\x1b" not in output.text
    assert "\r" not in output.text
    assert len(output.table) == 10
    assert output.numbers("crashes")[0] > 0
    assert output.numbers("input")[0] > 50
    progress = re.findall(
        r"^[\d,]+ lines, [\d,]+ lines/s, file \d+ of \d+, [\d,]+ crashes, [\d,]+ restarts$", done.stdout, re.MULTILINE
    )
    assert progress


def test_quiet_shows_the_result_alone(run: Runner, corpus: Path) -> None:
    loud, quiet = run(corpus), run(corpus, "--quiet")
    assert " lines/s" in loud.text
    assert " lines/s" not in quiet.text
    assert quiet.table == loud.table


def test_help_explains_every_option(run: Runner) -> None:
    output = run("--help")
    assert output.code == 0
    for option in ("PATH", "--workers", "--top", "--crash-rate", "--seed", "--quiet"):
        assert re.search(rf"^  {option}\b.*\S", output.text, re.MULTILINE), option


def read_some(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # on Linux, what the other end of a terminal that was closed looks like
        return b""


def on_a_terminal(folder: Path, *arguments: str, **changes: str) -> str:
    """Run the program on a terminal of its own, and return what is written there."""
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command(PROGRAM, *arguments),
        cwd=folder,
        env=environment({"TERM": "xterm", "COLUMNS": "100", **changes}),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    written = b""
    try:
        while select.select([master], [], [], TIMEOUT)[0] and (piece := read_some(master)):
            written += piece
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return written.decode()


def test_a_terminal_gets_a_live_line_and_colours(corpus: Path) -> None:
    text = on_a_terminal(corpus, ".", "--crash-rate", "0.9", "--workers", "1")
    lines = text.split("\r")
    live = [line for line in lines if " lines/s" in line]
    assert len(live) >= 2
    assert all(len(line) == 99 for line in live)
    assert "\x1b[32mEXACT: all" in text


def test_no_color_is_honoured(corpus: Path) -> None:
    text = on_a_terminal(corpus, ".", NO_COLOR="1")
    assert "EXACT: all" in text
    assert "\x1b" not in text


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    # A shell that started the tests in the background had them ignore the signal, and a child inherits that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command(PROGRAM, "--crash-rate", "1"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    signal.signal(signal.SIGINT, before)
    try:
        assert process.stdout is not None
        assert " lines/s" in process.stdout.readline()  # it is at work, and has been for a second
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert err.endswith("\nword_count.py: interrupted\n")
    assert "Traceback" not in err
    assert "EXACT" not in out


def test_a_reader_that_leaves_early_is_no_reason_for_a_traceback(corpus: Path) -> None:
    process = subprocess.Popen(
        command(PROGRAM, ".", "--crash-rate", "0.9"),
        cwd=corpus,
        env=environment({"PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        err = process.stderr.read()
    assert process.wait(TIMEOUT) == 130
    assert err == "\nword_count.py: interrupted\n"
