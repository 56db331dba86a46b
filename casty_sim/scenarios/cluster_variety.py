"""How the cluster scenario sets up a cluster, which differs from run to run: options, regions, seeds, disks, times.

Machines and applications draw the same things in the same order, so that one seed sets up the same cluster at both
levels. Whoever draws something more draws it at the end: tapes are played by place.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from casty_proto.cluster.options import NodeOptions
from casty_proto.machine import MILLISECOND, SECOND, Nanoseconds
from casty_proto.raft import RaftOptions
from casty_proto.replica import ReplicaOptions
from casty_proto.shard.channel import ChannelOptions
from casty_proto.shard.homes import HomeOptions
from casty_proto.shard.leases import LeaseOptions
from casty_proto.shard.plan import DEFAULT_PLACEMENT
from casty_proto.shard.rendezvous import Rendezvous
from casty_proto.shard.steward import StewardOptions
from casty_proto.swim import SwimOptions

from ..scenario import Settings
from ..tape import Stream, Tape
from .cluster_clients import LONGEST_ASK
from .cluster_ops import NAMES, regions
from .cluster_roles import Roles

OPTIONS = NodeOptions(
    swim=SwimOptions.local(
        probe_interval_ns=400 * MILLISECOND,
        probe_timeout_ns=120 * MILLISECOND,
        gossip_interval_ns=100 * MILLISECOND,
        sync_interval_ns=4 * SECOND,
    ),
    raft=RaftOptions(
        heartbeat_interval_ns=200 * MILLISECOND,
        election_timeout_min_ns=500 * MILLISECOND,
        election_timeout_max_ns=1000 * MILLISECOND,
    ),
    leases=LeaseOptions(duration_ns=600 * MILLISECOND),
    steward=StewardOptions(patience_ns=2 * SECOND),
    channels=ChannelOptions(patience_ns=3 * SECOND),
    silence_ns=2 * SECOND,
    order_patience_ns=5 * SECOND,
)
"""Times that let a run of ten seconds see several failures, with few messages."""


class Variety:
    """What was drawn for one run."""

    def __init__(self, tape: Tape, settings: Settings) -> None:
        stream = tape.stream("variety")
        self.names = tuple([f"n{number}" for number in range(1, settings.nodes + 1)])
        """The hosts that are to have nodes."""
        self.ordered = stream.chance(0.5)
        """Whether the network keeps the order of packets, where they are packets."""
        self.options = draw_options(stream)
        self.sync_count = stream.pick((1, -1))
        """How many backups must have what is written to a register."""
        self.roles = Roles(tape, self.names, tuple(NAMES))
        self.regions = regions(
            self.sync_count,
            stream.pick((2000, 500)) * MILLISECOND,
            stream.pick((None, 700 * MILLISECOND)),
            remember=stream.chance(0.3),
            role_of=self.roles.role_of,
        )
        """Kinds and settings by name."""
        self.loses_one = settings.faults and settings.nodes >= 3 and stream.chance(0.25)
        """Whether one host is gone for good at the end."""
        self.think_ns: Nanoseconds = stream.pick((400, 150)) * MILLISECOND
        self.longest_handler_ns: Nanoseconds = stream.pick((30, 30, 200)) * MILLISECOND
        self.ask_timeout_ns: Nanoseconds = stream.pick((LONGEST_ASK, LONGEST_ASK // 5))
        self.first_seeds = tuple(stream.shuffled(self.names)[: stream.between(1, settings.nodes)])
        """What is given to hosts that start before there is a cluster."""
        self.disks = {name: stream.chance(0.5) for name in self.names}
        """Which hosts find on their disks what they wrote in earlier lives."""
        self._starts = tape.stream("starts")

    def late_ns(self, name: str) -> Nanoseconds:
        """How much later than the first seeds a host starts. Drawn at each call, host by host."""
        return 0 if name in self.first_seeds else int(self._starts.uniform(0.0, 1.0) ** 3 * 3 * SECOND)


def draw_options(stream: Stream) -> NodeOptions:
    """The options of this run's nodes. The plainest are `OPTIONS`."""
    raft = evolve(
        OPTIONS.raft,
        snapshot_entries=stream.pick((8192, 16, 64)),
        trailing_entries=stream.pick((1024, 0, 8)),
        snapshot_factor=stream.pick((4, 0)),
    )
    if stream.chance(0.15):
        fast = NodeOptions.fast()
        return evolve(fast, raft=evolve(raft, **_times(fast.raft)), order_patience_ns=OPTIONS.order_patience_ns)
    return evolve(
        OPTIONS,
        raft=raft,
        leases=LeaseOptions(duration_ns=stream.pick((600, 300, 1000)) * MILLISECOND),
        homes=HomeOptions(
            max_closing=stream.pick((64, 1)), close_timeout_ns=stream.pick((10_000, 10_000, 20)) * MILLISECOND
        ),
        channels=ChannelOptions(window=stream.pick((256, 1, 3)), patience_ns=OPTIONS.channels.patience_ns),
        replica=ReplicaOptions(page_entries=stream.pick((512, 1)), window_messages=stream.pick((256, 2))),
        max_voters=stream.pick((5, 3)),
        placement=stream.pick((DEFAULT_PLACEMENT, DEFAULT_PLACEMENT, Rendezvous())),
    )


def _times(options: RaftOptions) -> dict[str, Any]:
    names = ("heartbeat_interval_ns", "election_timeout_min_ns", "election_timeout_max_ns")
    return {name: getattr(options, name) for name in names}
