"""Checks a body against the limits before anything is made of it.

MessagePack announces how many elements an array has, and the library makes room for them when it reads the number: 64
KiB of array headers inside each other cost 80 MB before it is found out that nothing follows. Counting costs about as
much as decoding, so it is done only for bodies that could break a limit:

-   A body of n bytes has no more than n values and no text longer than n, so a short one is within these limits.
-   It is nested no deeper than the number of its bytes that could begin an array. That count is one call, and large
    only for bodies that hold a lot of binary data or are nested indeed.

What is left to fear from a body that is not scanned is `max_depth` arrays of `UNSCANNED_MAX` elements.
"""

from __future__ import annotations

import re

from .errors import Malformed
from .options import WireOptions

UNSCANNED_MAX = 4096
"""Longer bodies are always scanned."""

_ARRAY_BYTES = bytes([*range(0x90, 0xA0), 0xDC, 0xDD])
_FIXED = rb"[\x00-\x7f\xc0\xc2\xc3\xe0-\xff\xa0]|[\xcc\xd0].|[\xcd\xd1]..|[\xca\xce\xd2].{4}|[\xcb\xcf\xd3].{8}"
_SHORT_TEXTS = rb"|".join(rb"\x%02x.{%d}" % (0xA0 + length, length) for length in range(1, 32))
_ATOM = re.compile(_FIXED + rb"|" + _SHORT_TEXTS, re.DOTALL)
_ATOMS = re.compile(rb"(?:" + _FIXED + rb"|" + _SHORT_TEXTS + rb")*+", re.DOTALL)
_LENGTH_SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_COUNT_SIZES = {0xDC: 2, 0xDD: 4}


def unscanned_max(options: WireOptions) -> int:
    """The length up to which a body can break no limit but that of the depth."""
    return min(UNSCANNED_MAX, options.max_items, options.max_length)


def may_be_deep(body: bytes, options: WireOptions) -> bool:
    """Whether a body could be nested too deep."""
    return len(body) - len(body.translate(None, _ARRAY_BYTES)) > options.max_depth


def scan(body: bytes, options: WireOptions) -> None:
    """Raise `Malformed` unless the body is one whole value within the limits. Makes nothing of it.

    Takes time in proportion to the length, and memory in proportion to the longest run of atoms.
    """
    size, at = len(body), 0
    open_counts = [1]
    """How many values are still to come in each array around the current place."""
    items = 1
    while at < size:
        end = _matched_atoms(body, at)
        if end > at:
            _take(open_counts, len(_ATOM.findall(body, at, end)))
            at = end
            continue
        _take(open_counts, 1)
        byte = body[at]
        if (length_size := _LENGTH_SIZES.get(byte)) is not None:
            at = _skip_text(body, at + 1, length_size, options)
            continue
        count, at = _count(body, at)
        items += count
        if items > options.max_items:
            raise Malformed(f"a body has {items} values or more; the limit is {options.max_items}")
        if len(open_counts) > options.max_depth:
            raise Malformed(f"a body is nested deeper than the limit of {options.max_depth}")
        open_counts.append(count)
    if any(open_counts) or at > size:
        raise Malformed("a body ends before its value does")


def _matched_atoms(body: bytes, at: int) -> int:
    """Where the run of atoms of known size ends that begins here."""
    found = _ATOMS.match(body, at)
    assert found is not None, "the pattern matches nothing, too"
    return found.end()


def _take(open_counts: list[int], values: int) -> None:
    """Count values off the innermost arrays that still have room. Full arrays are closed only when the next comes."""
    while values:
        while open_counts and not open_counts[-1]:
            open_counts.pop()
        if not open_counts:
            raise Malformed("a body goes on after its value")
        taken = min(values, open_counts[-1])
        open_counts[-1] -= taken
        values -= taken


def _skip_text(body: bytes, at: int, length_size: int, options: WireOptions) -> int:
    if at + length_size > len(body):
        raise Malformed("a body ends within a length")
    length = int.from_bytes(body[at : at + length_size])
    if length > options.max_length:
        raise Malformed(f"a text has the length {length}; the limit is {options.max_length} bytes")
    return at + length_size + length


def _count(body: bytes, at: int) -> tuple[int, int]:
    """The number of elements of the array that begins here, and where the first of them is."""
    byte = body[at]
    if 0x90 <= byte < 0xA0:
        return byte - 0x90, at + 1
    count_size = _COUNT_SIZES.get(byte)
    if count_size is None:
        raise Malformed(f"a body has the byte 0x{byte:02x} where a value should begin, or ends within one")
    if at + 1 + count_size > len(body):
        raise Malformed("a body ends within a count")
    return int.from_bytes(body[at + 1 : at + 1 + count_size]), at + 1 + count_size
