"""The page of a run in a browser, as a person uses it: open, zoom, filter, search, step, link, and no complaints.

The tests need a Chromium (`apt-get install chromium`); `.ci/run` installs one where it can.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from casty_sim.html import About, page
from casty_sim.scenario import Settings, run
from casty_sim.scenarios import SCENARIOS
from casty_sim.tape import Tape
from casty_sim.timeline import Timeline
from casty_sim.trace import Trace

from .browser import Browser, find
from .test_report import ABOUT, large, small

PATH = find()
MANY = 100_000

pytestmark = pytest.mark.skipif(PATH is None, reason="there is no Chromium on the path: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PATH is not None
    with Browser(PATH, tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The addresses of pages: a small run, one of Raft, and a large one."""
    folder = tmp_path_factory.mktemp("pages")
    raft = Timeline()
    run(SCENARIOS["raft"], Tape(1), Settings(), Trace(timeline=raft))
    made = {"small": small(), "raft": raft, "large": large(MANY)}
    for name, timeline in made.items():
        (folder / name).with_suffix(".html").write_text(page(timeline, ABOUT), encoding="utf-8")
    return {name: (folder / name).with_suffix(".html").as_uri() for name in made}


@pytest.fixture
def opened(browser: Browser, files: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Browser]:
    """The browser with a page in it, which complains of nothing from the first to the last."""
    browser.complaints.clear()
    browser.open(files[getattr(request, "param", "raft")])
    yield browser
    browser.run("1")
    assert browser.complaints == []


def view(browser: Browser) -> tuple[float, float]:
    begin, end = browser.run("[report.layout.begin, report.layout.end]")
    return begin, end


# A copy is read: reading a canvas often makes the browser draw it otherwise, and say so.
PIXELS = """(() => {
    const view = document.getElementById("view"), copy = document.createElement("canvas");
    copy.width = view.width;
    copy.height = view.height;
    const pen = copy.getContext("2d", { willReadFrequently: true });
    pen.drawImage(view, 0, 0);
    return pen.getImageData(0, 0, copy.width, copy.height).data;
})()"""


def colours(browser: Browser) -> int:
    """How many colours there are in the drawing."""
    return int(browser.run(f"new Set(new Uint32Array({PIXELS}.buffer)).size"))


def brightness(browser: Browser) -> int:
    """How bright the corner of the drawing is, from 0 to 765."""
    return int(browser.run(f"(() => {{ const all = {PIXELS}; return all[0] + all[1] + all[2]; }})()"))


def middle(browser: Browser) -> tuple[float, float]:
    """The middle of the drawing, on the page."""
    x, y = browser.run(
        "(() => { const box = document.getElementById('view').getBoundingClientRect();"
        " return [box.x + 120 + (box.width - 120) / 2, box.y + box.height / 2]; })()"
    )
    return x, y


def test_a_page_opens_and_shows_the_run(opened: Browser) -> None:
    assert opened.run("document.title") == "a run"
    assert opened.run("document.getElementById('verdict').textContent") == "all is well"
    assert opened.run("document.getElementById('command').textContent") == ABOUT.command
    assert colours(opened) > 20
    assert opened.run("document.querySelectorAll('#around li').length") > 10
    assert "leader" in opened.run("document.getElementById('legend').textContent")
    begin, end = view(opened)
    assert begin <= 0 < opened.run("report.data.end") <= end


@pytest.mark.parametrize("opened", ["small"], indirect=True)
def test_a_run_that_is_broken_opens_at_the_violation(opened: Browser) -> None:
    assert opened.run("document.getElementById('verdict').textContent") == "broken: a rule"
    assert opened.run("document.getElementById('problem').textContent") == "was broken"
    begin, end = view(opened)
    assert begin < 60 < end
    assert "a rule" in opened.run("document.getElementById('details').textContent")


