"""Exceptions, which travel as the answers of failed asks.

Most exception classes do not say how their objects are made, so what is sent is the name of the type, the arguments if
they can be sent, and the text. One of the standard library's is made again from its arguments, if that gives the same
text; any other arrives as a `RemoteException`. A user's exception that is a dataclass or attrs class, or registered, is
sent like every other such class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import Malformed
from .values import EXCEPTION

TEXT_MAX = 4096
"""Longer texts of exceptions are cut."""

# fmt: off
_MADE_AGAIN: dict[str, type[Exception]] = {
    f"builtins:{cls.__name__}": cls
    for cls in (
        ArithmeticError, AssertionError, AttributeError, BlockingIOError, BrokenPipeError, BufferError,
        ChildProcessError, ConnectionAbortedError, ConnectionError, ConnectionRefusedError, ConnectionResetError,
        EOFError, Exception, FileExistsError, FileNotFoundError, FloatingPointError, IndexError, InterruptedError,
        IsADirectoryError, KeyError, LookupError, MemoryError, NameError, NotADirectoryError, OSError, OverflowError,
        PermissionError, ProcessLookupError, RecursionError, ReferenceError, RuntimeError, StopAsyncIteration,
        StopIteration, TimeoutError, TypeError, ValueError, ZeroDivisionError,
    )
}
# fmt: on


class RemoteException(Exception):
    """Stands for an exception whose class is not known here, or cannot be made again."""

    def __init__(self, type_name: str, arguments: tuple[Any, ...] | None, text: str) -> None:
        super().__init__(type_name, arguments, text)
        self.type_name = type_name
        """`module:Qualname` of its class."""
        self.arguments = arguments
        """Its `args`; `None` where they could not be sent."""
        self.text = text
        """What `str()` gave, cut after `TEXT_MAX` characters."""

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text}"


def encode_exception(error: BaseException, arguments: Callable[[tuple[Any, ...]], list[Any] | None]) -> list[Any]:
    """The array for any exception. `arguments` returns the array for a tuple, or `None` where it cannot be sent."""
    if isinstance(error, RemoteException) and error.arguments is None:
        return [EXCEPTION, error.type_name, None, error.text]
    if isinstance(error, RemoteException):
        return [EXCEPTION, error.type_name, arguments(error.arguments or ()), error.text]
    cls = type(error)
    return [EXCEPTION, _sendable(f"{cls.__module__}:{cls.__qualname__}"), arguments(error.args), _text(error)]


def decode_exception(items: list[Any]) -> object:
    """The exception that an array stands for."""
    if len(items) != 4 or type(items[1]) is not str or type(items[3]) is not str:
        raise Malformed("an exception is not made of a name, arguments and a text")
    _, name, arguments, text = items
    if arguments is not None and type(arguments) is not tuple:
        raise Malformed("the arguments of an exception are not a tuple")
    cls = _MADE_AGAIN.get(name)
    made = None if cls is None or arguments is None else _made(cls, arguments)
    return made if made is not None and _text(made) == text else RemoteException(name, arguments, text)


def _made(cls: type[Exception], arguments: tuple[Any, ...]) -> Exception | None:
    try:
        made = cls(*arguments)
    except Exception:
        return None
    return made if type(made) is cls else None


def _text(error: BaseException) -> str:
    try:
        return _sendable(str(error))
    except Exception as problem:
        return f"(str() of it raised {type(problem).__name__})"


def _sendable(text: str) -> str:
    """The text without what cannot be encoded, and not too long."""
    return text[:TEXT_MAX].encode(errors="backslashreplace").decode()
