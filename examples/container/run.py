"""Train with your own image and deploy it: SageMaker SDK code, as it is on AWS."""

import sys

import sagemaker
from sagemaker.deserializers import CSVDeserializer
from sagemaker.estimator import Estimator
from sagemaker.serializers import CSVSerializer

image = sys.argv[1]
session = sagemaker.Session()
points = "".join(f"{x / 10},{2 * x / 10 + 1}\n" for x in range(-20, 20))
data = session.upload_string_as_file_body(points, session.default_bucket(), "line/points.csv")

estimator = Estimator(
    image,
    role="arn:aws:iam::000000000000:role/service-role/AmazonSageMaker-ExecutionRole",
    instance_count=1,
    instance_type="ml.m5.large",
    hyperparameters={"epochs": 300},
    metric_definitions=[{"Name": "mse", "Regex": "mse=([0-9.]+);"}],
)
estimator.fit({"train": f"s3://{session.default_bucket()}/line"})
predictor = estimator.deploy(1, "ml.m5.large", serializer=CSVSerializer(), deserializer=CSVDeserializer())
print("LINE", predictor.predict("0\n1\n10"))
predictor.delete_endpoint()