def test_the_wheel_zooms_where_the_pointer_is(opened: Browser) -> None:
    x, y = middle(opened)
    before, under = view(opened), opened.run(f"report.layout.time({x})")
    opened.painted(lambda: opened.wheel(x, y, -500))
    after = view(opened)
    assert after[1] - after[0] < (before[1] - before[0]) / 2
    assert opened.run(f"report.layout.time({x})") == pytest.approx(under, rel=1e-6)
    opened.painted(lambda: opened.wheel(x, y, 500))
    assert view(opened) == pytest.approx(before, abs=1000)


def test_keys_zoom_move_and_show_everything_again(opened: Browser) -> None:
    before = view(opened)
    opened.painted(lambda: opened.press("+", "+"))
    near = view(opened)
    assert near[1] - near[0] == pytest.approx((before[1] - before[0]) / 2)
    opened.painted(lambda: opened.press("d", "d"))
    assert view(opened)[0] > near[0]
    opened.painted(lambda: opened.press("0", "0"))
    assert view(opened) == pytest.approx(before)


def test_a_drag_moves_and_a_drag_on_the_overview_jumps(opened: Browser) -> None:
    opened.painted(lambda: opened.run("report.layout.show(2e9, 4e9); report.redraw()"))
    x, y = middle(opened)
    opened.painted(lambda: opened.drag(x, y, x - 200))
    begin, end = view(opened)
    assert begin > 2e9
    assert end - begin == pytest.approx(2e9)
    top = opened.run("document.getElementById('overview').getBoundingClientRect().y")
    opened.painted(lambda: opened.click(x, top + 20))
    assert sum(view(opened)) / 2 == pytest.approx(opened.run("report.data.end") / 2, rel=0.05)


def test_arrow_keys_step_from_event_to_event(opened: Browser) -> None:
    opened.painted(lambda: opened.press("ArrowRight"))
    first = opened.run("report.state.selected")
    for _ in range(5):
        opened.painted(lambda: opened.press("ArrowRight"))
    assert opened.run("report.state.selected") == first + 5
    assert opened.run("""(() => {
        const frame = document.getElementById("around").getBoundingClientRect();
        const line = document.querySelector("#around [aria-current] time").getBoundingClientRect();
        const details = document.querySelector("#details h2").getBoundingClientRect();
        return line.top >= frame.top && line.bottom <= frame.bottom && details.top > 0 && details.bottom < frame.top;
    })()"""), "the line of the event is in view, and so are its details"
    opened.painted(lambda: opened.press("ArrowLeft"))
    assert opened.run("report.state.selected") == first + 4
    lane = opened.run("report.data.events.lane[report.state.selected]")
    opened.painted(lambda: opened.press("ArrowDown"))
    e = "report.data.events"
    selected = opened.run("report.state.selected")
    assert lane in opened.run(f"[{e}.lane[{selected}], {e}.other[{selected}]]")
    opened.painted(lambda: opened.press("Escape"))
    assert opened.run("report.state.selected") == -1


def test_arrivals_are_events_of_the_host_that_hears(opened: Browser) -> None:
    e = "report.data.events"
    heard = opened.run(f"{e}.type.indexOf(ARRIVAL)")
    opened.painted(lambda: opened.run(f"report.select({heard})"))
    details = "document.getElementById('details')"
    message = f"report.data.messages.message[{e}.ref[{heard}]]"
    assert "arrives" in opened.run(f"{details}.firstChild.textContent")
    assert opened.run(f"{e}.lane[{heard}] === report.data.messages.to[{message}]")
    opened.painted(lambda: opened.run(f"{details}.querySelector('button').click()"))
    assert opened.run(f"report.state.selected === {e}.idOf[MESSAGE][{message}]"), "the button leads to the sending"
    arrivals = f"{e}.type[id] === ARRIVAL"
    assert shown(opened, arrivals) > 100
    tick(opened, "kinds", "arrivals")
    assert shown(opened, arrivals) == 0
    opened.run("report.writeHash()")
    opened.open(opened.run("location.href"))
    assert shown(opened, arrivals) == 0


