"""The AWS-managed policies that the platform knows: what they allow, without their service-specific exceptions."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def _allow(actions: list[str] | str, resources: list[str] | str = "*") -> Json:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _policy(*statements: Json) -> Json:
    return {"Version": "2012-10-17", "Statement": list(statements)}


_SAGEMAKER_BUCKETS = [
    "arn:aws:s3:::*SageMaker*",
    "arn:aws:s3:::*Sagemaker*",
    "arn:aws:s3:::*sagemaker*",
    "arn:aws:s3:::*aws-glue*",
]

POLICIES: dict[str, Json] = {
    "AdministratorAccess": _policy(_allow("*")),
    "PowerUserAccess": _policy({"Effect": "Allow", "NotAction": ["iam:*", "organizations:*", "account:*"], "Resource": "*"}),
    "ReadOnlyAccess": _policy(_allow(["s3:Get*", "s3:List*", "sagemaker:Describe*", "sagemaker:List*", "sagemaker:Search", "logs:Get*", "logs:Describe*", "logs:FilterLogEvents", "iam:Get*", "iam:List*"])),
    "AmazonS3FullAccess": _policy(_allow(["s3:*", "s3-object-lambda:*"])),
    "AmazonS3ReadOnlyAccess": _policy(_allow(["s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*"])),
    "CloudWatchLogsFullAccess": _policy(_allow(["logs:*", "cloudwatch:GenerateQuery"])),
    "IAMFullAccess": _policy(_allow(["iam:*", "organizations:DescribeAccount"])),
    "IAMReadOnlyAccess": _policy(_allow(["iam:GenerateCredentialReport", "iam:Get*", "iam:List*", "iam:Simulate*"])),
    "CloudWatchFullAccess": _policy(_allow(["autoscaling:Describe*", "cloudwatch:*", "logs:*", "sns:*", "iam:GetPolicy", "iam:GetPolicyVersion", "iam:GetRole"])),
    "CloudWatchReadOnlyAccess": _policy(_allow(["autoscaling:Describe*", "cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*", "logs:Get*", "logs:List*", "logs:Describe*", "logs:FilterLogEvents"])),
    "CloudWatchLogsReadOnlyAccess": _policy(_allow(["logs:Describe*", "logs:Get*", "logs:List*", "logs:StartQuery", "logs:StopQuery", "logs:TestMetricFilter", "logs:FilterLogEvents"])),
    "AWSCloudFormationFullAccess": _policy(_allow("cloudformation:*")),
    "AWSCloudFormationReadOnlyAccess": _policy(_allow(["cloudformation:Describe*", "cloudformation:EstimateTemplateCost", "cloudformation:Get*", "cloudformation:List*", "cloudformation:ValidateTemplate", "cloudformation:Detect*"])),
    "AWSLambda_FullAccess": _policy(_allow(["lambda:*", "cloudformation:Describe*", "cloudformation:List*", "iam:ListRoles", "iam:GetRole", "logs:*"]), {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}}),
    "AWSLambda_ReadOnlyAccess": _policy(_allow(["lambda:Get*", "lambda:List*", "logs:Describe*", "logs:Get*", "logs:FilterLogEvents"])),
    "AmazonSSMFullAccess": _policy(_allow(["ssm:*", "cloudwatch:PutMetricData", "logs:*"])),
    "AmazonSSMReadOnlyAccess": _policy(_allow(["ssm:Describe*", "ssm:Get*", "ssm:List*"])),
    "AmazonAPIGatewayAdministrator": _policy(_allow("apigateway:*", "arn:aws:apigateway:*::/*")),
    "AmazonAPIGatewayInvokeFullAccess": _policy(_allow(["execute-api:Invoke", "execute-api:ManageConnections"], "arn:aws:execute-api:*:*:*")),
    "AmazonEC2ContainerRegistryFullAccess": _policy(_allow("ecr:*")),
    "AmazonEC2ContainerRegistryReadOnly": _policy(_allow(["ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage", "ecr:Get*", "ecr:Describe*", "ecr:List*"])),
    "AmazonEC2ContainerRegistryPowerUser": _policy(_allow(["ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:Get*", "ecr:Describe*", "ecr:List*", "ecr:BatchGetImage", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"])),
    "AmazonSageMakerReadOnly": _policy(_allow(["sagemaker:Describe*", "sagemaker:List*", "sagemaker:Get*", "sagemaker:Search", "logs:DescribeLogStreams", "logs:GetLogEvents"])),
    "AmazonSageMakerFullAccess": _policy(
        _allow("sagemaker:*"),
        _allow(["application-autoscaling:*", "cloudwatch:*", "logs:*", "ecr:BatchGetImage", "ecr:Describe*", "ecr:Get*", "kms:DescribeKey", "kms:ListAliases", "iam:ListRoles", "iam:GetRole"]),
        _allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], _SAGEMAKER_BUCKETS),
        _allow(["s3:CreateBucket", "s3:GetBucketLocation", "s3:ListBucket", "s3:ListAllMyBuckets", "s3:GetBucketCors", "s3:PutBucketCors"]),
        _allow("lambda:InvokeFunction", "arn:aws:lambda:*:*:function:*sagemaker*"),
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/*", "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}},
    ),
    "service-role/AWSLambdaBasicExecutionRole": _policy(_allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"])),
    "service-role/AWSLambdaRole": _policy(_allow("lambda:InvokeFunction")),
    "service-role/AWSLambdaVPCAccessExecutionRole": _policy(_allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"])),
    "AWSXRayDaemonWriteAccess": _policy(_allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:GetSamplingStatisticSummaries"])),
    "service-role/AmazonAPIGatewayPushToCloudWatchLogs": _policy(_allow(["logs:Create*", "logs:Describe*", "logs:Put*", "logs:Get*", "logs:FilterLogEvents"])),
}  # fmt: skip


def find(arn: str) -> Json | None:
    """The document of an AWS-managed policy, or None."""
    prefix = "arn:aws:iam::aws:policy/"
    return POLICIES.get(arn.removeprefix(prefix)) if arn.startswith(prefix) else None
