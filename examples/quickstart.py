"""Train the built-in XGBoost on the Wisconsin breast-cancer table, deploy it, call it, tear it down.

Plain SageMaker Python SDK (v2) code: nothing in this file knows where it runs.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker.deserializers import CSVDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import CSVSerializer
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

begun = step_begun = time.monotonic()
steps = []


def done(step):
    """Note how long a step took."""
    global step_begun
    now = time.monotonic()
    steps.append((step, now - step_begun))
    print(f"✓ {step} ({now - step_begun:.1f} s)", flush=True)
    step_begun = now


session = sagemaker.Session()
role = sagemaker.get_execution_role()
bucket = session.default_bucket()
done(f"session for bucket {bucket}")

table = load_breast_cancer()
rows = np.column_stack([table.target, table.data])  # the label comes first, as the algorithm wants it
train, test = train_test_split(rows, test_size=0.2, random_state=7, stratify=table.target)
folder = Path(tempfile.mkdtemp())
np.savetxt(folder / "train.csv", train, delimiter=",", fmt="%g")
np.savetxt(folder / "validation.csv", test, delimiter=",", fmt="%g")
inputs = {
    "train": TrainingInput(
        session.upload_data(str(folder / "train.csv"), key_prefix="quickstart/train"), content_type="text/csv"
    ),
    "validation": TrainingInput(
        session.upload_data(str(folder / "validation.csv"), key_prefix="quickstart/validation"),
        content_type="text/csv",
    ),
}
done(f"{len(train)} + {len(test)} rows uploaded")

estimator = Estimator(
    image_uri=sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1"),
    role=role,
    instance_count=1,
    instance_type="ml.m5.large",
    output_path=f"s3://{bucket}/quickstart/output",
    sagemaker_session=session,
)
estimator.set_hyperparameters(
    objective="binary:logistic", eval_metric="auc,logloss", num_round=50, max_depth=4, eta=0.2, subsample=0.9
)
estimator.fit(inputs, logs=True)
done(f"model trained: {estimator.model_data}")

predictor = estimator.deploy(
    initial_instance_count=1,
    instance_type="ml.m5.large",
    serializer=CSVSerializer(),
    deserializer=CSVDeserializer(),
)
done(f"endpoint {predictor.endpoint_name} deployed")

probabilities = np.array([float(line[0]) for line in predictor.predict(test[:, 1:])])
done(f"{len(test)} predictions")

print(f"\n  accuracy  {accuracy_score(test[:, 0], probabilities > 0.5):.3f}")
print(f"  ROC AUC   {roc_auc_score(test[:, 0], probabilities):.3f}\n")

predictor.delete_model()
predictor.delete_endpoint()
done("endpoint, its configuration and the model deleted")

print("\nWhere the time went:")
for name, seconds in steps:
    print(f"  {seconds:6.1f} s  {name}")
print(f"  {time.monotonic() - begun:6.1f} s  in all")
