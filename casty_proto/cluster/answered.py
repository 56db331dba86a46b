"""What has become of orders: a part of the control state, for those who ask again.

An order is a command of a session of Raft, with a number of its own (`raft/sessions.py`). Raft sees to it that it is
applied once. Its outcome is kept here, by session and number, on every member and in every snapshot: so whoever leads
when it is asked for again has the answer of the first time.

An answer is kept until a later command of the session says that it is not needed any more (its `floor`), until the
session is over, or until there are `ANSWERS_MAX` later ones.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from .checks import NUMBER_MAX, REASON_MAX
from .outcomes import AlreadySo, Applied, Outcome, Outdated, Refused, Taken
from .records import NameEntry

ANSWERS_MAX = 256
"""How many answers are kept for one session. Nobody has more orders open at once (`orders.py`, rule 5)."""


@frozen
class Answer:
    """The outcome of a command, without its changes, and the index at which it was applied."""

    index: int
    outcome: Outcome


class Answers:
    """The answers that are kept."""

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        self._sessions: dict[int, dict[int, Answer]] = {}

    def of(self, session: int, number: int) -> Answer | None:
        """What became of that command; `None` where that is not known, or not any more."""
        return self._sessions.get(session, {}).get(number)

    def keep(self, session: int, number: int, floor: int, answer: Answer) -> None:
        """A command was applied. Answers below `floor` are not needed any more."""
        kept = {one: known for one, known in self._sessions.get(session, {}).items() if one >= floor}
        kept[number] = Answer(answer.index, _short(answer.outcome))
        while len(kept) > ANSWERS_MAX:
            del kept[min(kept)]
        self._sessions[session] = kept

    def end(self, sessions: tuple[int, ...]) -> None:
        """These are over."""
        for session in sessions:
            self._sessions.pop(session, None)

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def rows(self) -> list[list[Any]]:
        """All answers, in order, as they are written."""
        return [
            [session, number, answer.index, *_row(answer.outcome)]
            for session, answers in sorted(self._sessions.items())
            for number, answer in sorted(answers.items())
        ]

    def put(self, row: list[Any]) -> None:
        """Add what a row says. Raises `ValueError` or `TypeError` where it is none."""
        session, number, index, *outcome = row
        if any(type(one) is not int for one in (session, number, index)):
            raise TypeError("an answer has no number")
        self._sessions.setdefault(session, {})[number] = Answer(index, _outcome(outcome))

    def fault(self) -> str | None:
        """Why no commands can have led here, or `None` where some can."""
        indexes: dict[int, None] = {}
        for session, answers in self._sessions.items():
            if not answers or len(answers) > ANSWERS_MAX:
                return f"session {session} has {len(answers)} answers"
            for number, answer in answers.items():
                if not (0 < session < answer.index <= NUMBER_MAX and 0 < number <= NUMBER_MAX):
                    return f"command {number} of session {session} cannot have been applied at {answer.index}"
                if answer.index in indexes:
                    return f"two commands were applied at {answer.index}"
                indexes[answer.index] = None
        return None


def _short(outcome: Outcome) -> Outcome:
    """What has changed is told by the change itself, and a reason has a limit."""
    match outcome:
        case Applied():
            return Applied(())
        case Outdated(reason):
            return Outdated(_cut(reason))
        case Refused(reason):
            return Refused(_cut(reason))
        case _:
            return outcome


def _cut(reason: str) -> str:
    return reason.encode()[:REASON_MAX].decode(errors="ignore")


_KINDS: tuple[type[Any], ...] = (Applied, AlreadySo, Outdated, Refused, Taken)


def _row(outcome: Outcome) -> list[Any]:
    kind = _KINDS.index(type(outcome))
    match outcome:
        case Outdated(reason) | Refused(reason):
            return [kind, reason]
        case Taken(winner):
            return [kind, winner.node, winner.number, winner.path, winner.since]
        case _:
            return [kind]


def _outcome(row: list[Any]) -> Outcome:
    match row:
        case [0]:
            return Applied(())
        case [1]:
            return AlreadySo()
        case [2, str(reason)]:
            return Outdated(reason)
        case [3, str(reason)]:
            return Refused(reason)
        case [4, node, number, path, since]:
            return Taken(NameEntry(node, number, path, since))
        case _:
            raise ValueError("an answer is none that this version of the program knows")
