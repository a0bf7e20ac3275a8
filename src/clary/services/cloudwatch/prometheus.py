"""AWS's metrics of the latest whole minute in Prometheus's text format, under the names that its CloudWatch exporter gives.

Names: https://github.com/prometheus/cloudwatch_exporter (metric and dimensions in snake case, a statistic at the end).
"""

from __future__ import annotations

import re
from itertools import groupby

from ...clock import now
from ...provider.platform import Platform
from ...store.metrics import MINUTE, MetricKey, MetricRows

_STATISTICS = (("Sum", "sum"), ("Average", "average"), ("Maximum", "maximum"), ("SampleCount", "sample_count"))
_PREFIXES = ("AWS/", "/aws/")
_LATE_SECONDS = 3
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHER = re.compile(r"[^a-z0-9_]+")


def page(platform: Platform) -> str:
    """The metrics; each has the time of its minute."""
    minute = int(now() - _LATE_SECONDS) // MINUTE * MINUTE - MINUTE
    with platform.database.read() as tx:
        found = MetricRows(tx.connection).at(minute)
    shown = [(_name(key), key, statistics) for key, statistics in found if key.namespace.startswith(_PREFIXES)]
    shown.sort(key=lambda item: item[:2])
    lines: list[str] = []
    for name, group in groupby(shown, key=lambda item: item[0]):
        members = list(group)
        for statistic, suffix in _STATISTICS:
            lines += (
                f"# HELP {name}_{suffix} CloudWatch metric {members[0][1].namespace} {members[0][1].name}, {statistic}.",
                f"# TYPE {name}_{suffix} gauge",
                *(
                    f"{name}_{suffix}{_labels(key)} {found.get(statistic):.10g} {minute * 1000}"
                    for _, key, found in members
                ),
            )
    return "\n".join((*lines, ""))


def _name(key: MetricKey) -> str:
    return f"{_snake(key.namespace.strip('/').lower())}_{_snake(key.name)}"


def _snake(text: str) -> str:
    return _OTHER.sub("_", _HUMP.sub("_", text).lower())


def _labels(key: MetricKey) -> str:
    pairs = [("account", key.account), ("region", key.region), *((_snake(n), v) for n, v in key.dimensions)]
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
