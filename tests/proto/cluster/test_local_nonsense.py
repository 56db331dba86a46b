"""What a driver may say, and what becomes of nonsense: rule 5 of `machine.py`. What is of a wrong type cannot be made;
all else is answered, and nothing that others would take for rubbish is sent to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from casty_proto.cluster import events as ev
from casty_proto.cluster.events import Standing
from casty_proto.cluster.handover import NAME
from casty_proto.cluster.messages import Belongs, Envelope, JoinAnswer, Seek
from casty_proto.cluster.registry import Deregister, Register, Registry, RegistryOptions
from casty_proto.machine import Note, Persisted, Rejected, Reply, Wake

from .kit_node import FAST, World
from .kit_owning import Bench
from .kit_parts import replies, rng, take

_SPOTS: tuple[tuple[Any, Any], ...] = ((None, 0), ([], 0), (b"r", 0), ("r", None), ("r", "0"), ("r", 1.0), ("r", True))
_MAKERS: tuple[Callable[[Any, Any], Any], ...] = (
    lambda region, shard: ev.Tell(1, region, shard, b"x"),
    lambda region, shard: ev.Tells(region, shard, ((b"x", 1, True),)),
    lambda region, shard: ev.Handled(region, shard, 1, "x", b"s"),
    lambda region, shard: ev.Touched(region, shard, 1, "x"),
    lambda region, shard: ev.Rested(region, shard, 1, "x", b"s"),
    lambda region, shard: ev.Closed(region, shard, 1),
)
NAMELESS = ["", NAME, "\x00", "\ud800", "x" * 4097]

# Types ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", _MAKERS)
@pytest.mark.parametrize(("region", "shard"), _SPOTS)
def test_a_shard_is_named_by_a_text_and_a_whole_number(
    make: Callable[[Any, Any], Any], region: Any, shard: Any
) -> None:
    with pytest.raises(TypeError):
        make(region, shard)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ev.Tell(1, "r", 0, "text"),  # type: ignore[arg-type]
        lambda: ev.Tell(1, "r", 0, bytearray(b"x")),  # type: ignore[arg-type]
        lambda: ev.Tells("r", 0, [(b"x", 1, True)]),  # type: ignore[arg-type]
        lambda: ev.Tells("r", 0, (("text", 1, True),)),  # type: ignore[arg-type]
        lambda: ev.Tells("r", 0, ((bytearray(b"x"), 1, True),)),  # type: ignore[arg-type]
        lambda: ev.Tells("r", 0, ((b"x", 1),)),  # type: ignore[arg-type]
        lambda: ev.Tells("r", 0, (b"x", None)),  # type: ignore[arg-type]
        lambda: ev.Handled("r", 0, 1, "x", "state"),  # type: ignore[arg-type]
        lambda: ev.Handled("r", 0, "1", "x", b""),  # type: ignore[arg-type]
        lambda: ev.Closed("r", 0, 1, (("x",),)),  # type: ignore[arg-type]
        lambda: ev.Closed("r", 0, 1, [("x", b"")]),  # type: ignore[arg-type]
        lambda: ev.Closed("r", 0, 1, (("x", "state"),)),  # type: ignore[arg-type]
        lambda: ev.Closed("r", 0, 1, (), ("text",)),  # type: ignore[arg-type]
        lambda: ev.Closed("r", 0, 1, (), b"xy"),  # type: ignore[arg-type]
        lambda: ev.Start("host:1"),  # type: ignore[arg-type]
        lambda: ev.Start(("",)),
        lambda: ev.Start(("x",) * 1025),
    ],
)
def test_what_others_would_take_for_rubbish_cannot_be_said(make: Callable[[], Any]) -> None:
    """Sent on, it would be dropped by whoever gets it, and sent again for ever."""
    with pytest.raises((TypeError, ValueError)):
        make()


# Names of entities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [b"state", None])
@pytest.mark.parametrize("entity", NAMELESS)
def test_a_state_under_a_name_that_no_entity_can_have_is_rejected_and_not_kept(
    entity: str, state: bytes | None
) -> None:
    """It would be taken for the hand-over, and be lost with the next move; or for rubbish, by every backup."""
    bench = Bench()
    epoch = bench.owned()
    bench.owning.on_handled(ev.Handled("r", bench.home, epoch, entity, state, "request"))
    ((request, result),) = replies(bench.core)
    assert request == "request"
    assert isinstance(result, Rejected)
    assert "is no name of an entity" in result.reason
    bench.owning.on_rested(ev.Rested("r", bench.home, epoch, entity, b"state"))
    assert bench.owning.state_of("r", bench.home, entity) is None
    assert take(bench.core) == []


@pytest.mark.parametrize("entity", NAMELESS)
def test_of_a_shard_that_is_closed_such_a_state_is_left_out_and_noted_and_the_shard_moves(entity: str) -> None:
    bench = Bench()
    epoch = bench.owned()
    bench.move_away()
    bench.owning.on_closed(ev.Closed("r", bench.home, epoch, (("x", b"good"), (entity, b"bad")), (b"left",)))
    (note,) = [one.text for one in take(bench.core) if isinstance(one, Note)]
    assert "is no name of an entity" in note
    assert bench.owning.phase_of("r", bench.home) is not None
    assert bench.owning.state_of("r", bench.home, "x") == b"good"
    assert bench.owning.state_of("r", bench.home, entity) != b"bad"


# The registry --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "path"), [("\ud800", "/x"), ("k", "/\ud800"), ("", "/x"), ("k", ""), ("k" * 4097, "/x")]
)
def test_what_cannot_be_sent_is_not_listed(key: str, path: str) -> None:
    made = Registry("a", rng(), RegistryOptions())
    (note,) = made.handle(Register(key, 1, path), 0)
    assert isinstance(note, Note)
    assert made.version_of("a") == 0


# The end -------------------------------------------------------------------------------------------------------------

EVERYTHING: tuple[Any, ...] = (
    ev.Start(("b",)),
    ev.Tell(1, "r", 0, b"x"),
    ev.Tells("r", 0, ((b"x", 1, True), (b"y", 1, False))),
    ev.Handled("r", 0, 1, "x", b"s", 1),
    ev.Touched("r", 0, 1, "x"),
    ev.Rested("r", 0, 1, "x", b"s"),
    ev.Closed("r", 0, 1, (("x", b"s"),), (b"y",)),
    Persisted(1),
    Persisted(-1),
    Persisted(10**30),
    ev.ConnectionLost("b"),
    ev.ClaimName(1, "boss", 1, "/boss"),
    ev.ReleaseName(1, "boss", 1),
    ev.ForgetNode(1, "b"),
    ev.Confer(1),
    Register("k", 1, "/x"),
    Deregister(1),
    ev.Depart(1),
    Wake(),
    ev.Received(Envelope("b.1", "b", "", None, Seek((), 0))),
)


@pytest.mark.parametrize("how", ["turned away", "departed", "departed before it was one", "expelled"])
def test_a_node_that_has_ended_says_nothing_to_anybody_and_stays_what_it_is(how: str) -> None:
    world = World(3)
    if how in ("turned away", "departed before it was one"):
        process = world.start("a", "ab")
    else:
        world.form("abc")
        process = world.others(world.leader)[0]
        process.feed(Register("k", 1, "/x"))
    if how == "turned away":
        for body in (Belongs("b.1"), JoinAnswer("b.1", False, "why")):
            process.feed(ev.Received(Envelope("b.1", "b", "b.1", None, body)))
    elif how == "expelled":
        world.crash(process.address)
        world.start(process.address, "abc", generation=2)
        world.settle()
        world.processes[process.address] = process
        world.run(5)
    else:
        process.feed(ev.Depart())
        world.run(5)
    standing = process.node.standing
    assert standing is (Standing.DEPARTED if how.startswith("departed") else Standing.EXPELLED)
    for event in EVERYTHING:
        effects = process.node.handle(event, process.now)
        process.node.invariants()
        assert all(isinstance(one, Note | Reply) for one in effects), (event, effects)
        assert [process.node.standing, process.node.deadline()] == [standing, None]


def test_before_it_was_started_a_node_answers_what_it_is_asked_and_sends_nothing() -> None:
    world = World(3)
    process = world.start("a", "ab")
    fresh = type(process.node)(process.node.info, rng(), FAST)
    for event in EVERYTHING[1:-3]:
        effects = fresh.handle(event, process.now)
        fresh.invariants()
        assert not [one for one in effects if isinstance(one, ev.Send)], event
        request = getattr(event, "request", None)
        requests = [request for _, request, _ in getattr(event, "entries", ())]
        answers = [one.request for one in effects if isinstance(one, Reply)]
        assert answers == ([*requests] if request is None else [request]), event
