"""Train two models, deploy them, and make a user who may do nothing but ask them.

Writes ``model-NAME.json`` (schema, scaling, endpoint) and ``credentials`` (profile ml_user_predict) to the folder where
it runs.
"""

import json
import tempfile
from pathlib import Path

import boto3
import features
import sagemaker
import tables
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput

CASES = {
    "bike": (tables.BIKE, tables.rentals, {"objective": "reg:squarederror", "num_round": 150, "max_depth": 6, "eta": 0.2}),
    "bank": (tables.BANK, tables.calls, {"objective": "binary:logistic", "num_round": 60, "max_depth": 3, "eta": 0.2}),
}  # fmt: skip
session, role = sagemaker.Session(), sagemaker.get_execution_role()
image = sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
endpoints = []
for name, (schema, make, hyperparameters) in CASES.items():
    rows = make(4000, seed=1)
    scales = features.scaling(schema, rows)
    numbers = [[float(row[schema["label"]]), *features.encode(schema, scales, row)] for row in rows]
    path = Path(tempfile.mkdtemp()) / "train.csv"
    path.write_text(features.csv(numbers))
    uploaded = session.upload_data(str(path), key_prefix=f"clients/{name}")
    estimator = Estimator(
        image, role, 1, "ml.m5.large", hyperparameters=hyperparameters, sagemaker_session=session,
        output_path=f"s3://{session.default_bucket()}/clients/output",
    )  # fmt: skip
    estimator.fit({"train": TrainingInput(uploaded, content_type="text/csv")}, logs=False)
    endpoint = f"{name}-prediction"
    estimator.deploy(1, "ml.m5.large", endpoint_name=endpoint)
    endpoints.append(endpoint)
    Path(f"model-{name}.json").write_text(json.dumps({"schema": schema, "scales": scales, "endpoint": endpoint}))
    print(f"\n{endpoint}: {len(rows)} rows, {len(numbers[0]) - 1} features")

iam, account = boto3.client("iam"), boto3.client("sts").get_caller_identity()["Account"]
iam.create_user(UserName="ml_user_predict")
arns = [f"arn:aws:sagemaker:{session.boto_region_name}:{account}:endpoint/{name}" for name in endpoints]
statement = {"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": arns}
policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
iam.put_user_policy(UserName="ml_user_predict", PolicyName="InvokeEndpoint", PolicyDocument=policy)
key = iam.create_access_key(UserName="ml_user_predict")["AccessKey"]
Path("credentials").touch(mode=0o600)
Path("credentials").write_text(
    f"[ml_user_predict]\naws_access_key_id={key['AccessKeyId']}\naws_secret_access_key={key['SecretAccessKey']}\n"
)
print("user ml_user_predict in ./credentials")
