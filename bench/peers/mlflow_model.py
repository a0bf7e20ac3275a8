"""MLflow: a Python function model, saved for ``mlflow models serve``."""

import os
import sys

import mlflow.pyfunc
import numpy as np
import xgboost


class Trees(mlflow.pyfunc.PythonModel):
    """The trees."""

    def load_context(self, context: object) -> None:
        """Read the model."""
        self._booster = xgboost.Booster(model_file=os.environ["MODEL"])
        self._booster.set_param({"nthread": 1})

    def predict(self, context: object, model_input: object, params: object = None) -> list[float]:
        """A prediction for each row."""
        return self._booster.inplace_predict(np.asarray(model_input, dtype=np.float32)).tolist()


if __name__ == "__main__":
    mlflow.pyfunc.save_model(sys.argv[1], python_model=Trees())
