"""`python -m tests.campaigns processes` or `forming`, each with `--help`."""

from __future__ import annotations

import sys

from . import forming, processes

CAMPAIGNS = {"processes": processes.main, "forming": forming.main}


def main(arguments: list[str]) -> int:
    """0: nothing was found. 1: something was, and how to see it again is printed. 2: that is no campaign."""
    if arguments[:1] and arguments[0] in CAMPAIGNS:
        return CAMPAIGNS[arguments[0]](arguments[1:])
    print(f"usage: python -m tests.campaigns {{{','.join(CAMPAIGNS)}}} [--help]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
