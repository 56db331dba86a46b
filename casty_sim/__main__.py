"""`python -m casty_sim`: campaigns of seeded disasters, and a closer look at the ones that did harm."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from attrs import asdict

from casty_proto.machine import SECOND

from . import determinism, report
from .campaign import NotSentError, Summary, WorkerError, campaign, limited
from .html import page
from .mutants import Mutant, MutantsError, hunt, load
from .options import Refused, parser, scenario_of, settings_of
from .scenario import Outcome, Scenario, Settings, run
from .scenarios import SCENARIOS
from .shrink import NotReproducible, Shrunk, shrink
from .tape import Tape, TapeError, same_scenario
from .timeline import Timeline
from .trace import Trace

KNOWN = (Refused, TapeError, NotReproducible, MutantsError, determinism.CheckError, NotSentError, WorkerError)
"""Errors whose text says all."""


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when all is well, 1 when a run failed, 2 for a call that makes no sense, 130 when interrupted."""
    commands = {
        "list": _list,
        "run": _run,
        "replay": _replay,
        "shrink": _shrink,
        "check-determinism": _check_determinism,
        "mutants": _mutants,
    }
    options = parser(commands).parse_args(arguments)
    try:
        return int(options.command(options))
    except KNOWN as error:
        print(f"casty_sim: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output has seen enough. Nothing more can be written, not even at the end of the interpreter.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


class _Line:
    """One line that is written again and again, on a terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()

    def show(self, text: str) -> None:
        if self._live:
            print(f"\r\033[K{report.fit(text)}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _list(_: argparse.Namespace) -> int:
    width = max(map(len, SCENARIOS))
    for name, scenario in SCENARIOS.items():
        print(f"{name:<{width}}  {scenario.help}")
    return 0


def _run(options: argparse.Namespace) -> int:
    scenario, settings, line = scenario_of(options), settings_of(options), _Line()
    latest = Summary(scenario.name)

    def progress(summary: Summary) -> None:
        nonlocal latest
        latest = summary
        line.show(report.bar(summary, options.seeds))

    seeds = range(options.first, options.first + options.seeds)
    interrupted = False
    try:
        latest = campaign(
            scenario, seeds, settings, jobs=options.jobs, stop_at_first=not options.keep_going, progress=progress
        )
    except KeyboardInterrupt:
        interrupted = True
    line.clear()
    if options.json:
        print(report.as_json(latest, scenario, options))
    else:
        print(report.words(latest, scenario, options, interrupted=interrupted))
    if options.report is not None and latest.failures:
        seed = latest.failures[0].seed
        _draw(options, scenario, settings, Tape(seed), options.report)
    return 130 if interrupted else 1 if latest.failures else 0


# One run -------------------------------------------------------------------------------------------------------------


def _what(options: argparse.Namespace) -> tuple[Tape, Settings, dict[str, Any]]:
    """The tape to play, its settings, and what is known of it. One from a file brings its own settings along."""
    settings = settings_of(options)
    if options.what.isdecimal():
        return Tape(int(options.what), record=True), settings, {}
    if not Path(options.what).exists():
        raise Refused(f"{options.what} is neither a seed, which is a whole number, nor the file of a tape")
    tape, about = Tape.load(Path(options.what))
    if not same_scenario(about.get("scenario", options.scenario), options.scenario):
        raise Refused(f"{options.what} is a tape of the scenario {about['scenario']}, not of {options.scenario}")
    if about.get("mutant", options.mutant) != options.mutant:
        raise Refused(f"{options.what} was saved with --mutant {about['mutant']!r}")
    try:
        settings = Settings(**{**asdict(settings), **about.get("settings", {})})
    except (TypeError, ValueError) as error:
        raise TapeError(f"{options.what} has settings that make no sense: {error}") from error
    return tape, settings, about


def _draw(
    options: argparse.Namespace, scenario: Scenario, settings: Settings, tape: Tape, path: Path, what: str = ""
) -> None:
    """Run a tape once more, and write what happened as a page. `what` is the file of the tape, where it has one."""
    trace = Trace(timeline=Timeline())
    with limited():
        outcome = run(scenario, tape, settings, trace)
    _write(options, settings, trace, outcome, path, what)


def _write(
    options: argparse.Namespace, settings: Settings, trace: Trace, outcome: Outcome, path: Path, what: str = ""
) -> None:
    assert trace.timeline is not None
    path.write_text(page(trace.timeline, report.about(outcome, settings, options, what)), encoding="utf-8")
    print(f"the report is in {path}: open it in a browser", file=sys.stderr)


def _replay(options: argparse.Namespace) -> int:
    scenario = scenario_of(options)
    tape, settings, about = _what(options)
    trace = Trace(keep=options.trace, timeline=None if options.report is None else Timeline())
    with limited():
        outcome = run(scenario, tape, settings, trace)
    if options.trace:
        print(trace.text())
    print(report.one(outcome, settings.nodes))
    if options.report is not None:
        _write(options, settings, trace, outcome, options.report, "" if options.what.isdecimal() else options.what)
    if about.get("rule") and about["rule"] != outcome.rule:
        print(f"the tape was saved when it broke {about['rule']}: the code has changed since then")
    if options.save is not None:
        tape.save(options.save, _about(options, settings, outcome))
        print(f"saved as {options.save}")
    return 1 if outcome.failed else 0


def _shrink(options: argparse.Namespace) -> int:
    scenario = scenario_of(options)
    tape, settings, _ = _what(options)
    line = _Line()

    def progress(best: Shrunk) -> None:
        line.show(report.shrinking(best))

    best = shrink(scenario, tape, settings, seconds=options.seconds, progress=progress)
    line.clear()
    print(f"{best.tries} tries: {best.settings.nodes} nodes, {best.settings.safety_ns / SECOND:.1f} s under faults,")
    count = "" if best.outcome.faults < 0 else f"{best.outcome.faults}, of "
    print(f"{best.choices} choices that are not the plainest; faults: {count}{best.outcome.plan or 'none'}")
    print(f"breaks {best.outcome.problem}")
    if best.is_elsewhere:
        print(report.ANOTHER)
    path = options.save or Path(f"{options.scenario.replace(':', '.')}-{best.seed}.tape")
    best.tape().save(path, _about(options, best.settings, best.outcome), best.numbers)
    mutant = f" --mutant {options.mutant} --module {options.module}" if options.mutant else ""
    if options.report is not None:
        _draw(options, scenario, best.settings, best.tape(), options.report, str(path))
    print(f"saved as {path}; replay: python -m casty_sim replay {options.scenario} {path}{mutant} --trace")
    return 1


def _about(options: argparse.Namespace, settings: Settings, outcome: Outcome) -> dict[str, Any]:
    return {
        "scenario": options.scenario,
        "mutant": options.mutant,
        "settings": asdict(settings),
        "rule": outcome.rule,
        "problem": outcome.problem,
    }


# Planted bugs --------------------------------------------------------------------------------------------------------


def _check_determinism(options: argparse.Namespace) -> int:
    scenario, settings, line = scenario_of(options), settings_of(options), _Line()
    found_by = {name: getattr(options, name) for name in ("scenario", "mutant", "module")}
    seeds = range(options.first, options.first + options.seeds)
    compared, differences = 0, 0
    for found in determinism.check(found_by, settings, seeds, options.python):
        if isinstance(found, int):
            compared += found
            line.show(f"{compared}/{options.seeds} seeds, each in two processes, {differences} differ")
            continue
        differences += 1
        line.clear()
        print(found.words(), flush=True)
        if not options.keep_going:
            return 1
    line.clear()
    print(f"{scenario.name}: {compared} seeds in two processes each, {differences} differ")
    return 1 if differences else 0


def _mutants(options: argparse.Namespace) -> int:
    wanted = options.only.lower()
    mutants = [each for each in load(options.module) if wanted in f"{each.name} {each.bug}".lower()]
    if not mutants:
        raise Refused(f"no mutant of {options.module} has {options.only!r} in its name or description")
    settings, line = Settings(nodes=options.nodes), _Line()
    width = max(len(each.name) for each in mutants)
    hunts = []
    for number, mutant in enumerate(mutants, 1):

        def progress(summary: Summary, mutant: Mutant = mutant, number: int = number) -> None:
            line.show(f"{number}/{len(mutants)} {mutant.name}: {report.bar(summary, options.seeds)}")

        found = hunt(mutant, settings, seeds=options.seeds, jobs=options.jobs, progress=progress)
        hunts.append(found)
        line.clear()
        if not options.json:
            print(report.hunted(found, width), flush=True)
    caught = sum(found.caught for found in hunts)
    if options.json:
        print(json.dumps([report.hunted_json(found) for found in hunts], indent=1))
    else:
        print(f"\n{caught} of {len(hunts)} caught, after {sum(found.seeds for found in hunts)} seeds in all")
    return 0 if caught == len(hunts) else 1


if __name__ == "__main__":
    sys.exit(main())
