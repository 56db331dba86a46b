"""Cluster-wide names and discoverable actors, from claim to loss: rules 13 and 14 of `cluster/__init__.py` over nodes,
and the registry as a node has it."""

from __future__ import annotations

from itertools import batched
from typing import Any

import pytest
from attrs import evolve

from casty_proto.cluster import RegionKind, RegionSettings, Status, Taken, UnregisterName, decode_command
from casty_proto.cluster import events as ev
from casty_proto.cluster.events import Standing
from casty_proto.cluster.messages import Order, OrderDone, OrdersOpened
from casty_proto.cluster.registry import Deregister, ListingChanged, Register
from casty_proto.machine import SECOND, Rejected

from .kit_node import FAST, Process, World


def claim(process: Process, name: str = "boss", number: int = 1) -> Any:
    return process.ask(lambda token: ev.ClaimName(token, name, number, f"/{name}"))


def release(process: Process, name: str = "boss", number: int = 1) -> Any:
    return process.ask(lambda token: ev.ReleaseName(token, name, number))


def holder(process: Process, name: str = "boss") -> str | None:
    entry = process.node.state.name(name)
    return None if entry is None else entry.node


@pytest.mark.parametrize("seed", range(8))
def test_rule_13_of_those_who_claim_at_once_one_gets_it_and_the_others_learn_the_winner(seed: int) -> None:
    world = World(seed, loss=0.1)
    processes = world.form("abc")
    for number, process in enumerate(processes):
        process.feed(ev.ClaimName("claim", "boss", number, "/boss"))
    world.until(lambda: all(one.answer("claim") is not None for one in processes), 20)
    answers = {one.key: one.answer("claim") for one in processes}
    winners = [key for key, answer in answers.items() if isinstance(answer, ev.Done)]
    assert len(winners) == 1
    losers = [answer for key, answer in answers.items() if key not in winners]
    assert all(isinstance(answer, Taken) and answer.winner.node == winners[0] for answer in losers)
    world.loss = 0.0
    world.settle()
    assert [holder(one) for one in processes] == winners * 3


def test_rule_13_two_actors_of_one_node_are_two() -> None:
    world = World()
    (a,) = world.form("a")
    assert isinstance(claim(a, number=1), ev.Done)
    assert isinstance(claim(a, number=2), Taken)
    assert isinstance(claim(a, number=1), ev.Done), "and who has it can claim it again"
    entry = a.node.state.name("boss")
    assert entry is not None
    assert entry.number == 1


@pytest.mark.parametrize("leads", [True, False])
def test_rule_13_of_two_actors_of_one_node_that_claim_at_once_one_gets_it_and_keeps_it(leads: bool) -> None:
    world = World()
    world.form("abc")
    process = world.leader if leads else world.others(world.leader)[0]
    for number in (1, 2, 3):
        process.feed(ev.ClaimName(number, "boss", number, f"/{number}"))
    world.run(2)
    answers = [process.answer(number) for number in (1, 2, 3)]
    winner = process.node.state.name("boss")
    assert winner is not None, "the name is that of whoever was told so"
    assert isinstance(answers[winner.number - 1], ev.Done)
    assert sorted([type(one).__name__ for one in answers]) == ["Done", "Taken", "Taken"]


def test_rule_14_a_name_that_is_given_up_is_free_and_everybody_hears_of_both() -> None:
    world = World()
    a, b, c = world.form("abc")
    claim(a)
    assert isinstance(claim(b), Taken)
    assert isinstance(release(a), ev.Done)
    assert isinstance(claim(b), ev.Done)
    world.settle()
    heard = [(one.node, one.path) for one in c.of(ev.NameChanged)]
    assert heard == [("a.1", "/boss"), (None, None), ("b.1", "/boss")]


def test_rule_14_somebody_elses_name_cannot_be_given_up() -> None:
    world = World()
    a, b, _ = world.form("abc")
    claim(a)
    assert isinstance(release(b), ev.Done | Rejected)
    assert isinstance(release(a, number=2), ev.Done | Rejected)
    assert holder(a) == "a.1"


