"""The regions that exist, from botocore's partitions: a signature for another one is not valid anywhere."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path


@lru_cache(maxsize=1)
def regions() -> frozenset[str]:
    """Return the names of all regions of all partitions, without the pseudo-regions such as ``aws-global``."""
    spec = find_spec("botocore")
    assert spec and spec.submodule_search_locations
    raw = json.loads((Path(spec.submodule_search_locations[0]) / "data" / "partitions.json").read_bytes())
    named = {name for partition in raw["partitions"] for name in partition["regions"]}
    return frozenset(name for name in named if not name.endswith("-global"))
