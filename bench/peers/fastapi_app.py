"""The peer: FastAPI and uvicorn serving the same model in one process, no signature, one row of CSV a request."""

import os

import numpy as np
import xgboost
from fastapi import FastAPI, Request, Response

booster = xgboost.Booster(model_file=os.environ["MODEL"])
booster.set_param({"nthread": 1})
app = FastAPI()


@app.post("/invocations")
async def invocations(request: Request) -> Response:
    """One prediction."""
    body = await request.body()
    row = np.array([[float(x) for x in body.split(b",")]], dtype=np.float32)
    return Response(f"{booster.inplace_predict(row)[0]}\n", media_type="text/csv")