@pytest.mark.parametrize("how", ["crash", "leave", "replace"])
def test_rule_14_a_name_goes_with_its_node(how: str) -> None:
    world = World()
    world.form("abc")
    victim = world.others(world.leader)[0]
    claim(victim)
    if how == "leave":
        victim.feed(ev.Depart())
        world.until(lambda: victim.node.deadline() is None)
    world.crash(victim.address)
    if how == "replace":
        world.start(victim.address, "abc", generation=2)
    others = world.others()[:2]
    world.until(lambda: all(holder(one) is None for one in others), 3)
    assert isinstance(claim(others[0]), ev.Done)


def test_rule_14_who_was_down_and_is_back_has_lost_its_names_and_hears_that() -> None:
    world = World()
    world.form("abc")
    victim = world.others(world.leader)[0]
    claim(victim)
    world.isolate(victim.address)
    world.run(2)
    assert holder(world.leader) is None
    world.heal()
    world.settle()
    assert [one.node for one in victim.of(ev.NameChanged)] == [victim.key, None]


def test_a_claim_that_is_given_up_by_its_actor_meanwhile_leaves_no_name_behind() -> None:
    """The order comes late: the name is taken for somebody who does not want it any more, and is freed again."""
    world = World()
    world.form("abc")
    asks = world.others(world.leader)[0]
    world.drop = lambda source, _, message: isinstance(message.body, Order) and message.body.number == 1
    asks.feed(ev.ClaimName("claim", "boss", 1, "/boss"))
    asks.feed(ev.ReleaseName("release", "boss", 1))
    world.run(1)
    assert isinstance(asks.answer("release"), ev.Done)
    world.drop = lambda *_: False
    world.run(2)
    assert asks.answer("claim") is not None
    assert holder(world.leader) is None


def test_a_name_that_is_given_up_and_claimed_again_stays_although_the_order_to_free_it_comes_late() -> None:
    world = World()
    world.form("abc")
    asks = world.others(world.leader)[0]
    assert isinstance(claim(asks), ev.Done)
    world.drop = lambda source, _, message: source == asks.address and _frees(message.body)
    asks.feed(ev.ReleaseName("release", "boss", 1))
    asks.feed(ev.ClaimName("again", "boss", 1, "/boss"))
    asks.feed(ev.ReleaseName("release again", "boss", 1))
    asks.feed(ev.ClaimName("at last", "boss", 1, "/boss"))
    world.run(1)
    world.drop = lambda *_: False
    world.run(3)
    answers = [asks.answer(one) for one in ("release", "again", "release again", "at last")]
    assert [type(one) for one in answers] == [ev.Done] * 4
    assert holder(asks) == asks.key


def test_a_name_stays_although_the_order_to_free_what_an_earlier_process_had_comes_late() -> None:
    """Numbers of actors begin anew with each process: the order would free what the new actor of that number has."""
    world = World()
    world.form("abc")
    victim = world.others(world.leader)[0]
    assert isinstance(claim(victim), ev.Done)
    world.crash(victim.address)
    world.drop = lambda source, _, message: source == victim.address and _frees(message.body)
    again = world.start(victim.address, disk=True)
    world.until(lambda: again.node.standing is Standing.MEMBER)
    again.feed(ev.ClaimName("claim", "boss", 1, "/boss"))
    world.run(0.5)
    world.drop = lambda *_: False
    world.run(3)
    assert isinstance(again.answer("claim"), ev.Done)
    assert holder(again) == holder(world.leader) == again.key


def test_node_rule_5_what_is_registered_before_a_process_has_marked_its_beginning_is_not() -> None:
    world = World()
    world.form("abc")
    victim = world.others(world.leader)[0]
    assert isinstance(claim(victim), ev.Done)
    world.crash(victim.address)
    again = world.start(victim.address, disk=True)
    assert isinstance(claim(again), Rejected)
    region = ev.AddRegion("region", "r", RegionKind.ENTITIES, RegionSettings(num_shards=1, hosted=True))
    again.feed(region)
    assert isinstance(again.answer("region"), Rejected)
    world.settle()
    assert holder(world.leader) is None
    assert isinstance(claim(again), ev.Done)


