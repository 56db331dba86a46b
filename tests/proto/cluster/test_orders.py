"""Orders alone: how a command gets to the leader and its outcome back. The rules are those of `cluster/orders.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from casty_proto.cluster import AlreadySo, Applied, ControlState, Join, Leave, MemberLeaving, NodeInfo, Outcome
from casty_proto.cluster.commands import encode_command
from casty_proto.cluster.consensus import Consensus
from casty_proto.cluster.core import ORDERS, Core
from casty_proto.cluster.messages import OpenOrders, Order, OrderDone, OrderRefused, OrdersOpened
from casty_proto.cluster.orders import WINDOW, Orders
from casty_proto.machine import Rejected
from casty_proto.raft import Committed, Duplicate, NotLeader, SessionUnknown

from .kit_parts import FAST, member_core, sent

LEAVE = Leave("a.1")
DATA = encode_command(LEAVE)


class Log:
    """In place of Raft: what is proposed, and who is to be told what became of it."""

    def __init__(self) -> None:
        self.proposed: list[tuple[Order, Callable[[Any], None]]] = []
        self.opened: list[tuple[int, Callable[[Any], None]]] = []

    def order(self, order: Order, answer: Callable[[Any], None]) -> None:
        self.proposed.append((order, answer))

    def open_session(self, ttl_ns: int, answer: Callable[[Any], None]) -> None:
        self.opened.append((ttl_ns, answer))


class Bench:
    """The orders of the node `a`, which is a member besides `b` and `c`. Its session is 5, if it is there."""

    def __init__(self, leader: str | None, session: int | None = 5) -> None:
        self.core: Core = member_core("b", "c")
        self.core.leader = leader
        self.log = Log()
        self.orders = Orders(self.core, cast(Consensus, self.log), life=7)
        self.answers: list[tuple[Outcome | None, int, str]] = []
        if session is not None:
            self.orders.on_opened(OrdersOpened(7, session))

    def place(self, *, at_once: bool = False) -> None:
        self.orders.place(LEAVE, lambda *answer: self.answers.append(answer), at_once=at_once)

    def sent(self) -> list[tuple[str, Any]]:
        return sent(self.core)

    def pass_time(self, duration_ns: int) -> None:
        """Wake whenever that is due, until so much time has passed."""
        end = self.core.now + duration_ns
        while (at := self.core.deadlines.earliest()) is not None and at <= end:
            self.core.now = at
            assert list(self.core.deadlines.due(at)) == [ORDERS]
            self.orders.due()
        self.core.now = end


# Who wants something -------------------------------------------------------------------------------------------------


def test_an_order_goes_to_the_leader() -> None:
    bench = Bench("b.1")
    bench.place()
    assert bench.sent() == [("b", Order(7, 1, 5, 1, DATA))]
    bench.place()
    assert bench.sent() == [("b", Order(7, 2, 5, 1, DATA))]


def test_without_a_leader_it_waits_for_one() -> None:
    bench = Bench(None)
    bench.place()
    assert bench.sent() == []
    bench.core.leader = "c.1"
    bench.orders.ask_again()
    assert bench.sent() == [("c", Order(7, 1, 5, 1, DATA))]


def test_the_leader_is_asked_again_and_again_with_the_same_number() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.pass_time(3 * FAST.order_retry_ns)
    assert bench.sent() == [("b", Order(7, 1, 5, 1, DATA))] * 4


def test_another_leader_is_asked_at_once() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.sent()
    bench.core.leader = "c.1"
    bench.orders.ask_again()
    assert bench.sent() == [("c", Order(7, 1, 5, 1, DATA))]


def test_an_answer_waits_until_its_index_is_applied_here() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.orders.on_done(OrderDone(7, 1, 20, AlreadySo()))
    assert bench.answers == []
    bench.orders.settled(19)
    assert bench.answers == []
    bench.orders.settled(20)
    assert bench.answers == [(AlreadySo(), 20, "")]
    assert len(bench.orders) == 0


def test_what_is_answered_and_not_applied_yet_is_not_asked_for_again() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.orders.on_done(OrderDone(7, 1, 20, AlreadySo()))
    bench.sent()
    bench.pass_time(FAST.order_retry_ns)
    assert bench.sent() == []


def test_an_answer_that_is_wanted_at_once_does_not_wait() -> None:
    bench = Bench("b.1")
    bench.place(at_once=True)
    bench.orders.on_done(OrderDone(7, 1, 20, AlreadySo()))
    assert bench.answers == [(AlreadySo(), 20, "")]


def test_each_order_is_answered_once_however_often_the_answer_comes() -> None:
    bench = Bench("b.1")
    bench.orders.settled(100)
    bench.place()
    for _ in range(3):
        bench.orders.on_done(OrderDone(7, 1, 20, AlreadySo()))
    assert bench.answers == [(AlreadySo(), 20, "")]


def test_an_answer_to_another_process_or_number_is_none() -> None:
    bench = Bench("b.1")
    bench.orders.settled(100)
    bench.place()
    bench.orders.on_done(OrderDone(8, 1, 20, AlreadySo()))
    bench.orders.on_done(OrderDone(7, 2, 20, AlreadySo()))
    assert bench.answers == []


# Who is asked, and does not lead -------------------------------------------------------------------------------------


def test_rule_4_the_leader_that_is_named_is_asked_at_once() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.sent()
    bench.orders.on_refused("b.1", OrderRefused(7, 1, 5, "c.1"))
    assert bench.sent() == [("c", Order(7, 1, 5, 1, DATA))]
    assert len(bench.orders) == 1


def test_rule_4_two_that_name_each_other_are_asked_once_until_it_is_time_to_ask_again() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.sent()
    for peer, leader in (("b.1", "c.1"), ("c.1", "b.1"), ("b.1", "c.1")):
        bench.orders.on_refused(peer, OrderRefused(7, 1, 5, leader))
    assert bench.sent() == [("c", Order(7, 1, 5, 1, DATA))]
    bench.pass_time(FAST.order_retry_ns)
    assert bench.sent() == [("b", Order(7, 1, 5, 1, DATA))]
    bench.orders.on_refused("b.1", OrderRefused(7, 1, 5, "c.1"))
    assert bench.sent() == [("c", Order(7, 1, 5, 1, DATA))], "and then again"


@pytest.mark.parametrize(
    "refusal",
    [
        OrderRefused(7, 1, 5, None),
        OrderRefused(7, 1, 5, "b.1"),
        OrderRefused(8, 1, 5, "c.1"),
        OrderRefused(7, 9, 5, "c.1"),
        OrderRefused(7, 1, 4, None, over=True),
    ],
)
def test_rule_4_who_names_nobody_else_or_answers_something_else_is_not_followed(refusal: OrderRefused) -> None:
    bench = Bench("b.1")
    bench.place()
    bench.sent()
    bench.orders.on_refused("b.1", refusal)
    assert bench.sent() == []
    bench.pass_time(FAST.order_retry_ns)
    assert bench.sent() == [("b", Order(7, 1, 5, 1, DATA))]


# Sessions ------------------------------------------------------------------------------------------------------------


def test_rule_1_a_session_is_opened_before_the_first_order_and_once() -> None:
    bench = Bench("b.1", session=None)
    bench.place()
    bench.place()
    assert bench.sent() == [("b", OpenOrders(7))]
    bench.orders.on_opened(OrdersOpened(7, 40))
    assert bench.sent() == [("b", Order(7, 1, 40, 1, DATA)), ("b", Order(7, 2, 40, 1, DATA))]
    bench.orders.on_opened(OrdersOpened(7, 41))
    bench.place()
    assert bench.sent() == [("b", Order(7, 3, 40, 1, DATA))]


def test_rule_1_the_session_of_an_earlier_process_is_none_of_this_one() -> None:
    bench = Bench("b.1", session=None)
    bench.place()
    bench.orders.on_opened(OrdersOpened(6, 40))
    assert bench.sent() == [("b", OpenOrders(7))]


def test_rule_2_the_wish_for_a_session_is_repeated_and_a_leader_that_is_named_is_asked_at_once() -> None:
    bench = Bench("b.1", session=None)
    bench.place()
    bench.pass_time(FAST.order_retry_ns)
    assert bench.sent() == [("b", OpenOrders(7))] * 2
    for _ in range(2):
        bench.orders.on_refused("b.1", OrderRefused(7, 0, 0, "c.1"))
    assert bench.sent() == [("c", OpenOrders(7))]


def test_rule_6_when_the_session_is_over_another_one_is_opened_and_all_goes_on_in_that() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.place()
    bench.sent()
    for number in (1, 2):
        bench.orders.on_refused("b.1", OrderRefused(7, number, 5, None, over=True))
    assert bench.sent() == [("b", OpenOrders(7))]
    bench.orders.on_opened(OrdersOpened(7, 40))
    assert bench.sent() == [("b", Order(7, 1, 40, 1, DATA)), ("b", Order(7, 2, 40, 1, DATA))]


def test_rule_5_those_that_are_far_beyond_the_oldest_open_one_wait_for_it() -> None:
    bench = Bench("b.1")
    bench.orders.settled(1000)
    for _ in range(WINDOW + 2):
        bench.place()
    assert len(bench.sent()) == WINDOW
    bench.orders.on_done(OrderDone(7, 2, 20, AlreadySo()))
    assert bench.sent() == [], "the oldest is still open"
    bench.orders.on_done(OrderDone(7, 1, 20, AlreadySo()))
    expected = [("b", Order(7, WINDOW + more, 5, 3, DATA)) for more in (1, 2)]
    assert bench.sent() == expected, "and the floor says what is not needed any more"


def test_rule_5_what_is_given_up_makes_room_too() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.pass_time(FAST.order_patience_ns // 2)
    for _ in range(WINDOW):
        bench.place()
    bench.sent()
    bench.pass_time(FAST.order_patience_ns // 2 + FAST.order_retry_ns)
    assert ("b", Order(7, WINDOW + 1, 5, 2, DATA)) in bench.sent()


def test_what_nobody_answers_is_given_up_in_the_end_and_nobody_knows() -> None:
    bench = Bench(None)
    bench.place()
    bench.pass_time(FAST.order_patience_ns - 1)
    assert bench.answers == []
    bench.pass_time(FAST.order_retry_ns)
    ((outcome, index, reason),) = bench.answers
    assert (outcome, index) == (None, 0)
    assert "it may have happened" in reason
    assert bench.core.deadlines.earliest() is None, "and nothing is left to be done"


def test_who_ends_gives_up_all_and_each_is_told_once() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.place()
    bench.orders.on_done(OrderDone(7, 1, 20, AlreadySo()))
    bench.orders.give_up("it is over")
    bench.orders.settled(20)
    assert bench.answers == [(None, 0, "it is over")] * 2


def test_a_leader_tells_itself() -> None:
    bench = Bench("a.1")
    bench.place()
    assert bench.sent() == []
    assert list(bench.core.mail) == [("a.1", Order(7, 1, 5, 1, DATA))]


# The leader ----------------------------------------------------------------------------------------------------------

ORDER = Order(3, 1, 6, 1, DATA)
CHANGES = (MemberLeaving(member_core().state.members()[0]),)


def done_at(bench: Bench, index: int, outcome: Outcome) -> None:
    """What was proposed first is committed at an index, with an outcome."""
    order, answer = bench.log.proposed.pop(0)
    bench.core.state.keep(order.session, order.number, order.floor, index, outcome)
    answer(Committed(index, term=1))


def test_a_leader_proposes_what_it_is_asked_and_says_what_became_of_it() -> None:
    bench = Bench("a.1")
    bench.orders.on_order("b.1", ORDER)
    assert [order for order, _ in bench.log.proposed] == [ORDER]
    assert bench.sent() == []
    done_at(bench, 9, AlreadySo())
    assert bench.sent() == [("b", OrderDone(3, 1, 9, AlreadySo()))]


def test_changes_are_not_repeated_in_the_answer() -> None:
    bench = Bench("a.1")
    bench.orders.on_order("b.1", ORDER)
    done_at(bench, 9, Applied(CHANGES))
    assert bench.sent() == [("b", OrderDone(3, 1, 9, Applied(())))]


def test_who_asks_again_gets_the_same_answer_and_nothing_is_proposed_again() -> None:
    bench = Bench("a.1")
    for _ in range(3):
        bench.orders.on_order("b.1", ORDER)
    assert len(bench.log.proposed) == 1
    done_at(bench, 9, AlreadySo())
    bench.sent()
    bench.orders.on_order("b.1", ORDER)
    assert bench.sent() == [("b", OrderDone(3, 1, 9, AlreadySo()))]
    assert bench.log.proposed == []


def test_orders_of_other_members_processes_and_numbers_are_others() -> None:
    bench = Bench("a.1")
    for peer, life, number in (("b.1", 3, 1), ("c.1", 3, 1), ("b.1", 4, 1), ("b.1", 3, 2)):
        bench.orders.on_order(peer, Order(life, number, 6, 1, DATA))
    assert len(bench.log.proposed) == 4


def test_who_does_not_lead_refuses_and_names_the_leader() -> None:
    bench = Bench("c.1")
    bench.orders.on_order("b.1", ORDER)
    assert bench.sent() == [("b", OrderRefused(3, 1, 6, "c.1"))]
    assert bench.log.proposed == []


def test_what_was_not_committed_is_refused_and_can_be_asked_for_again() -> None:
    bench = Bench("a.1")
    bench.orders.on_order("b.1", ORDER)
    bench.log.proposed.pop(0)[1](NotLeader("it does not lead", "c.1"))
    assert bench.sent() == [("b", OrderRefused(3, 1, 6, "c.1"))]
    bench.orders.on_order("b.1", ORDER)
    assert len(bench.log.proposed) == 1


def test_rule_1_whoever_knows_the_outcome_tells_it_although_it_does_not_lead() -> None:
    bench = Bench("c.1")
    bench.core.state.keep(6, 1, 1, 9, AlreadySo())
    bench.orders.on_order("b.1", ORDER)
    assert bench.sent() == [("b", OrderDone(3, 1, 9, AlreadySo()))]


def test_rule_1_what_was_applied_through_an_earlier_leader_has_the_outcome_of_the_first_time() -> None:
    """It is under way twice when the second leader proposes it, and Raft finds out when it is committed."""
    bench = Bench("a.1")
    bench.orders.on_order("b.1", ORDER)
    _, answer = bench.log.proposed.pop()
    bench.core.state.keep(6, 1, 1, 9, Applied(CHANGES))
    answer(Duplicate(6, 1))
    assert bench.sent() == [("b", OrderDone(3, 1, 9, Applied(())))]


def test_rule_1_what_was_given_up_and_is_applied_after_all_is_told_to_nobody() -> None:
    bench = Bench("a.1")
    bench.orders.on_order("b.1", ORDER)
    _, answer = bench.log.proposed.pop()
    answer(Duplicate(6, 1))
    assert bench.sent() == []


def test_rule_6_who_orders_in_a_session_that_is_over_is_told() -> None:
    bench = Bench("a.1")
    bench.orders.on_order("b.1", ORDER)
    bench.log.proposed.pop()[1](SessionUnknown(6))
    assert bench.sent() == [("b", OrderRefused(3, 1, 6, None, over=True))]


def test_rule_6_a_session_lives_ten_times_as_long_as_an_order_is_waited_for() -> None:
    bench = Bench("a.1")
    for _ in range(2):
        bench.orders.on_open("b.1", OpenOrders(3))
    ((ttl_ns, answer),) = bench.log.opened
    assert ttl_ns == 10 * FAST.order_patience_ns
    answer(Committed(33, term=1))
    assert bench.sent() == [("b", OrdersOpened(3, 33))]


def test_a_session_that_cannot_be_opened_is_refused() -> None:
    bench = Bench("a.1")
    bench.orders.on_open("b.1", OpenOrders(3))
    bench.log.opened.pop()[1](Rejected("too many"))
    assert bench.sent() == [("b", OrderRefused(3, 0, 0, None))]
    bench.core.leader = "c.1"
    bench.orders.on_open("b.1", OpenOrders(3))
    assert bench.sent() == [("b", OrderRefused(3, 0, 0, "c.1"))]


def test_rule_19_a_command_that_comes_into_the_log_twice_does_nothing_the_second_time() -> None:
    state = ControlState()
    assert isinstance(state.execute(Join(NodeInfo("a", 1, "a")), 1), Applied)
    assert isinstance(state.execute(LEAVE, 2), Applied)
    assert state.execute(LEAVE, 3) == AlreadySo()
