"""What a server writes to disk, and what it remembers from that when it starts again.

Rules
-----
1.  Every record can be understood from itself and the ones before it, so any beginning of what was written is a state
    that the server was in. A disk that lost the end lost only what was never `Persisted`.
2.  `Append` drops what the log had from its first entry on. It never leaves a gap.
3.  `SaveSnapshot` replaces the log where the log does not have the snapshot's last entry; otherwise it leaves it alone.
4.  `Base` says where the log begins: after 0 at a founder of the cluster, later after an entry that a snapshot covers.
5.  `checkpoint` says the same in fewer records. A driver that wants to shrink its file writes these to a new one, and
    puts it in the place of the old one when all of it is durable.
6.  A server that lost its records is another server and needs another name: it may have voted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from ..values import value
from .configuration import Configuration, NodeId
from .entries import Entry
from .log import Log
from .snapshot import Snapshot


@value
class Ballot:
    """The `term`, and the `vote` in it: a name, or `None` for none yet (paper, Figure 2)."""

    term: int
    vote: NodeId | None


@value
class Append:
    """These entries, in place of whatever the log had from the first of them on."""

    entries: tuple[Entry, ...]


@value
class SaveSnapshot:
    """A `snapshot`, taken here or received."""

    snapshot: Snapshot


@value
class Base:
    """The log begins after (`index`, `term`), where `configuration` was in effect."""

    index: int
    term: int
    configuration: Configuration


type Record = Ballot | Append | SaveSnapshot | Base
"""What `Persist` holds, and `recover` takes in the order in which it was written."""


class RecoveryError(ValueError):
    """The records do not follow from one another: something is missing in the middle of them.

    No server was made. It must not start from a part of them: what is missing may have been promised to others.
    """


@value
class Recovered:
    """What a server starts with. Without arguments: one that nobody has told anything yet.

    The last ballot (`term`, `vote`), the newest `snapshot`, and the log: `entries`, which come after `base`.
    """

    term: int = 0
    vote: NodeId | None = None
    snapshot: Snapshot | None = None
    base: Base = Base(0, 0, Configuration())
    entries: tuple[Entry, ...] = ()


def bootstrap(configuration: Configuration) -> tuple[Record, ...]:
    """The first records of a founder of a cluster. All founders write the same ones; a server that joins has none."""
    return (Base(0, 0, configuration),)


def recover(records: Iterable[Record]) -> Recovered:
    """What the records amount to. Raises `RecoveryError` where they do not follow from one another."""
    ballot = Ballot(0, None)
    snapshot: Snapshot | None = None
    base = Base(0, 0, Configuration())
    log = Log()
    for record in records:
        match record:
            case Ballot():
                ballot = record
            case Append():
                _append(log, record.entries)
            case SaveSnapshot(snapshot=saved):
                if saved.index < log.base_index:
                    raise RecoveryError(f"a snapshot of {saved.index}, and the log begins after {log.base_index}")
                if snapshot is None or saved.index > snapshot.index:
                    snapshot = saved
                    if log.term(saved.index) != saved.term:
                        log.reset(saved.index, saved.term)
                        base = Base(saved.index, saved.term, saved.configuration)
            case Base():
                base = record
                if log.term(record.index) == record.term:
                    log.compact(record.index)
                else:
                    log.reset(record.index, record.term)
            case _:
                assert_never(record)
    if base.index > (snapshot.index if snapshot is not None else 0):
        raise RecoveryError(f"the log begins after {base.index}, and no snapshot covers that")
    if log.last_term > ballot.term:
        raise RecoveryError(f"the log ends in term {log.last_term}, and the last ballot is of {ballot.term}")
    return Recovered(ballot.term, ballot.vote, snapshot, base, log.slice(log.base_index + 1, log.last_index))


def checkpoint(recovered: Recovered) -> tuple[Record, ...]:
    """Few records that amount to `recovered`."""
    records: list[Record] = [recovered.base, Ballot(recovered.term, recovered.vote)]
    if recovered.entries:
        records.append(Append(recovered.entries))
    if recovered.snapshot is not None:
        records.append(SaveSnapshot(recovered.snapshot))
    return tuple(records)


def _append(log: Log, entries: tuple[Entry, ...]) -> None:
    first = entries[0].index
    if not log.base_index < first <= log.last_index + 1:
        raise RecoveryError(f"entry {first} does not follow {log.base_index} to {log.last_index}")
    if first <= log.last_index:
        log.truncate(first)
    log.append(entries)
