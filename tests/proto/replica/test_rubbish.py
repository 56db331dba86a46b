"""Rule 25: what is no message, or no good one, is dropped and noted, and changes nothing."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from attrs import evolve, fields
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.machine import Note, Severity
from casty_proto.replica import Backup, Dropped, InUse, Page, Primary, Pull, Received, Refused, Replica, States
from casty_proto.replica.door import MESSAGES, to_copy, to_owner

from .script import Script, ack, changed, complete, copy, drop, fetch, needs, page, ready, update, waiting, whole

GOOD: list[Any] = [
    update("x", 2, b"two"),
    update("x", 2, b"\x00", base=(5, 1)),
    whole(),
    drop(),
    fetch(epoch=6),
    Pull("r", 0, 6, ("x",)),
    ack("x", 1),
    needs("x", 1),
    complete(),
    Dropped("r", 0, 5, 1),
    page(("y", 4, 1, False), whole=(4, 1)),
    States("r", 0, 5, 1, (("y", 4, 1, b"y"),)),
    Refused("r", 0, 9),
    InUse("r", 0, 5),
]

BAD: list[Any] = [
    None,
    "update",
    update,
    update("x", 2, "two"),  # type: ignore[arg-type]
    update("x", 2, None, base=(5, 1)),
    update("x", 2, b"two", base=(5, 2)),
    update("x", 2, b"two", base=(6, 1)),
    update("x", 2, b"two", base=[5, 1]),  # type: ignore[arg-type]
    update("x", 0, b"two"),
    update("x", 2, b"two", stage=0),
    update("x", 2, b"two", epoch=0),
    update("x", 2, b"\xff", base=(5, 1)),  # no delta
    whole(stage=1, since=2),
    Pull("r", 0, 5, ["x"]),  # type: ignore[arg-type]
    Pull("r", 0, 5, (1,)),  # type: ignore[arg-type]
    page(("x", 5, 1, False)),  # of the epoch that asks
    page(("x", 4, 1, 0)),  # type: ignore[arg-type]
    page(("x", 4, 1, False), following=7),
    page(following=0, whole=(5, 1)),
    page(whole=(1, 2, 3)),  # type: ignore[arg-type]
    States("r", 0, 5, 1, (("x", 4, 1, "y"),)),  # type: ignore[arg-type]
    States("r", 0, 5, 1, (("x", 4, b"y"),)),  # type: ignore[arg-type]
]


def notes(script: Script, peer: str, message: object) -> None:
    before = script.state()
    [note] = script.hear(peer, message)
    assert type(note) is Note
    assert (note.severity, peer in note.text, "rule 25" in note.text) == (Severity.WARNING, True, True)
    assert script.state() == before


def holding() -> Script:
    script = copy()
    script.hear("a", update("x", 1, b"one"))
    return script


def owning() -> Script:
    script = ready()
    script.do(changed("x", b"one"))
    return script


@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
def test_rule_25_rubbish_changes_nothing(message: Any) -> None:
    notes(holding(), "a", message)
    notes(owning(), "b", message)
    notes(waiting(), "a", message)


@pytest.mark.parametrize("message", GOOD, ids=lambda message: type(message).__name__)
def test_rule_25_no_field_may_be_of_another_type(message: Any) -> None:
    for attribute in fields(type(message)):
        for wrong in (None, True, -1, 1.0, 2**63, [], (), "", b"", object()):
            value = getattr(message, attribute.name)
            may_be = attribute.name in ("state", "base", "entries", "entities", "region", "entity") or value is None
            if (type(wrong) is type(value) or wrong is None) and may_be:
                continue
            bad = evolve(message, **{attribute.name: wrong})
            assert isinstance(to_copy(bad), str), bad
            assert isinstance(to_owner(bad), str), bad


def test_rule_25_each_message_is_for_one_end() -> None:
    assert {type(message) for message in GOOD} == set(MESSAGES)
    for message in GOOD:
        assert isinstance(to_copy(message), str) != isinstance(to_owner(message), str)


def test_rule_25_somebody_else_in_the_epoch_of_an_owner_is_not_listened_to() -> None:
    notes(holding(), "q", update("x", 9, b"other"))
    notes(holding(), "q", fetch(epoch=5))


@pytest.mark.parametrize("message", [page(), States("r", 0, 5, 1, ()), complete(), Dropped("r", 0, 5, 1), ack("x", 1)])
def test_rule_25_answers_that_nobody_waits_for_change_nothing(message: Any) -> None:
    script = owning()
    before = script.state()
    assert script.hear("q", message) == ()
    assert script.state() == before


@given(st.lists(st.tuples(st.sampled_from("abcq"), st.sampled_from(GOOD), st.integers(1, 7), st.integers(1, 3))))
def test_rule_25_no_order_of_good_messages_breaks_a_machine(steps: list[tuple[str, Any, int, int]]) -> None:
    machines: list[Primary | Backup | Replica] = [owning().machine, waiting().machine, holding().machine]
    machines.append(Replica("a", Random(1)))
    for machine in machines:
        for peer, message, epoch, number in steps:
            names = [attribute.name for attribute in fields(type(message))]
            changes = {name: number for name in ("stage", "sequence") if name in names}
            if not isinstance(message, Page | States):
                changes["epoch"] = epoch
            machine.handle(Received(peer, evolve(message, **changes)), 0)
            machine.invariants()