def _frees(body: object) -> bool:
    return type(body) is Order and type(decode_command(body.command)) is UnregisterName


def test_what_waits_for_a_name_to_be_freed_is_answered_when_the_node_ends() -> None:
    world = World()
    world.form("abc")
    asks = world.others(world.leader)[0]
    claim(asks)
    world.isolate(asks.address)
    tokens = [object() for _ in range(6)]
    for freed, claimed in batched(tokens, 2):
        asks.feed(ev.ReleaseName(freed, "boss", 1))
        asks.feed(ev.ClaimName(claimed, "boss", 1, "/boss"))
    asks.feed(ev.Depart())
    world.run(40)
    assert asks.node.deadline() is None
    assert [type(asks.answer(token)) for token in tokens] == [ev.Unknown] * 6


def test_a_claim_whose_answers_are_lost_is_answered_in_the_end_and_made_once() -> None:
    world = World()
    world.form("abc")
    asks = world.others(world.leader)[0]
    world.drop = lambda _, to, message: to == asks.address and isinstance(message.body, OrderDone)
    asks.feed(ev.ClaimName("claim", "boss", 1, "/boss"))
    world.run(1)
    assert asks.answer("claim") is None
    assert holder(asks) == asks.key, "the log says so already"
    world.drop = lambda *_: False
    world.run(1)
    assert isinstance(asks.answer("claim"), ev.Done)
    assert len(asks.of(ev.NameChanged)) == 1


def test_a_claim_that_nobody_answers_at_all_is_done_when_the_log_says_so() -> None:
    """The leader never answers, and yet the node sees that the name is its own."""
    world = World(options=evolve(FAST, order_patience_ns=2 * SECOND))
    world.form("abc")
    asks = world.others(world.leader)[0]
    world.drop = lambda _, to, message: to == asks.address and isinstance(message.body, OrderDone)
    asks.feed(ev.ClaimName("claim", "boss", 1, "/boss"))
    world.until(lambda: asks.answer("claim") is not None, 3)
    assert isinstance(asks.answer("claim"), ev.Done)


def test_a_claim_survives_a_change_of_the_leader() -> None:
    world = World()
    world.form("abc")
    leader, asks = world.leader, world.others(world.leader)[0]
    asks.feed(ev.ClaimName("claim", "boss", 1, "/boss"))
    world.crash(leader.address)
    world.until(lambda: asks.answer("claim") is not None, 5)
    assert isinstance(asks.answer("claim"), ev.Done)
    assert holder(asks) == asks.key


def test_rule_13_of_two_actors_of_one_node_that_claim_at_once_the_first_keeps_the_name() -> None:
    """Also when it does not know for a while that it has it."""
    world = World()
    world.form("abc")
    asks = world.others(world.leader)[0]
    world.drop = lambda _, to, message: to == asks.address and isinstance(message.body, OrderDone)
    for number in (1, 2):
        asks.feed(ev.ClaimName(number, "boss", number, f"/{number}"))
    world.run(1)
    world.drop = lambda *_: False
    world.until(lambda: all(asks.answer(number) is not None for number in (1, 2)))
    world.run(1)
    assert [type(asks.answer(number)) for number in (1, 2)] == [ev.Done, Taken]
    assert [one.path for one in asks.of(ev.NameChanged)] == ["/1"], "it was never free again"


def test_a_reason_of_any_length_arrives() -> None:
    world = World()
    a, b, _ = world.form("abc")

    def add(process: Process, num_shards: int) -> Any:
        settings = RegionSettings(num_shards=num_shards)
        return process.ask(lambda token: ev.AddRegion(token, "n" * 500, RegionKind.ENTITIES, settings))

    add(a, 4)
    answer = add(b, 8)
    assert isinstance(answer, Rejected)
    assert "num_shards is 4, not 8" in answer.reason


# Orders over nodes: the rules of orders.py ---------------------------------------------------------------------------


