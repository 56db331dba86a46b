"""Answering whom a message names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casty_proto.actor import Reason

from ..errors import CastyError

if TYPE_CHECKING:
    from ..refs import ActorRef
    from ..runtime import Runtime


def give_answer(runtime: Runtime, to: ActorRef[Any], answer: Any) -> None:
    """Tell an answer. It is lost where it is not taken: who gets it is said by who asked, and may be anybody."""
    try:
        to.tell(answer)
    except CastyError as error:
        runtime.log.debug("%r does not take %s: %s", to, type(answer).__name__, error)
        runtime.dead_letter(to, answer, Reason.REJECTED)
