"""Look for inputs that break what reads bytes from strangers. Finds its way by the lines that inputs reach.

`python -m tests.fuzz codec --seconds 60` fuzzes for a minute; it needs atheris: uv run --group fuzz python -m ...
`python -m tests.fuzz codec --replay FILE` runs the target on files, raw or of the corpus, and needs nothing.

Progress comes from libFuzzer: `cov` is the number of branches seen, `corp` that of the inputs that reach different
ones, `exec/s` the speed. New inputs are kept in the corpus directory, from where the next run goes on; it begins with
the corpus of nasty inputs otherwise. What breaks the target is written into the directory for crashes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from .engine import TARGETS, target

HOME = Path("build", "fuzz")
INPUT_MAX = 4096
INPUT_SECONDS = 10
MEMORY_MB = 1024


def main(arguments: list[str]) -> int:
    """0: nothing was found. 1: something was, and how to see it again is printed. 2: it could not be run."""
    options = _parser().parse_args(arguments)
    if options.replay:
        return _replay(options.target, options.replay)
    if find_spec("atheris") is None:
        print("atheris is not installed; try: uv run --group fuzz python -m tests.fuzz ...", file=sys.stderr)
        return 2
    return _fuzz(options)


def _parser() -> argparse.ArgumentParser:
    described = "\n".join(f"  {name:10} {text}" for name, text in TARGETS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        epilog=f"targets:\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=_positive, default=60, metavar="S", help="how long (default: 60)")
    parser.add_argument("--seed", type=_positive, metavar="N", help="of the mutations (default: another one each time)")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help=f"default: {HOME}/TARGET/corpus")
    parser.add_argument("--crashes", type=Path, metavar="DIR", help=f"default: {HOME}/TARGET/crashes")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="only run the target on these inputs")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _replay(name: str, paths: list[Path]) -> int:
    """Whoever reads a traceback wants it whole, so the first error ends it."""
    from .nasty import read

    run = target(name)
    for path in paths:
        print(path)
        run(read(path).data if path.suffix == ".hex" else path.read_bytes())
    print(f"{len(paths)} inputs found nothing")
    return 0


def _fuzz(options: argparse.Namespace) -> int:
    corpus = options.corpus or HOME / options.target / "corpus"
    crashes = options.crashes or HOME / options.target / "crashes"
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir())
    with TemporaryDirectory() as folder:
        seeds = Path(folder, "seeds")
        _write_seeds(seeds)
        words = Path(folder, "words")
        _write_words(words)
        command = [
            *(sys.executable, "-m", f"{__package__}.engine", options.target),
            *(f"-max_total_time={options.seconds}", f"-max_len={INPUT_MAX}", f"-dict={words}"),
            *(f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={crashes}/"),
            *([] if options.seed is None else [f"-seed={options.seed}"]),
            *(str(corpus), str(seeds)),
        ]
        status = _run(command)
    found = sorted(set(crashes.iterdir()) - before)
    for path in found:
        print(f"FOUND {path}; to see it again: python -m tests.fuzz {options.target} --replay {path}")
    if status and not found:
        print(f"the fuzzer ended with the status {status}, and left no input", file=sys.stderr)
    return 1 if status or found else 0


def _run(command: list[str]) -> int:
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        # It was interrupted as well, and has kept what it found.
        return 0


def _write_seeds(folder: Path) -> None:
    """The corpus of nasty inputs, and good values and frames, as raw files."""
    from casty_proto.wire.encoder import Encoder
    from tests.proto.wire.test_round_trip import SAMPLES

    from .codec import WIDE, types
    from .corpus import ALL
    from .nasty import stream

    folder.mkdir()
    bodies = [Encoder(types(strict=False), WIDE).encode(value) for value in SAMPLES]
    inputs = [nasty.data for nasty in ALL] + bodies + [stream(body, body) for body in bodies]
    for number, data in enumerate(inputs):
        if len(data) <= INPUT_MAX:
            (folder / f"{number:04}").write_bytes(data)


def _write_words(path: Path) -> None:
    from .corpus import WORDS

    path.write_text("".join('"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in word)) for word in WORDS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
