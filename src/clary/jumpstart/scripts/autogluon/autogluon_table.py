"""Rows as AutoGluon takes them."""

import pandas as pd

LABEL = "target"


def frame(rows, categorical, target=None):
    """A table whose columns are called ``feature_0`` and so on; categories are text."""
    made = pd.DataFrame(rows, columns=[f"feature_{i}" for i in range(rows.shape[1])])
    for i in categorical:
        made[f"feature_{i}"] = [f"{v:g}" for v in rows[:, i]]
    if target is not None:
        made[LABEL] = target
    return made
