"""What happened in a world: a digest of all of it, and, when somebody wants to look, a line for each event.

The digest is what determinism is measured by. It takes in the instant, the host and the kind of every event, the whole
payload, and the states of the machines at fixed intervals and at the end; two runs with equal digests did the same.
Payloads are turned into plain tuples first (`plain`), because neither `hash` nor `repr` can be relied upon: one depends
on the hash seed, the other on addresses.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from enum import Enum
from hashlib import blake2b
from operator import attrgetter
from random import Random
from typing import Any
from zlib import crc32

from attrs import fields, frozen, has, resolve_types

from casty_proto.machine import MILLISECOND, SECOND, Instant

from .timeline import Timeline

BATCH = 512
"""So many events at a time are taken into the digest."""

_ATOMS = (int, str, bytes, bool, float, type(None))
_getters: dict[type[Any], Callable[[Any], Any]] = {}


def plain(value: Any) -> Any:
    """A value as nested tuples of atoms, the same in every process. Raises `TypeError` for what it does not know."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    getter = _getters.get(kind)
    if getter is None:
        getter = _getters[kind] = _getter(kind)
    return getter(value)


def _getter(kind: type[Any]) -> Callable[[Any], Any]:
    # A number says as much as the name in a digest, and is taken in faster.
    number = crc32(kind.__qualname__.encode())
    if issubclass(kind, Enum):
        return lambda value: (number, value.name)
    if issubclass(kind, tuple | list):
        return lambda value: tuple([plain(each) for each in value])
    if issubclass(kind, dict):
        return lambda value: tuple([(plain(key), plain(each)) for key, each in value.items()])
    if issubclass(kind, bytearray | memoryview):
        return bytes
    if issubclass(kind, BaseException):
        return lambda value: (number, str(value))
    if issubclass(kind, Random):
        # Numbers that are still to come are choices, and these are on the tape.
        return lambda value: number
    if has(kind):
        return _of_attrs(number, kind)
    if hasattr(kind, "__slots__") and not hasattr(kind, "__dict__"):
        return _of_fields(number, [slot for base in reversed(kind.__mro__) for slot in getattr(base, "__slots__", ())])
    name = kind.__qualname__
    raise TypeError(f"{name} cannot be part of a digest: make it an attrs class, a tuple, or a plain value")


def _of_attrs(number: int, kind: type[Any]) -> Callable[[Any], Any]:
    """Fields that are atoms, as their types say, are taken as they are; only the others are looked into."""
    try:
        resolve_types(kind)
    except NameError:
        return _of_fields(number, [each.name for each in fields(kind)])
    flat = [each.name for each in fields(kind) if each.type in _ATOMS]
    deep = [each.name for each in fields(kind) if each.type not in _ATOMS]
    if not flat:
        return _of_fields(number, deep)
    get = attrgetter(*flat)
    if not deep:
        return lambda value: (number, get(value))
    if len(deep) == 1:
        only = attrgetter(deep[0])
        return lambda value: (number, get(value), plain(only(value)))
    several = attrgetter(*deep)
    return lambda value: (number, get(value), *map(plain, several(value)))


def _of_fields(number: int, names: list[str]) -> Callable[[Any], Any]:
    if not names:
        return lambda value: (number,)
    if len(names) == 1:
        only = attrgetter(names[0])
        return lambda value: (number, plain(only(value)))
    get = attrgetter(*names)
    return lambda value: (number, *map(plain, get(value)))


@frozen
class Line:
    """One event of a trace."""

    at: Instant
    host: str
    kind: str
    text: str
    peer: str = ""
    arrives: tuple[Instant, ...] = ()
    """For a message that was sent: when it arrives; nothing when it is lost."""

    def __str__(self) -> str:
        text = self.text
        if self.peer:
            late = ", ".join(f"+{(at - self.at) / MILLISECOND:.2f} ms" for at in self.arrives)
            text = f"to {self.peer}, {late or 'LOST'}: {text}"
        return f"{self.at / SECOND:10.6f}  {self.host:<8} {self.kind:<10} {text}"


