"""Metric definitions that the service attaches to jobs of first-party algorithms."""

from __future__ import annotations

from typing import Any

from ....provider.platform import Platform
from ..images import resolve

Json = dict[str, Any]


def implicit(platform: Platform, account: str, spec: Json) -> Json:
    """The algorithm specification with the definitions of its algorithm, unless the request brings its own."""
    chosen: Json = dict(spec["AlgorithmSpecification"])
    chosen.setdefault("TrainingInputMode", "File")
    chosen.setdefault("EnableSageMakerMetricsTimeSeries", False)
    algorithm = resolve(platform, account, chosen["TrainingImage"]).algorithm
    if chosen.get("MetricDefinitions") or algorithm is None:
        return chosen
    if chosen.get("ContainerEntrypoint") or "sagemaker_program" in (spec.get("HyperParameters") or {}):
        return chosen
    chosen["MetricDefinitions"] = [{"Name": m.name, "Regex": m.regex} for m in algorithm.metrics]
    return chosen
