"""The command line of `python -m casty_sim`: what can be said, and what is refused before anything runs."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from casty_proto.machine import SECOND, nanoseconds

from .mutants import MODULE, load
from .scenario import Scenario, Settings
from .scenarios import SCENARIOS

ENDS = "Exit status: 0 when all is well, 1 when something failed, 2 for a call that makes no sense, 130 for ctrl-C."
LONGEST_SECONDS = 3600.0
WHICH = f"{', '.join(SCENARIOS)}; MODULE:FUNCTION for a test made with simulate, MODULE:CLASS for a scenario of yours"

type Command = Callable[[argparse.Namespace], int]


class Refused(ValueError):
    """What was asked for makes no sense. Nothing was run."""


# Values --------------------------------------------------------------------------------------------------------------


def _whole(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more, not {value}")
        return value

    number.__name__ = "whole number"
    return number


def _seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or not 0.0 < value <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {LONGEST_SECONDS:g} seconds, not {text}")
    return value


_seconds.__name__ = "number of seconds"


def _new_file(text: str) -> Path:
    """A file that can be written, found out before a long search and not after it."""
    path = Path(text)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written")
    return path


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that the options ask for."""
    return Settings(
        nodes=options.nodes,
        safety_ns=nanoseconds(options.duration),
        faults=not options.no_faults,
        check_invariants=options.check,
    )


def scenario_of(options: argparse.Namespace) -> Scenario:
    """The scenario that was named, with a planted bug in it where one was asked for. Raises `Refused`.

    What was not said of the nodes, the duration and the number of seeds is filled in as the scenario wants it.
    """
    scenario = _named(options)
    plain = scenario.defaults
    for name, value in (("nodes", plain.nodes), ("duration", plain.safety_ns / SECOND), ("seeds", scenario.seeds)):
        if getattr(options, name, value) is None:
            setattr(options, name, value)
    return scenario


def _named(options: argparse.Namespace) -> Scenario:
    name = options.scenario
    if ":" in name:
        module, _, attribute = name.partition(":")
        if module.endswith(".py"):
            dotted = ".".join(Path(module).with_suffix("").parts)
            raise Refused(f"{name} is a file: give the module that it is, as in {dotted}:{attribute.lstrip(':')}")
        try:
            found = getattr(import_module(module), attribute)
            # A test that was made with `simulate` has its scenario with it.
            made = getattr(found, "scenario", None) or (found() if isinstance(found, type) else found)
        except (ImportError, AttributeError, TypeError) as error:
            raise Refused(f"{name} is no scenario that can be made: {error}") from error
        if not isinstance(made, Scenario):
            raise Refused(
                f"{name} is no scenario: it must be a test made with simulate, or a subclass of "
                "casty_sim.scenario.Scenario"
            )
        return made
    if name not in SCENARIOS:
        raise Refused(f"there is no scenario {name!r}; there are {WHICH}")
    if not options.mutant:
        return SCENARIOS[name]
    for mutant in load(options.module):
        if mutant.name == options.mutant and mutant.scenario.name == name:
            return mutant.scenario
    raise Refused(f"{options.module} has no mutant {options.mutant!r} of {name}; `mutants` lists them")


# The parser ----------------------------------------------------------------------------------------------------------


def parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    """What can be said. `commands` are carried out."""
    top = argparse.ArgumentParser(
        prog="python -m casty_sim",
        description="Campaigns of seeded disasters, and a closer look at the ones that did harm.",
        epilog=ENDS,
    )
    subparsers = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, help=summary, description=description, epilog=ENDS)
        made.set_defaults(command=commands[name])
        return made

    add("list", "show the scenarios", "Shows the scenarios and what each is about.")

    running = add(
        "run",
        "run many seeds of a scenario",
        "Runs one world for each seed, and stops at the first in which a checker finds something.",
    )
    _add_world(running)
    running.add_argument(
        "--seeds", type=_whole(1), help=f"how many seeds (default: {Scenario.seeds}, or as many as a test asks for)"
    )
    running.add_argument("--first", type=_whole(0), default=0, help="the first seed (default: 0)")
    _add_jobs(running)
    running.add_argument("--keep-going", action="store_true", help="go on after the first failure")
    running.add_argument("--json", action="store_true", help="print the summary as JSON")
    _add_report(running, "when a seed fails, run the first that does again and draw it as one HTML file")

    replaying = add(
        "replay",
        "run one seed, or a saved tape, again",
        "Runs one seed or tape again, exactly as it was the first time.",
    )
    _add_world(replaying)
    _add_what(replaying)
    replaying.add_argument("--trace", action="store_true", help="print every message, fault and operation")
    _add_report(replaying, "draw the run as one HTML file: hosts, messages, faults, roles, operations, log lines")
    replaying.add_argument("--save", type=_new_file, metavar="FILE", help="save the tape of the run")

    shrinking = add(
        "shrink",
        "make a failure small",
        "Looks for a smaller run that breaks the same rule: fewer hosts, less time, fewer faults, plainer choices. "
        "The status is 1, as for any run that fails.",
    )
    _add_world(shrinking)
    _add_what(shrinking)
    shrinking.add_argument("--seconds", type=_seconds, default=60.0, help="how long to try (default: 60)")
    shrinking.add_argument(
        "--save", type=_new_file, metavar="FILE", help="where to save the tape (default: SCENARIO-SEED.tape, here)"
    )

    _add_report(shrinking, "draw the smallest run that was found as one HTML file")

    checking = add(
        "check-determinism",
        "run each seed in two processes, and compare",
        "Runs each seed in two processes with other hash seeds, heaps, garbage collection, order and earlier seeds, "
        "which must do the same. Points at the first event that is another, where they do not.",
    )
    _add_world(checking)
    checking.add_argument("--seeds", type=_whole(1), default=100, help="how many seeds (default: 100)")
    checking.add_argument("--first", type=_whole(0), default=0, help="the first seed (default: 0)")
    checking.add_argument("--keep-going", action="store_true", help="go on after the first difference")
    checking.add_argument(
        "--python",
        default=sys.executable,
        metavar="FILE",
        help="the interpreter of the second process, which may be of another version (default: this one)",
    )

    planting = add(
        "mutants",
        "plant known bugs, and see whether they are found",
        "Runs machines with one known bug each, until a checker finds it. All of them take a few minutes.",
    )
    planting.add_argument("--seeds", type=_whole(1), default=5000, help="how many to try for each (default: 5000)")
    planting.add_argument("--nodes", type=_whole(1), default=Settings().nodes, help="hosts (default: 5)")
    _add_jobs(planting)
    planting.add_argument("--only", default="", metavar="TEXT", help="only those whose name or bug contains TEXT")
    _add_module(planting)
    planting.add_argument("--json", action="store_true", help="print what came out as JSON")
    return top


def _add_jobs(made: argparse.ArgumentParser) -> None:
    jobs = os.cpu_count() or 1
    made.add_argument("--jobs", type=_whole(1), default=jobs, help=f"how many processes (default: {jobs})")


def _add_report(made: argparse.ArgumentParser, summary: str) -> None:
    made.add_argument("--report", type=_new_file, metavar="FILE", help=summary)


def _add_module(made: argparse.ArgumentParser) -> None:
    made.add_argument("--module", default=MODULE, help=f"where mutants are kept (default: {MODULE})")


def _add_world(made: argparse.ArgumentParser) -> None:
    plain = Settings()
    made.add_argument("scenario", metavar="SCENARIO", help=WHICH)
    made.add_argument(
        "--nodes", type=_whole(1), help=f"hosts (default: {plain.nodes}, or as many as a simulated test asks for)"
    )
    safety = plain.safety_ns / SECOND
    made.add_argument(
        "--duration",
        type=_seconds,
        help=f"simulated seconds under faults (default: {safety:g}, or what a simulated test asks for); then all must "
        "be well again",
    )
    made.add_argument("--no-faults", action="store_true", help="let nothing go wrong")
    made.add_argument("--check", action="store_true", help="check the invariants of every machine after every event")
    made.add_argument("--mutant", default="", metavar="NAME", help="with this planted bug in the machines")
    _add_module(made)


def _add_what(made: argparse.ArgumentParser) -> None:
    made.add_argument("what", metavar="SEED|TAPE", help="a seed, or the file of a tape, which brings its own settings")
