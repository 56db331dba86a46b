"""The scenarios that come with the simulator."""

from __future__ import annotations

from ..scenario import Scenario
from .app_cluster import AppClusterScenario
from .app_more import AppClusterRolling
from .cluster import ClusterScenario
from .cluster_more import ClusterDrift, ClusterIdle, ClusterRolling
from .raft import RaftScenario
from .swim import SwimScenario

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        RaftScenario(),
        SwimScenario(),
        ClusterScenario(),
        ClusterRolling(),
        ClusterIdle(),
        ClusterDrift(),
        AppClusterScenario(),
        AppClusterRolling(),
    )
}
