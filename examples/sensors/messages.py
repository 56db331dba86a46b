"""What the nodes and the client say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from casty_asyncio import ActorRef, ServiceKey
from casty_asyncio.streams import StreamProducerMsg

STATIONS = "stations"
"""The sharded type: one station for each sensor, replicated."""
DISPATCHER = "dispatcher"
"""The singleton."""


def step(count: int) -> int:
    """After how many readings something is reported, where there are `count` of them."""
    return max(1, count // 20)


@dataclass(frozen=True)
class SensorReading:
    """One reading; `number` counts those of the sensor, from 0."""

    sensor: str
    number: int
    value: float
    timestamp: float
    node: str


@dataclass(frozen=True)
class Alert:
    sensor: str
    number: int
    value: float
    threshold: float


@dataclass(frozen=True)
class ConsumeAlerts:
    """To the alert monitor: these are the alerts of a client."""

    producer: ActorRef[StreamProducerMsg[Alert]]


@dataclass(frozen=True)
class GetAlerts:
    """To the alert monitor: how many alerts are with you?"""

    reply_to: ActorRef[int]


@dataclass(frozen=True)
class Arrived:
    """To a station: the client has all readings up to this number, not included."""

    count: int


@dataclass(frozen=True)
class GetArrived:
    """To a station: how many have arrived? A sensor that starts again goes on there."""


@dataclass(frozen=True)
class WhereAreYou:
    """To the dispatcher."""


SENSORS: ServiceKey[StreamProducerMsg[SensorReading]] = ServiceKey("sensor")
MONITOR: ServiceKey[ConsumeAlerts | GetAlerts] = ServiceKey("alert-monitor")
