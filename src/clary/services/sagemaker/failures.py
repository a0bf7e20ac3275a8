"""What a process said last, for the FailureReason of its job or endpoint."""

from __future__ import annotations

import contextlib
import re

_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning)|[A-Z]\w*)(?::.*)?$")


def last_exception(text: str) -> str:
    """The last traceback of a log: its exception, and where it was raised."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    for i in range(len(lines) - 1, -1, -1):
        if _EXCEPTION.match(lines[i]) and any(x.startswith("Traceback") for x in lines[max(0, i - 60) : i]):
            where = ""
            with contextlib.suppress(StopIteration):
                where = next(x.strip() for x in reversed(lines[:i]) if x.lstrip().startswith("File "))
            return f"{lines[i]}" + (f" ({where})" if where else "")
    return lines[-1] if lines else ""
