"""How a transform job's requests are made: as the job says, else as the container says, else as AWS does. Pure.

Source: AWS, "How containers serve requests" of batch transform (``/execution-parameters``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

Json = dict[str, Any]
MAX_TOGETHER_MB = 100
_DEFAULT_MB = 6
_UNLIMITED = 255 << 20
"""What a request may hold where the job says 0, no limit: as much as a replica takes."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Requests under way at once for each instance, bytes of one, and whether it may hold several records."""

    concurrent: int
    payload: int
    together: bool


def complete(spec: Json) -> bool:
    """Whether the job leaves nothing to the container."""
    return bool(spec.get("MaxConcurrentTransforms")) and "BatchStrategy" in spec and "MaxPayloadInMB" in spec


def parameters(spec: Json, told: bytes | None) -> Parameters:
    """The job's values over the container's (``told``, JSON) over the defaults; values that cannot be are passed by."""
    own = _read(told)
    strategy = {"SINGLE_RECORD": "SingleRecord"}.get(str(own.get("BatchStrategy")), "MultiRecord")
    megabytes = spec.get("MaxPayloadInMB", _number(own, "MaxPayloadInMB", 0, MAX_TOGETHER_MB, _DEFAULT_MB))
    concurrent = spec.get("MaxConcurrentTransforms") or _number(own, "MaxConcurrentTransforms", 1, 1000, 1)
    if not spec.get("MaxConcurrentTransforms"):
        concurrent = max(1, min(concurrent, MAX_TOGETHER_MB // (megabytes or MAX_TOGETHER_MB)))
    split = spec["TransformInput"].get("SplitType", "None") != "None"
    together = spec.get("BatchStrategy", strategy if split else "MultiRecord") == "MultiRecord"
    return Parameters(concurrent, megabytes << 20 if megabytes else _UNLIMITED, together)


def _read(told: bytes | None) -> Json:
    try:
        found = orjson.loads(told or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(own: Json, name: str, low: int, high: int, default: int) -> int:
    value = own.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else default
