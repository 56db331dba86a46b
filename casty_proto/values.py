"""Values: frozen for whoever reads and type-checks the code, and cheap to make where millions of them are made.

`attrs.frozen` goes through `object.__setattr__` for every field, which takes longer than all the rest of making an
object. Events, effects and messages are made for every message that travels, so they are frozen in the eyes of the type
checker only: `value` is `attrs.frozen` to mypy, and to the interpreter a class with slots, `__eq__` and `__hash__`.
Options, and whatever else is made once, are truly frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attrs import frozen as value
else:
    from functools import partial

    from attrs import define, setters

    value = partial(define, unsafe_hash=True, on_setattr=setters.NO_OP)

__all__ = ["value"]
