"""SDK v2: the XGBoost framework estimator with an entry_point, trained and deployed."""

import pathlib

import numpy as np
import sagemaker
from sagemaker.xgboost import XGBoost

pathlib.Path("src").mkdir(exist_ok=True)
pathlib.Path("src/train.py").write_text(
    """
import argparse, os
import numpy as np, xgboost as xgb

def model_fn(folder):
    return xgb.Booster(model_file=os.path.join(folder, "model.ubj"))

def input_fn(body, content_type):
    return xgb.DMatrix(np.array([[float(x) for x in line.split(",")] for line in body.strip().split("\\n")]))

def predict_fn(data, model):
    return model.predict(data)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    data = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "d.csv"), delimiter=",")
    booster = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(data[:, 1:], data[:, 0]), arguments.rounds)
    booster.save_model(os.path.join(os.environ["SM_MODEL_DIR"], "model.ubj"))
    print("trained by", xgb.__version__)
"""
)
rng = np.random.default_rng(0)
x = rng.random((300, 4))
np.savetxt("d.csv", np.column_stack([x[:, 0] > 0.5, x]), delimiter=",")
session = sagemaker.Session()
uri = session.upload_data("d.csv", key_prefix="script/train")
estimator = XGBoost(
    entry_point="train.py", source_dir="src", framework_version="1.7-1", role=sagemaker.get_execution_role(),
    instance_count=1, instance_type="ml.m5.large", hyperparameters={"rounds": 10}, sagemaker_session=session,
)  # fmt: skip
estimator.fit({"train": uri})
predictor = estimator.deploy(
    initial_instance_count=1, instance_type="ml.m5.large",
    serializer=sagemaker.serializers.CSVSerializer(), deserializer=sagemaker.deserializers.JSONDeserializer(),
)  # fmt: skip
high, low = predictor.predict([[0.9, 0.5, 0.5, 0.5], [0.1, 0.5, 0.5, 0.5]])
print("SCORES", high, low)
assert high > 0.5 > low
predictor.delete_endpoint()