def test_a_message_can_be_clicked_and_says_what_became_of_it(opened: Browser) -> None:
    opened.painted(lambda: opened.run("report.layout.show(2e9, 3e9); report.redraw()"))
    x, y = opened.run("""(() => {
        const box = document.getElementById("view").getBoundingClientRect(), e = report.data.events;
        for (const i of report.painter.arrows) {
            const [x0, y0, x1, y1] = report.painter.lines(i)[0], x = (x0 + x1) / 2, y = (y0 + y1) / 2;
            if (x > 130 && report.painter.hit(x, y) === e.idOf[MESSAGE][i]) return [box.x + x, box.y + y];
        }
    })()""")
    opened.painted(lambda: opened.click(x, y))
    assert opened.run("report.data.events.type[report.state.selected] === MESSAGE")
    details = opened.run("document.getElementById('details').textContent")
    assert "fromn" in details
    assert "fate" in details


def shown(browser: Browser, condition: str) -> int:
    """How many of the events are shown that fulfil a condition on their number `id`."""
    script = f"report.state.shown.reduce((n, is, id) => n + (is && ({condition}) ? 1 : 0), 0)"
    return int(browser.run(script))


def tick(browser: Browser, box: str, text: str) -> None:
    """Click on a checkbox by its label."""
    browser.painted(
        partial(
            browser.run,
            f"[...document.querySelectorAll('#{box} label')]"
            f".find((each) => each.textContent.trim().startsWith({text!r})).firstElementChild.click()",
        )
    )


def test_lanes_and_kinds_can_be_hidden(opened: Browser) -> None:
    e = "report.data.events"
    lane = opened.run("report.data.lanes.indexOf('n2')")
    about = f"{e}.lane[id] === {lane} || {e}.other[id] === {lane}"
    assert shown(opened, about) > 0
    height = opened.run("report.layout.lanes.filter(Boolean).length")
    tick(opened, "lanes", "n2")
    assert shown(opened, about) == 0
    assert opened.run("report.layout.lanes.filter(Boolean).length") == height - 1
    heartbeats = f"{e}.kinds[{e}.kind[id]].label === 'Heartbeat'"
    assert shown(opened, heartbeats) > 0
    tick(opened, "kinds", "Heartbeat")
    assert shown(opened, heartbeats) == 0
    dropped = f"{e}.type[id] === MESSAGE && report.data.fates[report.data.messages.fate[{e}.ref[id]]] === 'dropped'"
    assert shown(opened, dropped) > 0
    tick(opened, "kinds", "dropped")
    assert shown(opened, dropped) == 0
    tick(opened, "lanes", "n2")
    assert shown(opened, about) > 0


def test_texts_are_searched_and_enter_goes_to_the_next_match(opened: Browser) -> None:
    opened.press("/", "/")
    opened.painted(lambda: opened.write("requestvote"))
    found = opened.run("report.state.found.length")
    assert 0 < found < opened.run("report.data.events.size")
    assert opened.run("document.getElementById('matches').textContent") == f"{found} found"
    opened.painted(lambda: opened.press("Enter", "\r"))
    first = opened.run("report.state.selected")
    assert opened.run("report.state.matched[report.state.selected]") == 1
    opened.painted(lambda: opened.press("Enter", "\r"))
    assert opened.run("report.state.selected") > first
    opened.painted(lambda: opened.run("document.getElementById('only').click()"))
    assert shown(opened, "true") == found


def test_a_link_leads_to_the_same_moment_event_and_filters(opened: Browser) -> None:
    opened.painted(lambda: opened.run("report.layout.show(3e9, 5e9); report.select(400)"))
    tick(opened, "lanes", "n3")
    opened.painted(lambda: opened.run("report.search('append', false)"))
    opened.run("report.writeHash()")
    link, before = opened.run("location.href"), view(opened)
    assert "#t=" in link
    opened.open(link)
    assert view(opened) == pytest.approx(before, abs=2)
    assert opened.run("report.state.selected") == 400
    assert opened.run("report.layout.on[report.data.lanes.indexOf('n3')]") is False
    assert opened.run("report.state.query") == "append"
    opened.painted(lambda: opened.run("location.hash = '#t=1000000000-1500000000&e=3'"))
    assert view(opened) == (1e9, 1.5e9)
    assert opened.run("report.state.selected") == 3


