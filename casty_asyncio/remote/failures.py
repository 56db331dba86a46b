"""What went wrong with an ask, as it is sent: the kind of failure, a text, and the exception that was the cause."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from ..errors import (
    ActorFailedError,
    ActorStoppedError,
    AskError,
    MailboxFullError,
    NotHandledError,
    OutcomeUnknownError,
    ReplicationError,
    UnreachableError,
    described,
)

_TEXT_MAX = 4000
_TRACEBACK_MAX = 20_000
_LINE_MAX = 500

_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        ActorFailedError,
        ActorStoppedError,
        AskError,
        MailboxFullError,
        NotHandledError,
        OutcomeUnknownError,
        ReplicationError,
        UnreachableError,
    )
}
"""What an ask can fail with elsewhere. Whatever else it is, is an `AskError`."""


def failure_parts(error: Exception) -> tuple[str, str, BaseException | None, str]:
    """An exception as it is sent: the kind of failure, what happened, the cause and its traceback."""
    cause = error.__cause__
    if cause is None:
        return type(error).__name__, described_text(error), None, ""
    trace = "\n".join([clipped(line) for line in _traceback_of(cause).splitlines()])
    return type(error).__name__, described_text(error), cause, sendable(trace[-_TRACEBACK_MAX:])


def _traceback_of(error: BaseException) -> str:
    """Where it was raised, in files as they are imported: `shop/orders.py`. Where a program is installed is nobody's
    business elsewhere; and so the same failure is as long on every machine."""
    told = traceback.TracebackException.from_exception(error)
    for part in _chain(told):
        for frame in part.stack:
            frame.filename = _as_imported(frame.filename)
            # Versions of Python differ in how they mark the place in a line.
            frame.colno = frame.end_colno = None
    return "".join(told.format())


def _chain(told: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """It, and all that it is told with. Chains may be longer than a program can recurse."""
    left: list[traceback.TracebackException | None] = [told]
    while left:
        part = left.pop()
        if part is not None:
            yield part
            left += [part.__cause__, part.__context__, *(part.exceptions or ())]


def _as_imported(file: str) -> str:
    """A file, relative to the longest entry of the import path that it is below."""
    below = [root for entry in sys.path if entry and file.startswith(root := os.path.join(entry, ""))]
    return file[len(max(below, key=len)) :] if below else file


def failure_of(parts: Any) -> Exception:
    """What is raised to whoever asked. Raises `ValueError` for what is no failure."""
    if not (type(parts) is tuple and [type(part) for part in parts][:2] == [str, str] and len(parts) == 4):
        raise ValueError("a failure is not made of a kind, a text, a cause and a traceback")
    kind, text, cause, trace = parts
    if not isinstance(cause, BaseException | None) or type(trace) is not str:
        raise ValueError("a failure has a cause that is no exception")
    error = _KINDS.get(kind, AskError)(text)
    if cause is not None:
        if trace:
            cause.add_note(f"Traceback of the process where it was raised:\n{trace}")
        error.__cause__ = cause
    return error


def described_text(error: BaseException) -> str:
    """What an exception says, as long as it may be."""
    try:
        text = str(error)
    except Exception:
        text = described(error)
    return sendable(text[:_TEXT_MAX])


def sendable(text: str) -> str:
    """The text without what cannot be encoded."""
    return text.encode(errors="backslashreplace").decode()


def clipped(line: str) -> str:
    """A line of a traceback. The text of an exception must not crowd out where it was raised."""
    return line if len(line) <= _LINE_MAX else f"{line[:_LINE_MAX]}... ({len(line)} characters)"
