"""The clocks of a host. All of them show its simulated time; nothing takes processor time."""

from __future__ import annotations

import calendar
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


def _clock_ns(loop: SimLoop, clock: int) -> int:
    """The clock of that number: all but the wall's and those of processors show the time since the beginning."""
    if clock in _OF_THE_WALL:
        return wall_ns(loop)
    return 0 if clock in _OF_PROCESSORS else loop.host.now()


_OF_THE_WALL = {getattr(time, f"CLOCK_{name}", -1) for name in ("REALTIME", "TAI")}
_OF_PROCESSORS = {getattr(time, f"CLOCK_{name}", -1) for name in ("PROCESS_CPUTIME_ID", "THREAD_CPUTIME_ID", "PROF")}


def _mktime(_: SimLoop, when: Any) -> float:
    return float(calendar.timegm(tuple(when)))


_datetime_at = datetime.datetime.__dict__["fromtimestamp"]
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
        Place(time, "mktime", _mktime),
        Place(time, "clock_gettime", lambda loop, clock: _clock_ns(loop, clock) / 1e9),
        Place(time, "clock_gettime_ns", _clock_ns),
    ]


def _now(loop: SimLoop, kind: Any, tz: Any = None) -> Any:
    seconds, rest = divmod(wall_ns(loop), SECOND)
    exact = kind.fromtimestamp(seconds, datetime.UTC).replace(microsecond=rest // 1000)
    return exact.replace(tzinfo=None) if tz is None else exact.astimezone(tz)


def _today(loop: SimLoop, kind: Any) -> Any:
    # `datetime` inherits it.
    now = _now(loop, datetime.datetime)
    return now if issubclass(kind, datetime.datetime) else kind.fromordinal(now.toordinal())


def _from_timestamp(_: SimLoop, kind: Any, timestamp: float, tz: Any = None) -> Any:
    in_utc = _datetime_at.__get__(None, kind)
    return in_utc(timestamp, datetime.UTC).replace(tzinfo=None) if tz is None else in_utc(timestamp, tz)


def _date_from_timestamp(_: SimLoop, kind: Any, timestamp: float) -> Any:
    return kind.fromordinal(datetime.datetime.fromtimestamp(timestamp, datetime.UTC).toordinal())


def methods() -> list[Method]:
    """The methods of `datetime`."""
    return [
        class_method(datetime.datetime, "now", _now),
        class_method(datetime.datetime, "utcnow", _now),
        class_method(datetime.date, "today", _today),
        class_method(datetime.datetime, "fromtimestamp", _from_timestamp),
        class_method(datetime.date, "fromtimestamp", _date_from_timestamp),
    ]
