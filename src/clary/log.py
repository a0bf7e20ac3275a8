"""The platform's own log: one line an event, on standard error."""

from __future__ import annotations

import logging
import sys


def configure(level: str, process: str) -> None:
    """Log to standard error, each line with the process's name."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format=f"%(asctime)s {process:<8} %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
