"""MLServer: a model of our own class, with its adaptive batches."""

import os

import numpy as np
import xgboost
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Model(MLModel):
    """The trees."""

    async def load(self) -> bool:
        """Read the model."""
        self._booster = xgboost.Booster(model_file=os.environ["MODEL"])
        self._booster.set_param({"nthread": 1})
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """A prediction for each row."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        found = self._booster.inplace_predict(rows).reshape(-1, 1)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", found)])
