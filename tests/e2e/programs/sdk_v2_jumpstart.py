"""LightGBM, CatBoost and TabTransformer by their model ids, as the SageMaker Python SDK v2 gets them."""

import io
import json
import time

import numpy as np
import sagemaker
from sagemaker import hyperparameters, image_uris, model_uris, script_uris
from sagemaker.estimator import Estimator
from sagemaker.jumpstart.estimator import JumpStartEstimator
from sagemaker.serializers import CSVSerializer
from sklearn.datasets import load_breast_cancer, load_diabetes

session, role = sagemaker.Session(), sagemaker.get_execution_role()
bucket, stamp = session.default_bucket(), f"{time.time():.0f}"


def upload(key, rows):
    """A table without a header, the target first."""
    text = io.StringIO()
    np.savetxt(text, rows, delimiter=",", fmt="%g")
    session.upload_string_as_file_body(text.getvalue(), bucket, f"{stamp}/{key}/data.csv")
    return f"s3://{bucket}/{stamp}/{key}"


table = load_breast_cancer()
order = np.random.default_rng(0).permutation(len(table.target))
rows = np.column_stack([table.target, table.data])[order]
train, validation, test = upload("cancer/train", rows[:350]), upload("cancer/validation", rows[350:450]), rows[450:]

# ---- the way that notebooks show: images, scripts and models by their ids
model = {"model_id": "lightgbm-classification-model", "model_version": "*"}
values = hyperparameters.retrieve_default(**model)
values |= {"num_boost_round": "60", "learning_rate": "0.1"}
estimator = Estimator(
    image_uri=image_uris.retrieve(region=None, framework=None, image_scope="training", instance_type="ml.m5.xlarge", **model),
    source_dir=script_uris.retrieve(script_scope="training", **model),
    model_uri=model_uris.retrieve(model_scope="training", **model),
    entry_point="transfer_learning.py", role=role, instance_count=1, instance_type="ml.m5.xlarge",
    hyperparameters=values, metric_definitions=[{"Name": "loss", "Regex": "binary_logloss: ([0-9.]+)"}],
    sagemaker_session=session,
)  # fmt: skip
estimator.fit({"training": train, "validation": validation}, logs=False)
predictor = estimator.deploy(
    initial_instance_count=1, instance_type="ml.m5.large", entry_point="inference.py",
    image_uri=image_uris.retrieve(region=None, framework=None, image_scope="inference", instance_type="ml.m5.large", **model),
    source_dir=script_uris.retrieve(script_scope="inference", **model), endpoint_name=f"lightgbm-{stamp}",
)  # fmt: skip
predictor.serializer = CSVSerializer()


def predict(predictor, accept="application/json;verbose"):
    """What an endpoint makes of the test rows."""
    answer = session.sagemaker_runtime_client.invoke_endpoint(
        EndpointName=predictor.endpoint_name, ContentType="text/csv", Accept=accept,
        Body="\n".join(",".join(map(str, row)) for row in test[:, 1:]),
    )  # fmt: skip
    return json.loads(answer["Body"].read())


found = predict(predictor)
right = np.mean(np.array(found["predicted_label"]) == test[:, 0])
assert found["labels"] == [0.0, 1.0] and right > 0.92, right
assert list(predict(predictor, "application/json")) == ["probabilities"]
job = session.describe_training_job(estimator.latest_training_job.name)
print("LIGHTGBM", right, job["FinalMetricDataList"][0]["Value"])
predictor.delete_endpoint()

# ---- the short way
for name, least, more in (
    (
        "catboost-classification-model",
        0.88,
        {"iterations": "60", "learning_rate": "0.1", "early_stopping_rounds": "60"},
    ),
    ("pytorch-tabtransformerclassification-model", 0.9, {"n_epochs": "30", "batch_size": "32"}),
):
    estimator = JumpStartEstimator(model_id=name, role=role, sagemaker_session=session, hyperparameters=more)
    estimator.fit({"training": train, "validation": validation}, logs=False)
    predictor = estimator.deploy(endpoint_name=f"{name.split('-')[0]}-{stamp}")
    right = np.mean(np.array(predict(predictor)["predicted_label"]) == test[:, 0])
    assert right > least, (name, right)
    print(name.upper(), right)
    predictor.delete_endpoint()

# ---- values, and columns that are categories
table = load_diabetes(scaled=False)
rows = np.column_stack([table.target, table.data])
where = upload("diabetes/train", rows)
session.upload_string_as_file_body('{"cat_index_list": [2]}', bucket, f"{stamp}/diabetes/train/categorical_index.json")
for name, more in (
    ("lightgbm-regression-model", {"num_boost_round": "80", "learning_rate": "0.05"}),
    ("catboost-regression-model", {"iterations": "80"}),
    ("pytorch-tabtransformerregression-model", {"n_epochs": "40", "batch_size": "32"}),
):
    estimator = JumpStartEstimator(model_id=name, role=role, sagemaker_session=session, hyperparameters=more)
    estimator.fit({"training": where}, logs=False)
    predictor = estimator.deploy(endpoint_name=f"{name.split('-model')[0]}-{stamp}")
    answer = session.sagemaker_runtime_client.invoke_endpoint(
        EndpointName=predictor.endpoint_name, ContentType="text/csv",
        Body="\n".join(",".join(map(str, row)) for row in table.data),
    )  # fmt: skip
    told = np.array(json.loads(answer["Body"].read())["prediction"])
    error = float(np.sqrt(np.mean((told - table.target) ** 2)))
    assert error < 65, (name, error)
    print(name.upper(), error)
    predictor.delete_endpoint()
