"""Ray Serve: one replica with batches."""

import os
import time

import numpy as np
import ray
import xgboost
from ray import serve
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=256)
class Trees:
    """The trees."""

    def __init__(self) -> None:
        self._booster = xgboost.Booster(model_file=os.environ["MODEL"])
        self._booster.set_param({"nthread": 1})

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def predict(self, rows: list[list[float]]) -> list[float]:
        """A prediction for each row."""
        return self._booster.inplace_predict(np.array(rows, dtype=np.float32)).tolist()

    async def __call__(self, request: Request) -> str:
        """One request."""
        row = [float(x) for x in (await request.body()).split(b",")]
        return str(await self.predict(row))


if __name__ == "__main__":
    ray.init(
        include_dashboard=False,
        configure_logging=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"MODEL": os.environ["MODEL"]}},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Trees.bind(), route_prefix="/")
    while True:
        time.sleep(60)
