"""The difference between two states, as bytes.

Theory of operation
-------------------
A state of many fields of which one was touched differs from its last version in a few bytes, somewhere in the middle,
and what follows may have moved. A delta rebuilds the target from front to back out of two kinds of pieces: bytes that
it brings along, and runs of the base. The runs come in the order of the base and do not overlap, so a delta cannot make
more bytes than base and delta have together: rubbish that would unfold to gigabytes is refused by its form.

    delta   = size of the target, piece*
    piece   = 2 * length,     that many bytes                            (brought along)
            | 2 * length + 1, bytes of the base to skip                  (a run of the base)

Numbers are little-endian base 128. The ends that both have in common are found at the speed of comparing memory. What
is left between them is searched for blocks of the base; the search is bounded, and gives up by bringing the rest along.
"""

from __future__ import annotations

BLOCK = 16
"""What both have in common is found where it is at least 2 * BLOCK - 1 bytes long."""
INDEX_MAX = 1 << 18
"""The most bytes of a base that are looked at block by block."""
SCAN_MAX = 1 << 14
"""The most bytes of a target that are tried in vain."""


class DeltaError(ValueError):
    """The bytes are no delta of that base. Nothing was changed."""


def encode(base: bytes, target: bytes) -> bytes:
    """The delta that makes `target` of `base`. May be longer than `target`: the caller compares."""
    head = common_prefix(base, target)
    tail = common_suffix(base[head:], target[head:])
    pieces = _Pieces(len(target))
    pieces.run(0, head)
    _search(base[head : len(base) - tail], target[head : len(target) - tail], head, pieces)
    pieces.run(len(base) - tail, tail)
    return pieces.bytes()


def apply(base: bytes, delta: bytes) -> bytes:
    """The target. Raises `DeltaError` where `delta` cannot be one of `base`."""
    size, at = _number(delta, 0)
    parts: list[bytes] = []
    made = cursor = 0
    while at < len(delta):
        tag, at = _number(delta, at)
        length = tag >> 1
        if tag & 1:
            skip, at = _number(delta, at)
            cursor += skip
            part = base[cursor : cursor + length]
            cursor += length
        else:
            part = delta[at : at + length]
            at += length
        made += length
        if not length or len(part) != length or made > size:
            raise DeltaError("a piece is beyond its source, or beyond the target")
        parts.append(part)
    if made != size:
        raise DeltaError(f"{made} bytes were made of {size}")
    return b"".join(parts)


def common_prefix(a: bytes, b: bytes) -> int:
    """How many bytes both begin with."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    # a[:low] and b[:low] are equal, a[:high] and b[:high] are not.
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def common_suffix(a: bytes, b: bytes) -> int:
    """How many bytes both end with."""
    low, high = 0, min(len(a), len(b))
    if a[len(a) - high :] == b[len(b) - high :]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle
    return low


def _search(base: bytes, target: bytes, origin: int, pieces: _Pieces) -> None:
    """Rebuild `target`. `origin` is where `base` lies in the whole base."""
    blocks: dict[bytes, int] = {}
    if len(base) <= INDEX_MAX and len(target) >= BLOCK:
        for offset in range(0, len(base) - BLOCK + 1, BLOCK):
            blocks.setdefault(base[offset : offset + BLOCK], offset)
    brought = at = cursor = tried = 0
    shift = 0
    while blocks and at + BLOCK <= len(target) and tried < SCAN_MAX:
        block = target[at : at + BLOCK]
        # A field that was overwritten leaves what follows in its place; repeated blocks are found no other way.
        offset = at + shift
        if offset < cursor or base[offset : offset + BLOCK] != block:
            offset = blocks.get(block, -1)
        if offset < cursor:
            at += 1
            tried += 1
            continue
        length = _run_length(base, offset, target, at)
        pieces.bring(target[brought:at])
        pieces.run(origin + offset, length)
        shift = offset - at
        brought = at = at + length
        cursor = offset + length
    pieces.bring(target[brought:])


def _run_length(base: bytes, offset: int, target: bytes, at: int) -> int:
    """How long the run is that both have from there on. The steps grow, so that a short run costs little."""
    length, step = 0, 4 * BLOCK
    while True:
        left, right = base[offset + length : offset + length + step], target[at + length : at + length + step]
        same = common_prefix(left, right)
        length += same
        if same < step:
            return length
        step *= 2


class _Pieces:
    """A delta that is being written."""

    __slots__ = ("_cursor", "_out")

    def __init__(self, size: int) -> None:
        self._out = bytearray()
        self._cursor = 0
        _put(self._out, size)

    def bring(self, part: bytes) -> None:
        """Bytes that the base does not have."""
        if part:
            _put(self._out, 2 * len(part))
            self._out += part

    def run(self, offset: int, length: int) -> None:
        """A run of the base, not before the end of the last one."""
        if length:
            _put(self._out, 2 * length + 1)
            _put(self._out, offset - self._cursor)
            self._cursor = offset + length

    def bytes(self) -> bytes:
        return bytes(self._out)


def _put(out: bytearray, number: int) -> None:
    assert number >= 0, "a run that goes back"
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The number there, and where it ends."""
    number = shift = 0
    while at < len(data) and shift < 63:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
    raise DeltaError("a number is cut off, or has no end")
