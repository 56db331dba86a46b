"""The registry: which actors can be discovered, on every node, without asking anybody.

Theory of operation
-------------------
Each node owns one list, of its own discoverable actors, and is the only one to change it. A list has a version, which
counts its changes; so the newer of two copies is the better one, there is nothing to merge, and what was removed needs
no tombstone. Changes are sent to all members at once, as the difference between two versions. Who does not have the
first of the two, because a message was lost, asks for what it lacks. From time to time a member tells another one the
versions that it has, and both get what they lack; so copies become equal whatever was lost.

Whose lists there are follows from the members, which Raft decides: a list goes with its node, and cannot come back. A
process that starts again is another member with a list of its own.

Rules
-----
 1. Only the node itself changes its list. Each change raises the version by one.
 2. A copy is replaced by a newer version alone. A difference applies to exactly the version that it starts from.
 3. Lists are kept of members only. What is said of anybody else is not kept.
 4. Changes are sent to all members at once; what was lost is found by comparing versions with one member at a time.
    Who is new does that at once with a few of them: if all told a newcomer what they have, n newcomers would cost n**2.
 5. No message has more than `max_entries` entries. A long list comes in parts, which count when all are there.
 6. A key's listing is in a fixed order: by node, and then in the order of registration.
 7. Rubbish is noted and changes nothing.
 8. Nothing is announced that has not changed.
 9. What a node offers that is held to be dead is kept, and not listed. When it is back, it is listed at once.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any, assert_never

from attrs import field, frozen
from attrs.validators import instance_of

from ..machine import SECOND, Instant, Nanoseconds, Note, Severity, Wake, shown
from ..shard.leases import in_range
from ..values import value

TEXT_MAX = 4096
_ASKED = 2
"""How many members a newcomer asks."""
_LOG_MAX = 1024
"""How many changes a node remembers of its own list. Who lacks more gets all of it."""

type Entry = tuple[str, int, str]
"""Key, number and path of an actor; the number is unique within its node."""


@frozen
class RegistryOptions:
    """How the registry behaves. Raises `ValueError` or `TypeError` for what makes no sense."""

    compare_every_ns: Nanoseconds = field(default=SECOND, validator=in_range(1, 86_400 * SECOND))
    """How often versions are compared with another member."""
    max_entries: int = field(default=256, validator=in_range(1, 2**16))
    """The most entries, changes or versions in one message."""
    max_list: int = field(default=100_000, validator=in_range(1, 2**24))
    """The most actors that one node may have listed."""


# Messages ------------------------------------------------------------------------------------------------------------


@value
class Difference:
    """`node` has made these changes, from the version `base` on: (added?, key, number, path)."""

    node: str
    base: int
    changes: tuple[tuple[bool, str, int, str], ...]


@value
class Part:
    """Part `index` of `count` of the whole list of `node` at `version`."""

    node: str
    version: int
    index: int
    count: int
    entries: tuple[Entry, ...]


@value
class Versions:
    """These are the versions that I have. Tell me what is newer, and ask for what is not."""

    versions: tuple[tuple[str, int], ...]
    whole: bool = True
    """Whether these are all; otherwise they are some of them, drawn at random."""


@value
class Want:
    """Send me the list of `node`, of which I have `version`."""

    node: str
    version: int


type RegistryMessage = Difference | Part | Versions | Want

# Events and effects --------------------------------------------------------------------------------------------------


@value
class Register:
    """Event: an actor of this node can be discovered under `key`. A no-op when it can be already."""

    key: str = field(validator=instance_of(str))
    number: int = field(validator=instance_of(int))
    path: str = field(validator=instance_of(str))


@value
class Deregister:
    """Event: it cannot any more; with `key=None`, under no key at all."""

    number: int = field(validator=instance_of(int))
    key: str | None = None


@value
class Reborn:
    """Event: an earlier process had this node's name, and its list had no version beyond this one."""

    version: int = field(validator=instance_of(int))


@value
class Members:
    """Event: these nodes are members, this one included or not."""

    nodes: tuple[str, ...]
    dead: tuple[str, ...] = ()
    """Those of them that are held to be dead."""


@value
class RegistryReceived:
    """Event: a message came from the member `peer`."""

    peer: str = field(validator=instance_of(str))
    message: object


type RegistryEvent = Register | Deregister | Reborn | Members | RegistryReceived | Wake


@value
class RegistrySend:
    """Effect: send `message` to the member `to`. It may be lost, late, doubled and overtaken."""

    to: str
    message: RegistryMessage


@value
class ListingChanged:
    """Effect: `listing(key)` is another one now."""

    key: str


type RegistryEffect = RegistrySend | ListingChanged | Note
type _Effects = tuple[RegistryEffect, ...]


