"""A new owner: whom it asks, how long, and what it begins with."""

from __future__ import annotations

from random import Random

import pytest
from attrs import evolve

from casty_proto.machine import MILLISECOND, SECOND, Note
from casty_proto.replica import (
    Changed,
    Disown,
    Down,
    Durable,
    Fetch,
    Gone,
    InUse,
    Own,
    Primary,
    Pull,
    Received,
    Recovered,
    Refused,
    Replica,
    ReplicaOptions,
    Send,
    States,
    Superseded,
    Update,
    delta,
)
from casty_proto.replica.messages import State

from .script import (
    LIFE,
    OPTIONS,
    Script,
    ack,
    changed,
    complete,
    drop,
    fetch,
    own,
    page,
    ready,
    settings,
    update,
    whole,
)


def pull(*entities: str) -> Pull:
    return Pull("r", 0, 5, entities)


def states(*entries: State, life: int = LIFE) -> States:
    return States("r", 0, 5, life, entries)


def asking(replicas: str = "abc", **options: int) -> Script:
    """A new owner that has asked everybody, and has heard from its own node, which has nothing."""
    given = {"retry_ns": OPTIONS.retry_ns, "retry_max_ns": OPTIONS.retry_max_ns, **options}
    script = Script(Primary("a", ReplicaOptions(**given)))
    effects = script.do(own(replicas=replicas))
    assert effects == (Send("a", fetch()), *(Send(node, fetch()) for node in replicas if node != "a"))
    assert script.hear("a", page()) == ()
    return script


def test_rule_18_the_newest_by_epoch_and_sequence_is_taken() -> None:
    script = asking()
    script.hear("b", page(("x", 3, 9, False), ("y", 4, 1, False), ("z", 4, 2, False)))
    effects = script.hear("c", page(("x", 4, 1, False), ("y", 3, 7, False), ("z", 4, 3, False)))
    assert effects == (Send("b", pull("y")), Send("c", pull("x", "z")))
    assert script.hear("c", states(("x", 4, 1, b"X"), ("z", 4, 3, b"Z"))) == ()
    effects = script.hear("b", states(("y", 4, 1, b"Y")))
    assert effects[0] == Recovered("r", 0, 5, (("x", b"X"), ("y", b"Y"), ("z", b"Z")))


def test_rule_19_what_was_taken_is_written_again_in_the_new_epoch_as_a_delta_for_those_who_have_it() -> None:
    script = asking()
    state = bytes(range(100))
    script.hear("b", page(("x", 4, 7, False)))
    script.hear("c", page(("x", 4, 6, False)))
    effects = script.hear("b", states(("x", 4, 7, state)))
    assert effects == (
        Recovered("r", 0, 5, (("x", state),)),
        Send("a", drop()),
        Send("b", update("x", 1, delta.encode(state, state), base=(4, 7))),
        Send("c", update("x", 1, state)),
    )
    assert script.do(changed("x", state, 7)) == ()
    assert script.hear("b", ack("x", 1)) == (Durable(7), Send("b", whole(1, 1, 1, life=LIFE)))


def test_rule_17_who_is_up_is_asked_on_and_who_is_down_is_left_out() -> None:
    script = asking()
    script.hear("b", page())
    for _ in range(20):
        assert script.wake() == (Send("c", fetch()),)
    assert script.do(Down(("c",)))[0] == Recovered("r", 0, 5, ())


def test_rule_17_one_who_is_down_has_the_grace_to_answer() -> None:
    script = asking(recovery_grace_ns=30 * MILLISECOND)
    assert script.do(Down(("c",))) == ()
    assert script.hear("b", page()) == ()
    assert script.hear("c", page(("x", 4, 1, False))) == (Send("c", pull("x")),)
    assert script.wake()[0] == Recovered("r", 0, 5, ())
    assert script.now == 30 * MILLISECOND


