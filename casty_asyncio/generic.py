"""Type variables with a default, which the syntax of Python 3.12 for type parameters cannot express."""

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
