"""How long a cluster of SWIM may take, how much it may say, and what its members have wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, log2, log10

from attrs import frozen

from casty_proto.machine import SECOND, Nanoseconds
from casty_proto.swim import Identity, Member, State, SwimOptions

from ..world import Violation

LIVE = (State.ALIVE, State.SUSPECT)

SEEDS_AT_ONCE = 3
"""How many seeds are asked at once, each with a `Gossip` and a `SyncRequest`."""


@frozen
class Bounds:
    """How long things may take in a network that is well, and how much may be said, by the options of the members."""

    detected_ns: Nanoseconds
    """From a crash until every member that is there has found out by itself, whatever the others tell it."""
    recovered_ns: Nanoseconds
    """From the end of all faults until those who can reach each other know each other as they are."""
    suspected_ns: Nanoseconds
    """From the first suspicion to the first death, at least."""
    turn: int
    """After how many probes a member has its turn again, where nothing changes."""
    sends: int
    """How many messages a member sends by itself, not in answer to one, in one probe interval."""
    goodbye_ns: Nanoseconds
    """From the request to leave to the end of the goodbye."""
    retransmits: int
    """How often a member passes on one item of news."""


def bounds(options: SwimOptions, nodes: int) -> Bounds:
    """What holds for a cluster of up to `nodes` members, whose clocks are wrong by 2% at most.

    `turn`: `2(n - 1) - 1`, when it was first in one round and is last in the next (SWIM 4.3, time-bounded
    completeness).

    `detected`: `spread + (turn + (n - 1) + 2) * S * P + beta * alpha * max(1, log10 n) * P`.
    A member comes up within `turn` periods; n - 1 more where others are probed ahead of their turn (rule 16); the
    period that is going on and the one of the probe itself. P is the probe interval; S, `awareness_max`, is by how much
    the least healthy member stretches it (Lifeguard IV-A). Then it is suspected for the longest time at most (Lifeguard
    IV-B). This is for each observer alone: news only makes it shorter. But the last words of the crashed end a
    suspicion of earlier ones, so they must be everywhere first: that is `spread`.

    `spread`: `r` sync intervals, r = 4 ceil(log2 n) + 4. Gossip reaches all with high probability only. Whoever was
    missed compares its state with a random member in each interval, and is found by others (rule 23): a rumour that is
    pushed and pulled is everywhere within O(log n) rounds, and the factor makes bad luck negligible.

    `recovered`: `3 * spread + (as above) * S * P`. Two who hold each other dead meet because each looks for one of the
    lost in each interval (rule 25), most of whom may be lost indeed: two `spread` for that. Or one is probed by the
    other and objects, which takes a round of probes; then the objection spreads.

    `suspected`: `alpha * P`, the least for any size of the cluster (rule 17).

    `sends`: `1 + k + (ceil(P / G) + 1) * g + 2 * ceil(P / Y) + 2 * 3`. In each period one ping and k requests for help
    (SWIM 3.1: constant, whatever the size of the cluster); gossip to g members in each gossip interval G, and once more
    for a goodbye; two comparisons in each sync interval Y; three seeds that are greeted and asked.

    `retransmits`: `lambda * ceil(log10(n + 1))`, SWIM 4.1; the rounded logarithm is the number of digits of n.

    `goodbye`: one gossip interval for each of as many goodbyes (rule 27).
    """
    period_ns = options.probe_interval_ns * options.awareness_max
    turn = max(1, 2 * (nodes - 1) - 1)
    probed_ns = (turn + (nodes - 1) + 2) * period_ns
    suspected = options.suspicion_mult * options.suspicion_max_mult * max(1.0, log10(nodes))
    spread_ns = (4 * ceil(log2(max(2, nodes))) + 4) * options.sync_interval_ns
    interval_ns = options.probe_interval_ns
    return Bounds(
        detected_ns=int(1.02 * (spread_ns + probed_ns + suspected * interval_ns)),
        recovered_ns=int(1.02 * (3 * spread_ns + probed_ns)),
        suspected_ns=int(0.98 * options.suspicion_mult * interval_ns),
        turn=turn,
        sends=1
        + options.indirect_probes
        + (_parts(interval_ns, options.gossip_interval_ns) + 1) * options.gossip_nodes
        + 2 * _parts(interval_ns, options.sync_interval_ns)
        + 2 * SEEDS_AT_ONCE,
        goodbye_ns=int(1.02 * options.retransmit_mult * len(str(nodes)) * options.gossip_interval_ns),
        retransmits=options.retransmit_mult * len(str(nodes)),
    )


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)


@frozen
class Difference:
    """Something that a member has wrong."""

    rule: str
    text: str
    within_ns: Nanoseconds
    """How long after the last change it may have it wrong."""


def differences(
    observer: Member,
    view: Iterable[Member],
    announced: Mapping[str, Member],
    truth: Mapping[str, Member],
    limit: Bounds,
) -> list[Difference]:
    """What `observer` has wrong: `truth` is who can be reached from there, itself included, and nobody else.

    What it announced must agree with what it knows at any time: that raises `Violation` at once.
    """
    known = {member.identity.node_id: member for member in view if member.state in LIVE}
    del known[observer.identity.node_id]
    told = {node_id: member for node_id, member in announced.items() if member.state in LIVE}
    if {n: _seen(member) for n, member in known.items()} != {n: _seen(member) for n, member in told.items()}:
        have, said = ", ".join(map(str, known.values())), ", ".join(map(str, told.values()))
        raise Violation("announcements", f"{observer} knows {have}, and announced {said}")
    found: list[Difference] = []
    for node_id, member in known.items():
        if node_id not in truth:
            text = f"{observer} still believes '{member}', who cannot be reached"
            found.append(Difference("completeness", text, limit.detected_ns))
    for node_id, is_so in truth.items():
        believed = known.get(node_id)
        if believed is None and node_id != observer.identity.node_id:
            text = f"{observer} does not know '{is_so}', who is there"
            found.append(Difference("recovery", text, limit.recovered_ns))
        elif believed is not None and believed != is_so:
            text = f"{observer} believes '{believed}', and it is '{is_so}'"
            found.append(Difference("convergence", text, limit.recovered_ns))
    return found


def _seen(member: Member) -> tuple[Identity, State, bytes]:
    return member.identity, member.state, member.payload


def overdue(found: Iterable[Difference], elapsed_ns: Nanoseconds) -> None:
    """Raise `Violation` for what was wrong for too long."""
    for difference in found:
        if elapsed_ns > difference.within_ns:
            after, most = elapsed_ns / SECOND, difference.within_ns / SECOND
            text = f"{difference.text}, {after:.1f} s after the last change; {most:.1f} s at most"
            raise Violation(difference.rule, text)
