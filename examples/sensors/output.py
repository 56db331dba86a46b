"""What the programs print: lines for people, or one JSON object for each line where another program reads them."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, BOLD, DIM = "31", "32", "33", "34", "35", "36", "1", "2"
_COLOURS = (CYAN, GREEN, MAGENTA, BLUE)


def has_colour() -> bool:
    """Whether whoever reads this wants colours."""
    if os.environ.get("NO_COLOR"):
        return False
    return sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))


def painted(text: str, *codes: str) -> str:
    """The text in a colour, where there are colours."""
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if has_colour() else text


def colour_of(name: str) -> str:
    """Each node has a colour of its own."""
    digits = "".join(letter for letter in name if letter.isdigit())
    return _COLOURS[int(digits or 0) % len(_COLOURS)]


class Reporter:
    """Prints what happens in one program."""

    def __init__(self, who: str, *, as_json: bool) -> None:
        self.who = who
        self.as_json = as_json

    def say(self, what: str, text: str, **facts: Any) -> None:
        """Something has happened: a word for programs, a text for people, and the facts."""
        if self.as_json:
            print(json.dumps({"who": self.who, "what": what, "text": text, **facts}), flush=True)
        else:
            print(line(self.who, text), flush=True)


def line(who: str, text: str) -> str:
    """A line for people."""
    clock = painted(time.strftime("%H:%M:%S"), DIM)
    return f"{clock} {painted(f'{who:<8}', colour_of(who), BOLD)} {text}"