class Trace:
    """Digests everything, keeps lines if it is told to, and feeds a timeline if it is given one."""

    def __init__(self, *, keep: bool = False, digest: bool = True, timeline: Timeline | None = None) -> None:
        self.lines: list[Line] | None = [] if keep else None
        self.timeline = timeline
        self.keeps = keep or timeline is not None
        """Whether anybody is going to look at what is noted."""
        self.digests = digest
        """Whether anybody is going to ask for the digest."""
        self.step: Callable[[Instant, int, str], object] | None = None
        """Who is told of every callback that an event loop runs: instant, host and name."""
        self.hosts: dict[int, str] = {}
        """The names of the hosts that events have the numbers of."""
        self._hash = blake2b(digest_size=16) if digest else None
        self._batch: list[Any] = []
        self.events = 0

    def event(self, at: Instant, host: int, kind: int, payload: Any) -> None:
        """Take in one event. Hosts and kinds are numbers here."""
        self.events += 1
        if self._hash is not None:
            batch = self._batch
            if payload is None:
                batch.append((at, host, kind))
            else:
                getter = _getters.get(type(payload))
                batch.append((at, host, kind, plain(payload) if getter is None else getter(payload)))
            if len(batch) >= BATCH:
                self._take_in(self._hash)

    def state(self, host: int, state: Any) -> None:
        """Take in the state of a machine, as its `fingerprint`."""
        if self._hash is not None:
            self._batch.append((host, plain(state)))

    def _take_in(self, digest: Any) -> None:
        # Version 2 of the format has no references, whose use depends on reference counts.
        digest.update(marshal.dumps(self._batch, 2))
        self._batch.clear()

    def note(self, at: Instant, host: str, kind: str, text: Callable[[], str] | str, finer: str = "") -> None:
        """Keep a line, and a mark on the timeline. `text` may be a function, which is called only when they are kept.

        `finer` is a narrower kind, by which a reader of the timeline can choose.
        """
        if self.keeps:
            words = text if isinstance(text, str) else text()
            if self.lines is not None:
                self.lines.append(Line(at, host, kind, words))
            if self.timeline is not None:
                self.timeline.mark(at, host, finer or kind, words)

    def started(self, at: Instant, host: str, text: str) -> None:
        """Keep that a host has started."""
        if self.lines is not None:
            self.lines.append(Line(at, host, "start", text))
        if self.timeline is not None:
            self.timeline.up(at, host, text)

    def logged(self, at: Instant, host: str, level: str, text: str) -> None:
        """Keep a line of a program's log."""
        if self.lines is not None:
            self.lines.append(Line(at, host, level.lower(), text))
        if self.timeline is not None:
            self.timeline.log(at, host, level, text)

    def broken(self, at: Instant, rule: str, problem: str) -> None:
        """Keep that a rule was broken."""
        if self.lines is not None:
            self.lines.append(Line(at, "", "BROKEN", problem))
        if self.timeline is not None:
            self.timeline.broke(at, rule, problem.removeprefix(f"{rule}: "))

    def sent(
        self, at: Instant, host: str, target: str, kind: str, text: str, arrivals: tuple[Instant, ...], why: str
    ) -> None:
        """Keep that a message was sent, and what becomes of it (`timeline.Message`)."""
        if self.lines is not None:
            self.lines.append(Line(at, host, "send", text, target, arrivals))
        if self.timeline is not None:
            self.timeline.message(at, host, target, kind, text, arrivals, why)

    @property
    def digest(self) -> str:
        """All of it so far, as hexadecimal digits."""
        if self._hash is None:
            return ""
        whole = self._hash.copy()
        whole.update(marshal.dumps(self._batch, 2))
        return whole.hexdigest()

    def text(self) -> str:
        """The kept lines."""
        return "\n".join(map(str, self.lines or ()))
