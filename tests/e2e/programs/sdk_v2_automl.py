"""AutoGluon by its JumpStart model ids: classes with a category among the columns, and values."""

import io
import json
import time

import numpy as np
import sagemaker
from sagemaker.jumpstart.estimator import JumpStartEstimator
from sklearn.datasets import load_diabetes, load_iris

session, role = sagemaker.Session(), sagemaker.get_execution_role()
bucket, stamp = session.default_bucket(), f"{time.time():.0f}"


def upload(key, rows, categorical=()):
    """A table without a header, the target first."""
    text = io.StringIO()
    np.savetxt(text, rows, delimiter=",", fmt="%g")
    session.upload_string_as_file_body(text.getvalue(), bucket, f"{stamp}/{key}/data.csv")
    listed = json.dumps({"cat_index_list": list(categorical)})
    session.upload_string_as_file_body(listed, bucket, f"{stamp}/{key}/categorical_index.json")
    return f"s3://{bucket}/{stamp}/{key}"


def learn(name, where, rows):
    """Train, deploy, ask for all rows."""
    estimator = JumpStartEstimator(model_id=name, role=role, sagemaker_session=session)
    estimator.fit({"training": where}, logs=["Training"])
    predictor = estimator.deploy(endpoint_name=f"{name.split('-ensemble')[0]}-{stamp}")
    answer = session.sagemaker_runtime_client.invoke_endpoint(
        EndpointName=predictor.endpoint_name, ContentType="text/csv", Accept="application/json;verbose",
        Body="\n".join(",".join(map(str, row)) for row in rows),
    )  # fmt: skip
    predictor.delete_endpoint()
    return json.loads(answer["Body"].read())


flowers = load_iris()
kinds = np.array([3.0, 7.0, 9.0])[flowers.target]
found = learn("autogluon-classification-ensemble", upload("iris", np.column_stack([kinds, flowers.data])), flowers.data)
right = np.mean(np.array(found["predicted_label"]) == kinds)
assert right > 0.94 and found["labels"] == [3.0, 7.0, 9.0], found
print("AUTOGLUON-CLASSIFICATION-ENSEMBLE", right)

patients = load_diabetes(scaled=False)
where = upload("diabetes", np.column_stack([patients.target, patients.data]), [2])
found = np.array(learn("autogluon-regression-ensemble", where, patients.data)["prediction"])
error = float(np.sqrt(np.mean((found - patients.target) ** 2)))
assert error < 60, error
print("AUTOGLUON-REGRESSION-ENSEMBLE", error)
