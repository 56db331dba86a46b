"""What can be counted about an actor system, for whatever collects such figures.

`system.metrics()` gives them all as values. `prometheus_text` writes them in the text format that Prometheus reads;
`telemetry.py` offers them to OpenTelemetry. Counters only rise, from the start of the process on.
"""

from __future__ import annotations

from bisect import bisect_left
from enum import Enum

from attrs import frozen

type Labels = tuple[tuple[str, str], ...]


class MetricKind(Enum):
    """What a figure means."""

    COUNTER = "counter"
    """It only rises."""
    GAUGE = "gauge"
    """It is as it is at the moment."""
    HISTOGRAM = "histogram"


@frozen
class Distribution:
    """How often something was how large: for each bound, how many were at most that; and all of them, and their sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """One for each bound, cumulative."""
    count: int
    total: float


@frozen
class Metric:
    """One figure, or one for each set of labels."""

    name: str
    kind: MetricKind
    text: str
    """What it is, with its unit."""
    samples: tuple[tuple[Labels, float | Distribution], ...]


def counter(name: str, text: str, value: float, labels: Labels = ()) -> Metric:
    """A figure that only rises."""
    return Metric(name, MetricKind.COUNTER, text, ((labels, value),))


def gauge(name: str, text: str, value: float, labels: Labels = ()) -> Metric:
    """A figure as it is at the moment."""
    return Metric(name, MetricKind.GAUGE, text, ((labels, value),))


class Histogram:
    """Counts how often something was how large."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def read(self) -> Distribution:
        """All of them."""
        sums, so_far = [], 0
        for count in self._counts:
            so_far += count
            sums.append(so_far)
        return Distribution(self._bounds, tuple(sums[:-1]), so_far, self._total)


SECONDS = tuple([round(0.0001 * 2**power, 4) for power in range(18)])
"""Bounds for durations, from a tenth of a millisecond to 13 seconds."""


def prometheus_text(metrics: tuple[Metric, ...]) -> str:
    """The figures in the text exposition format of Prometheus, version 0.0.4."""
    lines: list[str] = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {metric.text}")
        lines.append(f"# TYPE {metric.name} {metric.kind.value}")
        for labels, value in metric.samples:
            if isinstance(value, Distribution):
                lines += _distribution(metric.name, labels, value)
            else:
                lines.append(f"{metric.name}{_labels(labels)} {_number(value)}")
    return "\n".join(lines) + "\n"


def _distribution(name: str, labels: Labels, value: Distribution) -> list[str]:
    lines = [
        f"{name}_bucket{_labels((*labels, ('le', _number(bound))))} {count}"
        for bound, count in zip(value.bounds, value.counts, strict=True)
    ]
    lines.append(f"{name}_bucket{_labels((*labels, ('le', '+Inf')))} {value.count}")
    lines.append(f"{name}_sum{_labels(labels)} {_number(value.total)}")
    lines.append(f"{name}_count{_labels(labels)} {value.count}")
    return lines


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{_escaped(value)}"' for name, value in labels]) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
