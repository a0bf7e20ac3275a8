"""The Lambda function: takes rows as JSON, makes numbers of them as training did, asks the endpoint."""

import json
import os

import boto3
import features

runtime = boto3.client("sagemaker-runtime")
with open(os.path.join(os.path.dirname(__file__), "model.json")) as file:
    model = json.load(file)
HEADERS = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}


def handler(event, context):
    """One row, or a list of rows, in the body of a request to API Gateway."""
    try:
        asked = json.loads(event["body"] or "")
        rows = asked if isinstance(asked, list) else [asked]
        numbers = [features.encode(model["schema"], model["scales"], row) for row in rows]
    except (ValueError, TypeError) as error:
        return {"statusCode": 400, "headers": HEADERS, "body": json.dumps({"message": str(error)})}
    answer = runtime.invoke_endpoint(
        EndpointName=os.environ["ENDPOINT_NAME"], ContentType="text/csv", Body=features.csv(numbers)
    )
    text = answer["Body"].read().decode().replace("\n", ",").strip(",")
    predictions = [round(float(value), 4) for value in text.split(",")]
    return {"statusCode": 200, "headers": HEADERS, "body": json.dumps({"predictions": predictions})}
