"""API Gateway, Lambda, endpoint: a REST API ``Predictions`` with POST /bike and POST /bank, stage ``beta``.

Prints where it answers.
"""

import io
import json
import os
import zipfile
from pathlib import Path

import boto3

iam, functions, gateway = boto3.client("iam"), boto3.client("lambda"), boto3.client("apigateway")
region, account = gateway.meta.region_name, boto3.client("sts").get_caller_identity()["Account"]
here = Path(__file__).parent

trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
invoke = {"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "*"}
role = iam.create_role(
    RoleName="lambda_sagemaker_invoke_endpoint",
    AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
)["Role"]
iam.put_role_policy(
    RoleName=role["RoleName"], PolicyName="InvokeEndpoint",
    PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [invoke]}),
)  # fmt: skip
logs = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
iam.attach_role_policy(RoleName=role["RoleName"], PolicyArn=logs)

api = gateway.create_rest_api(name="Predictions")["id"]
top = gateway.get_resources(restApiId=api)["items"][0]["id"]
for name in ("bike", "bank"):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(here / "function.py", "function.py")
        packed.write(here / "features.py", "features.py")
        packed.write(f"model-{name}.json", "model.json")
    endpoint = json.loads(Path(f"model-{name}.json").read_text())["endpoint"]
    arn = functions.create_function(
        FunctionName=f"{name}_prediction", Runtime="python3.12", Handler="function.handler", Role=role["Arn"], Timeout=30,
        Code={"ZipFile": archive.getvalue()}, Environment={"Variables": {"ENDPOINT_NAME": endpoint}},
    )["FunctionArn"]  # fmt: skip
    functions.get_waiter("function_active_v2").wait(FunctionName=f"{name}_prediction")
    functions.add_permission(
        FunctionName=f"{name}_prediction", StatementId="api", Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com", SourceArn=f"arn:aws:execute-api:{region}:{account}:{api}/*/POST/{name}",
    )  # fmt: skip
    resource = gateway.create_resource(restApiId=api, parentId=top, pathPart=name)["id"]
    where = {"restApiId": api, "resourceId": resource}
    gateway.put_method(**where, httpMethod="POST", authorizationType="NONE")
    uri = f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations"
    gateway.put_integration(**where, httpMethod="POST", type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    # what the console's "Enable CORS" makes, so that pages from elsewhere may ask
    gateway.put_method(**where, httpMethod="OPTIONS", authorizationType="NONE")
    gateway.put_integration(
        **where, httpMethod="OPTIONS", type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'}
    )
    cors = {"Allow-Headers": "'Content-Type'", "Allow-Methods": "'OPTIONS,POST'", "Allow-Origin": "'*'"}
    headers = {f"method.response.header.Access-Control-{k}": v for k, v in cors.items()}
    options = {**where, "httpMethod": "OPTIONS", "statusCode": "200"}
    gateway.put_method_response(**options, responseParameters=dict.fromkeys(headers, True))
    gateway.put_integration_response(**options, responseParameters=headers)
gateway.create_deployment(restApiId=api, stageName="beta")

local = os.environ.get("AWS_ENDPOINT_URL")  # programs find *.amazonaws.com on AWS, and this address here
base = f"{local}/_clary/execute-api/{api}/beta" if local else f"https://{api}.execute-api.{region}.amazonaws.com/beta"
Path("api.txt").write_text(base)
print(f"POST {base}/bike")
print(f"POST {base}/bank")