class _List:
    """The list of one node, as it is known here."""

    __slots__ = ("entries", "parts", "parts_version", "version")

    def __init__(self) -> None:
        self.version = 0
        self.entries: dict[tuple[str, int], str] = {}
        """Paths by key and number, in the order of registration."""
        self.parts: dict[int, tuple[Entry, ...]] = {}
        self.parts_version = 0


class Registry:
    """The registry of one node."""

    def __init__(self, own: str, rng: Random, options: RegistryOptions) -> None:
        self._own = own
        self._rng = rng
        self._options = options
        self._lists: dict[str, _List] = {own: _List()}
        self._others: tuple[str, ...] = ()
        self._dead: dict[str, None] = {}
        """Those of them that are held to be dead."""
        self._by_key: dict[str, dict[str, dict[int, str]]] = {}
        """For each key and node, paths by number."""
        self._log: deque[tuple[bool, str, int, str]] = deque(maxlen=_LOG_MAX)
        """The latest changes of this node's own list."""
        self._compare_at: Instant | None = None

    # -- the contract --------------------------------------------------------------------------------------------------

    def handle(self, event: RegistryEvent, now: Instant) -> _Effects:
        """Apply one event; see `casty_proto.machine`."""
        match event:
            case Register(key, number, path):
                return self._on_register(key, number, path)
            case Deregister(number, key):
                return self._on_deregister(number, key)
            case Reborn(version):
                return self._on_reborn(version)
            case Members(nodes, dead):
                return self._on_members(nodes, dead, now)
            case RegistryReceived(peer, message):
                return self._on_received(peer, message)
            case Wake():
                return self._on_compare_due(now)
            case _:
                assert_never(event)

    def deadline(self) -> Instant | None:
        """When versions are to be compared next."""
        return self._compare_at

    def invariants(self) -> None:
        """Assert what must hold between two calls. Linear in what is listed."""
        flat = {
            (node, key, number): path
            for node, listed in self._lists.items()
            for (key, number), path in listed.entries.items()
        }
        by_key = {
            (node, key, number): path
            for key, nodes in self._by_key.items()
            for node, paths in nodes.items()
            for number, path in paths.items()
        }
        assert flat == by_key, "the lists and their index differ"
        assert all(nodes and all(nodes.values()) for nodes in self._by_key.values()), "an empty listing is kept"
        assert self._own in self._lists, "its own list is gone"
        assert set(self._lists) <= {self._own, *self._others}, "a list of somebody who is no member"

    # -- the direct lane -----------------------------------------------------------------------------------------------

    def listing(self, key: str) -> tuple[tuple[str, int, str], ...]:
        """Node, number and path of all actors that can be discovered under `key` (rules 6 and 9)."""
        nodes = self._by_key.get(key)
        if nodes is None:
            return ()
        there = sorted([node for node in nodes if node not in self._dead])
        return tuple([(node, number, path) for node in there for number, path in nodes[node].items()])

    def version_of(self, node: str) -> int:
        """The version of a node's list that is known here; 0 for one that is not."""
        found = self._lists.get(node)
        return 0 if found is None else found.version

    # -- this node's own list ------------------------------------------------------------------------------------------

    def _on_register(self, key: str, number: int, path: str) -> _Effects:
        own = self._lists[self._own]
        if (key, number) in own.entries:
            return ()
        if len(own.entries) >= self._options.max_list or not _is_entry((key, number, path)):
            return (Note(Severity.ERROR, f"{path} cannot be listed under {shown(key)}: too long, or too many are"),)
        return self._change(((True, key, number, path),))

    def _on_deregister(self, number: int, key: str | None) -> _Effects:
        own = self._lists[self._own].entries
        gone = [(its_key, path) for (its_key, its_number), path in own.items() if its_number == number]
        changes = [(False, its_key, number, path) for its_key, path in gone if key in (None, its_key)]
        return self._change(tuple(changes))

    def _on_reborn(self, version: int) -> _Effects:
        """The list is this process's, and newer than any of the one before. All of it is sent to whoever asks."""
        own = self._lists[self._own]
        if version >= own.version:
            own.version = version + 1
            self._log.clear()
        return ()

    def _change(self, changes: tuple[tuple[bool, str, int, str], ...]) -> _Effects:
        """Rules 1 and 4."""
        if not changes:
            return ()
        own = self._lists[self._own]
        base = own.version
        keys = self._apply(self._own, own, changes)
        self._log.extend(changes)
        sends = [
            RegistrySend(node, Difference(self._own, base + start, changes[start : start + self._options.max_entries]))
            for start in range(0, len(changes), self._options.max_entries)
            for node in self._others
        ]
        return (*self._changed(self._own, keys), *sends)

    # -- members -------------------------------------------------------------------------------------------------------

    def _on_members(self, nodes: tuple[str, ...], dead: tuple[str, ...], now: Instant) -> _Effects:
        """Rules 3 and 9."""
        before = dict.fromkeys(self._others)
        self._others = tuple([node for node in dict.fromkeys(nodes) if node != self._own])
        were_dead, self._dead = self._dead, {node: None for node in dead if node != self._own}
        keys: list[str] = []
        for node in [node for node in self._lists if node != self._own and node not in self._others]:
            gone = self._replace(node, self._lists[node], ())
            keys += [] if node in were_dead else gone
            del self._lists[node]
        for node in {**were_dead, **self._dead}:
            if (node in were_dead) != (node in self._dead) and node in self._lists:
                keys += [key for key, _ in self._lists[node].entries]
        if self._others and self._compare_at is None:
            self._compare_at = now + self._interval()
        elif not self._others:
            self._compare_at = None
        asked: list[str] = []
        if not before and self._others:
            asked = self._rng.sample(self._others, min(_ASKED, len(self._others)))
        return (*self._announced(keys), *[RegistrySend(node, self._versions()) for node in asked])

    def _on_compare_due(self, now: Instant) -> _Effects:
        if self._compare_at is None or now < self._compare_at:
            return ()
        self._compare_at = now + self._interval()
        return (RegistrySend(self._rng.choice(self._others), self._versions()),)

    def _interval(self) -> Nanoseconds:
        """Not the same for all, so that they do not all compare at the same moment."""
        every = self._options.compare_every_ns
        return every // 2 + self._rng.randrange(every) + 1

    def _versions(self) -> Versions:
        known = [(node, listed.version) for node, listed in self._lists.items() if listed.version]
        if len(known) <= self._options.max_entries:
            return Versions(tuple(known))
        return Versions(tuple(self._rng.sample(known, self._options.max_entries)), whole=False)

    # -- messages ------------------------------------------------------------------------------------------------------

    def _on_received(self, peer: str, message: object) -> _Effects:
        if peer not in self._others:
            return ()
        if not _is_message(message, self._options.max_entries):
            return (Note(Severity.WARNING, f"{peer}: {shown(message)} is no message of the registry; dropped"),)
        match message:
            case Difference():
                return self._on_difference(peer, message)
            case Part():
                return self._on_part(message)
            case Versions(versions, whole):
                return self._on_versions(peer, dict(versions), whole)
            case Want(node, version):
                return self._tell(peer, node, version)
        raise AssertionError(message)

    def _on_difference(self, peer: str, message: Difference) -> _Effects:
        """Rules 1 and 2."""
        node = message.node
        if node != peer:
            return ()
        listed = self._lists.setdefault(node, _List())
        if message.base + len(message.changes) <= listed.version:
            return ()
        if message.base > listed.version:
            return (RegistrySend(peer, Want(node, listed.version)),)
        changes = message.changes[listed.version - message.base :]
        if _size_after(listed, changes) > self._options.max_list:
            return (_too_long(node),)
        return self._changed(node, self._apply(node, listed, changes))

    def _on_part(self, message: Part) -> _Effects:
        """Rules 2 and 5."""
        node = message.node
        if node == self._own or node not in self._others:
            return ()
        listed = self._lists.setdefault(node, _List())
        if message.version <= listed.version or message.version < listed.parts_version:
            return ()
        if message.version > listed.parts_version:
            listed.parts, listed.parts_version = {}, message.version
        others = sum([len(part) for index, part in listed.parts.items() if index != message.index])
        if message.count > self._options.max_list or others + len(message.entries) > self._options.max_list:
            listed.parts = {}
            return (_too_long(node),)
        listed.parts[message.index] = message.entries
        if len(listed.parts) < message.count:
            return ()
        entries = [entry for index in range(message.count) for entry in listed.parts.get(index, ())]
        listed.parts = {}
        keys = self._replace(node, listed, tuple(entries))
        listed.version = message.version
        return self._changed(node, keys)

    def _on_versions(self, peer: str, theirs: dict[str, int], whole: bool) -> _Effects:
        effects: list[RegistryEffect] = []
        for node, version in theirs.items():
            if node != self._own and node in self._others and version > self.version_of(node):
                effects.append(RegistrySend(peer, Want(node, self.version_of(node))))
        for node, listed in self._lists.items():
            if node != peer and listed.version > theirs.get(node, 0) and (whole or node in theirs):
                effects += self._tell(peer, node, theirs.get(node, 0))
        return tuple(effects)

    def _tell(self, peer: str, node: str, version: int) -> _Effects:
        """What `peer` lacks of a list of which it has `version`."""
        listed = self._lists.get(node)
        if listed is None or version >= listed.version:
            return ()
        most = self._options.max_entries
        lacks = listed.version - version
        if node == self._own and lacks <= min(len(self._log), most):
            changes = tuple(self._log)[-lacks:]
            return (RegistrySend(peer, Difference(node, version, changes)),)
        entries = [(key, number, path) for (key, number), path in listed.entries.items()]
        count = max(1, -(-len(entries) // most))
        parts = [tuple(entries[index * most : (index + 1) * most]) for index in range(count)]
        return tuple(
            [RegistrySend(peer, Part(node, listed.version, index, count, part)) for index, part in enumerate(parts)]
        )

    # -- lists ---------------------------------------------------------------------------------------------------------

    def _apply(self, node: str, listed: _List, changes: tuple[tuple[bool, str, int, str], ...]) -> list[str]:
        """Make these changes. Returns the keys whose listing is another one now: some may undo each other."""
        before: dict[tuple[str, int], str | None] = {}
        removed: dict[tuple[str, int], None] = {}
        for added, key, number, path in changes:
            place = (key, number)
            before.setdefault(place, listed.entries.get(place))
            if added:
                listed.entries[place] = path
                self._by_key.setdefault(key, {}).setdefault(node, {})[number] = path
            elif listed.entries.pop(place, None) is not None:
                removed[place] = None
                self._unlist(node, key, number)
            listed.version += 1
        # What was taken off and listed again has another place in the order.
        return [
            place[0]
            for place, path in before.items()
            if path != listed.entries.get(place) or (path is not None and place in removed)
        ]

    def _replace(self, node: str, listed: _List, entries: tuple[Entry, ...]) -> list[str]:
        """Put another list in the place of a node's. Returns the keys whose listing is another one now."""
        before = listed.entries
        listed.entries = {(key, number): path for key, number, path in entries}
        keys = [key for key, number in before if (key, number) not in listed.entries]
        keys += [key for (key, number), path in listed.entries.items() if before.get((key, number)) != path]
        for key, number in before:
            self._unlist(node, key, number)
        for (key, number), path in listed.entries.items():
            self._by_key.setdefault(key, {}).setdefault(node, {})[number] = path
        return keys

    def _unlist(self, node: str, key: str, number: int) -> None:
        nodes = self._by_key[key]
        del nodes[node][number]
        if not nodes[node]:
            del nodes[node]
            if not nodes:
                del self._by_key[key]

    def _changed(self, node: str, keys: list[str]) -> _Effects:
        """What is said when the list of a node has changed under these keys."""
        return () if node in self._dead else self._announced(keys)

    def _announced(self, keys: list[str]) -> _Effects:
        """Rule 8: each key once."""
        return tuple([ListingChanged(key) for key in dict.fromkeys(keys)])


def _size_after(listed: _List, changes: tuple[tuple[bool, str, int, str], ...]) -> int:
    """How long a list is when these changes are made."""
    there = {(key, number): added for added, key, number, _ in changes}
    before = [place for place in there if place in listed.entries]
    return len(listed.entries) - len(before) + sum(there.values())


def _too_long(node: str) -> Note:
    return Note(Severity.WARNING, f"the list of {node} is too long; it is not taken")


# What is a message ---------------------------------------------------------------------------------------------------


def _is_text(text: object) -> bool:
    """A text that can be sent."""
    if type(text) is not str or not 0 < len(text) <= TEXT_MAX:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(number: object) -> bool:
    return type(number) is int and 0 <= number < 2**63


def _is_entry(entry: object) -> bool:
    if type(entry) is not tuple or len(entry) != 3:
        return False
    key, number, path = entry
    return _is_text(key) and _is_number(number) and _is_text(path)


def _is_change(change: object) -> bool:
    return type(change) is tuple and len(change) == 4 and type(change[0]) is bool and _is_entry(change[1:])


def _is_version(pair: object) -> bool:
    return type(pair) is tuple and len(pair) == 2 and _is_text(pair[0]) and _is_number(pair[1])


def _all(things: Any, most: int, what: Any) -> bool:
    return type(things) is tuple and len(things) <= most and all(map(what, things))


def _is_message(message: Any, most: int) -> bool:
    kind = type(message)
    if kind is Difference:
        return (
            _is_text(message.node)
            and _is_number(message.base)
            and _all(message.changes, most, _is_change)
            and _is_number(message.base + len(message.changes))
        )
    if kind is Part:
        numbers = (message.version, message.index, message.count)
        return (
            _is_text(message.node)
            and all(map(_is_number, numbers))
            and message.index < message.count
            and _all(message.entries, most, _is_entry)
        )
    if kind is Versions:
        return _all(message.versions, most, _is_version) and type(message.whole) is bool
    return kind is Want and _is_text(message.node) and _is_number(message.version)
