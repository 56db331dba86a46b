"""A slow and obvious model of what becomes of messages and actors, and the checks of a random run against it.

It does not decide about failures, as the engine does. It sees the effects and the things that were taken, and keeps
books: what each mailbox holds, what each actor may be asked to run next, who watches whom, what was restarted when.
"""

from __future__ import annotations

from typing import Any

from attrs import Factory, define

from casty_proto.actor import (
    IDLE,
    Cell,
    Done,
    Effect,
    Event,
    Failed,
    Failure,
    Judged,
    Mailbox,
    MailboxOverflowStrategy,
    Phase,
    Reason,
    Stop,
    Stopped,
    SupervisionStrategy,
    Task,
    Terminated,
    Undelivered,
    Unwatch,
    Watch,
)
from casty_proto.machine import Instant

from .bench import Bench, Notice

MESSAGE = "message"

MAY_TAKE: dict[str, tuple[Any, ...]] = {
    "new": (Task.START,),
    "up": (MESSAGE, Task.JUDGE, Task.PRE_RESTART, Task.POST_STOP),
    "down": (Task.JUDGE, Task.PRE_RESTART, Task.POST_STOP),
    "cleared": (Task.RESTART, Task.POST_STOP),
    "ended": (),
}
"""What an actor may be given to run: in its incarnation, after a failure, between two incarnations, after its end."""


@define(eq=False)
class Book:
    """What is known of one actor."""

    cell: Cell
    mailbox: Mailbox
    state: str = "new"
    closed: bool = False
    """It is stopping, or has stopped."""
    ended: bool = False
    waiting: list[Any] = Factory(list)
    stashed: list[Any] = Factory(list)
    hand: Any = None
    accepted: list[int] = Factory(list)
    begun: list[int] = Factory(list)
    """Messages in the order in which they were first taken."""
    handled: list[int] = Factory(list)
    failed: list[int] = Factory(list)
    dead: list[int] = Factory(list)
    watchers: dict[Cell, None] = Factory(dict)
    restarts: list[Instant] = Factory(list)
    not_before: Instant = 0


