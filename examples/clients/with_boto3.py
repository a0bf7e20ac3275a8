"""From outside, with boto3: who the caller is, and one prediction for each of two customers."""

import json
from pathlib import Path

import boto3
import features

model = json.loads(Path("model-bank.json").read_text())
session = boto3.Session(profile_name="ml_user_predict")
print("boto3 as", session.client("sts").get_caller_identity()["Arn"])
customers = [
    {"age": 68, "campaign": 1, "days_since_contact": 6, "job": "retired", "marital": "married", "housing": "no", "contact": "cellular", "last_outcome": "success"},
    {"age": 38, "campaign": 9, "days_since_contact": 999, "job": "blue-collar", "marital": "married", "housing": "yes", "contact": "telephone", "last_outcome": "failure"},
]  # fmt: skip
body = features.csv(features.encode(model["schema"], model["scales"], row) for row in customers)
runtime = session.client("sagemaker-runtime")
answer = runtime.invoke_endpoint(EndpointName=model["endpoint"], ContentType="text/csv", Body=body)
likely, unlikely = map(float, answer["Body"].read().decode().replace("\n", ",").strip(",").split(","))
print(f"boto3: the first customer subscribes with {likely:.2f}, the second with {unlikely:.2f}")
assert likely > 0.5 > unlikely