def test_rule_17_one_who_goes_down_between_list_and_state_is_left_out_and_the_next_best_is_taken() -> None:
    script = asking()
    script.hear("b", page(("x", 4, 1, False)))
    assert script.hear("c", page(("x", 4, 2, False))) == (Send("c", pull("x")),)
    script.now = SECOND
    assert script.do(Down(("c",))) == (Send("b", pull("x")),)
    assert script.hear("c", states(("x", 4, 2, b"late"))) == ()
    assert script.hear("b", states(("x", 4, 1, b"X")))[0] == Recovered("r", 0, 5, (("x", b"X"),))


def test_rule_17_who_is_gone_for_good_is_not_waited_for() -> None:
    script = asking()
    script.hear("b", page())
    assert script.do(Gone("c"))[0] == Recovered("r", 0, 5, ())


def test_rule_17_more_that_are_down_than_a_write_bears_are_waited_for() -> None:
    script = Script(Primary("a", OPTIONS))
    script.do(evolve(own(replicas="abcd"), counting=((0, ("b", "c", "d")),), bearable=1, several=(0,)))
    script.hear("a", page())
    script.hear("d", page())
    assert script.do(Down(("b", "c"))) == ()
    notes = [effect for _ in range(5) for effect in script.wake() if isinstance(effect, Note)]
    assert len(notes) == 1
    assert "waits for b, c" in notes[0].text
    # What was written by b and c, and acknowledged, comes back with either of them.
    assert script.do(Down(("c",))) == ()
    effects = script.hear("b", page(("x", 4, 1, False)))
    assert Send("b", pull("x")) in effects
    assert script.hear("b", states(("x", 4, 1, b"X")))[0] == Recovered("r", 0, 5, (("x", b"X"),))


def test_rule_17_as_many_as_a_write_bears_hold_nothing_up() -> None:
    script = Script(Primary("a", OPTIONS))
    script.do(evolve(own(replicas="abcd"), counting=((0, ("b", "c", "d")),), bearable=1, several=(0,)))
    for node in "abd":
        assert script.hear(node, page()) == ()
    assert Recovered("r", 0, 5, ()) in (*script.do(Down(("c",))), *script.wake())


def test_rule_17_who_was_alone_when_it_acknowledged_is_waited_for() -> None:
    script = Script(Primary("a", OPTIONS))
    alone = evolve(own(replicas="ab"), counting=((2, ("b",)), (4, ("a", "b"))), owners=((2, "b"),), bearable=1)
    script.do(evolve(alone, several=(4,)))
    script.hear("a", page())
    assert script.do(Down(("b",))) == ()
    assert [effect for _ in range(5) for effect in script.wake() if isinstance(effect, Recovered)] == []
    script.do(Down(()))
    script.hear("b", page(("x", 2, 1, False), whole=(2, 1)))
    assert script.hear("b", states(("x", 2, 1, b"X")))[0] == Recovered("r", 0, 5, (("x", b"X"),))


def test_rule_24_a_backup_that_was_started_again_says_so_before_it_is_known_otherwise() -> None:
    script = Script(Primary("a", OPTIONS))
    three = evolve(own(replicas="abc"), counting=((2, ("a", "b", "c")),), owners=((2, "b"),), bearable=1)
    script.do(evolve(three, several=(2,), began=(("a", 1), ("b", 1), ("c", 1))))
    script.do(Down(("b",)))
    script.hear("a", evolve(page(whole=(2, 1)), index=3))
    # What `b` has acknowledged may be there, and where `c` had it before.
    script.hear("c", evolve(page(), began=4))
    assert [effect for _ in range(5) for effect in script.wake() if isinstance(effect, Recovered)] == []


def test_rule_17_who_is_gone_for_good_is_missing_and_not_waited_for() -> None:
    script = Script(Primary("a", OPTIONS))
    script.do(evolve(own(replicas="abcd"), counting=((0, ("b", "c", "d")),), bearable=1, several=(0,)))
    script.hear("a", page())
    script.hear("d", page())
    script.do(Down(("b", "c")))
    assert script.do(Gone("b")) == ()
    assert Recovered("r", 0, 5, ()) in script.do(Gone("c"))


