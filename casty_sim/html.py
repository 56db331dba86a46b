"""One HTML file that shows a run: a lane for each host, messages as arrows, and whatever else a timeline has.

The file needs nothing but a browser: style, script and data are in it, and it asks no network for anything. Data are
columns of numbers, with differences in place of instants, and a table of all texts; when they are long they are
deflated, and the browser inflates them. What draws them is in `report_page`.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any
from zlib import compress

from attrs import field, frozen

from .timeline import DOWN, Fate, Role, Timeline, Verdict

FORMAT = 1
TEXT_MAX = 2000
"""Longer texts of events are cut here."""
PLAIN_MAX = 32 * 1024
"""Data up to this many characters are left readable in the file."""
SCRIPTS = ("data.js", "layout.js", "draw.js", "page.js")
FATES = tuple(Fate)
VERDICTS = tuple(Verdict)
_VERDICTS = {each: number for number, each in enumerate(VERDICTS)}


@frozen
class About:
    """What the head of a report says."""

    title: str
    facts: dict[str, str] = field(factory=dict)
    """Seed, options, faults, version and so on, by name, in the order in which they are shown."""
    command: str = ""
    """What to type to run it again."""
    traceback: str = ""


def page(timeline: Timeline, about: About) -> str:
    """The report as the text of an HTML file. The timeline must have been closed."""
    data, form = packed(json.dumps(content(timeline, about), separators=(",", ":"), ensure_ascii=False))
    parts = {
        "title": escape(about.title),
        "style": _asset("page.css"),
        "script": "\n".join(_asset(name) for name in SCRIPTS),
        "form": form,
        "data": data,
    }
    # All at once: what is put in may look like a place itself.
    return re.sub(r"@@(\w+)@@", lambda found: parts[found[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return files(__package__).joinpath("report_page", name).read_text(encoding="utf-8")


def packed(text: str) -> tuple[str, str]:
    """The data as they stand in a script element, and in what form: plain, or deflated and in base 64."""
    if len(text) <= PLAIN_MAX:
        # A "<" could end the element.
        return text.replace("<", "\\u003c"), "plain"
    return b64encode(compress(text.encode(), 9)).decode(), "deflate"


# Columns -------------------------------------------------------------------------------------------------------------


class _Texts:
    """Each text once; others point to it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        if len(text) > TEXT_MAX:
            text = f"{text[:TEXT_MAX]} … and {len(text) - TEXT_MAX} more characters"
        return self._numbers.setdefault(text, len(self._numbers))

    def all(self) -> list[str]:
        return list(self._numbers)


def content(timeline: Timeline, about: About) -> dict[str, Any]:
    """What the script of the page reads. See `report_page/data.js` for how."""
    text = _Texts()
    lane = _lanes(timeline)
    broken = timeline.broken
    columns = {
        "messages": _messages(timeline, text, lane),
        "marks": _columns(
            sorted([(each.at, lane[each.host], text(each.kind), text(each.text)) for each in timeline.marks]),
            ("at", "lane", "kind", "text"),
        ),
        "logs": _columns(
            sorted([(each.at, lane[each.host], text(each.level), text(each.text)) for each in timeline.logs]),
            ("at", "lane", "level", "text"),
        ),
        "spans": _spans(timeline, text, lane),
        "roles": _roles(timeline, text, lane),
        "operations": _operations(timeline, text, lane),
    }
    return {
        "format": FORMAT,
        "title": about.title,
        "facts": list(about.facts.items()),
        "command": about.command,
        "traceback": about.traceback,
        "end": timeline.ended_at,
        "broken": None if broken is None else {"at": broken.at, "rule": broken.rule, "text": broken.text},
        "lanes": list(lane),
        "clients": sorted([lane[name] for name in timeline.clients]),
        "fates": [each.value for each in FATES],
        "verdicts": [each.value for each in VERDICTS],
        **columns,
        "strings": text.all(),
    }


