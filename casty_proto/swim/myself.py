"""What others say about this member is never believed. Where it does harm it is contradicted.

Theory of operation
-------------------
An accusation, or a claim that goes beyond what we have ever said, is answered by raising our incarnation above it:
what we say then prevails everywhere. A statement that is older than what we say is answered by saying that again.
What is not contradicted is a higher generation of ourselves. It is a new process in our place, and we are the past.

How nobody gets stuck over a wild incarnation
---------------------------------------------
An incarnation is raised by its owner only, and by one each time, so a jump by more than `LEAP` cannot be true.

1.  If everything were believed, one statement with the highest number of all would take a member's word from it for
    ever: no number is left above. So a jump at second hand is refused (`learning.py`).
2.  A jump below that is believed. Its owner follows, and is itself believed at first hand, however far it went. So
    whoever refused some of it catches up on speaking with the owner; and who does not know the owner as one who is
    there, and would not speak with it, asks it at once. Otherwise two owners that went far could not find each other.
3.  Several such jumps in a row may be believed before the owner hears of any. It follows in steps of `LEAP`, as often
    as it is told, and reaches whatever honest members believe.
4.  To use up the numbers takes 2**31 such statements. Then the identity is given up (`Defunct`). No number wraps round.
"""

from __future__ import annotations

from attrs import evolve

from ..machine import Instant, Note, Severity
from .core import Core, Effects
from .events import Defunct, MemberConflict
from .messages import NUMBER_MAX, State, Update

LEAP = 2**32
"""The largest jump of an incarnation that is believed at second hand, and that is followed at once."""


def learn_about_me(core: Core, update: Update, now: Instant, out: Effects) -> None:
    """Take in what somebody says about this member."""
    me = core.members.me
    if update.identity.generation != me.identity.generation:
        _learn_about_namesake(core, update, now)
    elif me.state is State.LEFT:
        _insist_on_leaving(core, update, now)
    elif update.state is State.ALIVE:
        _learn_that_i_live(core, update, now, out)
    elif update.incarnation < me.incarnation:
        _repeat_myself(core, now)
    else:
        if update.state is not State.LEFT:
            core.health.change(+1)
        out.append(Note(Severity.INFO, f"contradicted: {update} (rule 7)"))
        _contradict(core, update, now)


def _learn_about_namesake(core: Core, update: Update, now: Instant) -> None:
    me = core.identity
    if update.identity.generation > me.generation:
        core.defunct = Defunct(f"{me} was replaced by {update.identity}", update.identity.generation)
    elif update.state in (State.ALIVE, State.SUSPECT):
        _repeat_myself(core, now)


def _learn_that_i_live(core: Core, update: Update, now: Instant, out: Effects) -> None:
    """Somebody knows more than we ever said: an earlier life of this generation, or another process in our name."""
    me = core.members.me
    if update.address != me.address:
        out.append(MemberConflict(me, update.address))
    elif update.incarnation > me.incarnation or (update.incarnation == me.incarnation and update.payload != me.payload):
        _contradict(core, update, now)


def _contradict(core: Core, update: Update, now: Instant) -> None:
    me = core.members.me
    incarnation = min(update.incarnation, me.incarnation + LEAP) + 1
    if incarnation > NUMBER_MAX:
        reason = f"{me.identity} has no incarnation left to contradict with: {update}"
        core.defunct = Defunct(reason, me.identity.generation)
        return
    core.accused = core.contradicted = True
    core.set_me(evolve(me, incarnation=incarnation, told=incarnation), now)


def _insist_on_leaving(core: Core, update: Update, now: Instant) -> None:
    """Left prevails over anything else of the same incarnation."""
    me = core.members.me
    if update.incarnation > me.incarnation:
        incarnation = min(update.incarnation, me.incarnation + LEAP)
        core.set_me(evolve(me, incarnation=incarnation, told=incarnation), now)
    if update.state is not State.LEFT:
        core.accused = True


def _repeat_myself(core: Core, now: Instant) -> None:
    core.accused = True
    if core.identity.node_id not in core.rumours:
        core.pass_on(core.own, now)
