"""An asyncio event loop on the virtual clock of a simulated world."""

from ..boundary import NotSimulatedError
from .loop import DeadlockError, SimLoop

__all__ = ["DeadlockError", "NotSimulatedError", "SimLoop"]
