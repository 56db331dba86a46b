"""Channels: each side by itself, then senders and owners over a network that loses, doubles and reorders."""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_proto.machine import MILLISECOND, SECOND
from casty_proto.shard.channel import (
    Accepted,
    ChannelOptions,
    Failed,
    Hello,
    Moved,
    Post,
    Receiver,
    Record,
    Returned,
    Sender,
    Settled,
    ToSend,
    Welcome,
)

OPTIONS = ChannelOptions(window=3, max_waiting=8, resend_ns=10, patience_ns=100)


def sender(*items: str) -> Sender:
    """A sender whose owner is "o", at epoch 7, and that has sent `items` at 0."""
    made = Sender(OPTIONS)
    assert made.lead_to("o", 7, 0) == ()
    for item in items:
        made.post((item,), 0)
    made.invariants()
    return made


# -- the sender --------------------------------------------------------------------------------------------------------


def test_rule_1_messages_are_numbered_in_the_order_in_which_they_were_given() -> None:
    made = sender()
    assert made.post(("a",), 0) == (ToSend("o", Post(7, 2, 1, ("a",))),)
    assert made.post(("b",), 1) == (ToSend("o", Post(7, 2, 2, ("b",))),)


def test_rule_1_what_was_put_travels_together_as_far_as_the_window_goes() -> None:
    made = sender()
    assert made.post(tuple("abcd"), 0) == (ToSend("o", Post(7, 2, 1, ("a", "b", "c"))),)
    made.invariants()
    assert made.accepted("o", Accepted(7, 2, 3), 2) == (Settled(("a", "b", "c")), ToSend("o", Post(7, 2, 4, ("d",))))


def test_rule_3_no_more_than_a_window_is_under_way_and_the_rest_follows() -> None:
    made = sender("a", "b", "c")
    assert made.post(("d",), 1) == ()
    assert made.accepted("o", Accepted(7, 2, 2), 2) == (Settled(("a", "b")), ToSend("o", Post(7, 2, 4, ("d",))))


def test_rule_3_what_is_not_accepted_in_time_is_sent_again() -> None:
    made = sender("a", "b")
    made.accepted("o", Accepted(7, 2, 1), 5)
    assert made.deadline() == 15
    assert made.wake(14) == ()
    assert made.wake(15) == (ToSend("o", Post(7, 2, 2, ("b",))),)
    assert made.accepted("o", Accepted(7, 2, 2), 16) == (Settled(("b",)),)
    assert made.deadline() is None


def test_rule_4_the_next_owner_is_asked_before_anything_is_sent_to_it() -> None:
    made = sender("a", "b")
    assert made.lead_to("p", 9, 5) == (ToSend("p", Hello(9, 2, 7)),)
    assert made.post(("c",), 6) == ()
    assert made.welcome("p", Welcome(9, 2, 1), 7) == (
        Settled(("a",)),
        ToSend("p", Post(9, 2, 2, ("b",))),
        ToSend("p", Post(9, 2, 3, ("c",))),
    )


def test_rule_4_the_question_is_repeated_until_it_is_answered() -> None:
    made = sender("a")
    made.lead_to("p", 9, 5)
    assert made.wake(15) == (ToSend("p", Hello(9, 2, 7)),)
    assert made.lead_to("q", 11, 16) == (ToSend("q", Hello(11, 2, 7)),)
    made.invariants()


def test_rule_4_who_has_nothing_under_way_begins_a_new_channel_without_asking() -> None:
    made = sender("a")
    made.accepted("o", Accepted(7, 2, 1), 1)
    assert made.lead_to("p", 9, 5) == ()
    assert made.post(("b",), 6) == (ToSend("p", Post(9, 3, 1, ("b",))),)


def test_rule_2_what_an_owner_may_have_accepted_that_is_gone_fails_and_the_rest_goes_on() -> None:
    made = sender("a", "b", "c")
    made.post(("d",), 1)
    made.lead_to("p", 9, 5)
    assert made.welcome("p", Welcome(9, 2, None), 6) == (
        Failed(("a", "b", "c")),
        ToSend("p", Post(9, 3, 1, ("d",))),
    )


