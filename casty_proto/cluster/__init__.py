"""The cluster: what all nodes agree on, and what each of them does about it.

`node.py` is a node as a whole, one machine: begin there. `events.py` is what a driver tells it and is told, `disk.py`
what is on its disk, and `options.py` what can be set. This page is about what all nodes agree on.

The control state
-----------------
`ControlState` is what Raft applies: `apply(bytes of a command, index)` gives an `Outcome`, and nothing else changes it.
Tests cite the rules.

Members
 1. A member is one life of a node: its node id and its generation. Of one node id there is at most one member.
 2. A newer generation replaces an older one at once. An older one, or one that was removed, cannot become a member any
    more, and is told why.
 3. A member is up, leaving, or down. That it leaves it says itself; that it is down, and up again, is SWIM's word.
 4. A member that is down stays one, and counts for durability, until it is up again, replaced, or forgotten. Only one
    that is down can be forgotten.
 5. A member that leaves is given nothing more. It is removed when it owns nothing, and not before.
 6. What is said of a member as it was at one index does nothing when it has changed since.

Regions: entity types and singletons
 7. The first registration of a name counts. A second one with equal settings finds it there; one with others is
    refused, and told which setting differs.
 8. An owner is changed by `Assign` only, shard by shard, where the epoch is the expected one; all else is left alone.
    Of several commands that expect one epoch one does something.
 9. The epoch of a shard is the index of the command that gave it away last; before, that of the registration. So epochs
    rise, also when a region is removed and registered again, and each shard of each region has its own.
10. Shards are given to a member that is up and has the role, or to nobody. Those of a hosted region are given to
    members that have registered it. A process that starts again has to do that again.
11. Whoever owns a shard owns it in name until an `Assign`, member or not: its lease may last.
12. A region that is to be removed goes with its last owner. Until then its shards are given to nobody, and its name is
    not free. Its owners close their shards as if these moved, and nothing is kept of what was in them.

Names
13. A name belongs to one actor. Whoever wants it too learns who that is.
14. A name is free again when the actor gives it up, or its node is down, has left, is forgotten or replaced.

All of it
15. The same commands make the same state and the same outcomes on every server. Bytes that are no command change
    nothing.
16. Equal states have equal bytes. A state that was decoded goes on like the one that was encoded; what no commands can
    have led to is not decoded.
17. Everything has a limit (`checks.py`). What would go beyond it is refused.
18. Whatever changes is in the outcome of the command that changed it, once, in the order in which users should hear of
    it. `version` is the index of the last change of members or regions.
19. A command that is applied twice does nothing the second time. One that comes late does nothing when what it is based
    on has changed. What members order is applied once, since it belongs to a session; its outcome is kept for whoever
    asks again (`orders.py`, rule 1).

What owners of shards must know of the past
20. When a shard moves, it is said who owned it before, and at which epoch, and whether it was taken from an owner that
    had not released it. The last of these is what the command said; it changes nothing of what is given.
21. Copies can be held by members that can be given shards, and by those that are down: not by those who leave. The peak
    of a region is the largest number of them at any time since it was registered. It never falls, and it is known when
    it rose: while there were few, writes were acknowledged by few. Who leaves, or is removed, may have had a copy.

What the fields of commands, outcomes and records hold
    All numbers are `int` from 0 to 2**63 - 1. Times end in `_ns`: nanoseconds. Limits stand in `checks.py`.

    `node`            a `NodeKey`, which is "node_id.generation", or all that a node says of itself
    `node_id`         its name: a text of 1 to 64 bytes
    `generation`      which life of it
    `member`          a member, as it was applied
    `region`, `name`  texts of 1 to 512 bytes
    `kind`            whether a region has entities or is a singleton
    `settings`        what all nodes must agree on about it
    `number`, `path`  which actor of a process, and where in it
    `entry`           who has a name
    `epoch`           which owner of a shard: the place in the log at which it was given (rule 9)
    `since`           the place in the log at which a member, or a name, has changed last; `None` is whatever it is now
    `registered`      the place in the log at which a region was registered
    `before`          a place in the log
    `reason`          why: a text for people, or which of the reasons that there are
"""

from .checks import NodeKey, node_key, split_key
from .commands import (
    Assign,
    Command,
    DropNames,
    Forget,
    Gift,
    Join,
    Leave,
    Left,
    MarkDown,
    MarkUp,
    RegisterName,
    RegisterRegion,
    RemoveRegion,
    UnregisterName,
    Update,
    decode_command,
    encode_command,
)
from .outcomes import (
    AlreadySo,
    Applied,
    Change,
    HostsChanged,
    MemberDown,
    MemberJoined,
    MemberLeaving,
    MemberRemoved,
    MemberRestarted,
    MemberReturned,
    MemberUpdated,
    NameFreed,
    NameTaken,
    Outcome,
    Outdated,
    Refused,
    RegionAdded,
    RegionClosing,
    RegionRemoved,
    Removal,
    ShardsMoved,
    Taken,
)
from .records import MemberInfo, NameEntry, NodeInfo, RegionKind, RegionSettings, Status
from .regions import Region
from .state import ControlState, StateError

__all__ = [
    "AlreadySo",
    "Applied",
    "Assign",
    "Change",
    "Command",
    "ControlState",
    "DropNames",
    "Forget",
    "Gift",
    "HostsChanged",
    "Join",
    "Leave",
    "Left",
    "MarkDown",
    "MarkUp",
    "MemberDown",
    "MemberInfo",
    "MemberJoined",
    "MemberLeaving",
    "MemberRemoved",
    "MemberRestarted",
    "MemberReturned",
    "MemberUpdated",
    "NameEntry",
    "NameFreed",
    "NameTaken",
    "NodeInfo",
    "NodeKey",
    "Outcome",
    "Outdated",
    "Refused",
    "Region",
    "RegionAdded",
    "RegionClosing",
    "RegionKind",
    "RegionRemoved",
    "RegionSettings",
    "RegisterName",
    "RegisterRegion",
    "Removal",
    "RemoveRegion",
    "ShardsMoved",
    "StateError",
    "Status",
    "Taken",
    "UnregisterName",
    "Update",
    "decode_command",
    "encode_command",
    "node_key",
    "split_key",
]
