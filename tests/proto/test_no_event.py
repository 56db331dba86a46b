"""What is no event is a bug of the driver: every machine says what it was given, and is as it was."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from casty_proto.actor.machine import ActorMachine
from casty_proto.machine import Machine
from casty_proto.raft import Raft
from casty_proto.stream.publisher import Publisher
from casty_proto.stream.subscriber import Subscriber
from casty_proto.wire import Dialer, HandshakeOptions, Kind, Listener, Node

NODE, OPTIONS = Node("a", 1, "10.0.0.1:7000"), HandshakeOptions("shop")
MACHINES: list[Machine[Any, Any]] = [
    ActorMachine(Random(1)),
    Dialer(NODE, Kind.DATA, OPTIONS, bytes(32)),
    Listener(NODE, OPTIONS, bytes(32)),
    Publisher("publisher"),
    Raft("n1", Random(1)),
    Subscriber("subscriber", "publisher"),
]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: type(machine).__name__)
@pytest.mark.parametrize("thing", ["x", None, 7, [], object])
def test_a_machine_names_what_is_no_event_and_waits_for_the_next_one(machine: Machine[Any, Any], thing: Any) -> None:
    deadline = machine.deadline()
    with pytest.raises(AssertionError) as raised:
        machine.handle(thing, 0)
    assert repr(thing) in str(raised.value)
    assert machine.deadline() == deadline
    machine.invariants()
