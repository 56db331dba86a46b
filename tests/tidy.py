"""The house rules that a program can check. Each check takes one file and yields `(line, what, what to do instead)`.

`tests/test_tidy.py` runs them over the tree, and each of them over small bad files of its own.

What they cannot see: a module reached by another name than an import statement gives it (`sys.modules`, an attribute of
another module), and a forbidden function that a permitted module calls. They are a fence along the path, not a sandbox.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
PACKAGES = ("casty_proto", "casty_asyncio", "casty_sim")
FOLDERS = (*PACKAGES, "tests", "examples")
LINES_MAX = 600

type Finding = tuple[int, str, str]

ARROWS = {
    "casty_proto": ("casty_proto",),
    "casty_asyncio": ("casty_proto", "casty_asyncio"),
    "casty_sim": PACKAGES,
    "examples": (*PACKAGES, "examples"),
}
"""Who may import whom. `tests` may import everything."""

IMPURE = {
    "asyncio": "the driver runs tasks; return an effect",
    "concurrent": "the driver runs tasks; return an effect",
    "logging": "return a Note effect",
    "multiprocessing": "the driver runs tasks; return an effect",
    "os": "the driver talks to the operating system; return an effect",
    "secrets": "take a random.Random",
    "selectors": "bytes come and go as events and effects",
    "socket": "bytes come and go as events and effects",
    "sqlite3": "return a Persist effect",
    "ssl": "bytes come and go as events and effects",
    "subprocess": "the driver talks to the operating system; return an effect",
    "threading": "the driver runs tasks; return an effect",
    "time": "time is the `now` that handle() is given",
    "uuid": "draw the bits from the machine's random.Random",
}
"""What `casty_proto` must not import, and what it does instead."""

# fmt: off
PURE = (
    "__future__", "abc", "array", "attr", "attrs", "base64", "binascii", "bisect", "casty_proto", "collections",
    "contextlib", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib",
    "heapq", "hmac", "inspect", "ipaddress", "itertools", "keyword", "math", "msgpack", "numbers", "operator",
    "random", "re", "reprlib", "statistics", "string", "struct", "sys", "textwrap", "types", "typing",
    "unicodedata", "zlib",
)
# fmt: on
"""What `casty_proto` may import. `random` only for the type, `datetime` not for the time."""

CLOCKS = ("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today")

AMBIENT = {
    "open": "return an effect; the driver reads and writes",
    "input": "return an effect; the driver reads and writes",
    "id": "number the objects in the order in which they are made",
    "hash": "it differs from process to process; use hashlib, or zlib.crc32",
}
"""Built-in functions whose result does not follow from a machine's events."""

MARKERS = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
UNFINISHED = "NotImplemented" + "Error"
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/")