def test_rule_17_who_was_left_out_and_is_back_before_the_end_is_asked_after_all() -> None:
    script = asking("abcd")
    script.now = SECOND
    script.do(Down(("c",)))
    assert script.do(Down(())) == (Send("c", fetch()),)
    script.hear("b", page())
    script.hear("d", page())
    assert script.hear("c", page(("x", 4, 1, False))) == (Send("c", pull("x")),)
    assert script.hear("c", states(("x", 4, 1, b"X")))[0] == Recovered("r", 0, 5, (("x", b"X"),))


@pytest.mark.parametrize("order", ["bc", "cb"])
def test_rule_18_what_was_asked_for_while_the_newest_was_away_does_not_count_when_it_is_back(order: str) -> None:
    script = asking()
    former, newest = bytes(range(100)), bytes(range(1, 101))
    listed = page(("x", 4, 2, False))
    script.hear("b", page(("x", 4, 1, False)))
    script.hear("c", listed)
    script.now = SECOND
    assert script.do(Down(("c",))) == (Send("b", pull("x")),)
    assert script.do(Down(())) == (Send("c", fetch()),)
    assert script.hear("c", listed) == (Send("c", pull("x")),)
    answers = {"b": states(("x", 4, 1, former)), "c": states(("x", 4, 2, newest))}
    effects = [effect for node in order for effect in script.hear(node, answers[node])]
    assert effects == [
        Recovered("r", 0, 5, (("x", newest),)),
        Send("a", drop()),
        Send("b", update("x", 1, newest)),
        Send("c", update("x", 1, delta.encode(newest, newest), base=(4, 2))),
    ]


def test_rule_18_a_state_that_is_here_already_is_not_replaced_by_an_older_one_that_comes_late() -> None:
    script = asking()
    listed = page(("x", 4, 2, False), ("y", 4, 3, False))
    script.hear("b", page(("x", 4, 1, False)))
    assert script.hear("c", listed) == (Send("c", pull("x", "y")),)
    assert script.hear("c", states(("x", 4, 2, b"X"))) == (Send("c", pull("y")),)
    script.now = SECOND
    assert script.do(Down(("c",))) == (Send("b", pull("x")),)
    script.do(Down(()))
    assert script.hear("c", listed) == (Send("c", pull("y")),)
    assert script.hear("b", states(("x", 4, 1, b"former"))) == ()
    effects = script.hear("c", states(("y", 4, 3, b"Y")))
    assert effects[0] == Recovered("r", 0, 5, (("x", b"X"), ("y", b"Y")))


def test_rule_14_who_was_left_out_is_told_to_drop_its_copy_when_the_backups_are_complete() -> None:
    script = Script(Primary("a", OPTIONS))
    script.do(Down(("d",)))
    script.do(own(backups="b", replicas="bd"))
    script.hear("a", page())
    script.hear("b", page())
    script.wake()
    assert Send("d", drop()) in script.hear("b", complete())


def test_rule_20_a_deletion_that_is_the_newest_wins() -> None:
    script = asking()
    script.hear("b", page(("x", 4, 1, False)))
    assert script.hear("c", page(("x", 4, 2, True)))[0] == Recovered("r", 0, 5, ())


def test_rule_20_what_a_complete_copy_lacks_was_deleted_unless_it_is_newer() -> None:
    script = asking()
    script.hear("b", page(("x", 4, 3, False), ("y", 4, 4, False)))
    assert script.hear("c", page(whole=(4, 3))) == (Send("b", pull("y")),)
    assert script.hear("b", states(("y", 4, 4, b"Y")))[0] == Recovered("r", 0, 5, (("y", b"Y"),))


def test_rule_21_a_list_is_read_page_by_page_and_pages_that_come_twice_change_nothing() -> None:
    script = asking(replicas="ab", page_entries=2)
    first = page(("v", 4, 1, False), ("w", 4, 2, False), following=2)
    assert script.hear("b", first) == (Send("b", fetch(2)),)
    assert script.hear("b", first) == ()
    effects = script.hear("b", page(("x", 4, 3, False), start=2))
    assert effects == (Send("b", pull("v", "w")),)
    assert script.hear("b", states(("v", 4, 1, b"V"))) == (Send("b", pull("w", "x")),)
    assert script.hear("b", states(("v", 4, 1, b"V"))) == ()
    effects = script.hear("b", states(("w", 4, 2, b"W"), ("x", 4, 3, b"X")))
    assert effects[0] == Recovered("r", 0, 5, (("v", b"V"), ("w", b"W"), ("x", b"X")))


