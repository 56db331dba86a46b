"""What is written into the log by a system, and what each line says of where it comes from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

type Log = logging.Logger | logging.LoggerAdapter[Any]
"""Whatever takes lines for the log."""


class NodeLog(logging.LoggerAdapter[logging.Logger]):
    """Begins each line with the node, and has it as the attribute `node` of the record, and `epoch` beside it.

    The epoch is the version of what the cluster has agreed upon, as the node knows it: lines of several nodes can be
    put in order by it, whatever their clocks say.
    """

    def __init__(self, logger: logging.Logger, who: Callable[[], tuple[str, int]]) -> None:
        super().__init__(logger, {})
        self._who = who

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if not self.isEnabledFor(level):
            return
        node, epoch = self._who()
        # A name may have a per cent sign, which would be taken for the place of an argument.
        prefix = node.replace("%", "%%") if args else node
        kwargs["extra"] = {"node": node, "epoch": epoch, **(kwargs.get("extra") or {})}
        # One frame, this one, stands between the caller and the logger.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        self.logger.log(level, f"{prefix}: {msg}", *args, **kwargs)
