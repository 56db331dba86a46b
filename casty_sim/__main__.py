"""`python -m casty_sim`: campaigns of seeded disasters, and a closer look at the ones that did harm."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from attrs import asdict

from casty_proto.machine import SECOND, nanoseconds

from .campaign import Summary, campaign
from .mutants import MODULE, Hunt, Mutant, MutantsError, hunt, load
from .scenario import Outcome, Scenario, Settings, run
from .scenarios import SCENARIOS
from .shrink import NotReproducible, Shrunk, shrink
from .tape import Tape, TapeError
from .trace import Trace


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when all is well, 1 when a run failed, 2 for a call that makes no sense."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except (TapeError, NotReproducible, MutantsError) as error:
        print(f"casty_sim: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output has seen enough. Nothing more can be written, not even at the end of the interpreter.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m casty_sim", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="show the scenarios")
    listing.set_defaults(command=_list)

    running = commands.add_parser("run", help="run many seeds of a scenario")
    _add_common(running)
    running.add_argument("--seeds", type=int, default=100, help="how many seeds (default: 100)")
    running.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    jobs = os.cpu_count() or 1
    running.add_argument("--jobs", type=int, default=jobs, help=f"how many processes (default: {jobs})")
    running.add_argument("--keep-going", action="store_true", help="go on after the first failure")
    running.add_argument("--json", action="store_true", help="print the summary as JSON")
    running.set_defaults(command=_run)

    replaying = commands.add_parser("replay", help="run one seed, or a saved tape, again")
    _add_common(replaying)
    _add_what(replaying)
    replaying.add_argument("--trace", action="store_true", help="print every message, fault and change of role")
    replaying.add_argument("--save", type=Path, metavar="FILE", help="save the tape of the run")
    replaying.set_defaults(command=_replay)

    shrinking = commands.add_parser("shrink", help="make a failure small")
    _add_common(shrinking)
    _add_what(shrinking)
    shrinking.add_argument("--seconds", type=float, default=60.0, help="how long to try (default: 60)")
    shrinking.add_argument("--save", type=Path, metavar="FILE", help="save the tape of the small failure")
    shrinking.set_defaults(command=_shrink)

    _add_mutants(commands.add_parser("mutants", help="plant known bugs, and see whether they are found"))
    return parser


def _add_mutants(parser: argparse.ArgumentParser) -> None:
    plain = Settings()
    parser.add_argument("--seeds", type=int, default=5000, help="how many seeds to try for each (default: 5000)")
    parser.add_argument("--nodes", type=int, default=plain.nodes, help=f"hosts (default: {plain.nodes})")
    jobs = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=jobs, help=f"how many processes (default: {jobs})")
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants whose name or bug contains TEXT")
    parser.add_argument("--module", default=MODULE, help=f"where they are kept (default: {MODULE})")
    parser.add_argument("--json", action="store_true", help="print what came out as JSON")
    parser.set_defaults(command=_mutants)


def _add_common(parser: argparse.ArgumentParser) -> None:
    plain = Settings()
    parser.add_argument(
        "scenario", choices=sorted(SCENARIOS), metavar="SCENARIO", help=f"one of {', '.join(SCENARIOS)}"
    )
    parser.add_argument("--nodes", type=int, default=plain.nodes, help=f"hosts (default: {plain.nodes})")
    safety = plain.safety_ns / SECOND
    parser.add_argument("--duration", type=float, default=safety, help=f"seconds under faults (default: {safety:g})")
    parser.add_argument("--no-faults", action="store_true", help="let nothing go wrong")
    parser.add_argument("--check", action="store_true", help="check the invariants of every machine after every event")


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="SEED|TAPE", help="a seed, or the file of a tape")


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        nodes=options.nodes,
        safety_ns=nanoseconds(options.duration),
        faults=not options.no_faults,
        check_invariants=options.check,
    )


def _what(options: argparse.Namespace) -> tuple[Tape, Settings]:
    """The tape to play. One from a file brings its settings along."""
    settings = _settings(options)
    if options.what.isdecimal():
        return Tape(int(options.what), record=True), settings
    tape, about = Tape.load(Path(options.what))
    saved = about.get("settings", {})
    return tape, Settings(**{**asdict(settings), **saved})


# -- commands ----------------------------------------------------------------------------------------------------------


def _list(_: argparse.Namespace) -> int:
    width = max(map(len, SCENARIOS))
    for name, scenario in SCENARIOS.items():
        print(f"{name:<{width}}  {scenario.help}")
    return 0


def _run(options: argparse.Namespace) -> int:
    scenario, settings = SCENARIOS[options.scenario], _settings(options)
    live = sys.stderr.isatty()

    def progress(summary: Summary) -> None:
        if live:
            print(f"\r\033[K{_bar(summary, options.seeds)}", end="", file=sys.stderr, flush=True)

    seeds = range(options.first, options.first + options.seeds)
    summary = campaign(
        scenario, seeds, settings, jobs=options.jobs, stop_at_first=not options.keep_going, progress=progress
    )
    if live:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    print(_json(summary, scenario) if options.json else _words(summary, scenario, options))
    return 1 if summary.failures else 0


def _bar(summary: Summary, seeds: int) -> str:
    width = 30
    done = width * summary.seeds // max(1, seeds)
    failed = f", {len(summary.failures)} failed" if summary.failures else ""
    return f"[{'#' * done}{'.' * (width - done)}] {summary.seeds}/{seeds}, {summary.seeds_per_second:.0f}/s{failed}"


def _words(summary: Summary, scenario: Scenario, options: argparse.Namespace) -> str:
    lines = [
        f"{summary.scenario}: {summary.seeds} seeds, {len(summary.failures)} failed, {summary.unknown} undecided",
        f"{summary.seeds_per_second:.1f} seeds/s, {summary.speed:.0f} simulated seconds per second, "
        f"{summary.events / max(1, summary.seeds):.0f} events a seed",
        "",
        "reached in how many runs:",
    ]
    lines += [f"  {summary.reached.get(state, 0):>6}  {state}" for state in scenario.states]
    for state in summary.never(scenario.states):
        lines.append(f"never reached: {state}")
    for outcome in summary.failures[:10]:
        lines += ["", _failure(outcome, options)]
    return "\n".join(lines)


def _failure(outcome: Outcome, options: argparse.Namespace) -> str:
    command = f"python -m casty_sim replay {options.scenario} {outcome.seed} --nodes {options.nodes}"
    command += f" --duration {options.duration:g}" + (" --check" if options.check else "") + " --trace"
    return f"seed {outcome.seed} broke {outcome.problem}\n  faults: {outcome.plan}\n  replay: {command}"


def _json(summary: Summary, scenario: Scenario) -> str:
    content: dict[str, Any] = asdict(summary)
    content["seeds_per_second"] = summary.seeds_per_second
    content["simulated_seconds_per_second"] = summary.speed
    content["never_reached"] = summary.never(scenario.states)
    return json.dumps(content, indent=1)


def _replay(options: argparse.Namespace) -> int:
    tape, settings = _what(options)
    trace = Trace(keep=options.trace)
    outcome = run(SCENARIOS[options.scenario], tape, settings, trace)
    if options.trace:
        print(trace.text())
    print(f"seed {outcome.seed}, {settings.nodes} nodes, faults: {outcome.plan}")
    print(f"{outcome.events} events in {outcome.simulated_ns / SECOND:.1f} simulated seconds, digest {outcome.digest}")
    print(f"broke {outcome.problem}" if outcome.failed else "all is well")
    if options.save is not None:
        tape.save(options.save, _about(options.scenario, settings, outcome))
        print(f"saved as {options.save}")
    return 1 if outcome.failed else 0


def _shrink(options: argparse.Namespace) -> int:
    tape, settings = _what(options)
    live = sys.stderr.isatty()

    def progress(best: Shrunk) -> None:
        if live:
            line = f"{best.tries} tries: {best.settings.nodes} nodes, {best.choices} choices"
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)

    best = shrink(SCENARIOS[options.scenario], tape, settings, seconds=options.seconds, progress=progress)
    if live:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    print(f"{best.tries} tries: {best.settings.nodes} nodes, {best.settings.safety_ns / SECOND:.1f} s under faults,")
    print(f"{best.choices} choices that are not the plainest; faults: {best.outcome.plan}")
    print(f"breaks {best.outcome.problem}")
    path = options.save or Path(f"{options.scenario}-{best.seed}.tape")
    best.tape().save(path, _about(options.scenario, best.settings, best.outcome), best.numbers)
    print(f"saved as {path}; replay: python -m casty_sim replay {options.scenario} {path} --trace")
    return 1


def _mutants(options: argparse.Namespace) -> int:
    wanted = options.only.lower()
    mutants = [each for each in load(options.module) if wanted in f"{each.name} {each.bug}".lower()]
    settings = Settings(nodes=options.nodes)
    width = max((len(each.name) for each in mutants), default=0)
    live = sys.stderr.isatty()
    hunts = []
    for number, mutant in enumerate(mutants, 1):

        def progress(summary: Summary, mutant: Mutant = mutant, number: int = number) -> None:
            if live:
                line = f"{number}/{len(mutants)} {mutant.name}: {_bar(summary, options.seeds)}"
                print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)

        found = hunt(mutant, settings, seeds=options.seeds, jobs=options.jobs, progress=progress)
        hunts.append(found)
        if live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        if not options.json:
            print(_hunt_line(found, width), flush=True)
    caught = sum(found.caught for found in hunts)
    if options.json:
        print(json.dumps([_hunt_json(found) for found in hunts], indent=1))
    else:
        print(f"\n{caught} of {len(hunts)} caught, after {sum(found.seeds for found in hunts)} seeds in all")
    return 0 if hunts and caught == len(hunts) else 1


def _hunt_line(found: Hunt, width: int) -> str:
    mutant = found.mutant
    verdict = f"caught by {found.rule}, seed {found.seed}" if found.caught else f"NOT CAUGHT in {found.seeds} seeds"
    return f"{mutant.name:<{width}}  {verdict:<48}  {found.wall_seconds:6.1f} s  {mutant.bug} ({mutant.source})"


def _hunt_json(found: Hunt) -> dict[str, Any]:
    mutant = found.mutant
    return {
        "name": mutant.name,
        "bug": mutant.bug,
        "source": mutant.source,
        "scenario": mutant.scenario.name,
        "caught": found.caught,
        "rule": found.rule,
        "problem": found.problem,
        "seeds": found.seeds,
        "wall_seconds": found.wall_seconds,
    }


def _about(scenario: str, settings: Settings, outcome: Outcome) -> dict[str, Any]:
    return {"scenario": scenario, "settings": asdict(settings), "rule": outcome.rule, "problem": outcome.problem}


if __name__ == "__main__":
    sys.exit(main())
