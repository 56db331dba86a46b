"""The deterministic simulation driver: the same machines, on a virtual clock and a simulated network.

For tests of applications: `from casty_sim import Faults, Sim, SimNode, simulate`. Begin with `simulate`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .simulation import Faults, History, Sim, SimNode
    from .simulation.simulate import Simulated, SimulationFailedError, simulate

__all__ = ["Faults", "History", "Sim", "SimNode", "Simulated", "SimulationFailedError", "simulate"]


def __getattr__(name: str) -> Any:
    """The names of applications, which are not loaded for those who simulate machines only."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".simulation", __name__), name)
