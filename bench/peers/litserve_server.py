"""LitServe: batches of what waits."""

import os

import litserve
import numpy as np
import xgboost


class Trees(litserve.LitAPI):
    """The trees."""

    def setup(self, device: str) -> None:
        """Read the model."""
        self._booster = xgboost.Booster(model_file=os.environ["MODEL"])
        self._booster.set_param({"nthread": 1})

    def decode_request(self, request: dict) -> list[float]:
        """The row of a request."""
        return request["row"]

    def predict(self, rows: list[list[float]]) -> list[float]:
        """A prediction for each row."""
        return self._booster.inplace_predict(np.array(rows, dtype=np.float32)).tolist()

    def encode_response(self, found: float) -> dict:
        """An answer."""
        return {"y": found}


if __name__ == "__main__":
    api = Trees(max_batch_size=64, batch_timeout=0.001)
    litserve.LitServer(api, accelerator="cpu").run(
        host="127.0.0.1", port=int(os.environ["PORT"]), log_level="error", generate_client_file=False
    )
