"""Asks the endpoint."""

import base64
import os

import boto3

runtime = boto3.client("sagemaker-runtime")


def handler(event, context):
    """A request of an HTTP API, its body a row as CSV."""
    body = event["body"]
    if event.get("isBase64Encoded"):  # bodies whose type is not text
        body = base64.b64decode(body)
    answer = runtime.invoke_endpoint(EndpointName=os.environ["SAGEMAKER_ENDPOINT"], ContentType="text/csv", Body=body)
    return {"prediction": answer["Body"].read().decode().strip()}
