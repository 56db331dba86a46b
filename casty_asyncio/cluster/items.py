"""Messages for entities, their answers, and their states, as bytes.

Each of them stands for itself (`casty_proto/wire/items.py`): it may wait, move to another node, and be read there. A
message is sent as

    (entity, form, sender, origin, number, message)

where `origin` and `number` tell where the answer goes: to the handle of the ask, in the process that asks. Nobody wants
an answer where `origin` is `None`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
from attrs import evolve

from casty_proto.values import value
from casty_proto.wire import DecodeError, EncodeError, ItemDecoder, ItemEncoder
from casty_proto.wire.encoder import ANNOUNCED
from casty_proto.wire.frame import HEADER, HEADER_SIZE

from ..errors import NotSendableError
from ..refs import ActorRef
from ..remote.failures import failure_of, failure_parts

if TYPE_CHECKING:
    from ..remote.ref_codec import Answerable
    from ..remote.remoting import Remoting
    from .asking import EntityAsk
    from .entities import Entity
    from .refs import EntityRef

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


@value
class EntityAnswer:
    """To the handle of whoever asked an entity."""

    data: bytes
    has_failed: bool = False
    """Whether it is the reason why there is no answer."""


_NO_ITEM = "it is not made of an entity, a form, a sender, an origin, a number and a message"
ANSWER_NAME = "casty.answer"


type Item = tuple[str, Form, ActorRef[Any] | None, ActorRef[Any] | None, Any]
"""A message for an entity, as it is read: the entity, the form, the sender, whom to answer, and the message."""
_FORMS = tuple(Form)


class Items:
    """Makes and reads items for one system."""

    def __init__(self, remoting: Remoting) -> None:
        self._refs = remoting.refs
        # An item is sent within a message of a node, and what is around it takes room as well.
        whole = remoting.wire_options.max_frame
        options = evolve(remoting.wire_options, max_frame=max(whole // 2, whole - _AROUND))
        encoder = ItemEncoder(remoting.types, options)
        self._encode = encoder.encode
        self._encode_beside = encoder.encode_beside
        self._decode = ItemDecoder(remoting.types, remoting.wire_options).decode

    def message(
        self, to: EntityRef[Any], form: Form, sender: ActorRef[Any] | None, ask: EntityAsk | None, message: Any
    ) -> bytes:
        """A message for an entity. Raises `NotSendableError`."""
        refs = self._refs
        origin, number = None, 0
        if ask is not None:
            origin = refs.origin
            number = ask.number = refs.lend(ask.handle())
        refs.asking = ask
        try:
            if sender is None:
                return self._encode_beside((to.entity_id, int(form), None, origin, number), message)
            return self._encode((to.entity_id, int(form), sender, origin, number, message))
        except EncodeError as error:
            # Its place is that in the message, and not in what is around it.
            kind = type(message).__name__
            why = str(error).replace("tuple[5]", kind, 1)
            raise NotSendableError(f"{kind} cannot be sent to {to.path}: {why}") from error
        finally:
            refs.asking = None

    def returned(self, ask: EntityAsk) -> None:
        """Nobody can answer an ask any more."""
        self._refs.take_back(ask.number)

    def read(self, data: bytes, ask: Answerable | None) -> Item:
        """A message. A handle of the ask in it is bound to `ask`. Raises `DecodeError`, or `ValueError` for no item."""
        refs = self._refs
        refs.answering = ask
        try:
            parts = self._decode(data)
        finally:
            refs.answering = None
        if type(parts) is not tuple or len(parts) != 6:
            raise ValueError(_NO_ITEM)
        entity, form, sender, origin, number, message = parts
        if type(entity) is not str or type(form) is not int or not 0 <= form < len(_FORMS) or type(number) is not int:
            raise ValueError(_NO_ITEM)
        if sender is not None and not isinstance(sender, ActorRef):
            raise ValueError("the sender of a message is no actor")
        return entity, _FORMS[form], sender, None if origin is None else refs.handle(origin, number), message

    def salvaged(self, data: bytes) -> tuple[str, ActorRef[Any] | None]:
        """Whom a message was for, and who asked, of one that cannot be read, as far as that can be known."""
        try:
            if data[0] == ANNOUNCED[0]:
                data = data[1 + HEADER_SIZE + HEADER.unpack_from(data, 1)[0] :]
            _, entity, _, _, origin, number, _ = msgpack.unpackb(data)
            return str(entity), None if origin is None else self._refs.handle(origin, number)
        except Exception:
            return "?", None

    def answer(self, value: Any, of: Entity) -> EntityAnswer:
        """The answer to an ask. Raises `NotSendableError`."""
        try:
            return EntityAnswer(self._encode(value))
        except EncodeError as error:
            raise NotSendableError(f"the answer of {of.path} cannot be sent: {error}") from error

    def failure(self, error: Exception) -> EntityAnswer:
        """Why there is no answer."""
        kind, text, cause, trace = failure_parts(error)
        try:
            data = self._encode((kind, text, cause, trace))
        except EncodeError:
            data = self._encode((kind, text, None, trace))
        return EntityAnswer(data, has_failed=True)

    def opened(self, answer: EntityAnswer) -> Any:
        """What an answer says. Raises the failure that it is, `DecodeError`, or `ValueError` for what is no answer."""
        value = self._decode(answer.data)
        if answer.has_failed:
            raise failure_of(value)
        return value

    def late(self, answer: EntityAnswer) -> Any:
        """What is lost with an answer that nobody waits for any more. `None` for a failure."""
        if answer.has_failed:
            return None
        try:
            return self._decode(answer.data)
        except (DecodeError, ValueError, TypeError):
            return answer

    def state(self, value: Any, of: Entity | None) -> bytes:
        """The state of an entity. Raises `NotSendableError`, which names the place in it."""
        try:
            return self._encode(value)
        except EncodeError as error:
            what = "nothing" if of is None else of.path
            raise NotSendableError(f"the state of {what} cannot be kept: {error}") from error

    def state_of(self, data: bytes) -> Any:
        """The same, back. Raises `DecodeError`."""
        return self._decode(data)


__all__ = ["ANSWER_NAME", "DecodeError", "EntityAnswer", "Form", "Item", "Items"]
