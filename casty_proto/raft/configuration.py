"""Who votes, who only listens, and what a change of that may be.

Rules
-----
1.  A configuration takes effect on a server as soon as it stands in that server's log, committed or not; when the entry
    is truncated, the configuration before it is in effect again (thesis 4.1). `Configurations` is that history.
2.  One change adds or removes at most one voter, because then every majority before it meets every majority after it
    (thesis 4.1, Figure 4.3). Learners have no say, so any number of them may come and go with it.
3.  A configuration has a voter. Only that of a server that nobody has told anything yet is empty.
4.  Names are kept sorted, so that two configurations are equal exactly when they have the same members.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

from attrs import Attribute, field, frozen
from attrs.validators import deep_iterable

from ..machine import shown

type NodeId = str
"""The name of a server. Compared and passed on, never looked into."""


class ConfigurationError(ValueError):
    """A change that must not be made. Says why; the configuration that was to be changed is what it was."""


def _sorted(names: Iterable[NodeId]) -> tuple[NodeId, ...]:
    if isinstance(names, str):
        raise TypeError(f"members are several names, not the one text {names!r}")
    return tuple(sorted(names))


def _apart(configuration: Configuration, attribute: Attribute[Any], learners: tuple[NodeId, ...]) -> None:
    members = configuration.voters + learners
    if len(dict.fromkeys(members)) < len(members):
        raise ValueError(f"{attribute.name}: a server stands twice in {configuration.voters} and {learners}")


def is_name(thing: object) -> bool:
    """Whether `thing` can be the name of a server: a text, no subclass of it, not empty, that can be sent."""
    if type(thing) is not str or not thing:
        return False
    if thing.isascii():
        return True
    try:
        thing.encode()
    except UnicodeEncodeError:
        return False
    return True


def named(_: object, attribute: Attribute[Any], thing: object) -> None:
    """Validator: the name of a server. Raises `TypeError` for what is no text, and `ValueError` for another one."""
    if is_name(thing):
        return
    if type(thing) is not str:
        raise TypeError(f"{attribute.name}: a server is named by a text, not by {shown(thing)}")
    if not thing:
        raise ValueError(f"{attribute.name}: a server needs a name")
    raise ValueError(f"{attribute.name}: {shown(thing)} cannot be encoded, so it cannot be sent")


_names = deep_iterable(member_validator=named)


@frozen
class Configuration:
    """The members. Raises `TypeError` or `ValueError` for a name that is no text, empty or there twice."""

    voters: tuple[NodeId, ...] = field(default=(), converter=_sorted, validator=_names)
    """Who elects leaders and whose acknowledgement counts."""
    learners: tuple[NodeId, ...] = field(default=(), converter=_sorted, validator=[_names, _apart])
    """Who receives the log, and has no say."""

    @property
    def members(self) -> tuple[NodeId, ...]:
        """Voters, then learners."""
        return self.voters + self.learners

    def changed(self, changes: Iterable[Change]) -> Configuration:
        """The configuration after `changes`, made one after the other. Equal to this one where they change nothing.

        Raises `ConfigurationError` when more than one voter would come or go, or none would be left (rules 2 and 3).
        """
        voters = dict.fromkeys(self.voters)
        learners = dict.fromkeys(self.learners)
        for change in changes:
            voters.pop(change.node, None)
            learners.pop(change.node, None)
            match change:
                case AddVoter():
                    voters[change.node] = None
                case AddLearner():
                    learners[change.node] = None
                case Remove():
                    pass
                case _:
                    assert_never(change)
        if not voters:
            raise ConfigurationError(f"no voter would be left of {', '.join(self.voters) or 'nobody'}")
        changed = Configuration(tuple(voters), tuple(learners))
        moved = voters_moved(self, changed)
        if len(moved) > 1:
            raise ConfigurationError(f"one voter may come or go at a time, not {', '.join(moved)}")
        return changed


def voters_moved(old: Configuration, new: Configuration) -> list[NodeId]:
    """Who votes in one of the configurations only. The step from one to the other is safe where that is one server."""
    before, after = dict.fromkeys(old.voters), dict.fromkeys(new.voters)
    return [node for node in before if node not in after] + [node for node in after if node not in before]


def may_follow(old: Configuration, new: Configuration) -> bool:
    """Whether `new` may be the next configuration after `old` in a log (rules 2 and 3).

    Who was never told a configuration does not know the first one, so any may follow that.
    """
    return bool(new.voters) and (not old.voters or len(voters_moved(old, new)) <= 1)


@frozen
class AddVoter:
    """Let `node` vote. It is brought up to date first, so that it does not hold up commits (thesis 4.2.1).

    Raises `TypeError` or `ValueError` for a `node` that is no name.
    """

    node: NodeId = field(validator=named)


@frozen
class AddLearner:
    """Let `node` receive the log without a vote. A voter loses its vote (thesis 4.2.1).

    Raises `TypeError` or `ValueError` for a `node` that is no name.
    """

    node: NodeId = field(validator=named)


@frozen
class Remove:
    """Let `node` go (thesis 4.1). Harmless where it is no member.

    Raises `TypeError` or `ValueError` for a `node` that is no name.
    """

    node: NodeId = field(validator=named)


type Change = AddVoter | AddLearner | Remove
"""What `ChangeMembership` may hold, several at a time; they take effect as one."""


class Configurations:
    """The configurations in a log, the newest last, and the one that was in effect where the log begins."""

    __slots__ = ("_history",)

    def __init__(self, index: int = 0, configuration: Configuration | None = None) -> None:
        self._history = [(index, configuration or Configuration())]

    @property
    def latest(self) -> Configuration:
        """The one in effect."""
        return self._history[-1][1]

    @property
    def latest_index(self) -> int:
        """Where it stands in the log, or where the log began."""
        return self._history[-1][0]

    @property
    def before_latest(self) -> Configuration:
        """The one that would be in effect again if the latest were truncated."""
        return self._history[max(0, len(self._history) - 2)][1]

    def push(self, index: int, configuration: Configuration) -> None:
        """A configuration was appended to the log."""
        assert index > self.latest_index, f"configuration {index} after {self.latest_index}"
        self._history.append((index, configuration))

    def truncate(self, first: int) -> bool:
        """The log lost `first` and what followed. True when another configuration is in effect now."""
        before = len(self._history)
        while self._history[-1][0] >= first:
            self._history.pop()
        assert self._history, "the configuration that the log began with was truncated"
        return len(self._history) < before

    def at(self, index: int) -> Configuration:
        """The configuration that was the newest at `index`."""
        for position, configuration in reversed(self._history):
            if position <= index:
                return configuration
        raise AssertionError(f"the log begins after {index}")

    def between(self, first: int, last: int) -> list[tuple[int, Configuration]]:
        """The configurations that stand at `first` to `last`."""
        return [item for item in self._history if first <= item[0] <= last]

    def compact(self, index: int) -> None:
        """The log begins after `index` now."""
        self._history = [(index, self.at(index)), *(item for item in self._history if item[0] > index)]

    def reset(self, index: int, configuration: Configuration) -> None:
        """The log was replaced by a snapshot."""
        self._history = [(index, configuration)]

    def invariants(self) -> None:
        """Each step is one voter at most, and the positions rise."""
        for (old_index, old), (new_index, new) in zip(self._history, self._history[1:], strict=False):
            assert old_index < new_index, f"configuration {new_index} after {old_index}"
            assert may_follow(old, new), f"{old} to {new} in one step"