def _lanes(timeline: Timeline) -> dict[str, int]:
    """The number of each lane. The first, with an empty name, is for what concerns the whole world."""
    names = dict.fromkeys(["", *timeline.hosts])
    for message in timeline.messages:
        names.setdefault(message.source)
        names.setdefault(message.target)
    names |= dict.fromkeys([each.host for each in timeline.marks if each.host not in timeline.clients])
    names |= dict.fromkeys([each.host for each in timeline.logs])
    names |= dict.fromkeys(sorted(timeline.clients, key=_natural))
    return {name: number for number, name in enumerate(names)}


def _natural(name: str) -> list[tuple[int, str]]:
    """An order in which "c10" comes after "c9"."""
    return [(int(each) if each.isdecimal() else -1, each) for each in re.split(r"(\d+)", name)]


def _columns(rows: Iterable[tuple[int, ...]], names: tuple[str, ...]) -> dict[str, list[int]]:
    """Rows in order of time as columns. The first column is instants, of which the differences are kept."""
    columns: dict[str, list[int]] = {name: [] for name in names}
    before = 0
    for at, *others in rows:
        columns[names[0]].append(at - before)
        before = at
        for name, value in zip(names[1:], others, strict=True):
            columns[name].append(value)
    return columns


def _messages(timeline: Timeline, text: _Texts, lane: dict[str, int]) -> dict[str, list[int]]:
    rows = [
        (each.at, lane[each.source], lane[each.target], text(each.kind), text(each.text), FATES.index(fate), text(why))
        for each, (fate, why) in zip(timeline.messages, timeline.fates(), strict=True)
    ]
    order = sorted(range(len(rows)), key=lambda number: rows[number][0])
    columns = _columns([rows[number] for number in order], ("at", "from", "to", "kind", "text", "fate", "why"))
    messages = [timeline.messages[number] for number in order]
    columns["count"] = [len(each.arrivals) for each in messages]
    columns["took"] = [at - each.at for each in messages for at in each.arrivals]
    return columns


def _spans(timeline: Timeline, text: _Texts, lane: dict[str, int]) -> dict[str, list[int]]:
    rows = []
    for each in timeline.spans:
        took = (timeline.ended_at if each.ended_at is None else each.ended_at) - each.began_at
        rows.append((each.began_at, took, lane[each.host], text(each.kind), text(each.name), text(each.text)))
    return _columns(sorted(rows), ("at", "took", "lane", "kind", "name", "text"))


def _roles(timeline: Timeline, text: _Texts, lane: dict[str, int]) -> dict[str, list[int]]:
    """A role ends with the next one of its host, or when the host goes down."""
    by_host: dict[str, list[Role]] = {}
    for role in timeline.roles:
        by_host.setdefault(role.host, []).append(role)
    rows = []
    for host, roles in by_host.items():
        ends = [each.at for each in roles]
        ends += [each.began_at for each in timeline.spans if each.host == host and each.kind == DOWN]
        ends.sort()
        last = {each.at: each for each in roles}
        for at, each in last.items():
            after = bisect_right(ends, at)
            end = ends[after] if after < len(ends) else timeline.ended_at
            rows.append((at, max(0, end - at), lane[host], text(each.role), text(each.text)))
    return _columns(sorted(rows), ("at", "took", "lane", "role", "text"))


def _operations(timeline: Timeline, text: _Texts, lane: dict[str, int]) -> dict[str, list[int]]:
    rows = []
    for each in timeline.operations:
        ends = [at for at in (each.returned_at, each.gave_up_at, timeline.ended_at) if at is not None]
        took = max(0, ends[0] - each.called_at)
        what = (text(each.client), text(each.key), text(each.text), text(each.result))
        answered = int(each.returned_at is not None)
        rows.append((each.called_at, took, answered, lane[each.lane], *what, _VERDICTS[each.verdict], each.place or 0))
    names = ("at", "took", "answered", "lane", "client", "key", "text", "result", "verdict", "place")
    return _columns(sorted(rows), names)