class Ledger:
    """The books of all actors of a bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.books: dict[Cell, Book] = {}
        self.guardians = (bench.engine.user, bench.engine.system)
        self.shut: list[Cell] = []
        """Guardians that were stopped."""

    # -- what the driver did ---------------------------------------------------------------------------------------

    def refusal(self, parent: Cell, name: str | None) -> bool:
        """Whether a spawn must be refused."""
        if self.closed(parent) or parent.phase in (Phase.CLEARING, Phase.BACKING_OFF):
            return True
        return name in [child.cell.name for child in self.children(parent)]

    def spawned(self, cell: Cell, mailbox: Mailbox) -> None:
        assert all(cell.uid != other.uid for other in self.books)
        self.books[cell] = Book(cell, mailbox)

    def told(self, cell: Cell, message: int, refused: list[Undelivered]) -> None:
        book = self.books[cell]
        messages = [item for item in book.waiting if not isinstance(item, Notice)]
        expected: list[Undelivered] = []
        if book.closed:
            expected = [Undelivered(cell, message, Reason.STOPPED)]
        elif len(messages) >= book.mailbox.limit:
            drop_oldest = book.mailbox.overflow is MailboxOverflowStrategy.drop_oldest
            rejects = book.mailbox.overflow is MailboxOverflowStrategy.reject
            dropped = messages[0] if drop_oldest else message
            expected = [Undelivered(cell, dropped, Reason.REJECTED if rejects else Reason.OVERFLOW)]
            if drop_oldest:
                book.waiting.remove(dropped)
                book.dead.append(dropped)
        assert refused == expected
        if all(each.item != message for each in expected):
            book.waiting.append(message)
            book.accepted.append(message)

    def taken(self, cell: Cell, item: Any) -> None:
        book = self.books[cell]
        assert book.hand is None
        if item is IDLE:
            assert cell.phase != Phase.RUNNING or not book.waiting, f"{cell} forgot {book.waiting}"
            return
        book.hand = item
        kind = item if isinstance(item, Task) else MESSAGE
        assert kind in MAY_TAKE[book.state], f"{cell} was given {item!r} while it is {book.state}"
        match item:
            case Task.RESTART:
                assert self.bench.now >= book.not_before, f"{cell} restarts before its time"
            case Task.POST_STOP:
                book.state = "ended"
                assert book.closed
                assert not self.children(cell), f"{cell} ends before its children"
            case Task():
                pass
            case _:
                assert item == book.waiting.pop(0)
                if not isinstance(item, Notice) and item not in book.begun:
                    book.begun.append(item)

    def stashed(self, cell: Cell, kept: bool) -> None:
        book = self.books[cell]
        assert kept == (not book.closed and len(book.stashed) < book.mailbox.limit)
        (book.stashed if kept else book.handled).append(book.hand)
        book.hand = None

    def unstashed(self, cell: Cell, count: int) -> None:
        book = self.books[cell]
        assert count == len(book.stashed)
        self._unstash(book)

    def finished(self, cell: Cell, failed: bool = False) -> None:
        """What was in hand has run to its end; the event that says so, if there is one, is still to come."""
        book = self.books[cell]
        item, book.hand = book.hand, None
        if isinstance(item, int):
            (book.failed if failed else book.handled).append(item)
        if failed:
            book.state = "down"
        elif item in (Task.START, Task.RESTART):
            book.state = "up"
        elif item is Task.PRE_RESTART:
            book.state = "cleared"

    # -- what the engine said --------------------------------------------------------------------------------------

    def saw(self, event: Event, effects: list[Effect]) -> None:
        """Check an event and its effects."""
        if isinstance(event, Done) and event.task is Task.PRE_RESTART:
            self._unstash(self.books[event.cell])
        closed = [book for book in self.books.values() if not book.closed and book.cell.phase >= Phase.STOPPING]
        self._check_who_closes(event, closed, effects)
        for book in closed:
            waiting = [item for item in [*book.stashed, *book.waiting] if not isinstance(item, Notice)]
            reported = [effect for effect in effects if isinstance(effect, Undelivered) and effect.cell is book.cell]
            assert reported == [Undelivered(book.cell, item, Reason.STOPPED) for item in waiting]
            book.closed = True
            book.dead += waiting
            book.stashed, book.waiting = [], []
        told = sum(isinstance(effect, Undelivered) for effect in effects)
        assert told == sum(isinstance(e, Undelivered) and e.cell in [book.cell for book in closed] for e in effects)
        self._watch(event, effects)
        for index, effect in enumerate(effects):
            match effect:
                case Stopped(cell):
                    self._stopped(cell, effects[index + 1 :])
                case Terminated(watcher, subject):
                    if not self.closed(watcher):
                        self.books[watcher].waiting.append(Notice(subject))
                case Failure():
                    self._failure(effect)
                case _:
                    pass

    def _check_who_closes(self, event: Event, closed: list[Book], effects: list[Effect]) -> None:
        cells = [book.cell for book in closed]
        for book in closed:
            assert all(child.closed or child.cell in cells for child in self.children(book.cell))
        match event:
            case Stop(cell):
                assert set(cells) == {each for each in self.below(cell) if not self.closed(each)}
                if cell in self.guardians:
                    self.shut.append(cell)
            case Done(cell, Task.PRE_RESTART):
                assert set(cells) <= set(self.below(cell)) - {cell}
            case Failed() | Judged():
                decided = [effect for effect in effects if isinstance(effect, Failure)]
                assert not cells or any(each.strategy is not SupervisionStrategy.RESTART for each in decided)
            case _:
                assert not cells, f"{event} stopped {cells}"

    def _watch(self, event: Event, effects: list[Effect]) -> None:
        match event:
            case Watch(watcher, subject) if watcher is not subject and not self.closed(watcher):
                if self.books[subject].ended:
                    assert effects == [Terminated(watcher, subject)]
                else:
                    self.books[subject].watchers.setdefault(watcher)
            case Unwatch(watcher, subject):
                self.books[subject].watchers.pop(watcher, None)
            case Done(cell, Task.PRE_RESTART) if not self.closed(cell):
                for child in self.children(cell):
                    child.watchers.pop(cell, None)
            case _:
                pass

    def _stopped(self, cell: Cell, rest: list[Effect]) -> None:
        if cell in self.guardians:
            assert not self.children(cell)
            return
        book = self.books[cell]
        assert book.closed
        assert not book.ended, f"{cell} stopped twice"
        assert not self.children(cell), f"{cell} stopped before its children"
        assert book.state == ("ended" if cell.began else "new"), f"{cell} stopped while it is {book.state}"
        assert self.bench.last_hooks.count(cell) == cell.began
        assert cell.parent is not None
        assert self.bench.engine.child(cell.parent, cell.name) is None
        book.ended = True
        assert rest[: len(book.watchers)] == [Terminated(watcher, cell) for watcher in book.watchers]
        assert not any(
            isinstance(effect, Terminated) and effect.subject is cell for effect in rest[len(book.watchers) :]
        )
        for other in self.books.values():
            other.watchers.pop(cell, None)

    def _failure(self, failure: Failure) -> None:
        if failure.strategy is not SupervisionStrategy.RESTART:
            return
        book, now, policy = self.books[failure.cell], self.bench.now, failure.cell.policy
        recent = [instant for instant in book.restarts if now - instant < policy.within_ns]
        assert policy.max_restarts is None or len(recent) < policy.max_restarts, f"too many restarts of {book.cell}"
        book.restarts.append(now)
        book.not_before = now + failure.delay_ns

    # -- what holds at all times, and at the end -------------------------------------------------------------------

    def check(self) -> None:
        """What holds after every step."""
        for book in self.books.values():
            names = [child.cell.name for child in self.children(book.cell)]
            assert len(set(names)) == len(names), f"{book.cell} has two children of one name"
            order = iter(book.accepted)
            assert all(message in order for message in book.begun), f"{book.cell} took {book.begun}"
            assert not set(book.handled + book.failed) & set(book.dead)

    def check_quiet(self) -> None:
        """Nothing is left to do: every actor that is not stopped runs and has handled what it had."""
        for book in self.books.values():
            assert book.ended or (book.cell.phase == Phase.RUNNING and not book.waiting), f"{book.cell} hangs"
            assert book.hand is None

    def check_end(self) -> None:
        """Everything has stopped, and every message has come to exactly one end."""
        for book in self.books.values():
            assert book.ended
            assert sorted(book.accepted) == sorted(book.handled + book.failed + book.dead)
            assert not book.watchers
        assert len(self.bench.stopped) == len(self.books) + len(self.guardians)

    # -- the tree --------------------------------------------------------------------------------------------------

    def closed(self, cell: Cell) -> bool:
        return cell in self.shut if cell in self.guardians else self.books[cell].closed

    def children(self, cell: Cell) -> list[Book]:
        """Those that have not ended."""
        return [book for book in self.books.values() if book.cell.parent is cell and not book.ended]

    def below(self, cell: Cell) -> list[Cell]:
        """The actor itself and all below it, without the guardians."""
        found = [] if cell in self.guardians or self.books[cell].ended else [cell]
        for child in self.children(cell):
            found += self.below(child.cell)
        return found

    def _unstash(self, book: Book) -> None:
        book.waiting = book.stashed + book.waiting
        book.stashed = []
