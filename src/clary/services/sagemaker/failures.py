"""What a process said last, for the FailureReason of its job or endpoint."""

from __future__ import annotations

import contextlib
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...settings import Settings

_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning)|[A-Z]\w*)(?::.*)?$")


_CONTAINER_PYTHON = "/opt/conda"
"""Where AWS's framework containers have theirs."""
_IN_RUN = (
    (r"[^/\s]+/ml", "/opt/ml"), (r"models/[^/\s]+/model", "/opt/ml/model"), (r"models/[^/\s]+", "/opt/ml/model"),
    (r"library/[^/\s]+", "/opt/ml/models"), (r"[^/\s]+/tmp", "/tmp"), (r"[^/\s]+/io", "/run/clary"),
    (r"[^/\s]+/checkpoints", "/opt/ml/checkpoints"),
)  # fmt: skip
"""Below the folder of a job or fleet: what its processes see under another name."""


def without_host_paths(settings: Settings, status: dict[str, Any]) -> dict[str, Any]:
    """Return a status whose FailureReason has the paths of a container instead of this machine's."""
    reason = status.get("FailureReason")
    if not reason:
        return status
    for pattern, path in _paths(str(settings.folder)):
        reason = pattern.sub(path, reason)
    return {**status, "FailureReason": reason[:1024]}


@lru_cache(8)
def _paths(home: str) -> list[tuple[re.Pattern[str], str]]:
    end = r"(?=[/\s'\",;:)\]]|$)"
    packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    run = rf"{re.escape(home)}/runs/[^/\s]+/"
    found = [(rf"{run}{below}{end}", path) for below, path in _IN_RUN]
    found.append((rf"{re.escape(home)}/environments/[0-9a-f]+{end}", "/opt/packages"))
    found.append((rf"{re.escape(home)}(?:/[^/\s'\",;:)\]]+)*/", ""))  # what no container sees: its last name only
    found.append((rf"{re.escape(home)}{end}", "."))
    source = str(Path(__file__).resolve().parents[3])
    found.append((rf"{re.escape(source)}{end}", f"{_CONTAINER_PYTHON}/{packages}/site-packages"))
    for prefix in sorted({sys.prefix, sys.base_prefix, sys.exec_prefix}, key=len, reverse=True):
        if not prefix.startswith("/usr"):
            found.append((rf"{re.escape(prefix)}{end}", _CONTAINER_PYTHON))
    return [(re.compile(pattern), path) for pattern, path in found]


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
