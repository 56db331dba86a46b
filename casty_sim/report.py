"""What people, and programs, are told of campaigns."""

from __future__ import annotations

import json
import shutil
import sys
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from attrs import asdict

from casty_proto.machine import SECOND

from .campaign import Summary
from .html import About
from .mutants import Hunt
from .scenario import Outcome, Scenario, Settings
from .shrink import Shrunk

FAILURES_SHOWN = 10
ANOTHER = "it is another failure of the same rule, which was looked for with few nodes and few faults"


def fit(line: str) -> str:
    """A line that does not wrap in the terminal."""
    return line[: shutil.get_terminal_size().columns - 1]


def bar(summary: Summary, seeds: int) -> str:
    """How far a campaign has come."""
    width = 30
    done = width * summary.seeds // max(1, seeds)
    failed = f", {len(summary.failures)} failed" if summary.failures else ""
    return f"[{'#' * done}{'.' * (width - done)}] {summary.seeds}/{seeds}, {summary.seeds_per_second:.0f}/s{failed}"


def shrinking(best: Shrunk) -> str:
    """How far a search has come."""
    count = "" if best.outcome.faults < 0 else f"{best.outcome.faults} faults, "
    return f"{best.tries} tries: {best.settings.nodes} nodes, {count}{best.choices} choices"


def unhandled(summary: Summary) -> list[str]:
    """What nobody has handled in the runs of a campaign."""
    return [
        f"nobody has handled, in {runs} of {summary.seeds} runs, the first of them seed {first}: {kind}"
        for kind, (runs, first) in summary.unhandled.items()
    ]


def words(summary: Summary, scenario: Scenario, options: Namespace, *, interrupted: bool = False) -> str:
    """A campaign, for people. What failed stands first."""
    seeds, failures = summary.seeds, summary.failures
    lines = [
        f"{summary.scenario}: {seeds} seeds, {len(failures)} failed, {summary.unknown} undecided",
        f"{summary.seeds_per_second:.1f} seeds/s, {summary.speed:.0f} simulated seconds per second, "
        f"{summary.events / max(1, seeds):.0f} events a seed",
    ]
    if summary.well_after_ns >= 0:
        took, bound = summary.well_after_ns / SECOND, scenario.bound_ns / SECOND
        lines.append(f"all was well again at most {took:.2f} s after the last fault; the bound is {bound:g} s")
    if interrupted:
        lines.append(f"interrupted after {seeds} of {options.seeds} seeds")
    elif failures and seeds < options.seeds:
        lines.append(f"stopped at the first failure, after {seeds} of {options.seeds} seeds; --keep-going goes on")
    for outcome in failures[:FAILURES_SHOWN]:
        lines += ["", failure(outcome, options)]
    if len(failures) > FAILURES_SHOWN:
        lines.append(f"\nand {len(failures) - FAILURES_SHOWN} more")
    # Those that the scenario names, in its order, and then what else there was.
    states = [*scenario.states, *[state for state in summary.reached if state not in scenario.states]]
    if states:
        lines += ["", "reached in how many runs:"]
        lines += [f"  {summary.reached.get(state, 0):>6}  {state}" for state in states]
    if seeds >= options.seeds and summary.never(scenario.states):
        lines.append("some states were never reached: try more seeds, or ask why")
    lines += unhandled(summary)
    return "\n".join(lines)


def failure(outcome: Outcome, options: Namespace) -> str:
    """A run that failed, and what to do with it."""
    replay = command("replay", outcome, options)
    return "\n".join(
        [
            f"seed {outcome.seed} broke {outcome.problem}",
            f"  faults: {outcome.plan or 'none'}",
            f"  replay: {replay} --trace",
            f"  report: {replay} --report {options.scenario.replace(':', '.')}-{outcome.seed}.html",
            f"  shrink: {command('shrink', outcome, options)}",
        ]
    )


def command(verb: str, outcome: Outcome, options: Namespace, what: str = "") -> str:
    """What to type to look at a run again. Every option that changes the run is in it.

    `what` is the file of a tape, where it is not simply the seed.
    """
    text = f"python -m casty_sim {verb} {options.scenario} {what or outcome.seed} --nodes {options.nodes}"
    text += f" --duration {options.duration!r}"
    text += " --no-faults" if options.no_faults else ""
    text += " --check" if options.check else ""
    return text + (f" --mutant {options.mutant} --module {options.module}" if options.mutant else "")