def test_rule_2_6_what_was_never_sent_is_returned_when_its_time_is_up() -> None:
    made = Sender(OPTIONS)
    assert made.post(("a",), 0) == ()
    made.post(("b",), 50)
    assert made.deadline() == 100
    assert made.wake(100) == (Returned(("a",), "no owner of this shard was found in time"),)
    assert made.lead_to("o", 7, 120) == (ToSend("o", Post(7, 2, 1, ("b",))),)


def test_rule_6_there_is_room_for_so_many() -> None:
    made = sender(*"abcdefgh")
    assert made.post(("i",), 1) == (Returned(("i",), "8 messages wait for this shard already"),)


def test_without_an_owner_nothing_is_sent_and_nothing_lost() -> None:
    made = sender("a")
    assert made.lead_to(None, 8, 1) == ()
    assert made.wake(50) == ()
    assert made.post(("b",), 51) == ()
    assert made.lead_to("p", 9, 52) == (ToSend("p", Hello(9, 2, 7)),)


def test_what_is_known_already_or_older_changes_nothing() -> None:
    made = sender("a")
    assert made.lead_to("o", 7, 1) == ()
    assert made.lead_to("x", 7, 1) == ()
    assert made.lead_to("x", 6, 1) == ()
    assert made.owner == "o"


@pytest.mark.parametrize(
    ("peer", "answer"),
    [
        ("x", Accepted(7, 2, 1)),
        ("o", Accepted(6, 2, 1)),
        ("o", Accepted(7, 1, 1)),
        ("o", Accepted(7, 2, 0)),
        ("o", Accepted(7, 2, 9)),
    ],
)
def test_rule_7_an_answer_of_somebody_else_or_to_something_else_changes_nothing(peer: str, answer: Accepted) -> None:
    made = sender("a", "b")
    assert made.accepted(peer, answer, 1) == ()
    assert len(made) == 2


@pytest.mark.parametrize(
    ("peer", "answer"),
    [("x", Welcome(9, 2, 1)), ("p", Welcome(7, 2, 1)), ("p", Welcome(9, 1, None)), ("p", Welcome(9, 2, 3))],
)
def test_rule_7_so_does_a_welcome(peer: str, answer: Welcome) -> None:
    made = sender("a", "b")
    assert made.welcome("o", Welcome(7, 2, None), 1) == ()
    made.lead_to("p", 9, 1)
    assert made.welcome(peer, answer, 2) == ()
    assert len(made) == 2


def test_who_gives_up_says_what_becomes_of_everything() -> None:
    made = sender(*"abcd")
    assert made.give_up("the end") == (Failed(("a", "b", "c")), Returned(("d",), "the end"))
    assert made.give_up("the end") == ()
    made.invariants()


# -- the owner ---------------------------------------------------------------------------------------------------------


def test_rule_1_an_owner_accepts_in_order_and_each_once() -> None:
    owner = Receiver(7, None)
    assert owner.on_post("s", Post(7, 1, 1, ("a", "b"))) == (("a", "b"), Accepted(7, 1, 2))
    assert owner.on_post("s", Post(7, 1, 1, ("a", "b", "c"))) == (("c",), Accepted(7, 1, 3))
    assert owner.on_post("s", Post(7, 1, 2, ("b",))) == ((), Accepted(7, 1, 3))
    assert owner.on_post("s", Post(7, 1, 5, ("e",))) == ((), None)
    assert owner.on_post("t", Post(7, 1, 1, ("x",))) == (("x",), Accepted(7, 1, 1))


def test_rule_5_of_each_sender_the_latest_channel_counts_from_its_beginning() -> None:
    owner = Receiver(7, None)
    owner.on_post("s", Post(7, 2, 1, ("a",)))
    assert owner.on_post("s", Post(7, 1, 2, ("old",))) == ((), None)
    assert owner.on_post("s", Post(7, 3, 2, ("c",))) == ((), None)
    assert owner.on_post("s", Post(7, 3, 1, ("b",))) == (("b",), Accepted(7, 3, 1))


@pytest.mark.parametrize("post", [Post(6, 1, 1, ("a",)), Post(7, 0, 1, ("a",)), Post(7, 1, 0, ("a",))])
def test_rule_7_what_is_of_another_epoch_or_cannot_be_is_not_accepted(post: Post) -> None:
    assert Receiver(7, None).on_post("s", post) == ((), None)


