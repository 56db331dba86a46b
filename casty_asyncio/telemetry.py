"""The figures of an actor system for OpenTelemetry. It needs the package `opentelemetry-api` (extra `otel`).

from opentelemetry.metrics import get_meter
from casty_asyncio.telemetry import observe

observe(system, get_meter("casty"))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .metrics import Distribution, MetricKind

if TYPE_CHECKING:
    from .system import ActorSystem


def observe(system: ActorSystem, meter: Any) -> None:
    """Offer all figures of a system to a meter, which asks for them when it wants them, in any thread.

    A distribution is offered as its count and its sum: OpenTelemetry has no histogram that can be observed.
    """
    from opentelemetry.metrics import Observation  # type: ignore[import-not-found]

    def observed(name: str, part: Callable[[Any], float]) -> Callable[[Any], Iterable[Any]]:
        def callback(_: Any) -> Iterable[Any]:
            for metric in system.metrics():
                if metric.name == name:
                    return [Observation(part(value), dict(labels)) for labels, value in metric.samples]
            return []

        return callback

    for metric in system.metrics():
        name, text = metric.name, metric.text
        if metric.kind is MetricKind.HISTOGRAM:
            meter.create_observable_counter(f"{name}_count", [observed(name, _count)], description=text)
            meter.create_observable_counter(f"{name}_sum", [observed(name, _total)], description=text)
        elif metric.kind is MetricKind.COUNTER:
            meter.create_observable_counter(name, [observed(name, float)], description=text)
        else:
            meter.create_observable_gauge(name, [observed(name, float)], description=text)


def _count(value: Distribution) -> float:
    return value.count


def _total(value: Distribution) -> float:
    return value.total
