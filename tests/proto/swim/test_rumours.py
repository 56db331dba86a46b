"""Rule 20: which news goes out next, and how often. SWIM 4.1"""

from __future__ import annotations

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.machine import SECOND
from casty_proto.swim import Ack, Gossip, Ping, SwimOptions, Update, message_size
from casty_proto.swim.core import GOSSIP_KEY
from casty_proto.swim.gossip import Rumours

from .script import Script, alive, left, sent, suspect, who

NAMES = "abcdefgh"


def queue(*sizes: int) -> Rumours:
    """A queue with one update for each size, about a, b, c ..."""
    rumours = Rumours()
    for name, size in zip(NAMES, sizes, strict=False):
        rumours.put(alive(name), size)
    return rumours


def about(updates: list[Update]) -> str:
    return "".join(update.identity.node_id for update in updates)


def test_s_30_the_newest_about_a_member_replaces_the_older() -> None:
    rumours = queue(10)
    rumours.take(100, 4)
    rumours.put(suspect("a"), 10)
    assert len(rumours) == 1
    assert rumours.take(100, 1) == [suspect("a")]
    assert len(rumours) == 0


def test_s_31_four_messages_fit_with_an_overhead_of_two_and_three_with_three() -> None:
    assert len(queue(*[18 + 2] * 4).take(80, 4)) == 4
    assert len(queue(*[18 + 3] * 4).take(80, 4)) == 3


def test_s_31_two_transmissions_of_four_messages_come_as_3_3_2_0() -> None:
    rumours = queue(*[18 + 3] * 4)
    assert [len(rumours.take(80, 2)) for _ in range(4)] == [3, 3, 2, 0]
    assert len(rumours) == 0


def test_s_33_the_least_told_come_first_then_the_larger_then_the_newer() -> None:
    rumours = queue(10, 30, 20, 30)
    assert about(rumours.take(30, 9)) == "d"
    assert about(rumours.take(1000, 9, "a")) == "bcd"
    assert about(rumours.take(1000, 9)) == "abcd", "a was told least, and d once more than b and c"


def test_s_33_a_smaller_one_takes_the_place_that_is_left() -> None:
    assert about(queue(50, 40, 30, 20, 10).take(65, 9)) == "ae"


def test_s_35_what_is_told_as_often_as_it_may_is_gone() -> None:
    """4 updates, fan-out 3, 10 transmissions: the 4th round has one message to send."""
    script = Script(*"pqrs", options=SwimOptions(retransmit_mult=10, probe_interval_ns=1000 * SECOND))
    script.hear(*(alive(name, 1) for name in "pqrs"))
    counts = [len(sent(script.wake(), Gossip)) for _ in range(4)]
    assert counts == [3, 3, 3, 1]
    assert script.news() == []


def test_rule_20_the_limit_falls_with_the_cluster_and_nothing_is_kept_for_ever() -> None:
    rumours = queue(10, 10)
    for _ in range(5):
        rumours.take(100, 8)
    rumours.put(alive("z"), 10)
    assert about(rumours.take(100, 4)) == "z"
    rumours.expire(4)
    assert len(rumours) == 1


def test_rule_22_a_member_falls_silent_when_the_cluster_shrinks() -> None:
    """13 members tell an item 8 times, 4 members 4 times. Told 6 times, it is not told again, and not kept."""
    names = "abcdefghijkl"
    script = Script(*names, options=SwimOptions(retransmit_mult=4))
    script.hear(alive("a", 1))
    script.advance(0.4)
    assert script.news() == [alive("a", 1)]
    script.hear(*(left(name) for name in names[3:]))
    script.advance(10)
    assert script.news() == []
    assert GOSSIP_KEY not in script.machine._deadlines


def test_rule_20_news_travels_in_pings_and_acks() -> None:
    script = Script("p")
    script.hear(alive("x"))
    assert sent(script.receive(Ping(who("p"), 1, script.machine.me.identity)), Ack)[0][1].updates == (alive("x"),)
    _, ping = script.probe()
    assert ping.updates == (alive("x"),)


def test_rule_20_whoever_has_nothing_to_say_says_nothing() -> None:
    script = Script("p", "q", "r")
    assert sent(script.advance(100), Gossip) == []


@define
class Slow:
    """The queue as it is described: sort everything, and take whatever fits, one after the other."""

    items: list[list[int]]
    """Times told, size, serial, and whom it is about."""

    def put(self, name: int, size: int, serial: int) -> None:
        self.items = [item for item in self.items if item[3] != name]
        self.items.append([0, size, serial, name])

    def take(self, room: int, limit: int, skip: int) -> list[int]:
        taken = []
        for item in sorted(self.items, key=lambda item: (item[0], -item[1], -item[2])):
            if item[0] < limit and item[1] <= room and item[3] != skip:
                room -= item[1]
                item[0] += 1
                taken.append(item[3])
        self.items = [item for item in self.items if item[0] < limit or item[3] not in taken]
        return taken


OPERATIONS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 7), st.integers(1, 60), st.just(0)),
    st.tuples(st.just("take"), st.integers(0, 150), st.integers(1, 4), st.integers(0, 7)),
)


@given(st.lists(OPERATIONS, max_size=40))
def test_s_34_the_queue_does_what_sorting_everything_would(operations: list[tuple[str, int, int, int]]) -> None:
    fast, slow = Rumours(), Slow([])
    for serial, (what, a, b, c) in enumerate(operations):
        if what == "put":
            fast.put(alive(NAMES[a]), b)
            slow.put(a, b, serial)
        else:
            sizes = {item[3]: item[1] for item in slow.items}
            taken = [NAMES.index(update.identity.node_id) for update in fast.take(a, b, NAMES[c])]
            assert taken == slow.take(a, b, c)
            assert sum(sizes[name] for name in taken) <= a
            assert c not in taken
        fast.invariants()
        assert len(fast) == len(slow.items)


@given(st.lists(st.tuples(st.sampled_from("uvwxyz"), st.integers(0, 1024)), max_size=30), st.integers(1, 4))
def test_s_34_no_message_is_larger_than_the_limit(said: list[tuple[str, int]], generation: int) -> None:
    """The script's watch measures everything that is sent."""
    script = Script("p", "q", "r")
    for incarnation, (name, size) in enumerate(said):
        script.hear(alive(f"{name * 9}/{generation}", incarnation, bytes(size)))
    messages = [message for _, message in sent(script.advance(3), Gossip)]
    assert all(message_size(message) <= 1400 for message in messages)
