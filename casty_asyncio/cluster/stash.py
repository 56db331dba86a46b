"""What entities set aside of the messages of their region: it is kept beside the mailbox, and goes with the shard.

An ask that is set aside is the same turn later; it is marked as not begun. Of all others nothing is left when their
handler has ended, and what is set aside is the same message once more, which was told: who has sent it was told that it
was handled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..asks import Ask
from ..errors import ActorStoppedError, NotSendableError
from .items import Form
from .turns import Told, Turn

if TYPE_CHECKING:
    from .entities import Entity


def stash(entity: Entity, message: Any, item: Any) -> bool:
    """Set the message in hand aside. `item` is what waits in the mailbox for one that is none of the region.

    False, and nothing done, when the stash is full.
    """
    cell = entity.body.cell if entity.body is not None else None
    assert cell is not None, "a handler runs"
    machine = entity._hosting.runtime.machine
    stashed = entity.stashed
    if len(stashed or ()) + len(cell.stashed or ()) >= cell.limit:
        return False
    again = _again(entity, message)
    if again is None:
        return machine.stash(cell, item)
    if stashed is None:
        stashed = entity.stashed = []
    stashed.append((again, message))
    again.has_begun = False
    return True


def _again(entity: Entity, message: Any) -> Turn | Told | None:
    """The message in hand, to be handled once more; `None` where that is another one, or none of the region."""
    turn = entity.turn
    if turn is None or not turn.has_begun:
        return None
    if type(turn) is Told:
        if turn.message is not message:
            return None
        return Told(entity, turn.data, turn.arrival, turn.sender, message)
    assert type(turn) is Turn
    if turn.ask.message is not message:
        return None
    if turn.form is not Form.ASK:
        return _told(turn)
    return None if turn.done() else turn


def _told(turn: Turn) -> Turn | None:
    """The same message, for which nobody waits; `None` where it cannot be sent any more as it is by now."""
    entity, data = turn.entity, turn.data
    hosting = entity._hosting
    if turn.form is not Form.TELL:
        ref = hosting.ref_of(entity.shard.region.name, entity.name)
        try:
            data = hosting.items.message(ref, Form.TELL, turn.sender, None, turn.ask.message)
        except NotSendableError:
            return None
    again = Turn(hosting, data, turn.arrival)
    again.entity, again.sender, again.ask.message = entity, turn.sender, turn.ask.message
    return again


def unstash(entity: Entity) -> int:
    """Handle what was set aside next, before all that waits. Returns how many there were."""
    if entity.stashed is None:
        return 0
    back = _taken(entity)
    _recall(entity)
    for turn in reversed(back):
        entity._wait_first(turn)
    entity.go_on()
    return len(back)


def _recall(entity: Entity) -> None:
    """What is in the mailbox, and was not begun, waits again."""
    entity.take_back()
    turn, body = entity.turn, entity.body
    if type(turn) is not Turn or turn.has_begun or body is None:
        return
    runtime = entity._hosting.runtime
    asks = runtime.machine.withdraw(body.cell, Ask)
    others = [ask for ask in asks if ask is not turn.ask]
    runtime.put_back(body.cell, others)
    if len(others) < len(asks):
        entity.turn = None
        entity._wait_first(turn)


def lose(entity: Entity) -> None:
    """Its actor has stopped by itself: nobody handles them."""
    for turn in _taken(entity):
        turn.refuse(ActorStoppedError(f"{turn.kind()} was not handled by {entity.path}: the actor has stopped"))


def let_wait(entity: Entity) -> None:
    """Its actor is to stop, and did not want to: they wait for the next one, here or elsewhere."""
    for turn in reversed(_taken(entity)):
        entity._wait_first(turn)


def _taken(entity: Entity) -> list[Turn | Told]:
    """All that is set aside, in its order, and is not any more. Of asks that are over, messages that were told."""
    stashed, entity.stashed = entity.stashed, None
    found: list[Turn | Told] = []
    for turn, message in stashed or ():
        again: Turn | Told | None = turn
        if type(turn) is Turn:
            turn.ask.message = message
            again = _told(turn) if turn.done() else turn
        if again is not None:
            found.append(again)
    return found
