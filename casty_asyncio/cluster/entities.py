"""Entities: actors that are made when there is a message for them, where the owner of their shard is.

Rules
-----
 1. An entity handles one message of its region at a time. The others wait, as they came, and go with the shard: here,
    and some of them in the mailbox (rule 10). As many may wait as its mailbox has room for.
 2. Before a handler begins, and when it has ended, the node is asked whether it may act. If not, whoever asked is told
    that nothing was done, or that nobody knows; the entity is stopped.
 3. The state of an entity of a replicated type is taken when a handler has ended, if it is another one than before.
 4. What a handler of such an entity answers is said when the state after it is kept, and so is what it has answered
    since without having changed anything: otherwise somebody could read what is lost afterwards.
 5. A new instance of such an entity begins with the state that was taken last, at a restart too: what a handler that
    failed has changed is not kept.
 6. An entity that has stopped by itself, or was stopped by its supervision, comes back with the next message.
 7. While more messages wait for an entity, its state need not be written after each: the answers of one turn of the
    loop wait for the last of its states, which stands for those before it.
 8. A message that an instance did not begin to handle, because it stopped first, goes to the next one; once.
 9. What an entity is told by its own timers, by what it piped to itself, or by its children has no other place than
    this actor. What comes while nothing may begin is kept, and handled first when the shard is resumed. When the actor
    stops it becomes dead letters.
10. Of a type of which nothing is kept, and whose mailboxes are not limited, what nobody waits for goes to the mailbox
    of a running actor at once, as long as nothing waits here that came before. It is taken back as soon as the shard is
    not open any more, or the lease is over; so what was not begun still goes with the shard, in its order. An ask goes
    when all of these have been begun, and they wait while the actor has one.
11. What the actor stashes of its region's messages waits here as well (`stash.py`), and goes with the shard, before
    what came later. Unstashed it waits first, and is handled as if it had not been begun before. The stash is lost with
    an actor that stops by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from casty_proto.actor import READY, Cell, Envelope, MailboxOverflowStrategy, Phase, Reason, Stop, Undelivered
from casty_proto.cluster import events

from ..errors import ActorFailedError, MailboxFullError, NotHandledError, described
from .items import EntityAnswer, Form
from .names import SINGLETON_ID, name_of
from .shards import Life
from .stash import let_wait, lose
from .turns import Told, Turn
from .writes import Write, keep

if TYPE_CHECKING:
    from ..body import Body
    from ..refs import LocalRef
    from .hosting import Hosting
    from .shards import Shard

_ATTEMPTS_MAX = 2
_STOPPING, _RUNNING = int(Phase.STOPPING), int(Phase.RUNNING)
_AHEAD_MAX = 256
"""How many messages of its region an actor has in its mailbox. What it tells itself comes after these."""


class Entity:
    """One entity of a shard that is open here."""

    __slots__ = (
        "_held",
        "_hosting",
        "_in_doubt",
        "_last_write",
        "_saving",
        "_unsent",
        "ahead",
        "body",
        "name",
        "ref",
        "saved",
        "shard",
        "stashed",
        "turn",
        "waiting",
        "was_stopped",
    )

    def __init__(self, hosting: Hosting, shard: Shard, name: str, saved: bytes | None) -> None:
        self._hosting = hosting
        self.shard = shard
        self.name = name
        self.saved = saved
        """The state that was taken last, and with which the next instance begins."""
        self._in_doubt = False
        """Whether nobody knows if that is kept: then it is to be kept again, though nothing has changed."""
        self.ref: LocalRef[Any] | None = None
        """Its actor, while there is one."""
        self.body: Body | None = None
        self.turn: Turn | Told | None = None
        """The message that its actor has: one in its mailbox, or in hand; of what it was told the one in hand."""
        self.ahead = 0
        """How much of what it was told is in its mailbox."""
        self.waiting: deque[Turn | Told] | None = None
        self.stashed: list[tuple[Turn | Told, Any]] | None = None
        """What its actor has set aside of these (rule 11), each with its message."""
        self._saving = 0
        """How many writes are under way."""
        self._last_write: Write | None = None
        self._unsent: Write | None = None
        """What the node has not got yet."""
        self._held: list[Any] | None = None
        """What its actor was told when nothing could begin (rule 9)."""
        self.was_stopped = False
        """Whether its actor was stopped with the shard, and not because it wanted to."""

    @property
    def path(self) -> str:
        """For texts."""
        path = self.shard.region.path
        return path if self.name == SINGLETON_ID else f"{path}/{name_of(self.name)}"

    @property
    def is_busy(self) -> bool:
        """Whether something is under way, or waits."""
        is_kept_busy = self._saving > 0 or self._held is not None or self.stashed is not None
        return self.is_running or bool(self.waiting) or is_kept_busy

    @property
    def is_running(self) -> bool:
        """Whether its actor has a message."""
        return self.turn is not None or self.ahead > 0

    @property
    def is_saving(self) -> bool:
        """Whether the node has not yet said what became of a state."""
        return self._saving > 0

    # -- messages ------------------------------------------------------------------------------------------------------

    def take(self, turn: Turn, *, has_waited: bool) -> None:
        """A message has come. One that `has_waited` with the owner before was let in there."""
        turn.entity = self
        if self.turn is None and not self.ahead and not self.waiting:
            self._begin(turn)
        else:
            if self.waiting is None:
                self.waiting = deque()
            mailbox = self.shard.region.recipe.mailbox
            if len(self.waiting) >= mailbox.limit and not has_waited:
                self._overflow(turn, self.waiting, mailbox.overflow)
            else:
                self.waiting.append(turn)
            if self.turn is None and not self.ahead:
                self.go_on()

    def hear(self, told: Told) -> None:
        """A message has come that nobody waits for (rule 10)."""
        ref = self.ref
        if not self.waiting and ref is not None and self._hears_more(cell := ref._cell):
            self._hand_over(told, cell)
            return
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(told)
        if self.turn is None and not self.ahead:
            self.go_on()

    def _hears_more(self, cell: Cell) -> bool:
        """Whether its actor may be given what it was told, behind what it has."""
        if cell.phase != _RUNNING or self.shard.life is not Life.OPEN or self.ahead >= _AHEAD_MAX:
            return False
        return type(self.turn) is not Turn

    def _hand_over(self, told: Told, cell: Cell) -> None:
        """Put a message into the mailbox. It has room, and takes messages."""
        self.ahead += 1
        put = cell.put
        if put is not None:
            put(told)
            return
        runtime = self._hosting.runtime
        outcome = runtime.deliver(cell, told)
        if outcome is READY:
            runtime.make_ready(cell)
        elif outcome is not None:
            runtime.undelivered(outcome)

    def take_back(self) -> None:
        """Let those that are in the mailbox and were not begun wait here again."""
        if not self.ahead or self.ref is None:
            return
        self.ahead = 0
        back: list[Told] = self._hosting.runtime.machine.withdraw(self.ref._cell, Told)
        for told in back:
            told.attempts = 0
        if back:
            if self.waiting is None:
                self.waiting = deque()
            self.waiting.extendleft(reversed(back))

    def lost(self, told: Told) -> None:
        """It becomes a dead letter."""
        self._hosting.lost(told, told.message, Reason.STOPPED)

    def _overflow(self, turn: Turn, waiting: deque[Turn | Told], strategy: MailboxOverflowStrategy) -> None:
        """One of those that wait is one too many."""
        reason = Reason.OVERFLOW
        if strategy is MailboxOverflowStrategy.reject:
            reason = Reason.REJECTED
        elif strategy is MailboxOverflowStrategy.drop_oldest:
            waiting.append(turn)
            oldest = waiting.popleft()
            assert type(oldest) is Turn, "this mailbox is limited"
            turn = oldest
        if turn.form is Form.TELL:
            self._hosting.lost(turn, turn.ask.message, reason)
        turn.fail(MailboxFullError(f"{turn.kind()} was not handled by {self.path}: {reason}"))

    def go_on(self) -> None:
        """Give the actor its next message, if it may have one, and all that may go with it."""
        waiting = self.waiting
        if not waiting or self.turn is not None or self.ahead:
            return
        self._begin(waiting.popleft())
        # What follows may go with a message that was told, and stays behind any other.
        ref = self.ref
        if ref is None or not self._hears_more(cell := ref._cell):
            return
        # Nothing changes that while they are handed over.
        while waiting and self.ahead < _AHEAD_MAX and type(told := waiting[0]) is Told:
            waiting.popleft()
            self._hand_over(told, cell)

    def _begin(self, turn: Turn | Told) -> None:
        shard, hosting = self.shard, self._hosting
        cell: Cell | None = None
        # Where there is an actor, it is asked when the handler begins whether the node may act.
        if shard.life is Life.OPEN and (self.ref is not None or hosting.may_act()):
            ref = self.ref
            # One that stops makes way for another when it has stopped.
            cell = self._cell(turn) if ref is None else ref._cell if ref._cell.phase < _STOPPING else None
            if cell is None and turn.done():
                # It cannot be made, and whoever asked knows.
                hosting.soon(self.go_on)
                return
        if cell is None:
            self._wait_first(turn)
            return
        if isinstance(turn, Told):
            if cell.phase != _RUNNING:
                turn.attempts += 1
            self._hand_over(turn, cell)
        else:
            self._hand(turn, cell)

    def _hand(self, turn: Turn, cell: Cell) -> None:
        """The same for a message that goes alone, into a mailbox that may be full."""
        self.turn = turn
        runtime, hosting = self._hosting.runtime, self._hosting
        outcome = runtime.deliver(cell, turn.ask)
        if outcome is READY:
            runtime.make_ready(cell)
        elif outcome is not None:
            try:
                runtime.undelivered(outcome)
            except MailboxFullError as error:
                if turn.form is Form.TELL:
                    hosting.lost(turn, turn.ask.message, Reason.REJECTED)
                turn.ask.fail(error)

    def _cell(self, turn: Turn | Told) -> Cell | None:
        """Its actor, which is made. `None` where that is impossible."""
        try:
            self.ref = self._hosting.spawn(self)
        except Exception as error:
            self._hosting.runtime.log.error("%s cannot be made", self.path, exc_info=error, extra={"actor": self.path})
            failure = ActorFailedError(f"{self.path} cannot be made: {described(error)}")
            failure.__cause__ = error
            turn.refuse(failure)
            return None
        return self.ref._cell

    def wake(self) -> None:
        """Begin without a message."""
        if self.ref is None:
            try:
                self.ref = self._hosting.spawn(self)
            except Exception as error:
                log = self._hosting.runtime.log
                log.error("%s cannot be made", self.path, exc_info=error, extra={"actor": self.path})

    def tries_again(self, turn: Turn) -> bool:
        """Its actor has stopped before it could handle this. Whether another one does (rule 8)."""
        shard = self.shard
        if shard.life is Life.DROPPED:
            return False
        if shard.life is not Life.HALTED:
            turn.attempts += 1
            if turn.attempts >= _ATTEMPTS_MAX:
                return False
        if self.turn is turn:
            self.turn = None
        self._wait_first(turn)
        self._hosting.soon(self.go_on)
        return True

    def tries_ahead_again(self, told: Told) -> bool:
        """The same for what it was told. What was behind another one does not count as an attempt."""
        self.ahead -= 1
        if self.shard.life is Life.DROPPED or told.attempts >= _ATTEMPTS_MAX:
            return False
        # They are reported in their order, and some that came later may wait already.
        waiting = self.waiting
        if waiting is None:
            waiting = self.waiting = deque()
        place = next((at for at, other in enumerate(waiting) if other.arrival > told.arrival), len(waiting))
        waiting.insert(place, told)
        if not self.ahead:
            self._hosting.soon(self.go_on)
        return True

    def passes_over(self, turn: Turn) -> None:
        """Its actor does not get this: the mailbox is full of what it tells itself."""
        if self.turn is turn:
            self.turn = None
            self._hosting.soon(self.go_on)
            self._hosting.soon(lambda: self._hosting.shard_changed(self.shard))

    def _wait_first(self, turn: Turn | Told) -> None:
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.appendleft(turn)

    # -- around the handler --------------------------------------------------------------------------------------------

    def begins(self, turn: Turn | None, body: Body, message: Any) -> bool:
        """A handler is about to begin. Whether it may (rule 2)."""
        if self.shard.life is not Life.OPEN or not self._hosting.may_act():
            self._refuse(turn, body, message)
            return False
        if turn is not None:
            turn.has_begun = True
            if turn.form is Form.TELL:
                turn.end_silently()
                context = body.context
                context._ask, context._sender = None, turn.sender
        return True

    def begins_told(self, told: Told) -> bool:
        """The same for a message that nobody waits for (rule 10)."""
        if self.shard.life is not Life.OPEN or not self._hosting.may_act():
            self.take_back()
            if self.shard.life is Life.DROPPED:
                told.refuse(NotHandledError(f"{self.path} did not handle {told.kind()}: its shard has moved"))
            else:
                self._wait_first(told)
                self._hosting.shard_changed(self.shard)
            return False
        self.ahead -= 1
        self.turn = told
        told.has_begun = True
        return True

    def _refuse(self, turn: Turn | None, body: Body, message: Any) -> None:
        shard, hosting = self.shard, self._hosting
        if turn is None:
            self._hold(body, message)
            return
        if self.turn is not turn:
            return  # It was said already what becomes of it.
        self.turn = None
        if not hosting.may_wait(shard, turn):
            turn.refuse(NotHandledError(f"{self.path} did not handle {turn.ask.kind()}: its shard is being moved"))
            return
        # It was too late to take it back when the shard was closed: it waits with the others, and goes with them.
        self._wait_first(hosting.renewed(turn))
        hosting.shard_changed(shard)

    def _hold(self, body: Body, message: Any) -> None:
        """Rule 9."""
        sender = body.context.sender
        item = message if sender is None else Envelope(message, sender)
        if self.shard.life is Life.DROPPED or body.cell.phase >= Phase.STOPPING:
            self._hosting.runtime.undelivered(Undelivered(body.cell, item, Reason.STOPPED))
            return
        if self._held is None:
            self._held = []
        self._held.append(item)

    def resume(self) -> None:
        """Messages may be handled again."""
        held, self._held = self._held, None
        if held and self.ref is not None:
            self._hosting.runtime.put_back(self.ref._cell, held)
        self.go_on()

    def ends(self, turn: Turn | None, body: Body, *, failed: bool) -> None:
        """A handler has ended. Raises `NotSendableError` for a state that cannot be kept."""
        shard, hosting = self.shard, self._hosting
        if turn is not None:
            if self.turn is turn:
                self.turn = None
            if turn.form is Form.TELL:
                body.context._sender = None
            if not turn.has_begun:
                turn = None  # It was set aside, and is another one's.
        try:
            if not hosting.may_end(shard):
                if turn is not None:
                    turn.lose()
            elif failed:
                # What it has changed is not kept, and so is what it has said.
                if turn is not None and turn.answer is not None:
                    turn.fail(ActorFailedError(f"{self.path} failed after it had answered {turn.ask.kind()}"))
            elif not (shard.region.recipe.is_kept and keep(self, turn, body)):
                self._end_unkept(turn)
            if turn is not None and not failed and turn.form is Form.SEND and not turn.done():
                turn.end()
        finally:
            self.go_on()
            hosting.shard_changed(shard)

    def ends_silently(self, turn: Turn | Told, body: Body) -> None:
        """The same for a message to which nobody wants an answer, in a shard where nothing is kept."""
        if self.turn is turn:
            self.turn = None
            if self.waiting and not self.ahead:
                self.go_on()
        body.context._sender = None
        if self.shard.life is Life.CLOSING:
            self._hosting.shard_changed(self.shard)

    def _end_unkept(self, turn: Turn | None) -> None:
        shard = self.shard
        if turn is not None and turn.form is not Form.TELL:
            self._release(turn)
        if shard.region.recipe.rests:
            self._hosting.member.feed(events.Touched(shard.region.name, shard.number, shard.epoch, self.name))

    def _release(self, turn: Turn) -> None:
        answer, turn.answer = turn.answer, None
        if answer is None and turn.form is Form.SEND:
            answer = self._hosting.done
        if answer is not None:
            turn.say(answer)

    def answers(self, turn: Turn, answer: EntityAnswer) -> None:
        """The handler, or somebody who has its handle, has answered."""
        if not self.shard.region.recipe.is_kept:
            if self._hosting.may_end(self.shard):
                turn.say(answer)
            else:
                turn.answer = answer
                turn.lose()
            return
        turn.answer = answer
        if self.turn is turn:
            return  # When the handler has ended.
        if self._saving and self._last_write is not None:
            self._last_write.turns.append(turn)
        elif self._hosting.may_end(self.shard):
            self._release(turn)
        else:
            turn.lose()

    def saved_by(self, write: Write, error: Exception | None) -> None:
        """The node has said what became of a state."""
        self._saving -= 1
        self.shard.saving -= 1
        if self._last_write is write:
            self._last_write = None
        if error is not None:
            self._in_doubt = True
        for turn in write.turns:
            if error is None:
                self._release(turn)
            elif turn.form is Form.SEND and turn.handle is not None:
                turn.say(self._hosting.items.failure(error))
            else:
                turn.fail(error)
        self._hosting.shard_changed(self.shard)

    # -- the end -------------------------------------------------------------------------------------------------------

    def gone(self) -> None:
        """Its actor has stopped (rule 6)."""
        turn, self.turn = self.turn, None
        held, self._held = self._held, None
        if held and self.ref is not None:
            self._hosting.runtime.put_back(self.ref._cell, held)
        if self.stashed is not None:
            if self.shard.life is Life.HALTED:
                let_wait(self)
            else:
                lose(self)
        self.ref = self.body = None
        if turn is not None and turn.has_begun and not turn.done():
            turn.lose()
        self._hosting.entity_gone(self)

    def stop(self) -> None:
        """Stop its actor, and cancel the handler that runs."""
        ref = self.ref
        if ref is None:
            return
        runtime = self._hosting.runtime
        for worker in runtime.pool.running():
            if worker.cell is ref._cell and worker is not runtime.pool.current:
                worker.task.cancel()
        runtime.feed(Stop(ref._cell))

    def refuse_all(self, error_of: Callable[[Turn | Told], Exception]) -> None:
        """Nothing that waits is handled here."""
        if self.stashed is not None:
            let_wait(self)
        waiting, self.waiting = self.waiting, None
        for turn in waiting or ():
            turn.refuse(error_of(turn))

    def refuse_asks(self, error_of: Callable[[Turn | Told], Exception]) -> None:
        """The same for those that somebody waits for."""
        waiting, self.waiting = self.waiting, None
        for turn in waiting or ():
            if turn.form is Form.TELL:
                if self.waiting is None:
                    self.waiting = deque()
                self.waiting.append(turn)
            else:
                turn.refuse(error_of(turn))
        for turn, _ in self.stashed or ():
            if turn.form is not Form.TELL:
                turn.refuse(error_of(turn))
        if self.stashed is not None:
            self.stashed = [each for each in self.stashed if each[0].form is Form.TELL] or None
