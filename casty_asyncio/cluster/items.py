"""Messages for entities, their answers, and their states, as bytes.

Each of them stands for itself (`casty_proto/wire/items.py`): it may wait, move to another node, and be read there. A
message is sent as

    (entity, form, sender, handle, message)

where `handle` tells where the answer goes: the handle of the ask, of the process that asks.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
from attrs import evolve, frozen

from casty_proto.wire import DecodeError, EncodeError, ItemDecoder, ItemEncoder
from casty_proto.wire.encoder import ANNOUNCED
from casty_proto.wire.frame import HEADER, HEADER_SIZE

from ..asks import Ask
from ..errors import NotSendableError
from ..refs import ActorRef
from ..remote.failures import failure_of, failure_parts

if TYPE_CHECKING:
    from ..remote.remoting import Remoting


_AROUND = 4096
"""More bytes than the names, addresses and numbers that are sent around an item."""


class Form(IntEnum):
    """What the sender wants to know. The values are those in items."""

    TELL = 0
    """Nothing."""
    ASK = 1
    """The answer of the handler."""
    SEND = 2
    """That the handler has ended, and that its state is kept as it should be."""
    RECEIPT = 3
    """That the owner has it. It is a `TELL` for which somebody waits until then."""


class Verdict(IntEnum):
    """How a message has ended. The values are those in answers."""

    ANSWERED = 0
    FAILED = 1


@frozen
class EntityAnswer:
    """To the handle of whoever asked an entity."""

    verdict: Verdict
    data: bytes


ANSWER_NAME = "casty.answer"


@frozen
class Item:
    """A message for an entity, as it is read."""

    entity: str
    form: Form
    sender: ActorRef[Any] | None
    handle: ActorRef[Any] | None
    message: Any


class Items:
    """Makes and reads items for one system."""

    def __init__(self, remoting: Remoting) -> None:
        self._refs = remoting.refs
        # An item is sent within a message of a node, and what is around it takes room as well.
        whole = remoting.wire_options.max_frame
        options = evolve(remoting.wire_options, max_frame=max(whole // 2, whole - _AROUND))
        self._encode = ItemEncoder(remoting.types, options).encode
        self._decode = ItemDecoder(remoting.types, remoting.wire_options).decode

    def message(
        self, to: str, entity: str, form: Form, sender: ActorRef[Any] | None, ask: Ask | None, message: Any
    ) -> bytes:
        """A message for an entity. Raises `NotSendableError`."""
        refs = self._refs
        handle = None if ask is None else refs.encode(ask.handle())
        refs.asking = ask
        try:
            return self._encode((entity, int(form), sender, handle, message))
        except EncodeError as error:
            # Its place is that in the message, and not in what is around it.
            kind = type(message).__name__
            why = str(error).replace("tuple[4]", kind, 1)
            raise NotSendableError(f"{kind} cannot be sent to {to}: {why}") from error
        finally:
            refs.asking = None

    def read(self, data: bytes, ask: Ask | None) -> Item:
        """A message. A handle of the ask in it is bound to `ask`. Raises `DecodeError`, or `ValueError` for no item."""
        refs = self._refs
        refs.answering = ask
        try:
            parts = self._decode(data)
        finally:
            refs.answering = None
        if type(parts) is not tuple or len(parts) != 5 or type(parts[0]) is not str or type(parts[1]) is not int:
            raise ValueError("it is not made of an entity, a form, a sender, a handle and a message")
        entity, form, sender, handle, message = parts
        if not isinstance(sender, ActorRef | None):
            raise ValueError("the sender of a message is no actor")
        return Item(entity, Form(form), sender, None if handle is None else refs.decode(handle), message)

    def salvaged(self, data: bytes) -> tuple[str, ActorRef[Any] | None]:
        """Whom a message was for, and who asked, of one that cannot be read, as far as that can be known."""
        try:
            if data[0] == ANNOUNCED[0]:
                data = data[1 + HEADER_SIZE + HEADER.unpack_from(data, 1)[0] :]
            _, entity, _, _, handle, _ = msgpack.unpackb(data)
            return str(entity), None if handle is None else self._refs.decode(tuple(handle[1:]))
        except Exception:
            return "?", None

    def answer(self, value: Any, what: str) -> EntityAnswer:
        """The answer to an ask. Raises `NotSendableError`."""
        try:
            return EntityAnswer(Verdict.ANSWERED, self._encode(value))
        except EncodeError as error:
            raise NotSendableError(f"{what} cannot be sent: {error}") from error

    def failure(self, error: Exception) -> EntityAnswer:
        """Why there is no answer."""
        kind, text, cause, trace = failure_parts(error)
        try:
            data = self._encode((kind, text, cause, trace))
        except EncodeError:
            data = self._encode((kind, text, None, trace))
        return EntityAnswer(Verdict.FAILED, data)

    def opened(self, answer: EntityAnswer) -> Any:
        """What an answer says. Raises the failure that it is, `DecodeError`, or `ValueError` for what is no answer."""
        value = self._decode(answer.data)
        if answer.verdict is Verdict.FAILED:
            raise failure_of(value)
        return value

    def late(self, answer: EntityAnswer) -> Any:
        """What is lost with an answer that nobody waits for any more. `None` for a failure."""
        if answer.verdict is Verdict.FAILED:
            return None
        try:
            return self._decode(answer.data)
        except (DecodeError, ValueError, TypeError):
            return answer

    def state(self, value: Any, what: str) -> bytes:
        """The state of an entity. Raises `NotSendableError`, which names the place in it."""
        try:
            return self._encode(value)
        except EncodeError as error:
            raise NotSendableError(f"the state of {what} cannot be kept: {error}") from error

    def state_of(self, data: bytes) -> Any:
        """The same, back. Raises `DecodeError`."""
        return self._decode(data)


__all__ = ["ANSWER_NAME", "DecodeError", "EntityAnswer", "Form", "Item", "Items", "Verdict"]
