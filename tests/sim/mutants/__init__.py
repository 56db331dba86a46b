"""Known bugs, planted one at a time. Each is a small subclass of a machine or a driver that does one thing wrong."""

from __future__ import annotations

from casty_sim.mutants import Mutant

from . import app, cluster_owners, cluster_states, raft_elections, raft_logs, raft_members, raft_snapshots, swim

MUTANTS: list[Mutant] = [
    *raft_elections.MUTANTS,
    *raft_logs.MUTANTS,
    *raft_members.MUTANTS,
    *raft_snapshots.MUTANTS,
    *swim.MUTANTS,
    *cluster_owners.MUTANTS,
    *cluster_states.MUTANTS,
    *app.MUTANTS,
]
