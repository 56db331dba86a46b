"""Comparing whole states with another member, in messages of bounded size.

Theory of operation
-------------------
News reaches everybody with high probability, not with certainty, and a newcomer was not there when it was told. So
from time to time a member compares all that it knows with another. It walks along the node ids in their order, in
steps that fit into a message. A step is a range of node ids, with a digest (generation, incarnation, state) of each
one that the walker knows there. The other side answers with its records of what is missing or older there, and asks
for what is newer:

    walker                                                      partner
      SyncRequest(after "", upto "m", digests)  ------------->
                    <-------------  Records ... Records, SyncReply(wants, covered)
      Records (what was wanted)                 ------------->
      SyncRequest(after "m", upto None, ...)    ------------->
                    <-------------  ...

The partner keeps nothing between two steps; only a walker knows that there is a walk. A step answers for itself, so
nothing is lost with a lost message but the rest of this walk, and the next one begins where it broke off. A partner
that has more to say than a few messages covers a part of the range only, and the walker goes on from there: that is
how a newcomer, who knows nobody and asks for everything, receives a large cluster piece by piece.

If one incarnation of a member is known with two payloads, the member itself is told, and raises its incarnation.

Those who were never known here are not asked for once they are dead or left: nobody needs to be told of them. Without
this rule the memory of the dead would be handed round for ever.

With whom: with a random member at each interval. And with a dead one, or a seed that is no member: after a partition
that lasted so long that nobody sends gossip across it any more, somebody has to try. It is told at once what is
believed of it, objects, and both sides are one again (rule 25).
"""

from __future__ import annotations

from zlib import crc32

from attrs import define

from ..machine import Instant
from .core import Core, Effects
from .events import Member, Send
from .members import is_live, prevails
from .messages import NODE_ID_MAX, Digest, Identity, Records, State, SyncReply, SyncRequest, Update
from .sizes import digest_size, reply_overhead, request_overhead, text_size, update_size

BURST = 16
"""How many `Records` answer one request, or one `SyncReply`, at most."""


@define
class _Walk:
    """A walk along the state of another member."""

    partner: Identity | None
    """Who is asked. `None`: whoever is at a seed."""
    seed: str | None
    """The seed that is asked, where this is done to join."""
    after: str
    """What is done."""
    upto: str | None
    """Where the step that is under way ends."""
    at: Instant
    """When that step began."""


