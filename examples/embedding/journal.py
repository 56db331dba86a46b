"""The file of a node: every record that Raft wants to have on disk, one frame after the other.

Rules
1.  A record is durable when `append` has returned: it is written, and the file is synced.
2.  A frame has a checksum over its record. A power cut may leave half a frame, or one of zeros, at the end; that was
    never reported as durable, so it is cut off.
3.  Only the end is. Where a whole frame stands behind a broken one, something was lost that was promised, and the node
    must not go on with the rest: `JournalError`.
4.  A node that starts writes what it found in as few records as possible to a new file, which takes the old one's place
    when all of it is durable.

What is left out: a lock against a second process, and lengths with a checksum of their own, without which a length that
is damaged in the middle looks like the end. `casty_asyncio/cluster/storage_file.py` has both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

from casty_proto import raft
from casty_proto.raft import Configuration, Record, bootstrap, checkpoint, recover
from casty_proto.wire import FrameDecoder, FrameError, ItemDecoder, ItemEncoder, Types, WireOptions, frame

_OPTIONS = WireOptions(max_frame=2**30, max_length=2**30)
_CLASSES: tuple[type, ...] = (
    *(raft.Ballot, raft.Append, raft.Base, raft.SaveSnapshot, raft.Snapshot, raft.Configuration, raft.Entry),
    *(raft.NoOp, raft.Command, raft.OpenSession, raft.RenewSession, raft.CloseSession),
)


class JournalError(ValueError):
    """The file is damaged before its end. Nothing was changed."""


class Journal:
    """The open file. Raises `OSError`, and `JournalError` for a file that a node must not go on from."""

    def __init__(self, path: Path, founders: tuple[str, ...]) -> None:
        """Open the file at `path`, or begin it as one of the `founders` of a cluster."""
        types = Types(strict=True)
        for cls in _CLASSES:
            types.allow(cls, cls.__name__)
        self._encoder = ItemEncoder(types, _OPTIONS)
        found = _read(path, ItemDecoder(types, _OPTIONS))
        self.records = checkpoint(recover(found or bootstrap(Configuration(founders))))
        """What the node starts with."""
        new = path.with_suffix(".new")
        self._file = open(new, "wb")  # noqa: SIM115 (it is open for as long as the process runs)
        self.append(self.records)
        os.replace(new, path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)  # The new name is durable too.
        os.close(folder)

    def append(self, records: Iterable[Record]) -> None:
        """Write these, and come back when they would survive a power cut. After an `OSError` the file is of no use."""
        for record in records:
            body = self._encoder.encode(record)
            self._file.write(frame(crc32(body).to_bytes(4) + body, _OPTIONS.max_frame))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file. What was appended is durable already."""
        self._file.close()


def _read(path: Path, decoder: ItemDecoder) -> list[Record]:
    if not path.exists():
        return []
    frames = FrameDecoder(_OPTIONS.max_frame)
    try:
        bodies = frames.feed(path.read_bytes())
    except FrameError as error:
        bodies = error.frames
    sound = [crc32(body[4:]).to_bytes(4) == body[:4] for body in bodies]
    whole = sound.index(False) if False in sound else len(sound)
    if any(sound[whole:]):
        raise JournalError(
            f"{path}: record {whole + 1} is damaged, and there are good ones behind it; restore the disk"
        )
    return [decoder.decode(body[4:]) for body in bodies[:whole]]