WRONG = ["#", "#t=9-", "#t=x&e=zzz", "#e=99999999&q=%E0%A4%A", "#l=77.x&k=9999", "#t=5-1", "#e=-7"]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_link_that_makes_no_sense_does_no_harm(opened: Browser, files: dict[str, str], wrong: str) -> None:
    opened.open(files["raft"] + wrong)
    begin, end = view(opened)
    assert begin < end
    assert opened.run("report.state.selected") == -1


def test_dark_and_light_are_drawn_each_in_its_own_colours(opened: Browser) -> None:
    opened.painted(lambda: opened.run("report.theme('light')"))
    assert brightness(opened) > 700
    opened.painted(lambda: opened.press("t", "t"))
    assert brightness(opened) < 100


def test_on_paper_the_run_is_light_and_the_controls_are_gone(opened: Browser) -> None:
    opened.painted(lambda: opened.run("report.theme('dark')"))
    pdf = opened.ask("Page.printToPDF", landscape=True, printBackground=True)["data"]
    assert pdf.startswith("JVBERi0"), "a PDF, in base 64"
    opened.ask("Emulation.setEmulatedMedia", media="print")
    assert opened.run("getComputedStyle(document.querySelector('.bar')).display") == "none"
    opened.ask("Emulation.setEmulatedMedia", media="")
    assert opened.run("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("opened", ["large"], indirect=True)
def test_a_hundred_thousand_messages_are_counted_from_afar_and_drawn_from_near(opened: Browser) -> None:
    assert opened.run("report.data.messages.size") == MANY
    begin, end = view(opened)
    assert begin < opened.run("report.data.broken.at") < end
    assert opened.run("report.painter.mode") == "arrows"
    opened.painted(lambda: opened.press("0", "0"))
    assert opened.run("report.painter.mode") == "density"
    assert colours(opened) > 10
    opened.painted(lambda: opened.press("b", "b"))
    assert opened.run("report.painter.mode") == "arrows"
    arrows = opened.run("report.painter.arrows.length")
    assert 0 < arrows <= 5000
    selected = opened.run("report.state.selected")
    opened.painted(lambda: opened.press("ArrowRight"))
    assert opened.run("report.state.selected") == selected + 1
    opened.painted(lambda: opened.run("report.search('number=4999)', true)"))
    assert shown(opened, "true") == MANY // 5000
    x, y = middle(opened)
    for _ in range(8):
        opened.painted(lambda: opened.wheel(x, y, -400))
    begin, end = view(opened)
    assert 0 < end - begin < 1e8


def test_a_page_of_an_empty_run_opens(browser: Browser, tmp_path: Path) -> None:
    timeline = Timeline()
    timeline.close(0)
    path = tmp_path / "empty.html"
    path.write_text(page(timeline, About("nothing")), encoding="utf-8")
    browser.complaints.clear()
    browser.open(path.as_uri())
    for key in ("ArrowRight", "ArrowLeft"):
        browser.press(key)
    browser.painted(lambda: browser.press("+", "+"))
    assert browser.complaints == []


def test_a_page_whose_data_are_damaged_says_so(browser: Browser, files: dict[str, str], tmp_path: Path) -> None:
    text: Any = page(small(), ABOUT).replace('"format"', "format", 1)
    path = tmp_path / "damaged.html"
    path.write_text(text, encoding="utf-8")
    browser.ask("Page.navigate", url=path.as_uri())
    browser.until("document.querySelector('main')?.textContent.startsWith('This report cannot be shown')")
    browser.complaints.clear()
