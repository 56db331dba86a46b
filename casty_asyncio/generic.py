"""Type variables with a default, which the syntax of Python 3.12 for type parameters cannot express."""

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Message = TypeVar("Message", default=Any)
    """Lets `ctx: Context` stand without a parameter."""
    Answer = TypeVar("Answer", default=Any)
    """Lets `system.ask(ref, lambda r: Get(reply_to=r))` stand where nothing says what the answer is."""
    Asked = TypeVar("Asked")
    """Goes with `Answer`: the two kinds of syntax cannot be mixed in one signature."""
else:
    from typing import TypeVar

    Message = TypeVar("Message")
    Answer = TypeVar("Answer")
    Asked = TypeVar("Asked")

type Plain = str | int | bytes | Enum | None
"""Values that a type checker takes for their class, also where a `Literal` is asked for, while it finds out what a type
variable stands for. `ref: ActorRef[M], message: M | Plain` therefore accepts them unseen, and has every other message
checked against the ref.
"""
