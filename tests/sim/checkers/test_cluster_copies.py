"""The checker of copies: what it must find, and what it must leave alone."""

from __future__ import annotations

import pytest

from casty_proto.replica import Ack, Page, WholeAck
from casty_sim.checkers.cluster_copies import Copies
from casty_sim.tape import Tape
from casty_sim.world import Host, Violation, World

from ..toy import Toy


def host() -> Host:
    return World(Tape(1), ordered=True).add_host("n1", Toy)


def ack(epoch: int, shard: int = 0) -> Ack:
    return Ack("r", shard, epoch, 1, 7, "x", 1)


def page(epoch: int) -> Page:
    return Page("r", 0, epoch, 7, (0, 0), 0, (), 0)


def test_who_has_answered_a_later_owner_obeys_no_earlier_one() -> None:
    copies, there = Copies(), host()
    copies.says(there, "n1.1", ack(3))
    copies.says(there, "n1.1", page(5))
    with pytest.raises(Violation, match=r"copies obey the latest owner: n1.1 says Ack .* epoch 3, .* epoch 5"):
        copies.says(there, "n1.1", ack(3))


def test_promises_are_those_of_one_shard_and_one_life() -> None:
    copies, there = Copies(), host()
    copies.says(there, "n1.1", page(5))
    copies.says(there, "n1.1", ack(3, shard=1))
    there.life += 1
    copies.says(there, "n1.1", ack(3))


def test_who_answers_for_a_process_before_it_promises_nothing() -> None:
    copies, there = Copies(), host()
    copies.says(there, "n1.1", WholeAck("r", 0, 5, 1, 7))
    copies.says(there, "n1.1", ack(3))
