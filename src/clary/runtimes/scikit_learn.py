"""What most scripts import, imported by a zygote before them."""

from __future__ import annotations

import importlib

_MODULES = (
    "joblib", "pandas", "scipy.stats", "sklearn.cluster", "sklearn.compose", "sklearn.datasets", "sklearn.decomposition",
    "sklearn.ensemble", "sklearn.impute", "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection",
    "sklearn.naive_bayes", "sklearn.neighbors", "sklearn.neural_network", "sklearn.pipeline", "sklearn.preprocessing",
    "sklearn.svm", "sklearn.tree", "threadpoolctl", "clary.runtimes.script_mode", "clary.runtimes.script_serving",
)  # fmt: skip


def preload() -> None:
    """Import it."""
    for name in _MODULES:
        importlib.import_module(name)
