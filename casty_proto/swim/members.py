"""The members as one of them knows them, and which of two statements about a member prevails. SWIM 4.2

Theory of operation
-------------------
There is one record for each node id. Statements about a node are ordered by generation, then incarnation, then state:
alive, suspect, dead, left. Whoever has heard more of them knows at least as much, and the order in which they arrived
does not matter, so all views grow together. Against the tables that are published for this:

-   Among the living it is SWIM's table: alive(i) prevails over alive(j) and suspect(j) if i > j; suspect(i) over
    alive(j) if i >= j, and over suspect(j) if i > j.
-   In SWIM dead is final: it prevails over everything whatever its incarnation, and nothing prevails over it. Here, as
    in memberlist, dead(i) is a statement about incarnation i like any other, and a member that is declared dead while
    it lives objects with i + 1. Otherwise a partition could only heal by restarting one side of it.
-   A suspicion does not bring anybody back from the dead, whatever its incarnation: its object could not be described.
-   Left is said by the member itself, and so prevails over what others believe of the same incarnation.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from random import Random

from .events import Member
from .gossip import Rumours
from .messages import Digest, Identity, State, Update
from .pool import Pool
from .rotation import Rotation

_LIVE = (State.ALIVE, State.SUSPECT)


def prevails(new: Update | Digest | Member, old: Update | Digest | Member) -> bool:
    """Whether `new` says more about the node than `old`. Both are about the same node id."""
    if new.identity.generation != old.identity.generation:
        return new.identity.generation > old.identity.generation
    if new.state is State.SUSPECT and old.state not in _LIVE:
        return False
    return (new.incarnation, new.state) > (old.incarnation, old.state)


def is_live(member: Member | Digest) -> bool:
    """Whether the member counts as there: until it is declared dead, a suspect does."""
    return member.state in _LIVE


class Members:
    """All records, oneself included, and the groups that others are drawn from."""

    __slots__ = (
        "_node_ids",
        "_old",
        "_pools",
        "_records",
        "_unseen",
        "alive",
        "count",
        "dead",
        "me",
        "recent",
        "rotation",
        "suspects",
        "version",
    )

    def __init__(self, me: Member, rng: Random) -> None:
        self.me = me
        self._records = {me.identity.node_id: me}
        self._node_ids = [me.identity.node_id]
        self.alive = Pool()
        """The others who are alive and not suspected."""
        self.suspects = Pool()
        """The others who are suspected."""
        self.dead = Pool()
        """The others who were there, died, and are remembered."""
        self._pools = (self.alive, self.suspects, self.dead, Pool())
        """By state."""
        self._unseen = Pool()
        """Those who were never seen alive here, and are remembered as dead or left."""
        self.recent = Pool()
        """Those of the dead who are still sent gossip."""
        self._old = Pool()
        """The rest of them."""
        self.count = 1
        """How many are believed to be there, oneself included. Kept, because every message asks for it."""
        self.rotation = Rotation(rng)
        self.version = 0
        """Counts the changes, for the invariants."""

    def __len__(self) -> int:
        return len(self._records)

    def get(self, node_id: str) -> Member | None:
        """What is known of a node."""
        return self._records.get(node_id)

    def __getitem__(self, node_id: str) -> Member:
        return self._records[node_id]

    def others(self) -> Iterator[Member]:
        """Everybody but oneself, in the order in which they were first heard of."""
        return (member for member in self._records.values() if member is not self.me)

    def put(self, member: Member) -> None:
        """Set the record of a node, and move it to the group that its state belongs to."""
        self.version += 1
        node_id = member.identity.node_id
        old = self._records.get(node_id)
        self._records[node_id] = member
        if old is self.me:
            self.me = member
            return
        pool = self._pool(member)
        if old is None:
            insort(self._node_ids, node_id)
        elif pool is not self._pool(old):
            self._pool(old).discard(node_id)
            self._no_longer_dead(node_id)
        pool.add(node_id)
        was_live = old is not None and is_live(old)
        if is_live(member) and not was_live:
            self.count += 1
            self.rotation.add(node_id)
        elif was_live and not is_live(member):
            self.count -= 1
            self.rotation.remove(node_id)

    def _pool(self, member: Member) -> Pool:
        return self._pools[member.state] if member.address else self._unseen

    def forget(self, node_id: str) -> None:
        """Drop the record of one who is dead or left."""
        self.version += 1
        member = self._records.pop(node_id)
        assert member is not self.me
        assert not is_live(member), member
        del self._node_ids[bisect_left(self._node_ids, node_id)]
        self._pool(member).discard(node_id)
        self._no_longer_dead(node_id)

    def age(self, node_id: str) -> None:
        """Send no gossip any more to one who died. Harmless for one who is not dead any more."""
        if node_id in self.recent:
            self.recent.discard(node_id)
            self._old.add(node_id)

    def _no_longer_dead(self, node_id: str) -> None:
        self.recent.discard(node_id)
        self._old.discard(node_id)

    def expendable(self, untold: Rumours) -> str | None:
        """Whom to forget first where there is no room for another, if anybody. Not who is news that is `untold`.

        Those who were never here, then those who have left, then those who died and are sent no gossip any more: to
        find these again is what the memory of them is for.
        """
        for pool in (self._unseen, self._pools[State.LEFT], self._old):
            if pool and (pool[0] not in untold or self.count == 1):
                return pool[0]
        return None

    def between(self, after: str, upto: str | None) -> list[str]:
        """The node ids after `after` and not after `upto`, in order. Oneself is one of them."""
        node_ids = self._node_ids
        end = len(node_ids) if upto is None else bisect_right(node_ids, upto)
        return node_ids[bisect_right(node_ids, after) : end]

    def before(self, node_id: str) -> str:
        """The node id that comes before this one in the order; nothing where it would be the first."""
        place = bisect_left(self._node_ids, node_id)
        return self._node_ids[place - 1] if place else ""

    def knows(self, identity: Identity) -> bool:
        """Whether there is a record of this identity, or of one that has replaced it."""
        member = self._records.get(identity.node_id)
        return member is not None and member.identity.generation >= identity.generation

    def live_at(self, address: str) -> str | None:
        """The member at this address that counts as there. Looks at all of them."""
        for node_id, member in self._records.items():
            if member.address == address and is_live(member):
                return node_id
        return None

    def address_of(self, identity: Identity) -> str | None:
        """The address of this very identity, if it is known."""
        member = self._records.get(identity.node_id)
        return member.address if member is not None and member.identity == identity else None

    def invariants(self) -> None:
        """Everybody is in the groups of its state, and nowhere else."""
        me = self.me
        assert self._records[me.identity.node_id] is me
        assert self._node_ids == sorted(self._records)
        pools = (*self._pools, self._unseen)
        assert sum(map(len, pools)) == len(self._records) - 1
        assert self.count == len(self.alive) + len(self.suspects) + 1
        assert all(member.identity.node_id in self._pool(member) for member in self.others())
        for pool in pools:
            pool.invariants()
        self.recent.invariants()
        self._old.invariants()
        assert len(self.recent) + len(self._old) == len(self.dead)
        assert all(self.recent[n] in self.dead and self.recent[n] not in self._old for n in range(len(self.recent)))
        assert all(self._old[n] in self.dead for n in range(len(self._old)))
        self.rotation.invariants(self.count - 1)
        for member in self._records.values():
            assert member.told <= member.incarnation, member
            assert member.address or not is_live(member), member
            assert not member.payload or is_live(member) or member is me, member
