"""What is no event is a bug of the driver: every machine says what it was given, and is as it was."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from casty_proto.actor.machine import ActorMachine
from casty_proto.cluster.registry import Registry, RegistryOptions
from casty_proto.link import Link, LinkOptions
from casty_proto.machine import Machine
from casty_proto.raft import Raft
from casty_proto.replica import Replica
from casty_proto.shard.homes import HomeOptions, Homes
from casty_proto.shard.leases import LeaseGiver, LeaseHolder, LeaseOptions
from casty_proto.shard.steward import Steward, StewardOptions
from casty_proto.stream.publisher import Publisher
from casty_proto.stream.subscriber import Subscriber
from casty_proto.swim import Identity, Swim
from casty_proto.wire import Dialer, HandshakeOptions, Kind, Listener, Node

NODE, OPTIONS = Node("a", 1, "10.0.0.1:7000"), HandshakeOptions("shop")
MACHINES: list[Machine[Any, Any]] = [
    ActorMachine(Random(1)),
    Dialer(NODE, Kind.DATA, OPTIONS, bytes(32)),
    Homes("a", HomeOptions()),
    LeaseGiver(LeaseOptions()),
    LeaseHolder(LeaseOptions()),
    Link(NODE, Node("b", 1, "10.0.0.2:7000"), LinkOptions(), Random(1)),
    Listener(NODE, OPTIONS, bytes(32)),
    Publisher("publisher"),
    Raft("n1", Random(1)),
    Registry("a", Random(1), RegistryOptions()),
    Replica("a", Random(1)),
    Steward(LeaseGiver(LeaseOptions()), StewardOptions()),
    Subscriber("subscriber", "publisher"),
    Swim(Identity("a", 1), "10.0.0.1:7000", b"", rng=Random(1)),
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
