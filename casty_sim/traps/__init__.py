"""What programs reach past the event loop: clocks, randomness, threads, processes, sockets and files.

While a callback of a simulated host runs, these functions of the standard library are those of the host, or refuse
(`boundary`). At any other time they are what they always were.

1.  Functions are replaced in the modules that define them, and in every module that has imported them by name, once,
    when the first world of the process runs. They stay replaced: what stands in for them asks each time whether a host
    runs, and calls the original if none does.
2.  Methods of built-in types (`datetime.now`) are replaced for as long as a world runs.
3.  Not found are functions that were kept elsewhere before: as a default argument, or in an object. The check of
    determinism (`python -m casty_sim check-determinism`) finds what follows from that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import chance, clocks, files, forbidden, names, tasks
from .replace import Place, replace_everywhere, replaced_methods

_installed = False


@contextmanager
def trapped() -> Iterator[None]:
    """For as long as a world runs."""
    global _installed
    if not _installed:
        places: list[Place] = []
        for each in (clocks, chance, names, files, forbidden, tasks):
            places += each.places()
        replace_everywhere(places)
        _installed = True
    with replaced_methods([*clocks.methods(), *chance.methods(), *forbidden.methods(), *names.methods()]):
        yield