class File:
    """A file of the project, by its path from the root."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    @property
    def is_python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def folder(self) -> str:
        """The top-level folder, or nothing for a file at the root."""
        return self.path.partition("/")[0] if "/" in self.path else ""

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree; an empty one where there is none, which `check_syntax` reports."""
        try:
            return ast.parse(self.text)
        except SyntaxError:
            return ast.Module([], [])

    @cached_property
    def aliases(self) -> dict[str, str]:
        """What each imported name stands for: `{"D": "datetime.datetime"}`."""
        names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            match node:
                case ast.Import():
                    for item in node.names:
                        names[item.asname or item.name.partition(".")[0]] = (
                            item.name if item.asname else item.name.partition(".")[0]
                        )
                case ast.ImportFrom(module=str(module), level=0):
                    for item in node.names:
                        names[item.asname or item.name] = f"{module}.{item.name}"
        return names

    def qualified(self, node: ast.expr) -> str | None:
        """The full name of what `node` refers to, if it was imported: `datetime.datetime.now`."""
        match node:
            case ast.Name(id=name):
                return self.aliases.get(name)
            case ast.Attribute(value=value, attr=attr):
                base = self.qualified(value)
                return None if base is None else f"{base}.{attr}"
        return None

    def imports(self) -> Iterator[tuple[int, str]]:
        """The line and the absolute name of every module that is imported, wherever the statement stands."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Import():
                    for item in node.names:
                        yield node.lineno, item.name
                case ast.ImportFrom(module=str(module), level=0):
                    yield node.lineno, module
                case ast.ImportFrom(module=module, level=level):
                    here = PurePosixPath(self.path).parts[:-1]
                    base = here[: max(0, len(here) - level + 1)]
                    yield node.lineno, ".".join([*base, *([module] if module else [])])


type Check = Callable[[File], Iterator[Finding]]


def check_syntax(file: File) -> Iterator[Finding]:
    try:
        ast.parse(file.text if file.is_python else "")
    except SyntaxError as error:
        yield error.lineno or 1, f"does not parse: {error.msg}", "mend it; nothing else in this file was checked"


def check_pure_imports(file: File) -> Iterator[Finding]:
    if file.folder != "casty_proto":
        return
    for line, module in file.imports():
        top = module.partition(".")[0]
        if top in IMPURE:
            yield line, f"casty_proto imports {module}", IMPURE[top]
        elif top not in PURE and top not in FOLDERS:
            yield (
                line,
                f"casty_proto imports {module or 'from above its root'}",
                "if it is pure, add it to PURE in tests/tidy.py",
            )


def check_import_direction(file: File) -> Iterator[Finding]:
    allowed = ARROWS.get(file.folder, FOLDERS)
    for line, module in file.imports():
        top = module.partition(".")[0]
        if top in FOLDERS and top not in allowed:
            yield (
                line,
                f"{file.folder} imports {module}",
                f"it may import {', '.join(allowed)} only; move the code, not the arrow",
            )


def check_randomness(file: File) -> Iterator[Finding]:
    if file.folder != "casty_proto":
        return
    advice = "take a random.Random; the module's functions share one generator that nobody seeded"
    bases = [node.value for node in ast.walk(file.tree) if isinstance(node, ast.Attribute)]
    for node in ast.walk(file.tree):
        match node:
            case ast.ImportFrom(module="random", level=0):
                for item in node.names:
                    if item.name != "Random":
                        yield node.lineno, f"imports random.{item.name}", advice
            case ast.Attribute(attr=attr) if attr != "Random" and file.qualified(node.value) == "random":
                yield node.lineno, f"uses random.{attr}", advice
            case ast.Name() if file.qualified(node) == "random" and not any(node is base for base in bases):
                yield node.lineno, "uses the module random as a value", advice
            case ast.Call(func=function, args=[], keywords=[]) if file.qualified(function) == "random.Random":
                yield (
                    node.lineno,
                    "random.Random() without a seed",
                    "it asks the operating system; fork: Random(rng.getrandbits(64))",
                )


def check_clocks(file: File) -> Iterator[Finding]:
    if file.folder != "casty_proto":
        return
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Attribute) and (name := file.qualified(node)) in CLOCKS:
            yield node.lineno, f"reads the clock with {name}", "time is the `now` that handle() is given"


def check_ambient_functions(file: File) -> Iterator[Finding]:
    if file.folder != "casty_proto":
        return
    hashing = [
        node
        for method in ast.walk(file.tree)
        if isinstance(method, ast.FunctionDef) and method.name == "__hash__"
        for node in ast.walk(method)
    ]
    for node in ast.walk(file.tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in AMBIENT and not any(node is inside for inside in hashing):
                yield node.lineno, f"calls {name}()", AMBIENT[name]


def check_length(file: File) -> Iterator[Finding]:
    lines = len(file.text.splitlines())
    if file.is_python and lines > LINES_MAX:
        yield LINES_MAX + 1, f"has {lines} lines", f"divide it by subject; a file has at most {LINES_MAX}"


def check_markers(file: File) -> Iterator[Finding]:
    for number, line in enumerate(file.text.splitlines(), 1):
        if (found := MARKERS.search(line)) is not None:
            yield number, f"has a {found.group()}", "do it, or leave it out"


def check_stubs(file: File) -> Iterator[Finding]:
    for node in ast.walk(file.tree) if file.is_python else ():
        if isinstance(node, ast.Name) and node.id == UNFINISHED:
            yield node.lineno, f"uses {UNFINISHED}", "write it, or make the method abstract, or assert"


def check_prints(file: File) -> Iterator[Finding]:
    if file.folder not in PACKAGES or file.path.endswith("/__main__.py"):
        return
    for node in ast.walk(file.tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                yield node.lineno, "prints", "a library logs, or returns a Note; only __main__.py prints"


def check_machine_paths(file: File) -> Iterator[Finding]:
    for number, line in enumerate(file.text.splitlines(), 1):
        if (found := MACHINE_PATH.search(line)) is not None:
            yield number, f"has a path of some machine: {found.group()}", "use a relative path"


def check_folder(file: File) -> Iterator[Finding]:
    if file.folder and file.folder not in FOLDERS and not file.folder.startswith("."):
        yield 1, f"is in the top-level folder {file.folder!r}", f"the house has {', '.join(FOLDERS)}"


# -- the tree ----------------------------------------------------------------------------------------------------------


def project_paths(root: Path = ROOT) -> list[str]:
    """Every file of the project: what git tracks or would track, or where git cannot tell, what is not hidden."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = []
    # A copy inside some other repository is listed as empty, or not at all.
    if "tests/tidy.py" not in listed:
        listed = walk(root)
    return sorted(path for path in dict.fromkeys(listed) if path and (root / path).is_file())


def walk(root: Path) -> list[str]:
    found = []
    for folder, folders, files in root.walk():
        folders[:] = [
            name
            for name in folders
            if name != "__pycache__"
            and not name.endswith(".egg-info")
            and not (folder == root and (name.startswith(".") or name in ("build", "dist")))
        ]
        found += [(folder / name).relative_to(root).as_posix() for name in files if name != "uv.lock"]
    return found


def read(path: str, root: Path = ROOT) -> File | None:
    """The file, or `None` if it is not text."""
    try:
        return File(path, (root / path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return None


def report(check: Check, files: list[File]) -> list[str]:
    return [f"{file.path}:{line}: {what}; {advice}" for file in files for line, what, advice in check(file)]
