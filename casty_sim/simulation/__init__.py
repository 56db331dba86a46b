"""Whole applications under simulation: a test says what happens, and every seed makes another disaster of it."""

from .faults import Faults
from .history import History
from .node import SimNode
from .sim import Sim
from .simulate import Simulated, SimulationFailedError, simulate

__all__ = ["Faults", "History", "Sim", "SimNode", "Simulated", "SimulationFailedError", "simulate"]
