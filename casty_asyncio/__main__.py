"""`python -m casty_asyncio`: a look at a cluster that runs.

python -m casty_asyncio inspect 127.0.0.1:25520 --name shop
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from typing import Any

from casty_proto.address import AddressError, NodeAddress

from .cluster.lines import one_line
from .cluster.status import STATUS, GetStatus
from .errors import AskTimeoutError, CastyError, UnreachableError
from .runner import run
from .system import ActorSystem
from .transport import Remote, Tls

_GREEN, _YELLOW, _RED, _BOLD, _DIM = "32", "33", "31", "1", "2"
_STATUS_COLOURS = {"up": _GREEN, "leaving": _YELLOW, "unreachable": _RED}


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when the node has answered, 1 when not, 2 for a call that makes no sense, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.CRITICAL)  # What goes wrong is said below, once.
    try:
        return run(_inspect(options))
    except BrokenPipeError:
        # Nobody reads it any more, such as `head`, which has what it wanted.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1
    except (CastyError, AddressError, OSError) as error:
        print(f"casty: {one_line(str(error))}{_hint(error)}", file=sys.stderr)
        return 2 if isinstance(error, AddressError) else 1
    except KeyboardInterrupt:
        return 130


def _hint(error: Exception) -> str:
    """What to do about an error that says it of a program, and not of this command."""
    return "; the name of the system is given by --name" if "do not talk to each other" in str(error) else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="casty", description="A look at a cluster that runs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect = commands.add_parser(
        "inspect", help="members, leader, shards, singletons, services and traffic, as one node sees them"
    )
    inspect.add_argument("address", metavar="HOST:PORT", help="where a node of the cluster can be dialled")
    inspect.add_argument("--name", default="casty", help="the name of its actor system (default: casty)")
    inspect.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    inspect.add_argument("--json", action="store_true", help="as JSON, for scripts; with --watch one line each time")
    inspect.add_argument("--timeout", type=float, default=5.0, help="seconds to wait for an answer (default: 5)")
    inspect.add_argument(
        "--secret-file",
        metavar="FILE",
        help="a file with the secret; or CASTY_SECRET in the environment",
    )
    tls = inspect.add_argument_group("TLS", "all three, as PEM files")
    tls.add_argument("--ca", metavar="FILE", help="the certificates that are trusted")
    tls.add_argument("--cert", metavar="FILE", help="the certificate to show")
    tls.add_argument("--key", metavar="FILE", help="its key")
    return parser


async def _inspect(options: argparse.Namespace) -> int:
    address = NodeAddress.parse(options.address)
    remote = Remote(secret=_secret(options), tls=_tls(options), connect_timeout=options.timeout)
    async with ActorSystem(options.name, remote=remote) as system:
        while True:
            shown = time.monotonic()
            try:
                async with asyncio.timeout(options.timeout):
                    status = await _ask(system, address, options)
            except TimeoutError as error:
                raise AskTimeoutError(f"{address} did not answer within {options.timeout:g} s") from error
            if options.json:
                print(json.dumps(status, indent=None if options.watch else 2), flush=True)
            else:
                # Written over what was there, so that nothing flickers.
                before, after = ("\x1b[H", "\x1b[J") if options.watch and sys.stdout.isatty() else ("", "")
                lines = render(status, colour=_has_colour())
                print(before + "\n".join([f"{line}\x1b[K" if before else line for line in lines]) + after, flush=True)
            if not options.watch:
                return 0
            await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - shown)))


async def _ask(system: ActorSystem, address: NodeAddress, options: argparse.Namespace) -> dict[str, Any]:
    ref = await system.lookup(f"casty://{options.name}@{address}/{STATUS}")
    if ref is None:
        raise UnreachableError(f"{address} is an actor system, and no node of a cluster")
    status: dict[str, Any] = await system.ask(ref, lambda r: GetStatus(reply_to=r), timeout=options.timeout)
    return status


def _secret(options: argparse.Namespace) -> str | None:
    """Not an argument: those can be read by everybody on the machine."""
    if options.secret_file is None:
        return os.environ.get("CASTY_SECRET") or None
    with open(options.secret_file) as file:
        return file.read().strip()


def _tls(options: argparse.Namespace) -> Tls | None:
    given = [options.ca, options.cert, options.key]
    if not any(given):
        return None
    if not all(given):
        raise CastyError("--ca, --cert and --key go together")
    return Tls(certificate=options.cert, key=options.key, ca=options.ca)


# Showing it ----------------------------------------------------------------------------------------------------------


def _has_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def render(status: dict[str, Any], *, colour: bool) -> list[str]:
    """A status as lines of text."""

    def paint(text: str, *codes: str) -> str:
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if colour else text

    status = _harmless(status)
    leader = status["leader"] or paint("none", _RED)
    lines = [
        f"{paint(status['system'], _BOLD)}  founded by {status['cluster'] or 'nobody yet'}",
        f"leader {leader}, term {status['term']}, epoch {status['epoch']}; seen by {status['node']}, which is "
        f"{status['standing']}",
        "",
    ]
    lines += _table(
        ["MEMBER", "ADDRESS", "STATUS", "VOTES", "ROLES", "SHARDS"],
        [
            [
                member["node"] + (" *" if member["leader"] else ""),
                member["address"],
                (member["status"], _STATUS_COLOURS.get(member["status"], _DIM)),
                "yes" if member["votes"] else "no",
                ", ".join(member["roles"]) or "-",
                str(sum(kind["shards_per_node"].get(member["node"], 0) for kind in status["types"])),
            ]
            for member in status["members"]
        ],
        paint,
    )
    lines += _table(
        ["TYPE", "SHARDS", "COPIES", "SYNC", "ROLE", "SHARDS PER NODE"],
        [
            [
                kind["name"],
                str(kind["shards"]),
                str(kind["factor"]),
                "all" if kind["sync_count"] == -1 else str(kind["sync_count"]),
                kind["role"] or "-",
                ", ".join([f"{node} {count}" for node, count in kind["shards_per_node"].items()]),
            ]
            for kind in status["types"]
        ],
        paint,
    )
    lines += _table(
        ["SINGLETON", "NODE"],
        [[one["name"], (one["node"], _GREEN) if one["node"] else ("nobody", _RED)] for one in status["singletons"]],
        paint,
    )
    lines += _table(
        ["SERVICE", "INSTANCES"],
        [[service["key"], ", ".join(service["instances"])] for service in status["services"]],
        paint,
    )
    lines += _table(["NAME", "NODE", "PATH"], [[n["name"], n["node"], n["path"]] for n in status["names"]], paint)
    traffic = status["traffic"]
    lines.append(paint("THIS NODE", _DIM))
    lines.append(
        f"{traffic['messages_sent']} messages sent, {traffic['messages_received']} received; "
        f"{traffic['shards_here']} shards, {traffic['entities_here']} entities awake; "
        f"{traffic['asks_under_way']} asks under way; {traffic['dead_letters']} dead letters"
    )
    lines += [paint(f"! {gap}", _YELLOW) for gap in status["gaps"]]
    return lines


def _harmless(thing: Any) -> Any:
    """The same, with no text in it that steers a terminal: others have chosen their names themselves."""
    match thing:
        case str():
            return one_line(thing)
        case list():
            return [_harmless(each) for each in thing]
        case dict():
            return {one_line(str(key)): _harmless(each) for key, each in thing.items()}
        case _:
            return thing


def _table(head: list[str], rows: list[list[Any]], paint: Any) -> list[str]:
    """Columns as wide as what is in them. A cell is a text, or a text and its colour. Nothing for no rows."""
    if not rows:
        return []
    texts = [[cell if isinstance(cell, str) else cell[0] for cell in row] for row in rows]
    widths = [max(len(line[place]) for line in [head, *texts]) for place in range(len(head))]
    lines = [paint("  ".join([text.ljust(width) for text, width in zip(head, widths, strict=True)]).rstrip(), _DIM)]
    for row in rows:
        cells = []
        for cell, width in zip(row, widths, strict=True):
            text, code = (cell, None) if isinstance(cell, str) else cell
            cells.append(paint(text, code) + " " * (width - len(text)) if code else text.ljust(width))
        lines.append("  ".join(cells).rstrip())
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
