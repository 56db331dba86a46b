"""A closer look at a seed that failed: a smaller run that fails in the same way, and the report of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict

from casty_proto.machine import SECOND

from ..html import About, page
from ..report import ANOTHER, versions
from ..scenario import Outcome, Settings, run
from ..shrink import NotReproducible, Shrunk, shrink
from ..tape import Tape
from ..timeline import Timeline
from ..trace import Trace
from .words import again

if TYPE_CHECKING:
    from .simulate import Simulated


def look_closer(simulated: Simulated, seed: int, folder: Path, seconds: float, target: str = "") -> list[str]:
    """Shrink a failure for about so many seconds, and write its tape and its report into a folder. Returns lines for
    people. Where a file cannot be written, a line says so. For `target` see `words.again`."""
    settings = simulated.options.settings()
    lines: list[str] = []
    best: Shrunk | None = None
    if seconds > 0:
        try:
            best = shrink(simulated.scenario, Tape(seed, record=True), settings, seconds=seconds)
        except NotReproducible:
            return ["  run again, it did NOT fail: `python -m casty_sim check-determinism` finds why"]
        lines.append(_smaller(best))
    tape = Tape(seed, record=True) if best is None else best.tape()
    settings = settings if best is None else best.settings
    timeline = Timeline()
    outcome = run(simulated.scenario, tape, settings, Trace(timeline=timeline))
    try:
        stem = folder / _file_name(simulated, seed, target)
        tape_file = _save(simulated, stem, tape, settings, outcome)
        page_file = stem.with_suffix(".html")
        about = _about(simulated, settings, outcome, again(simulated.scenario, f"--sim-tape {tape_file}", target))
        page_file.write_text(page(timeline, about), encoding="utf-8")
        lines += [f"  report: {page_file}", f"  tape, for --sim-tape: {tape_file}"]
    except OSError as error:
        lines.append(f"  no report could be written: {error}")
    return lines


def _smaller(best: Shrunk) -> str:
    another = f"; {ANOTHER}" if best.is_elsewhere else ""
    return (
        f"  smallest run that was found: {best.settings.nodes} nodes, {best.settings.safety_ns / SECOND:g} s, "
        f"{best.choices} choices that are not the plainest, faults: {best.outcome.plan or 'none'}{another}"
    )


def _save(simulated: Simulated, stem: Path, tape: Tape, settings: Settings, outcome: Outcome) -> Path:
    stem.parent.mkdir(parents=True, exist_ok=True)
    tape_file = stem.with_suffix(".tape")
    about: dict[str, Any] = {"scenario": simulated.scenario.name, "rule": outcome.rule, "settings": asdict(settings)}
    tape.save(tape_file, about)
    return tape_file


def _file_name(simulated: Simulated, seed: int, target: str) -> str:
    """Of the seed that has failed: a smaller run may be one of another seed."""
    name = target.partition("::")[2].replace("::", ".") or simulated.scenario.function
    return f"{name}-{seed}".replace(".", "-").replace("<", "").replace(">", "")


def _about(simulated: Simulated, settings: Settings, outcome: Outcome, command: str) -> About:
    facts = {
        "scenario": simulated.scenario.name,
        "seed": str(outcome.seed),
        "nodes": str(settings.nodes),
        "under faults for": f"{settings.safety_ns / SECOND:g} s",
        "faults": outcome.plan or "none",
        "broke": outcome.problem.partition("\n")[0] if outcome.failed else "nothing",
        "nobody has handled": "; ".join(map(str, outcome.unhandled)) or "nothing",
        "digest": outcome.digest,
        "version": versions(),
    }
    title = f"{simulated.scenario.function}, seed {outcome.seed}"
    return About(title, facts, command, outcome.traceback)