class Sync:
    """Walks along the states of others, and answers those who walk along ours."""

    __slots__ = ("_core", "_resume", "_walks")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._walks: dict[int, _Walk] = {}
        self._resume = ""
        """Where the last walk came to."""

    def stop(self) -> None:
        """Forget all walks, and how far they came."""
        self._walks.clear()
        self._resume = ""

    def expire(self, before: Instant) -> None:
        """Forget walks whose last step began before that instant and was not answered."""
        for number in [number for number, walk in self._walks.items() if walk.at < before]:
            del self._walks[number]

    def is_joining(self, since: Instant) -> bool:
        """Whether a step that began after that instant asks a seed."""
        return any(walk.seed is not None and walk.at > since for walk in self._walks.values())

    def own_seed(self, number: int) -> str | None:
        """The seed to which the request of that number went. It came back, so the seed is ourselves."""
        walk = self._walks.pop(number, None)
        return None if walk is None else walk.seed

    # Walking --------------------------------------------------------------------------------------------------------

    def ask(self, member: Member, now: Instant, out: Effects) -> None:
        """Compare states with a member."""
        self._step(member.address, member.identity, None, self._resume, now, out)

    def ask_seed(self, seed: str, now: Instant, out: Effects) -> None:
        """Compare states with whoever is at that address."""
        self._step(seed, None, seed, self._resume, now, out)

    def introduce(self, peer: str, stranger: Identity, out: Effects) -> None:
        """Ask somebody whom we do not know, or not as one who is there, who it is.

        One step, for its place in the order alone.
        """
        core, node_id = self._core, stranger.node_id
        after = core.members.before(node_id)
        digests = tuple(_digest(core.members[known]) for known in core.members.between(after, node_id))
        out.append(Send(peer, SyncRequest(core.identity, core.next_number(), after, node_id, digests)))

    def _step(
        self, peer: str, partner: Identity | None, seed: str | None, after: str, now: Instant, out: Effects
    ) -> None:
        core = self._core
        notice = None if partner is None else core.notice(partner)
        updates = () if notice is None else (notice,)
        room = core.options.message_limit - request_overhead(core.identity, after, None) - NODE_ID_MAX
        digests, upto = self._digests(after, room - sum(map(update_size, updates)))
        number = core.next_number()
        self._walks[number] = _Walk(partner, seed, after, upto, now)
        out.append(Send(peer, SyncRequest(core.identity, number, after, upto, digests, updates)))

    def _digests(self, after: str, room: int) -> tuple[tuple[Digest, ...], str | None]:
        """What is known after that node id, as far as it has room, and where it ends."""
        members = self._core.members
        digests: list[Digest] = []
        for node_id in members.between(after, None):
            digest = _digest(members[node_id])
            room -= digest_size(digest)
            if room < 0:
                return tuple(digests), digests[-1].identity.node_id
            digests.append(digest)
        return tuple(digests), None

    def strays(self, message: SyncReply) -> str | None:
        """What is wrong with the end of an answer that is waited for: it may cover what was asked for, and no more."""
        walk = self._walk_of(message)
        if walk is None or message.covered is None:
            return None
        if walk.after <= message.covered and (walk.upto is None or message.covered <= walk.upto):
            return None
        return f"asked for what is after {walk.after!r} up to {walk.upto!r}, and covered is {message.covered!r}"

    def _walk_of(self, message: SyncReply) -> _Walk | None:
        walk = self._walks.get(message.number)
        return None if walk is None or (walk.partner is not None and walk.partner != message.source) else walk

    def on_reply(self, peer: str, message: SyncReply, now: Instant, out: Effects) -> str | None:
        """One step is done: give what is wanted, and take the next. Returns whom the walk led along, at its end."""
        walk = self._walk_of(message)
        if walk is None:
            return None
        del self._walks[message.number]
        if walk.seed is not None:
            # One seed is enough. The others would tell the same.
            self._walks = {number: other for number, other in self._walks.items() if other.seed is None}
        self._give(peer, message.wants, out)
        done = walk.upto if message.covered is None else message.covered
        if done is None or done == walk.after:
            self._resume = ""
            return walk.seed or peer
        self._step(peer, message.source, walk.seed, done, now, out)
        self._resume = done
        return None

    def _give(self, peer: str, node_ids: tuple[str, ...], out: Effects) -> None:
        """Send what is known of these, as much as goes into a burst."""
        core, batch = self._core, _Batch(self._core.gossip_room)
        for node_id in node_ids:
            member = core.members.get(node_id)
            if member is not None and not batch.add(core.record(member)):
                break
        self._send(peer, batch, out)

    def _send(self, peer: str, batch: _Batch, out: Effects) -> None:
        for updates in batch.messages:
            out.append(Send(peer, Records(self._core.identity, tuple(updates))))

    # Answering ------------------------------------------------------------------------------------------------------

    def on_request(self, peer: str, message: SyncRequest, out: Effects) -> None:
        """Compare a range with ours."""
        core, batch = self._core, _Batch(self._core.gossip_room)
        theirs = {digest.identity.node_id: digest for digest in message.digests}
        wants: list[str] = []
        room = core.options.message_limit - reply_overhead(core.identity, None) - NODE_ID_MAX
        done, covered = message.after, None
        for node_id in sorted({**theirs, **dict.fromkeys(core.members.between(message.after, message.upto))}):
            member, digest = core.members.get(node_id), theirs.get(node_id)
            fits = True
            if self._is_wanted(digest, member) or (node_id == core.identity.node_id and _is_at_odds(member, digest)):
                room -= text_size(node_id)
                fits = room >= 0
                wants.extend([node_id] * fits)
            elif member is not None and (
                _is_newer(member, digest) or (node_id == message.source.node_id and _is_at_odds(member, digest))
            ):
                fits = batch.add(core.record(member))
            if not fits:
                covered = done
                break
            done = node_id
        self._send(peer, batch, out)
        updates = core.cargo(room, message.source)
        out.append(Send(peer, SyncReply(core.identity, message.number, tuple(wants), covered, updates)))

    def _is_wanted(self, digest: Digest | None, member: Member | None) -> bool:
        """Whether to ask for it. What there is no room for would be asked for in every walk, and dropped."""
        return _is_newer(digest, member) and (member is not None or self._core.has_room())

    def invariants(self) -> None:
        """Every step ends behind its beginning."""
        assert all(walk.upto is None or walk.upto > walk.after for walk in self._walks.values())


def _digest(member: Member) -> Digest:
    check = crc32(member.payload) if member.state is State.ALIVE else 0
    return Digest(member.identity, member.incarnation, member.state, check)


def _is_at_odds(member: Member | None, digest: Digest | None) -> bool:
    """Whether the same incarnation is known with two payloads. It was used twice, by a process that lost its memory."""
    if member is None or digest is None or member.state is not State.ALIVE:
        return False
    return _digest(member) != digest and not prevails(member, digest) and not prevails(digest, member)


def _is_newer(one: Digest | Member | None, other: Digest | Member | None) -> bool:
    """Whether the holder of `other` is to be told of `one`. Nobody is told of the death of a stranger."""
    if one is None:
        return False
    return is_live(one) if other is None else prevails(one, other)


class _Batch:
    """Updates for a burst of messages."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._left = 0
        self.messages: list[list[Update]] = []

    def add(self, updates: tuple[Update, ...]) -> bool:
        """Add these, at most two, all or none. False when the burst is full. The first always fit."""
        sizes = list(map(update_size, updates))
        if len(self.messages) >= BURST - 1 and sum(sizes) > self._left:
            return False
        for update, size in zip(updates, sizes, strict=True):
            if size > self._left:
                self.messages.append([])
                self._left = self._room
            self.messages[-1].append(update)
            self._left -= size
        return True
