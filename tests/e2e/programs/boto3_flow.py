"""boto3: bucket, data, job, model, endpoint, prediction, tear-down – with a loop that sleeps a minute between looks."""

import time

import boto3

begun = time.monotonic()
account = boto3.client("sts").get_caller_identity()["Account"]
role = boto3.client("iam").get_role(RoleName="AmazonSageMaker-ExecutionRole")["Role"]["Arn"]
s3, sagemaker, runtime = boto3.client("s3"), boto3.client("sagemaker"), boto3.client("runtime.sagemaker")
bucket = f"flow-{account}"
s3.create_bucket(Bucket=bucket)
rows = [(i % 2, i % 2 + (i % 7) * 0.01, (i * 37 % 11) * 0.1) for i in range(500)]
s3.put_object(Bucket=bucket, Key="train/data.csv", Body="\n".join(",".join(map(str, r)) for r in rows))
image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/train/", "S3DataDistributionType": "FullyReplicated"}
sagemaker.create_training_job(
    TrainingJobName="flow",
    RoleArn=role,
    AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
    HyperParameters={"num_round": "20", "objective": "binary:logistic"},
    InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}],
    OutputDataConfig={"S3OutputPath": f"s3://{bucket}/out"},
    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    StoppingCondition={"MaxRuntimeInSeconds": 3600},
)
while (job := sagemaker.describe_training_job(TrainingJobName="flow"))["TrainingJobStatus"] == "InProgress":
    time.sleep(60)
assert job["TrainingJobStatus"] == "Completed", job
container = {"Image": image, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
sagemaker.create_model(ModelName="flow", ExecutionRoleArn=role, PrimaryContainer=container)
variant = {"VariantName": "AllTraffic", "ModelName": "flow", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
sagemaker.create_endpoint_config(EndpointConfigName="flow", ProductionVariants=[variant])
sagemaker.create_endpoint(EndpointName="flow", EndpointConfigName="flow")
while sagemaker.describe_endpoint(EndpointName="flow")["EndpointStatus"] == "Creating":
    time.sleep(60)
sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="flow")
answer = runtime.invoke_endpoint(EndpointName="flow", ContentType="text/csv", Body="1.02,0.3")
score = float(answer["Body"].read().decode())
assert score > 0.5, score
sagemaker.delete_endpoint(EndpointName="flow")
sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="flow")
print(f"score {score:.3f} after {time.monotonic() - begun:.1f} s")