def test_orders_rule_1_what_is_repeated_through_another_leader_is_done_once() -> None:
    """A node is forgotten, and nobody hears of it. It comes back as another one: that one is not meant."""
    world = World(3)
    world.form("abcde")
    first, asks, gone = world.leader, world.others(world.leader)[0], world.others(world.leader)[1].address
    world.crash(gone)
    world.until(lambda: f"{gone}.1" not in asks.node.state.up_members())
    world.drop = lambda _, to, message: to == asks.address and isinstance(message.body, OrderDone)
    asks.feed(ev.ForgetNode("forget", gone))
    world.until(lambda: asks.node.state.member(f"{gone}.1") is None)
    index = asks.node.state.changed
    world.start(gone, "abcde", generation=2)
    world.settle()
    world.crash(gone)
    world.until(lambda: f"{gone}.2" not in asks.node.state.up_members())
    world.crash(first.address)
    world.until(lambda: asks.node.leader not in (None, first.key))
    world.drop = lambda *_: False
    world.until(lambda: asks.answer("forget") is not None)
    assert asks.answer("forget") == ev.Done(index)
    world.run(1)
    assert asks.node.state.member(f"{gone}.2") is not None


def test_orders_rule_6_a_session_that_was_not_used_for_long_is_replaced() -> None:
    world = World(options=evolve(FAST, order_patience_ns=SECOND // 2, order_retry_ns=SECOND // 10))
    world.form("abc")
    asks = world.others(world.leader)[0]
    assert isinstance(claim(asks), ev.Done)
    world.run(10)
    assert isinstance(release(asks), ev.Done)
    assert len([one for one in world.said if isinstance(one[3].body, OrdersOpened) and one[2] == asks.address]) == 2


# Discovery -----------------------------------------------------------------------------------------------------------


def test_what_is_registered_at_one_node_is_listed_everywhere() -> None:
    world = World()
    a, b, c = world.form("abc")
    a.feed(Register("workers", 1, "/w1"))
    b.feed(Register("workers", 7, "/w7"))
    world.run(0.1)
    for process in (a, b, c):
        assert process.node.listing("workers") == (("a.1", 1, "/w1"), ("b.1", 7, "/w7"))
    a.feed(Deregister(1))
    world.run(0.1)
    assert c.node.listing("workers") == (("b.1", 7, "/w7"),)


def test_what_was_registered_before_membership_is_listed_afterwards() -> None:
    world = World()
    world.form("ab")
    c = world.start("c", "ab")
    c.feed(Register("workers", 3, "/w3"))
    world.settle()
    world.run(2)
    assert world["a"].node.listing("workers") == (("c.1", 3, "/w3"),)


def test_what_a_node_offers_is_not_listed_while_it_is_held_to_be_dead_and_again_when_it_is_back() -> None:
    world = World()
    a, b, c = world.form("abc")
    for number, process in enumerate((a, b, c)):
        process.feed(Register("workers", number, f"/w{number}"))
    world.run(0.1)
    cut_off = world.others(world.leader)[0]
    others = world.others(cut_off)
    world.isolate(cut_off.address)
    world.run(2)
    for process in others:
        listed = process.node.listing("workers")
        assert [node for node, _, _ in listed] == sorted(one.key for one in others)
        member = process.node.state.member(cut_off.key)
        assert member is not None
        assert member.status is Status.DOWN
    assert cut_off.key in [node for node, _, _ in cut_off.node.listing("workers")], "its own it knows"
    others[0].feed(Register("workers", 9, "/late"))
    world.heal()
    world.run(5)
    expected = a.node.listing("workers")
    assert len(expected) == 4
    for process in (a, b, c):
        assert process.node.listing("workers") == expected


def test_a_list_goes_with_its_node_when_that_is_none_any_more_and_does_not_come_back() -> None:
    world = World()
    a, b, c = world.form("abc")
    b.feed(Register("workers", 7, "/w7"))
    world.run(0.1)
    world.crash("b")
    world.run(2)
    world.leader.ask(lambda token: ev.ForgetNode(token, "b"))
    world.run(3)
    for process in (one for one in (a, c) if one.runs):
        assert process.node.listing("workers") == ()
        assert [one.key for one in process.of(ListingChanged)] == ["workers", "workers"]