def test_rule_21_a_replica_that_was_started_again_begins_its_list_anew() -> None:
    script = asking(replicas="ab")
    script.hear("b", page(("v", 4, 1, False), following=1))
    assert script.hear("b", evolve(page(("x", 4, 3, False), start=1), life=1)) == (Send("b", fetch()),)
    assert script.hear("b", page(("v", 4, 1, False))) == (Send("b", pull("v")),)
    assert script.hear("b", states(life=1)) == (Send("b", fetch()),)
    assert script.hear("b", page())[0] == Recovered("r", 0, 5, ())


def test_rule_21_a_state_that_is_not_what_was_listed_makes_it_ask_again() -> None:
    script = asking(replicas="ab")
    assert script.hear("b", page(("v", 4, 1, False))) == (Send("b", pull("v")),)
    assert script.hear("b", states(("v", 4, 2, b"V"))) == (Send("b", fetch()),)


def test_rule_12_a_new_owner_that_is_refused_is_none() -> None:
    script = asking()
    assert script.hear("b", Refused("r", 0, 6)) == (Superseded("r", 0, 6),)
    assert script.hear("c", page()) == ()
    assert script.machine.deadline() is None


def test_rule_23_an_epoch_that_was_in_use_in_an_earlier_life_of_the_node_is_not_begun_again() -> None:
    script = asking()
    assert script.hear("b", Refused("r", 0, 5)) == ()
    assert script.hear("b", InUse("r", 0, 5)) == (Superseded("r", 0, 5),)
    script = ready()
    assert script.hear("b", InUse("r", 0, 5)) == ()


def test_rule_16_a_question_that_gets_no_answer_is_asked_again_at_growing_intervals() -> None:
    script = asking(replicas="ab")
    times = []
    for _ in range(5):
        assert script.wake() == (Send("b", fetch()),)
        times.append(script.now // MILLISECOND)
    assert times == [100, 300, 700, 1100, 1500]


# A whole node ---------------------------------------------------------------------------------------------------------


def sent(effects: tuple[object, ...]) -> list[tuple[str, object]]:
    return [(effect.to, effect.message) for effect in effects if type(effect) is Send]


def node() -> Replica:
    """The owner of one shard with one entity, none of whose messages has arrived."""
    replica = Replica("a", Random(1))
    assert replica.handle(own(backups="b"), 0)[0] == Recovered("r", 0, 5, ())
    effects = replica.handle(Changed("r", 0, "x", b"one", 7), 0)
    assert (Durable(7) in effects, sent(effects)) == (False, [("b", update("x", 1, b"one"))])
    replica.invariants()
    return replica


def test_rule_15_an_owner_of_old_is_asked_like_everybody_else() -> None:
    replica = node()
    replica.handle(Disown("r", 0), 0)
    [(to, answer)] = sent(replica.handle(Received("z", Fetch("r", 0, 6, 0)), 0))
    assert (to, getattr(answer, "entries", None)) == ("z", (("x", 5, 1, False),))
    replica.invariants()


def test_rule_22_an_owner_that_does_not_know_that_it_is_none_answers_with_what_it_has() -> None:
    replica = node()
    effects = replica.handle(Received("z", Fetch("r", 0, 6, 0)), 0)
    assert Superseded("r", 0, 6) in effects
    assert [getattr(message, "entries", None) for _, message in sent(effects)] == [(("x", 5, 1, False),)]
    assert replica.handle(Own("r", 0, 5, (), settings()), 0) == (Superseded("r", 0, 6),)
    replica.invariants()


def test_rule_18_a_node_finds_its_own_copy_without_a_message() -> None:
    replica = node()
    replica.handle(Disown("r", 0), 0)
    effects = replica.handle(own(backups="b", epoch=6), 1)
    assert effects == (Recovered("r", 0, 6, (("x", b"one"),)), Send("b", Update("r", 0, 6, 1, "x", 1, b"one")))
    replica.invariants()
