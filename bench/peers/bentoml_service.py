"""BentoML: a service with adaptive batches."""

import os

import bentoml
import numpy as np
import xgboost


@bentoml.service(workers=1)
class Trees:
    """The trees."""

    def __init__(self) -> None:
        self._booster = xgboost.Booster(model_file=os.environ["MODEL"])
        self._booster.set_param({"nthread": 1})

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """A prediction for each row."""
        return self._booster.inplace_predict(rows.astype(np.float32))