def about(outcome: Outcome, settings: Settings, options: Namespace, what: str = "") -> About:
    """The head of the page of a run. `what` is the file of its tape, where it has one."""
    seed = f"seed {outcome.seed}" + (f", {what}" if what else "")
    mutant = f"{options.mutant} of {options.module}" if options.mutant else ""
    facts = {
        "scenario": options.scenario,
        "seed": seed,
        "planted bug": mutant,
        "hosts": str(settings.nodes),
        "under faults for": f"{settings.safety_ns / SECOND:g} s" if settings.faults else "nothing was to go wrong",
        "faults and options drawn": outcome.plan or "none",
        "simulated": f"{outcome.simulated_ns / SECOND:.3f} s, {outcome.events} events",
        "all was well again": f"{outcome.well_after_ns / SECOND:.2f} s after the last fault"
        if outcome.well_after_ns >= 0
        else "",
        "reached": ", ".join(f"{state} ({times})" for state, times in sorted(outcome.reached.items())),
        "nobody has handled": "; ".join(map(str, outcome.unhandled)),
        "history": "the search for an order ran out of its budget" if outcome.unknown else "",
        "digest": outcome.digest,
        "version": versions(),
    }
    return About(
        f"{options.scenario}, {seed}",
        {name: value for name, value in facts.items() if value},
        command("replay", outcome, options, what),
        outcome.traceback,
    )


def versions() -> str:
    """What a seed is a seed of: another version may draw something else."""
    python = ".".join(map(str, sys.version_info[:3]))
    try:
        return f"casty {version('casty')} on Python {python}"
    except PackageNotFoundError:
        return f"casty, not installed, on Python {python}"


def as_json(summary: Summary, scenario: Scenario, options: Namespace) -> str:
    """A campaign, for programs."""
    content: dict[str, Any] = asdict(summary)
    for outcome, each in zip(summary.failures, content["failures"], strict=True):
        each["replay"] = command("replay", outcome, options)
    content["settings"] = {
        "first": options.first,
        "seeds": options.seeds,
        "nodes": options.nodes,
        "duration_seconds": options.duration,
        "faults": not options.no_faults,
        "check": options.check,
        "mutant": options.mutant,
    }
    content["seeds_per_second"] = summary.seeds_per_second
    content["simulated_seconds_per_second"] = summary.speed
    content["never_reached"] = summary.never(scenario.states)
    return json.dumps(content, indent=1)


def one(outcome: Outcome, nodes: int) -> str:
    """One run."""
    lines = [
        f"seed {outcome.seed}, {nodes} nodes, faults: {outcome.plan or 'none'}",
        f"{outcome.events} events in {outcome.simulated_ns / SECOND:.1f} simulated seconds, digest {outcome.digest}",
    ]
    if outcome.traceback:
        lines.append(outcome.traceback.rstrip())
    lines += [f"nobody has handled: {each}" for each in outcome.unhandled]
    lines.append(f"broke {outcome.problem}" if outcome.failed else "all is well")
    return "\n".join(lines)


def hunted(found: Hunt, width: int) -> str:
    """What came of one planted bug."""
    mutant = found.mutant
    verdict = f"caught by {found.rule}, seed {found.seed}" if found.caught else f"NOT CAUGHT in {found.seeds} seeds"
    return f"{mutant.name:<{width}}  {verdict}, {found.wall_seconds:.1f} s\n    {mutant.bug} ({mutant.source})"


def hunted_json(found: Hunt) -> dict[str, Any]:
    """The same for programs."""
    mutant = found.mutant
    return {
        "name": mutant.name,
        "bug": mutant.bug,
        "source": mutant.source,
        "scenario": mutant.scenario.name,
        "caught": found.caught,
        "rule": found.rule,
        "problem": found.problem,
        "seed": found.seed,
        "seeds": found.seeds,
        "wall_seconds": found.wall_seconds,
    }
