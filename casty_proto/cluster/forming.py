"""How a cluster begins, and how a node finds one.

Theory of operation
-------------------
A node that belongs to no cluster asks its seeds, again and again. As soon as one of them belongs to a cluster, it asks
to be taken in there; whoever it asks passes that on to the leader. Where there is nobody but itself to ask, it founds a
cluster at once.

The difficult case is that of seeds that have only each other. One of them has to found a cluster, and no two of them
may, whatever becomes of their messages. So the founder needs the consent of more than half of those who could be,
itself included, and each of them gives its consent to one only. It asks for that when it has the lowest address of all
who answer, and has given a cluster that exists, or somebody lower, the time to show up. Who has consented waits for
that one to found the cluster, to withdraw, or to be started again. Nobody else may found one meanwhile, even if that
one is never heard of again: it may have founded the cluster, and be cut off.

Consent is kept in memory: a process that has given it, and is started again before it belongs to the cluster, has
forgotten it. While a cluster is being founded, a founder that is cut off and a restart of somebody who has agreed can
lead to two. Both then say so, and one of them has to be started anew. Where that must not be, let one seed have no
others. Seeds that have each other in a ring, and not in pairs, found nothing: each asks somebody who does not
have it as a founder. All nodes should have the same seeds.

Rules
-----
 1. A node without other seeds founds a cluster at once.
 2. Founders are the seeds, and who asks if one of the seeds has it as a seed. Others never found anything.
 3. A founder has the consent of more than half of the founders. Each consents to one at a time.
 4. It asks for that if its address is the lowest of those that answer, and these are more than half, for some time.
 5. Consent lasts until the one who has it withdraws its claim, or is another process than it was.
 6. Whoever belongs to a cluster says so to all who ask. Then nobody founds anything who has heard of that, unless that
    one says later that it belongs to none: it was started again.
 7. Only a cluster that was heard of can take a node in, or turn it away.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ..machine import SECOND, Instant, Severity
from .checks import NodeKey
from .core import SEEK, Core
from .messages import Agreed, Belongs, Claim, JoinAnswer, JoinRequest, Seek, Seeking

_SLOWEST = 8
"""By how much the questions slow down."""
_FORGET = 4
"""After so many questions without an answer somebody does not count as there."""
_CONTACTS_MAX = 64
"""So many addresses are remembered, besides the seeds, of those who say that they belong to a cluster."""
_EXPLAIN_NS = 10 * SECOND


@frozen
class Found:
    """This node founds the cluster."""


@frozen
class Admitted:
    """It is a member of `cluster` now."""

    cluster: str
    contacts: tuple[str, ...]


@frozen
class TurnedAway:
    """It cannot be one."""

    reason: str


type Verdict = Found | Admitted | TurnedAway


class Forming:
    """A node on its way to a cluster."""

    __slots__ = (
        "_agreed",
        "_ask_at",
        "_asked",
        "_claim",
        "_contacts",
        "_core",
        "_explained_at",
        "_founders",
        "_heard",
        "_promise",
        "_round",
        "_seeds",
        "_since",
    )

    def __init__(self, core: Core) -> None:
        self._core = core
        self._seeds: tuple[str, ...] = ()
        self._founders: dict[str, None] = {}
        self._heard: dict[str, Instant] = {}
        """When founders were heard last, by address."""
        self._since: Instant | None = None
        """Since when rule 4 has held."""
        self._round = 0
        self._claim = 0
        """The round of the claim that is open; 0 where there is none."""
        self._agreed: dict[str, None] = {}
        self._promise: tuple[str, NodeKey, int] | None = None
        """To whom, and to which claim, this node has consented."""
        self._contacts: dict[str, str] = {}
        """Addresses where members listen, and the cluster that each belongs to."""
        self._asked = 0
        self._ask_at: Instant = 0
        self._explained_at: Instant | None = None

    @property
    def has_begun(self) -> bool:
        """Whether it looks for a cluster."""
        return self._explained_at is not None

    # -- events --------------------------------------------------------------------------------------------------------

    def begin(self, seeds: tuple[str, ...]) -> Verdict | None:
        """Look for a cluster."""
        own = self._core.info.address
        self._explained_at = self._core.now + _EXPLAIN_NS
        self._seeds = tuple(dict.fromkeys(seeds))
        others = [seed for seed in self._seeds if seed != own]
        if not others:
            return Found()
        self._founders = dict.fromkeys(self._seeds)
        self.due()
        return None

    def due(self) -> Verdict | None:
        """Ask again."""
        core = self._core
        own = core.info.address
        if self._contacts:
            contacts = list(self._contacts)
            core.send_to(contacts[self._asked % len(contacts)], JoinRequest(core.info))
        # Also of who knows of a cluster: those who belong to it may be others by the time that its contacts are gone.
        for seed in self._founders:
            if seed != own and seed not in self._contacts:
                core.send_to(seed, self._question())
        self._asked += 1
        slower = min(1 << min(self._asked // 4, 16), _SLOWEST)
        self._ask_at = core.now + core.options.seek_ns * slower
        core.deadlines.set(SEEK, self._ask_at)
        self._explain()
        return self._consider()

    def on_message(self, sender: NodeKey, address: str, body: Any) -> Verdict | None:
        """Something about formation was said by `sender`, who listens at `address`."""
        match body:
            case Seek(seeds, withdrawn):
                self._on_seeking(sender, address, seeds, withdrawn)
                self._core.send_to(address, Seeking(self._seeds, self._withdrawn()), sender)
            case Seeking(seeds, withdrawn):
                self._on_seeking(sender, address, seeds, withdrawn)
            case Belongs(cluster):
                self._on_belongs(address, cluster)
            case Claim(number):
                self._on_claim(sender, address, number)
            case Agreed(number):
                if self._claim == number and address in self._founders:
                    self._agreed[address] = None
            case JoinAnswer():
                return self._on_join_answer(address, body)
            case _:
                raise AssertionError(body)
        return self._consider()

    def _on_seeking(self, sender: NodeKey, address: str, seeds: tuple[str, ...], withdrawn: int) -> None:
        own = self._core.info.address
        self._contacts.pop(address, None)
        promise = self._promise
        if promise is not None and promise[0] == address and (promise[1] != sender or promise[2] <= withdrawn):
            self._promise = None
        # Rule 2.
        if own in seeds:
            self._founders.setdefault(own)
        if address in self._founders:
            self._heard[address] = self._core.now

    def _on_belongs(self, address: str, cluster: str) -> None:
        """Rule 6. Somebody of that cluster takes part in it; whom we have consented to is settled."""
        new = address not in self._contacts
        if new and len(self._contacts) >= _CONTACTS_MAX and address not in self._seeds:
            return
        self._contacts[address] = cluster
        self._withdraw()
        if new:
            self._core.send_to(address, JoinRequest(self._core.info))

    def _on_claim(self, sender: NodeKey, address: str, number: int) -> None:
        """Rules 3 to 5."""
        core = self._core
        if address not in self._founders or core.info.address not in self._founders or self._contacts:
            return
        self._heard[address] = core.now
        if address > self._lowest():
            return
        self._withdraw()
        promise = self._promise
        if promise is not None and promise[0] != address:
            return
        self._promise = (address, sender, number)
        core.send_to(address, Agreed(number), sender)

    def _on_join_answer(self, address: str, answer: JoinAnswer) -> Verdict | None:
        """Rule 7."""
        if answer.cluster not in self._contacts.values():
            return None
        if not answer.accepted:
            return TurnedAway(answer.reason)
        return Admitted(answer.cluster, tuple(dict.fromkeys((address, *answer.contacts))))

    # -- founding ------------------------------------------------------------------------------------------------------

    def _question(self) -> Seek:
        return Seek(self._seeds, self._withdrawn())

    def _withdrawn(self) -> int:
        """Up to which round this node's claims are void."""
        return self._round if not self._claim else self._claim - 1

    def _withdraw(self) -> None:
        """Give up the claim that is open. The next question, or answer, says so."""
        if not self._claim:
            return
        self._claim = 0
        self._agreed.clear()
        if self._promise is not None and self._promise[0] == self._core.info.address:
            self._promise = None

    def _alive(self) -> list[str]:
        """The founders that are there, this node among them if it is one."""
        core = self._core
        latest = core.now - core.options.seek_ns * _SLOWEST * _FORGET
        return [one for one in self._founders if one == core.info.address or self._heard.get(one, latest) > latest]

    def _lowest(self) -> str:
        return min(self._alive())

    def _consider(self) -> Verdict | None:
        """Rules 3 and 4."""
        core = self._core
        own = core.info.address
        if own not in self._founders or self._contacts:
            return None
        alive = self._alive()
        if 2 * len(alive) <= len(self._founders) or own != min(alive):
            self._since = None
            self._withdraw()
            return None
        if self._since is None:
            self._since = core.now
        if core.now - self._since < core.options.settle_ns:
            core.deadlines.set(SEEK, min(self._ask_at, self._since + core.options.settle_ns))
            return None
        if not self._claim:
            if self._promise is not None:
                return None
            self._round += 1
            self._claim = self._round
            self._promise = (own, core.key, self._claim)
            self._agreed = {own: None}
        if 2 * len(self._agreed) > len(self._founders):
            return Found()
        for one in self._founders:
            if one not in self._agreed:
                core.send_to(one, Claim(self._claim))
        return None

    def _explain(self) -> None:
        """Say what is waited for, now and then."""
        core = self._core
        if self._explained_at is None or core.now < self._explained_at:
            return
        self._explained_at = core.now + _EXPLAIN_NS
        core.note(Severity.WARNING, f"{core.key} belongs to no cluster yet: {self._obstacle()}")

    def _obstacle(self) -> str:
        own = self._core.info.address
        if self._contacts:
            return f"{', '.join(sorted(self._contacts))} cannot take it in: there is no leader that can be reached"
        silent = [one for one in self._founders if one != own and one not in self._alive()]
        if self._promise is not None and self._promise[0] in silent:
            return f"it waits for {self._promise[0]}, which was about to found one and is silent; start it again"
        if silent:
            return f"its seeds {', '.join(silent)} do not answer; start them, or correct the seeds"
        return "its seeds belong to none, and none of them has seeds that could found one; start one without seeds"
