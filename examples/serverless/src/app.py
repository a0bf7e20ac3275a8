"""Pass rows of CSV on to an endpoint, and its predictions back as JSON."""

import base64
import json
import os

import boto3

runtime = boto3.client("sagemaker-runtime")


def handler(event, context):
    """One request of the API."""
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode()
    if not body.strip():
        return {"statusCode": 400, "body": json.dumps({"message": "Send rows of CSV."})}
    answer = runtime.invoke_endpoint(EndpointName=os.environ["SAGEMAKER_ENDPOINT"], ContentType="text/csv", Body=body)
    found = answer["Body"].read().decode()
    return {
        "statusCode": 200,
        "body": json.dumps({"predictions": [float(v) for v in found.replace("\n", ",").split(",") if v]}),
    }
