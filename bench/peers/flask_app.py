"""The stack of most inference containers: nginx, gunicorn, Flask."""

import os

import numpy as np
import xgboost
from flask import Flask, Response, request

app = Flask(__name__)
booster = xgboost.Booster(model_file=os.environ["MODEL"])
booster.set_param({"nthread": 1})


@app.post("/invocations")
def invocations() -> Response:
    """One prediction."""
    row = np.array([[float(x) for x in request.get_data().split(b",")]], dtype=np.float32)
    return Response(f"{booster.inplace_predict(row)[0]}\n", mimetype="text/csv")
