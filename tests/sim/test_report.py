"""The page of a run: that the data in it are those of the timeline, and that nothing in them can break it."""

from __future__ import annotations

import json
import random
import re
from base64 import b64decode
from html.parser import HTMLParser
from itertools import accumulate
from pathlib import Path
from typing import Any
from zlib import decompress

import pytest

from casty_proto.machine import SECOND
from casty_sim.__main__ import main
from casty_sim.html import PLAIN_MAX, SCRIPTS, TEXT_MAX, About, content, page
from casty_sim.scenario import Settings, run
from casty_sim.scenarios import SCENARIOS
from casty_sim.tape import Tape
from casty_sim.timeline import DOWN, OWNS, Operation, Timeline, Verdict
from casty_sim.trace import Trace

ABOUT = About("a run", {"seed": "7"}, "python -m casty_sim replay toy 7")
KIB = 1024


class _Elements(HTMLParser):
    """The elements of a page, and the text of its data."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self.form = ""
        self.title = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self._inside = tag
        if tag == "script" and found.get("id") == "data":
            self.form = found["data-form"] or ""
            self._inside = "data"

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "data":
            self.data += data
        elif self._inside == "title":
            self.title += data


def read(text: str) -> tuple[_Elements, dict[str, Any]]:
    """The elements of a page, and its data."""
    elements = _Elements()
    elements.feed(text)
    data = elements.data
    return elements, json.loads(decompress(b64decode(data)) if elements.form == "deflate" else data)


def small() -> Timeline:
    """A run in which a little of everything happens."""
    timeline = Timeline()
    timeline.host("b")
    timeline.begin(0, "a", DOWN, text="not started yet")
    timeline.up(5, "a", "start 1")
    timeline.role(5, "a", "follower")
    timeline.role(9, "a", "leader", "term 2")
    timeline.begin(10, "a", OWNS, "boss/0", "boss/0 at epoch 3")
    timeline.message(30, "a", "b", "Ping", "Ping(2)", ())
    timeline.message(20, "a", "b", "Ping", "Ping(1)", (25, 40))
    timeline.mark(21, "", "fault", "crash b")
    timeline.log(22, "b", "warning", "I do not feel well")
    timeline.operation(Operation("c10", "c10", "x", 12, "read x", 18, result="1", verdict=Verdict.LINEARIZABLE))
    timeline.operation(Operation("c9", "c9", "x", 14, "write x := 1", gave_up_at=20))
    timeline.down(50, "a", "power cut")
    timeline.broke(60, "a rule", "was broken")
    timeline.close(60)
    return timeline


def rows(found: dict[str, Any], name: str, *columns: str) -> list[tuple[Any, ...]]:
    """A table of the data, with instants, and texts and lanes in place of their numbers."""
    table = found[name]
    values = []
    for column in columns:
        if column == "at":
            values.append(list(accumulate(table["at"])))
        elif column in ("lane", "from", "to"):
            values.append([found["lanes"][each] for each in table[column]])
        elif column in ("kind", "text", "why", "level", "name", "role", "client", "key", "result"):
            values.append([found["strings"][each] for each in table[column]])
        else:
            values.append(table[column])
    return list(zip(*values, strict=True))


def test_the_data_of_a_page_are_those_of_the_timeline_in_the_order_of_time() -> None:
    found = content(small(), ABOUT)
    assert found["lanes"] == ["", "b", "a", "c9", "c10"]
    assert found["clients"] == [3, 4]
    assert found["end"] == 60
    assert found["broken"] == {"at": 60, "rule": "a rule", "text": "was broken"}
    assert rows(found, "messages", "at", "from", "to", "kind", "text", "count") == [
        (20, "a", "b", "Ping", "Ping(1)", 2),
        (30, "a", "b", "Ping", "Ping(2)", 0),
    ]
    assert found["messages"]["took"] == [5, 20]
    assert [found["fates"][each] for each in found["messages"]["fate"]] == ["duplicated", "dropped"]
    assert rows(found, "marks", "at", "lane", "kind", "text") == [
        (5, "a", "start", "start 1"),
        (21, "", "fault", "crash b"),
    ]
    assert rows(found, "logs", "at", "lane", "level", "text") == [(22, "b", "warning", "I do not feel well")]
    assert rows(found, "spans", "at", "took", "lane", "kind", "name", "text") == [
        (0, 5, "a", "down", "", "not started yet"),
        (10, 40, "a", "owns", "boss/0", "boss/0 at epoch 3"),
        (50, 10, "a", "down", "", "power cut"),
    ]
    assert rows(found, "operations", "at", "took", "answered", "lane", "text", "result") == [
        (12, 6, 1, "c10", "read x", "1"),
        (14, 6, 0, "c9", "write x := 1", ""),
    ]
    assert [found["verdicts"][each] for each in found["operations"]["verdict"]] == ["linearizable", "not checked"]


def test_a_role_ends_with_the_next_one_or_when_the_host_goes_down() -> None:
    timeline = small()
    timeline.role(7, "b", "follower")
    timeline.role(7, "b", "leader")
    assert rows(content(timeline, ABOUT), "roles", "at", "took", "lane", "role", "text") == [
        (5, 4, "a", "follower", ""),
        (7, 53, "b", "leader", ""),
        (9, 41, "a", "leader", "term 2"),
    ]


def test_a_page_is_one_file_that_asks_for_nothing() -> None:
    text = page(small(), ABOUT)
    elements, found = read(text)
    assert found == json.loads(json.dumps(content(small(), ABOUT)))
    assert elements.title == "a run"
    assert not [attributes for _, attributes in elements.tags if "src" in attributes]
    assert [attributes["href"] for tag, attributes in elements.tags if tag == "link"] == ["data:,"]
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text
    assert not re.search(r"@@\w+@@", text)


def test_no_text_of_a_run_can_break_out_of_the_page() -> None:
    nasty = "</script><script>alert(1)</script><!-- \u2028 \\ \" ' & @@data@@ 🦀"
    timeline = small()
    timeline.mark(23, "b", nasty, nasty)
    about = About(nasty, {nasty: nasty}, nasty, nasty)
    elements, found = read(page(timeline, about))
    assert elements.form == "plain"
    assert nasty in found["strings"]
    assert found["title"] == found["command"] == elements.title == nasty
    plain, _ = read(page(small(), ABOUT))
    assert [tag for tag, _ in elements.tags] == [tag for tag, _ in plain.tags]


def test_a_text_that_is_too_long_is_cut_and_says_so() -> None:
    timeline = small()
    timeline.mark(23, "b", "long", "x" * (TEXT_MAX + 50))
    assert "x" * TEXT_MAX + " … and 50 more characters" in content(timeline, ABOUT)["strings"]


def test_long_data_are_deflated() -> None:
    timeline = small()
    for number in range(PLAIN_MAX // 10):
        timeline.mark(number, "b", "tick", f"tick {number}")
    elements, found = read(page(timeline, ABOUT))
    assert elements.form == "deflate"
    assert found["marks"]["at"] == content(timeline, ABOUT)["marks"]["at"]


def test_a_short_run_is_a_small_file() -> None:
    timeline = Timeline()
    run(SCENARIOS["raft"], Tape(1), Settings(safety_ns=10 * SECOND), Trace(timeline=timeline))
    assert len(timeline.messages) > 500
    assert len(page(timeline, ABOUT).encode()) < 150 * KIB


def test_a_large_run_is_a_file_of_a_few_bytes_for_each_event() -> None:
    assert len(page(large(100_000), ABOUT).encode()) < 2000 * KIB


def test_the_page_has_all_of_its_parts() -> None:
    folder = Path(__file__).parent.parent.parent / "casty_sim" / "report_page"
    assert sorted(each.name for each in folder.iterdir()) == sorted([*SCRIPTS, "page.css", "page.html"])


# -- the command line --------------------------------------------------------------------------------------------------


def test_replay_draws_a_run_and_says_how_to_run_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.html"
    assert main(f"replay raft 4 --nodes 3 --duration 2 --report {path}".split()) == 0
    with_report = capsys.readouterr()
    assert str(path) in with_report.err
    _, found = read(path.read_text(encoding="utf-8"))
    assert found["title"] == "raft, seed 4"
    assert found["command"] == "python -m casty_sim replay raft 4 --nodes 3 --duration 2.0"
    facts = dict(found["facts"])
    assert facts["digest"] in with_report.out
    assert {"scenario", "seed", "hosts", "faults and options drawn", "simulated", "version"} <= set(facts)
    assert found["broken"] is None
    assert main(["replay", "raft", "4", "--nodes", "3", "--duration", "2"]) == 0
    assert capsys.readouterr().out == with_report.out


def test_a_campaign_draws_its_first_failure_and_nothing_when_all_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "first.html"
    assert main(f"run raft --seeds 1 --duration 1 --jobs 1 --report {path}".split()) == 0
    assert not path.exists()
    planted = "--duration 2 --jobs 1 --mutant AnswerAtOnce"
    assert main(f"run raft --seeds 20 {planted} --report {path}".split()) == 1
    said = capsys.readouterr().out
    _, found = read(path.read_text(encoding="utf-8"))
    assert found["broken"]["rule"] in said
    assert found["command"] in said
    assert dict(found["facts"])["planted bug"] == "AnswerAtOnce of tests.sim.mutants"


def test_shrink_draws_the_smallest_run_and_names_its_tape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, tape = tmp_path / "small.html", tmp_path / "small.tape"
    arguments = f"shrink raft 0 --mutant AnswerAtOnce --seconds 1 --save {tape} --report {path}"
    assert main(arguments.split()) == 1
    _, found = read(path.read_text(encoding="utf-8"))
    assert found["broken"]["rule"] == "durability"
    assert str(tape) in found["command"]
    again = tmp_path / "again.html"
    assert main(f"{found['command'].partition('casty_sim ')[2]} --report {again}".split()) == 1
    _, same = read(again.read_text(encoding="utf-8"))
    assert (same["messages"], same["broken"]) == (found["messages"], found["broken"])


def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["replay", "raft", "4", "--report", "/no/such/folder/x.html"])
    assert ended.value.code == 2
    assert "cannot be written" in capsys.readouterr().err


def large(messages: int, hosts: int = 12, seed: int = 1) -> Timeline:
    """A long run: so many messages, a tenth as many marks, spans, roles, operations, and a violation."""
    draw = random.Random(seed)
    names = [f"n{number}" for number in range(1, hosts + 1)]
    timeline = Timeline()
    for name in names:
        timeline.begin(0, name, DOWN, text="not started yet")
        timeline.up(draw.randrange(1000), name, "start 1")
        timeline.role(1000, name, "follower", "term 1")
    at = 2000
    for number in range(messages):
        at += draw.randrange(1, 200_000)
        source, target = draw.sample(names, 2)
        chance = draw.random()
        late = 500_000 + draw.randrange(500_000) + (draw.randrange(10**9) if chance > 0.98 else 0)
        arrivals = () if chance < 0.03 else (at + late, at + 2 * late) if chance < 0.06 else (at + late,)
        why = "lost by chance" if not arrivals else "it takes long" if late > 1_000_000 else ""
        kind = draw.choice(("AppendEntries", "AppendAccepted", "Heartbeat", "Ping", "Ack"))
        timeline.message(at, source, target, kind, f"{kind}(number={number % 5000})", arrivals, why)
        if number % 10 == 0:
            timeline.mark(at, source, "applies", f"{number} to {number + 3}")
        if number % 997 == 0:
            timeline.role(at, source, draw.choice(("leader", "follower", "candidate")), f"term {number // 997}")
        if number % 1499 == 0:
            timeline.down(at, target, "power cut")
            timeline.up(at + 50_000_000, target, "start again")
            timeline.role(at + 50_000_000, target, "follower")
        if number % 200 == 0:
            lane = f"c{number // 200 % 3}"
            timeline.operation(Operation(lane, lane, "x", at, f"write x := {number}", at + 3_000_000))
    timeline.broke(at // 2, "a rule", "was broken in the middle")
    timeline.close(at)
    return timeline
