"""The house rules hold in the whole tree, and each rule is able to fail.

What the rules are, and what they cannot see, stands in `tidy.py` and, for the order of sets, in `tidy_sets.py`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from .tidy import (
    LINES_MAX,
    UNFINISHED,
    Check,
    File,
    check_ambient_functions,
    check_clocks,
    check_folder,
    check_import_direction,
    check_length,
    check_machine_paths,
    check_markers,
    check_prints,
    check_pure_imports,
    check_randomness,
    check_stubs,
    check_syntax,
    project_paths,
    read,
    report,
    walk,
)
from .tidy_sets import check_set_order

CHECKS: dict[Check, str] = {
    check_syntax: "every Python file parses",
    check_pure_imports: "casty_proto imports pure modules only",
    check_import_direction: "imports run one way",
    check_randomness: "casty_proto draws only from a random.Random that it was given",
    check_clocks: "casty_proto reads no clock",
    check_ambient_functions: "casty_proto calls no function whose result is an accident of the process",
    check_set_order: "casty_proto does not depend on the order of a set",
    check_length: "no Python file is longer than 600 lines",
    check_markers: "nothing is marked as left to do",
    check_stubs: "nothing is a stub",
    check_prints: "only __main__ prints",
    check_machine_paths: "no file names a path of some machine",
    check_folder: "there is no other top-level folder",
}

CORE = "casty_proto/sample.py"


@pytest.fixture(scope="module")
def tree() -> list[File]:
    return [file for path in project_paths() if (file := read(path)) is not None]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: CHECKS[check].replace(" ", "_"))
def test_in_the_whole_tree(check: Check, tree: list[File]) -> None:
    problems = report(check, tree)
    assert not problems, "\n".join([f"Not so: {CHECKS[check]}.", *problems])


def test_the_tree_is_looked_at(tree: list[File]) -> None:
    paths = [file.path for file in tree]
    for expected in ("casty_proto/machine.py", "casty_proto/address.py", "tests/test_tidy.py", "pyproject.toml"):
        assert expected in paths
    assert not [path for path in paths if "__pycache__" in path or path.startswith((".git/", ".venv"))]


def test_without_git_the_folders_are_walked(tmp_path: Path) -> None:
    for name in ("tests/tidy.py", "casty_proto/a.py", "tests/__pycache__/a.pyc", ".venv/lib/b.py", "build/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(walk(tmp_path)) == ["casty_proto/a.py", "tests/tidy.py"]
    assert project_paths(tmp_path) == ["casty_proto/a.py", "tests/tidy.py"]


def test_git_is_asked_for_files_that_are_new_and_not_for_ignored_or_deleted_ones(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path)]
    try:
        subprocess.run([*git, "init", "-q"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no git")
    for name in ("tests/tidy.py", "casty_proto/new.py", "casty_proto/gone.py", "ignored/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text("ignored/\n")
    subprocess.run([*git, "add", "casty_proto/gone.py"], check=True, capture_output=True)
    (tmp_path / "casty_proto/gone.py").unlink()
    assert project_paths(tmp_path) == [".gitignore", "casty_proto/new.py", "tests/tidy.py"]


# -- each check can fail -----------------------------------------------------------------------------------------------

BAD: list[tuple[Check, str, str, str]] = [
    (check_syntax, CORE, "def f(:\n", ":1: does not parse"),
    (check_length, CORE, "x = 1\n" * (LINES_MAX + 1), ":601: has 601 lines; divide it by subject"),
    (check_markers, CORE, "x = 1\n# TO" + "DO later\n", ":2: has a TO" + "DO; do it"),
    (check_markers, "README.md", "FIX" + "ME: text\n", ":1: has a FIX" + "ME"),
    (check_markers, CORE, "# XX" + "X\n", ":1: has a XX" + "X"),
    (check_markers, CORE, "# HA" + "CK\n", ":1: has a HA" + "CK"),
    (check_stubs, CORE, f"def f():\n    raise {UNFINISHED}\n", f":2: uses {UNFINISHED}"),
    (check_stubs, "examples/a.py", f"raise {UNFINISHED}('x')\n", f":1: uses {UNFINISHED}"),
    (check_prints, CORE, "print(1)\n", ":1: prints; a library logs"),
    (check_prints, "casty_asyncio/a.py", "def f():\n    print(1)\n", ":2: prints"),
    (check_prints, "casty_sim/report.py", "[print(x) for x in y]\n", ":1: prints"),
    (check_machine_paths, "README.md", "see\n/ho" + "me/me/casty\n", ":2: has a path of some machine: /ho" + "me/"),
    (check_machine_paths, ".ci/run", "cd '/ro" + "ot/x'\n", ":1: has a path"),
    (check_machine_paths, CORE, '"/wo' + 'rk/x"\n', ":1: has a path"),
    (check_folder, "docs/a.md", "text\n", "docs/a.md:1: is in the top-level folder 'docs'; the house has casty_proto"),
    (
        check_import_direction,
        CORE,
        "import casty_asyncio.system\n",
        ":1: casty_proto imports casty_asyncio.system; it may",
    ),
    (check_import_direction, CORE, "from ..casty_sim import world\n", ":1: casty_proto imports casty_sim; it may"),
    (
        check_import_direction,
        "casty_proto/raft/a.py",
        "from ...casty_sim import b\n",
        ":1: casty_proto imports casty_sim;",
    ),
    (check_import_direction, "casty_asyncio/a.py", "from casty_sim import b\n", ":1: casty_asyncio imports casty_sim;"),
    (
        check_import_direction,
        "casty_asyncio/a.py",
        "def f():\n    import tests.b\n",
        ":2: casty_asyncio imports tests.b;",
    ),
    (check_import_direction, "casty_sim/a.py", "import examples.b\n", ":1: casty_sim imports examples.b;"),
    (check_import_direction, "examples/a.py", "import tests.b\n", ":1: examples imports tests.b;"),
    (check_pure_imports, CORE, "from .. import other\n", ":1: casty_proto imports from above its root;"),
    (check_pure_imports, CORE, "import httpx\n", ":1: casty_proto imports httpx; if it is pure, add it to PURE"),
    (check_pure_imports, CORE, "import asyncio.events as e\n", ":1: casty_proto imports asyncio.events; the driver"),
    (check_pure_imports, CORE, "import re, time\n", ":1: casty_proto imports time; time is the `now`"),
    (check_pure_imports, CORE, "def f():\n    from os import path\n", ":2: casty_proto imports os; the driver"),
    (check_pure_imports, CORE, "if TYPE_CHECKING:\n    import socket\n", ":2: casty_proto imports socket; bytes"),
    (check_randomness, CORE, "import random\nx = random.random()\n", ":2: uses random.random; take a random.Random"),
    (check_randomness, CORE, "import random as r\nf = r.shuffle\n", ":2: uses random.shuffle;"),
    (check_randomness, CORE, "from random import Random, choice\n", ":1: imports random.choice;"),
    (check_randomness, CORE, "import random\nr = random.SystemRandom()\n", ":2: uses random.SystemRandom;"),
    (check_randomness, CORE, "import random\nself.rng = random\n", ":2: uses the module random as a value;"),
    (check_randomness, CORE, "from random import Random\nr = Random()\n", ":2: random.Random() without a seed;"),
    (
        check_clocks,
        CORE,
        "import datetime\nx = datetime.datetime.now()\n",
        ":2: reads the clock with datetime.datetime.now;",
    ),
    (check_clocks, CORE, "from datetime import datetime as D\nf(factory=D.utcnow)\n", ":2: reads the clock"),
    (
        check_clocks,
        CORE,
        "from datetime import date\nx = date.today()\n",
        ":2: reads the clock with datetime.date.today;",
    ),
    (check_ambient_functions, CORE, "x = open('a')\n", ":1: calls open(); return an effect"),
    (check_ambient_functions, CORE, "def f(x):\n    return id(x)\n", ":2: calls id(); number the objects"),
    (check_ambient_functions, CORE, "def f(x):\n    return hash(x)\n", ":2: calls hash(); it differs"),
]

BAD += [
    (check_pure_imports, CORE, f"import {module}\n", f":1: casty_proto imports {module};")
    for module in (
        *("asyncio", "concurrent", "logging", "multiprocessing", "os", "secrets", "selectors", "socket", "sqlite3"),
        *("ssl", "subprocess", "threading", "time", "uuid"),
        *("concurrent.futures", "importlib", "pathlib", "tempfile", "weakref"),
    )
]

BAD += [
    (check_set_order, CORE, source, " a set; use a dict as an ordered set, or sort it")
    for source in (
        "for x in {1, 2}: ...",
        "for x in set(y): ...",
        "y = [x for x in frozenset(z)]",
        "y = {x: 1 for x in {a for a in b}}",
        "s = {1}\nfor x in s: ...",
        "def f(s: set[int]): return list(s)",
        "def f(s: frozenset[int] | None): return tuple(s)",
        "def f(s: 'set[int]'): return tuple(s)",
        "from collections.abc import Set\ndef f(s: Set[int]): return next(iter(s))",
        "from collections.abc import Set as S\ndef f(*, s: S): return enumerate(s)",
        "type Peers = frozenset[int]\ndef f(s: Peers): return list(s)",
        "class A:\n    s: set[int] = field(factory=set)\n    def f(self): return [x for x in self.s]",
        "class A:\n    def f(self): return [x for x in self.s]\n    def __init__(self): self.s = set()",
        "class A:\n    def __init__(self, s: set[int]): self.s = s\n    def f(self): return list(self.s)",
        "class A:\n    def g(self) -> set[int]: ...\n    def f(self): return list(self.g())",
        "class A:\n    @property\n    def g(self) -> set[int]: ...\n    def f(self): return list(self.g)",
        "class A:\n    s: set[int]\ndef f(a):\n    match a:\n        case A(s=t): return list(t)",
        "class A:\n    d: dict[int, set[int]]\n    def f(self): return list(self.d[1])",
        "def f(d: dict[int, set[int]]):\n    for s in d.values():\n        for x in s: ...",
        "def f(d: dict[int, set[int]]): return [x for _, s in d.items() for x in s]",
        "def f(d: dict[int, set[int]]): return tuple(d.get(1, ()))",
        "def f(d: list[set[int]]): return [x for s in d for x in s]",
        "d = defaultdict(set)\nlist(d[1])",
        "def f(a: set[int], b): return list(a | b)",
        "def f(a, b): return list(a.keys() - b)",
        "def f(a, b): return list(a.union(b))",
        "def f(a: set[int]): return list(a.copy())",
        "def f(a: set[int], b): return list(a if b else ())",
        "def f(a: set[int] | None): return list(a or ())",
        "def f(a: set[int]): return g(*a)",
        "def f(a: set[int]): return [*a]",
        "def f(a: set[int]):\n    x, y = a",
        "def f(a: set[int]): yield from a",
        "def f(a: set[int]): return a.pop()",
        "def f(a: set[str]): return ', '.join(a)",
        "def f(a: set[str], b): b.extend(a)",
        "def f(a: set[str]): return dict.fromkeys(a)",
        "def f(a: set[str]): return f'{a}'",
        "def f(a: set[str]): return str(a)",
        "def f(a: set[str]): return sorted(a, key=len)",
        "def f(a: set[str]): return lambda: list(a)",
        "def f(a: set[str]):\n    def g(): return list(a)",
        "async def f(a: set[str]):\n    async for x in a: ...",
        "if (s := {1}) and list(s): ...",
    )
]

GOOD: list[tuple[Check, str, str]] = [
    (check_syntax, "README.md", "not (Python\n"),
    (check_length, CORE, "x = 1\n" * LINES_MAX),
    (check_length, "README.md", "line\n" * (LINES_MAX + 1)),
    (check_markers, CORE, "HACKER = TODOS = fixme = 1\n"),
    (check_stubs, CORE, "def __eq__(a, b): return NotImplemented\n"),
    (check_prints, "casty_sim/__main__.py", "print(1)\n"),
    (check_prints, "examples/a.py", "print(1)\n"),
    (check_prints, CORE, "def f(print): x.print(1)\n"),
    (check_machine_paths, "README.md", "https://example.org/home/ my/work/here ./work/x homework/\n"),
    (check_folder, "README.md", "text\n"),
    (check_folder, ".ci/run", "text\n"),
    (check_import_direction, "casty_sim/a.py", "import casty_asyncio\nfrom casty_proto import machine\n"),
    (
        check_import_direction,
        "casty_asyncio/a.py",
        "from casty_proto.actor import b\nfrom . import c\nimport asyncio\n",
    ),
    (check_import_direction, "tests/a.py", "import examples.b, casty_sim\nfrom .c import d\n"),
    (check_pure_imports, CORE, "from __future__ import annotations\nimport attrs, msgpack, collections.abc\n"),
    (
        check_pure_imports,
        "casty_proto/raft/a.py",
        "from ..machine import Wake\nfrom . import log\nfrom .log import x\n",
    ),
    (check_pure_imports, "casty_asyncio/a.py", "import asyncio, time, os\n"),
    (
        check_randomness,
        CORE,
        "import random\nfrom random import Random\ndef f(rng: random.Random): return rng.random()\n",
    ),
    (check_randomness, CORE, "from random import Random\nr = Random(rng.getrandbits(64))\n"),
    (check_randomness, CORE, "def f(random): return random.choice([1])\n"),
    (check_randomness, "casty_sim/a.py", "import random\nrandom.random()\n"),
    (check_clocks, CORE, "from datetime import datetime\ndef f(now): return datetime.fromtimestamp(now), self.now\n"),
    (
        check_ambient_functions,
        CORE,
        "class A:\n    def __hash__(self): return hash(self.x)\n    def open(self): self.open()\n",
    ),
    (check_set_order, "casty_asyncio/a.py", "for x in {1, 2}: ..."),
    (
        check_set_order,
        CORE,
        "def f(a: set[int]): return sorted(a), min(a), max(a), len(a), sum(a), 1 in a, a | {2}, {*a}",
    ),
    (check_set_order, CORE, "def f(a: set[int]): a.add(1)\ndef g(a: list[int]): return list(a), a.pop()"),
    (check_set_order, CORE, "s = {1}\ndef f():\n    s = [1]\n    return list(s)"),
    (check_set_order, CORE, "class A:\n    s: set[int]\ndef f(s): return list(s)"),
    (check_set_order, CORE, "def f(d: dict[int, set[int]]): return [k for k in d], list(d), list(d.values())"),
    (check_set_order, CORE, "def f(a: dict[int, None]): return list(a), [x for x in a], list(a.keys())"),
    (check_set_order, CORE, "from .commands import Set\ndef f(s: Set): return list(s)"),
]


def labels(samples: Iterable[tuple[Check, *tuple[str, ...]]]) -> list[str]:
    return [f"{CHECKS[sample[0]].replace(' ', '_')}-{number}" for number, sample in enumerate(samples)]


@pytest.mark.parametrize(("check", "path", "source", "expected"), BAD, ids=labels(BAD))
def test_a_bad_file_is_caught(check: Check, path: str, source: str, expected: str) -> None:
    problems = report(check, [File(path, source)])
    assert problems, f"not caught:\n{source}"
    assert problems[0].startswith(f"{path}:")
    assert expected in problems[0]


@pytest.mark.parametrize(("check", "path", "source"), GOOD, ids=labels(GOOD))
def test_a_good_file_is_left_alone(check: Check, path: str, source: str) -> None:
    assert report(check, [File(path, source)]) == []


def test_every_check_has_a_file_that_it_catches_and_one_that_it_leaves_alone() -> None:
    for check in CHECKS:
        assert any(check is sample[0] for sample in BAD)
        assert any(check is sample[0] for sample in GOOD)


def test_an_ordinary_line_of_each_finding_is_where_it_is_said_to_be() -> None:
    source = "import attrs\n\n\nimport time\nx = [1]\nfor y in {1}:\n    print(y)\n"
    assert report(check_pure_imports, [File(CORE, source)])[0].startswith(f"{CORE}:4: ")
    assert report(check_set_order, [File(CORE, source)])[0].startswith(f"{CORE}:6: iterates over a set; ")
    assert report(check_prints, [File(CORE, source)])[0].startswith(f"{CORE}:7: ")