def test_rule_4_with_the_record_of_its_predecessor_an_owner_knows_how_many() -> None:
    before = Receiver(7, None)
    before.on_post("s", Post(7, 1, 1, ("a", "b")))
    owner = Receiver(9, before.record())
    assert owner.on_hello("s", Hello(9, 1, 7)) == Welcome(9, 1, 2)
    assert owner.on_hello("t", Hello(9, 4, 7)) == Welcome(9, 4, 0)
    assert owner.on_hello("s", Hello(9, 2, 7)) == Welcome(9, 2, 0)
    assert owner.on_hello("s", Hello(8, 1, 7)) is None


def test_rule_8_of_what_was_sent_to_one_before_the_record_nobody_knows() -> None:
    owner = Receiver(9, Receiver(8, None).record())
    assert owner.on_hello("s", Hello(9, 1, 7)) == Welcome(9, 1, None)
    assert owner.on_hello("s", Hello(9, 1, 8)) == Welcome(9, 1, 0)
    assert Receiver(9, None).on_hello("s", Hello(9, 1, 8)) == Welcome(9, 1, None)


def test_a_record_has_a_fixed_order_and_forgets_who_is_gone() -> None:
    owner = Receiver(7, None)
    for name in "cab":
        owner.on_post(name, Post(7, 1, 1, ("x",)))
    owner.forget("a")
    owner.forget("unknown")
    assert owner.record() == Record(7, (("b", 1, 1), ("c", 1, 1)))


# -- all together ------------------------------------------------------------------------------------------------------


