"""The clocks of a host. All of them show its simulated time; nothing takes processor time."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, Any

from casty_proto.machine import SECOND

from ..boundary import refuse
from .replace import Method, Place, class_method

if TYPE_CHECKING:
    from ..loop import SimLoop

EPOCH_NS = 946_684_800 * SECOND
"""Every world begins on the first of January 2000, and its hosts are in no other time zone than UTC."""


def wall_ns(loop: SimLoop) -> int:
    """The wall clock of the host."""
    return EPOCH_NS + loop.host.now()


def _sleep(loop: SimLoop, seconds: float) -> None:
    if loop.slept_ns is None:
        refuse("time.sleep")
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    loop.sleep_in_thread(seconds)


def _or_now(original: Any) -> Any:
    return lambda loop, seconds=None: original(wall_ns(loop) // SECOND if seconds is None else seconds)


def _structured(original: Any) -> Any:
    return lambda loop, when=None: original(time.gmtime(wall_ns(loop) // SECOND) if when is None else when)


def _formatted(loop: SimLoop, text: str, when: Any = None) -> str:
    return _strftime(text, time.gmtime(wall_ns(loop) // SECOND) if when is None else when)


_gmtime, _strftime, _asctime = time.gmtime, time.strftime, time.asctime


def places() -> list[Place]:
    """The functions of `time`."""
    elapsed: Any = ("monotonic", "perf_counter")
    found = [Place(time, name, lambda loop: loop.host.now() / 1e9) for name in elapsed]
    found += [Place(time, f"{name}_ns", lambda loop: loop.host.now()) for name in elapsed]
    found += [Place(time, name, lambda _: 0.0) for name in ("process_time", "thread_time")]
    found += [Place(time, f"{name}_ns", lambda _: 0) for name in ("process_time", "thread_time")]
    return [
        *found,
        Place(time, "time", lambda loop: wall_ns(loop) / 1e9),
        Place(time, "time_ns", wall_ns),
        Place(time, "sleep", _sleep),
        Place(time, "gmtime", _or_now(_gmtime)),
        Place(time, "localtime", _or_now(_gmtime)),
        Place(time, "ctime", lambda loop, seconds=None: _asctime(_or_now(_gmtime)(loop, seconds))),
        Place(time, "asctime", _structured(_asctime)),
        Place(time, "strftime", _formatted),
    ]


def _now(loop: SimLoop, kind: Any, tz: Any = None) -> Any:
    seconds, rest = divmod(wall_ns(loop), SECOND)
    exact = kind.fromtimestamp(seconds, datetime.UTC).replace(microsecond=rest // 1000)
    return exact.replace(tzinfo=None) if tz is None else exact.astimezone(tz)


def _today(loop: SimLoop, kind: Any) -> Any:
    # `datetime` inherits it.
    now = _now(loop, datetime.datetime)
    return now if issubclass(kind, datetime.datetime) else kind.fromordinal(now.toordinal())


def methods() -> list[Method]:
    """The methods of `datetime`."""
    return [
        class_method(datetime.datetime, "now", _now),
        class_method(datetime.datetime, "utcnow", _now),
        class_method(datetime.date, "today", _today),
    ]
