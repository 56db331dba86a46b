"""Lines of the log."""

from __future__ import annotations


def one_line(text: str) -> str:
    """What was said by others, for the log: it cannot pass for another line, or steer a terminal."""
    return text if text.isprintable() else "".join([char if char.isprintable() else "?" for char in text])