class Town:
    """Some senders, and a shard whose owner changes: by handing over, or by a crash."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.options = ChannelOptions(window=4, max_waiting=50, resend_ns=20 * MILLISECOND, patience_ns=SECOND)
        self.senders = {name: Sender(self.options) for name in ("s", "t")}
        self.owner, self.epoch = "o0", 1
        self.receiver: Receiver | None = Receiver(1, None)
        self.handled: dict[str, list[int]] = {name: [] for name in self.senders}
        self.failed: dict[str, list[int]] = {name: [] for name in self.senders}
        self.returned: dict[str, list[int]] = {name: [] for name in self.senders}
        self.posted = dict.fromkeys(self.senders, 0)
        self.crashes = 0
        self.now = 0
        self.queue: list[tuple[int, int, Callable[[], None]]] = []
        self.count = 0
        self.lossy = True
        for name in self.senders:
            self.perform(name, self.senders[name].lead_to(self.owner, self.epoch, 0))

    def later(self, delay: int, what: Callable[[], None]) -> None:
        self.count += 1
        heappush(self.queue, (self.now + delay, self.count, what))

    def deliver(self, what: Callable[[], None]) -> None:
        """Lost, doubled, late."""
        copies = self.rng.choice([0, 1, 1, 1, 2]) if self.lossy else 1
        for _ in range(copies):
            self.later(self.rng.randrange(30 * MILLISECOND), what)

    def perform(self, name: str, effects: tuple[Any, ...]) -> None:
        for effect in effects:
            match effect:
                case ToSend(to, message):
                    self.deliver(lambda to=to, message=message: self.at_owner(name, to, message))  # type: ignore[misc]
                case Failed(items):
                    self.failed[name] += items
                case Returned(items, _):
                    self.returned[name] += items
        self.senders[name].invariants()

    def at_owner(self, name: str, to: str, message: Post | Hello) -> None:
        answer: Any
        if to != self.owner or self.receiver is None:
            answer = Moved(message.epoch, self.owner, self.epoch)
        elif isinstance(message, Hello):
            answer = self.receiver.on_hello(name, message)
        else:
            items, answer = self.receiver.on_post(name, message)
            self.handled[name] += items
        if answer is not None:
            self.deliver(lambda: self.at_sender(name, to, answer))

    def at_sender(self, name: str, peer: str, answer: Any) -> None:
        one = self.senders[name]
        match answer:
            case Accepted():
                self.perform(name, one.accepted(peer, answer, self.now))
            case Welcome():
                self.perform(name, one.welcome(peer, answer, self.now))
            case Moved(_, owner, newest):
                self.perform(name, one.lead_to(owner, newest, self.now))

    def move(self, crash: bool) -> None:
        record = None if crash or self.receiver is None else self.receiver.record()
        self.crashes += crash
        self.epoch += self.rng.randint(1, 3)
        self.owner = f"o{self.epoch}"
        self.receiver = None
        epoch, owner = self.epoch, self.owner

        def start() -> None:
            if self.epoch == epoch:
                self.receiver = Receiver(epoch, record)

        self.later(self.rng.randrange(60 * MILLISECOND), start)
        for name in self.senders:
            if self.rng.random() < 0.7:
                self.later(
                    self.rng.randrange(100 * MILLISECOND),
                    lambda name=name: self.perform(name, self.senders[name].lead_to(owner, epoch, self.now)),  # type: ignore[misc]
                )

    def run_until(self, end: int) -> None:
        while self.now < end:
            deadlines = [deadline for one in self.senders.values() if (deadline := one.deadline()) is not None]
            at = min([*deadlines, end, *([self.queue[0][0]] if self.queue else [])])
            self.now = max(self.now, at)
            while self.queue and self.queue[0][0] <= self.now:
                heappop(self.queue)[2]()
            for name, one in self.senders.items():
                deadline = one.deadline()
                if deadline is not None and deadline <= self.now:
                    self.perform(name, one.wake(self.now))
                    after = one.deadline()
                    assert after is None or after > self.now

    def run(self, steps: int) -> None:
        for _ in range(steps):
            for name in self.senders:
                for _ in range(self.rng.randrange(4)):
                    self.perform(name, self.senders[name].post((self.posted[name],), self.now))
                    self.posted[name] += 1
            draw = self.rng.random()
            if draw < 0.15:
                # Nobody takes over a record that it does not have itself: that is a crash as well.
                self.move(crash=draw < 0.05 or self.receiver is None)
            self.run_until(self.now + 40 * MILLISECOND)
        self.lossy = False
        for name, one in self.senders.items():
            self.perform(name, one.lead_to(self.owner, self.epoch, self.now))
        self.run_until(self.now + 3 * SECOND)


@given(st.integers(0, 2**32))
@settings(max_examples=60)
def test_each_message_is_handled_at_most_once_in_order_and_none_is_lost_without_a_word(seed: int) -> None:
    town = Town(seed)
    town.run(40)
    for name, handled in town.handled.items():
        assert handled == sorted(set(handled)), "in order, each once"
        ended = {*handled, *town.failed[name], *town.returned[name]}
        assert ended == set(range(town.posted[name])), "each has an end"
        assert not set(town.returned[name]) & {*handled, *town.failed[name]}, "what was returned was never sent"
        assert len(town.senders[name]) == 0
        if not town.crashes:
            assert not town.failed[name], "without a crash nothing fails"


def test_there_are_moves_crashes_and_failures_in_it() -> None:
    towns = [Town(seed) for seed in range(30)]
    for town in towns:
        town.run(40)
    assert sum(town.crashes for town in towns) > 10
    assert sum(len(town.failed["s"]) for town in towns) > 10
    assert sum(len(town.handled["s"]) for town in towns) > 500
    assert any(not town.crashes and town.epoch > 3 for town in towns)


@pytest.mark.parametrize("bug", ["since is not looked at", "a gap is stepped over", "the channel is not looked at"])
def test_each_of_these_mistakes_would_be_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if bug == "since is not looked at":
        original = Receiver.on_hello
        monkeypatch.setattr(
            Receiver,
            "on_hello",
            lambda self, name, hello: original(self, name, Hello(hello.epoch, hello.channel, 2**60)),
        )
    elif bug == "a gap is stepped over":
        monkeypatch.setattr(
            Receiver,
            "on_post",
            lambda self, name, post: (post.items, Accepted(post.epoch, post.channel, post.first + len(post.items) - 1)),
        )
    else:
        monkeypatch.setattr(Sender, "_begin_anew", _begin_anew_on_the_same_channel)
    with pytest.raises(AssertionError):
        _many_towns()


def _begin_anew_on_the_same_channel(self: Sender) -> None:
    self._next = 1
    self._sent.clear()
    self._asking = False
    self._resend_at = None


def _many_towns() -> None:
    for seed in range(200):
        town = Town(seed)
        town.run(40)
        for name, handled in town.handled.items():
            assert handled == sorted(set(handled))
            assert {*handled, *town.failed[name], *town.returned[name]} == set(range(town.posted[name]))
