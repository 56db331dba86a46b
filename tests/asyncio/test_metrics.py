"""The figures of a system, and the formats in which others read them."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from casty_asyncio import Actor, ActorSystem, Context, Metric
from casty_asyncio.metrics import Distribution, Histogram, MetricKind, counter, gauge, prometheus_text
from casty_asyncio.telemetry import observe


class Echo(Actor[str]):
    async def receive(self, msg: str, ctx: Context) -> None:
        if msg == "fail":
            raise ValueError(msg)
        ctx.reply(msg)


def test_a_histogram_counts_for_each_bound_what_is_at_most_that() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.add(value)
    assert histogram.read() == Distribution((1.0, 2.0), (2, 4), 5, 14.0)


def test_the_text_for_prometheus() -> None:
    labelled = Metric("b", MetricKind.GAUGE, "B.", (((("x", 'say "hi"\\\n'),), 1.5),))
    spread = Metric("c", MetricKind.HISTOGRAM, "C.", (((("x", "y"),), Distribution((0.5,), (1,), 2, 3.25)),))
    assert prometheus_text((counter("a_total", "A.", 3), labelled, spread)).splitlines() == [
        "# HELP a_total A.",
        "# TYPE a_total counter",
        "a_total 3",
        "# HELP b B.",
        "# TYPE b gauge",
        'b{x="say \\"hi\\"\\\\\\n"} 1.5',
        "# HELP c C.",
        "# TYPE c histogram",
        'c_bucket{x="y",le="0.5"} 1',
        'c_bucket{x="y",le="+Inf"} 2',
        'c_sum{x="y"} 3.25',
        'c_count{x="y"} 2',
    ]


async def test_a_system_counts_its_actors_and_dead_letters() -> None:
    async with ActorSystem() as system:
        one = await system.spawn(Echo, "one")
        other = await system.spawn(Echo, "other")
        one.tell("fail")
        assert await one.ask("x") == "x"
        system.stop(other)
        await system.wait_stopped(other)
        other.tell("late")
        found = {metric.name: metric.samples for metric in system.metrics()}
        assert found == {
            "casty_actors_started_total": (((), 2),),
            "casty_actors_stopped_total": (((), 1),),
            "casty_actors_restarted_total": (((), 1),),
            "casty_dead_letters_total": (((), 1),),
        }


class Meter:
    """Stands for the meter of OpenTelemetry."""

    def __init__(self) -> None:
        self.instruments: dict[str, tuple[str, Any]] = {}

    def create_observable_counter(self, name: str, callbacks: list[Any], description: str) -> None:
        self.instruments[name] = ("counter", callbacks[0])

    def create_observable_gauge(self, name: str, callbacks: list[Any], description: str) -> None:
        self.instruments[name] = ("gauge", callbacks[0])


class Figures:
    """Stands for a system."""

    def metrics(self) -> tuple[Metric, ...]:
        spread = Metric("c", MetricKind.HISTOGRAM, "C.", (((), Distribution((0.5,), (1,), 2, 3.25)),))
        return (counter("a", "A.", 3, (("x", "y"),)), gauge("b", "B.", 4), spread)


def test_opentelemetry_is_offered_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = ModuleType("opentelemetry.metrics")
    metrics.Observation = lambda value, labels: (value, labels)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry", ModuleType("opentelemetry"))
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", metrics)
    meter = Meter()
    figures: Any = Figures()
    observe(figures, meter)
    seen = {name: (kind, list(callback(None))) for name, (kind, callback) in meter.instruments.items()}
    assert seen == {
        "a": ("counter", [(3.0, {"x": "y"})]),
        "b": ("gauge", [(4.0, {})]),
        "c_count": ("counter", [(2, {})]),
        "c_sum": ("counter", [(3.25, {})]),
    }
