"""Orders alone: how a command gets to the leader and its outcome back. `cluster/orders.py`; numbers of
`cluster/__init__.py` where a rule is cited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from casty_proto.cluster import AlreadySo, Applied, ControlState, Join, Leave, MemberLeaving, NodeInfo, Outcome
from casty_proto.cluster.commands import encode_command
from casty_proto.cluster.consensus import Consensus
from casty_proto.cluster.core import ORDERS, Core
from casty_proto.cluster.messages import Order, OrderDone, OrderRefused
from casty_proto.cluster.orders import Orders
from casty_proto.raft import Committed, NotLeader

from .kit_parts import FAST, member_core, sent

LEAVE = Leave("a.1")
DATA = encode_command(LEAVE)


class Log:
    """In place of Raft: what is proposed, and who is to be told what became of it."""

    def __init__(self) -> None:
        self.proposed: list[tuple[bytes, Callable[[Any], None]]] = []

    def propose(self, command: bytes, answer: Callable[[Any], None]) -> None:
        self.proposed.append((command, answer))


class Bench:
    """The orders of the node `a`, which is a member besides `b` and `c`."""

    def __init__(self, leader: str | None) -> None:
        self.core: Core = member_core("b", "c")
        self.core.leader = leader
        self.log = Log()
        self.orders = Orders(self.core, cast(Consensus, self.log), life=7)
        self.answers: list[tuple[Outcome | None, int, str]] = []

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
    assert bench.sent() == [("b", Order(7, 1, DATA))]
    bench.place()
    assert bench.sent() == [("b", Order(7, 2, DATA))]


def test_without_a_leader_it_waits_for_one() -> None:
    bench = Bench(None)
    bench.place()
    assert bench.sent() == []
    bench.core.leader = "c.1"
    bench.orders.ask_again()
    assert bench.sent() == [("c", Order(7, 1, DATA))]


def test_the_leader_is_asked_again_and_again_with_the_same_number() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.pass_time(3 * FAST.order_retry_ns)
    assert bench.sent() == [("b", Order(7, 1, DATA))] * 4


def test_another_leader_is_asked_at_once() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.sent()
    bench.core.leader = "c.1"
    bench.orders.ask_again()
    assert bench.sent() == [("c", Order(7, 1, DATA))]


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


def test_a_refusal_leaves_the_order_open() -> None:
    bench = Bench("b.1")
    bench.place()
    bench.orders.on_refused(OrderRefused(7, 1, "c.1"))
    assert len(bench.orders) == 1
    bench.sent()
    bench.pass_time(FAST.order_retry_ns)
    assert bench.sent() == [("b", Order(7, 1, DATA))]


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
    assert list(bench.core.mail) == [("a.1", Order(7, 1, DATA))]


# The leader ----------------------------------------------------------------------------------------------------------

ORDER = Order(3, 1, DATA)
CHANGES = (MemberLeaving(member_core().state.members()[0]),)


def done_at(bench: Bench, index: int, outcome: Outcome) -> None:
    """What was proposed first is committed at an index, with an outcome."""
    _, answer = bench.log.proposed.pop(0)
    bench.orders.applied(outcome, index)
    answer(Committed(index, term=1))
    bench.orders.end()


def test_a_leader_proposes_what_it_is_asked_and_says_what_became_of_it() -> None:
    bench = Bench("a.1")
    bench.orders.on_order("b.1", ORDER)
    assert [data for data, _ in bench.log.proposed] == [DATA]
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
        bench.orders.on_order(peer, Order(life, number, DATA))
    assert len(bench.log.proposed) == 4


def test_who_does_not_lead_refuses_and_names_the_leader() -> None:
    bench = Bench("c.1")
    bench.orders.on_order("b.1", ORDER)
    assert bench.sent() == [("b", OrderRefused(3, 1, "c.1"))]
    assert bench.log.proposed == []


def test_what_was_not_committed_is_refused_and_can_be_asked_for_again() -> None:
    bench = Bench("a.1")
    bench.orders.on_order("b.1", ORDER)
    bench.log.proposed.pop(0)[1](NotLeader("it does not lead", "c.1"))
    assert bench.sent() == [("b", OrderRefused(3, 1, "c.1"))]
    bench.orders.on_order("b.1", ORDER)
    assert len(bench.log.proposed) == 1


def test_who_was_deposed_forgets_what_nobody_knows_and_remembers_the_rest() -> None:
    bench = Bench("a.1")
    bench.orders.on_order("b.1", ORDER)
    done_at(bench, 9, AlreadySo())
    bench.orders.on_order("b.1", Order(3, 2, DATA))
    bench.sent()
    bench.orders.deposed()
    bench.orders.on_order("b.1", ORDER)
    bench.orders.on_order("b.1", Order(3, 2, DATA))
    assert bench.sent() == [("b", OrderDone(3, 1, 9, AlreadySo()))]
    assert len(bench.log.proposed) == 2, "the second one is proposed again"


def test_the_answers_that_are_remembered_are_limited() -> None:
    bench = Bench("a.1")
    for number in range(1, 4200):
        bench.orders.on_order("b.1", Order(3, number, DATA))
        done_at(bench, number + 10, AlreadySo())
    bench.orders.on_order("b.1", Order(3, 4199, DATA))
    assert bench.log.proposed == []
    bench.orders.on_order("b.1", ORDER)
    assert len(bench.log.proposed) == 1


def test_rule_19_a_command_that_comes_into_the_log_twice_does_nothing_the_second_time() -> None:
    state = ControlState()
    assert isinstance(state.execute(Join(NodeInfo("a", 1, "a")), 1), Applied)
    assert isinstance(state.execute(LEAVE, 2), Applied)
    assert state.execute(LEAVE, 3) == AlreadySo()
