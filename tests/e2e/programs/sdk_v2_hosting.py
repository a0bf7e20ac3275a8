"""A pipeline, a multi-model, a serverless and an asynchronous endpoint, inference components, as the SageMaker Python SDK v2 makes them."""

import io
import sys
import tarfile
import time

import boto3
import numpy as np
import sagemaker
from sagemaker.async_inference import AsyncInferenceConfig
from sagemaker.compute_resource_requirements.resource_requirements import ResourceRequirements
from sagemaker.deserializers import CSVDeserializer
from sagemaker.enums import EndpointType
from sagemaker.model import Model
from sagemaker.multidatamodel import MultiDataModel
from sagemaker.pipeline import PipelineModel
from sagemaker.predictor import Predictor
from sagemaker.predictor_async import AsyncPredictor
from sagemaker.serializers import CSVSerializer
from sagemaker.serverless import ServerlessInferenceConfig
from sagemaker.sklearn.model import SKLearnModel

session = sagemaker.Session()
bucket, role = session.default_bucket(), sagemaker.get_execution_role()
stamp = f"{time.time():.0f}"
generator = np.random.default_rng(1)
features = generator.normal(size=(200, 4))
rows = np.column_stack([features.sum(axis=1) > 0, features])
session.upload_string_as_file_body("\n".join(",".join(map(str, r)) for r in rows), bucket, f"{stamp}/train.csv")
image = sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1")
estimator = sagemaker.estimator.Estimator(
    image, role, 1, "ml.m5.large", output_path=f"s3://{bucket}/{stamp}/out", sagemaker_session=session
)
estimator.set_hyperparameters(objective="binary:logistic", num_round=10)
channel = sagemaker.inputs.TrainingInput(f"s3://{bucket}/{stamp}/train.csv", content_type="text/csv")
estimator.fit({"train": channel}, logs=False)
model = Model(image, estimator.model_data, role, sagemaker_session=session, predictor_cls=Predictor)
one = ",".join(map(str, features[0]))
wire = {"serializer": CSVSerializer(), "deserializer": CSVDeserializer()}

# ---- a pipeline: a script prepares, the built-in algorithm predicts
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w:gz"):
    pass
boto3.client("s3").put_object(Bucket=bucket, Key=f"{stamp}/empty.tar.gz", Body=packed.getvalue())
prepare = SKLearnModel(
    f"s3://{bucket}/{stamp}/empty.tar.gz", role, sys.argv[1], framework_version="1.2-1", sagemaker_session=session
)
pipeline = PipelineModel([prepare, model], role, name=f"pipeline-{stamp}", sagemaker_session=session)
pipeline.deploy(1, "ml.m5.large", endpoint_name=f"pipeline-{stamp}")
predictor = Predictor(f"pipeline-{stamp}", session, **wire)
print("PIPELINE", float(predictor.predict("ignored," + one)[0][0]))
predictor.delete_endpoint()

# ---- many models
many = MultiDataModel(f"many-{stamp}", f"s3://{bucket}/{stamp}/models/", model=model, sagemaker_session=session)
predictor = many.deploy(1, "ml.m5.large", endpoint_name=f"many-{stamp}")
predictor.serializer, predictor.deserializer = CSVSerializer(), CSVDeserializer()
many.add_model(estimator.model_data, "first.tar.gz")
many.add_model(estimator.model_data, "second.tar.gz")
print("MODELS", sorted(many.list_models()))
print("MANY", float(predictor.predict(one, target_model="second.tar.gz")[0][0]))
predictor.delete_endpoint()

# ---- serverless
config = ServerlessInferenceConfig(memory_size_in_mb=2048, max_concurrency=5)
predictor = model.deploy(serverless_inference_config=config, endpoint_name=f"serverless-{stamp}", **wire)
print("SERVERLESS", float(predictor.predict(one)[0][0]))
predictor.delete_endpoint()

# ---- asynchronous
config = AsyncInferenceConfig(output_path=f"s3://{bucket}/{stamp}/async", max_concurrent_invocations_per_instance=2)
predictor = model.deploy(1, "ml.m5.large", async_inference_config=config, endpoint_name=f"async-{stamp}", **wire)
assert isinstance(predictor, AsyncPredictor)
response = predictor.predict_async(one)
print("ASYNC", float(response.get_result(sagemaker.async_inference.WaiterConfig(max_attempts=60, delay=1))[0][0]))
predictor.delete_endpoint()

# ---- inference components: two models on one endpoint
need = ResourceRequirements(requests={"num_cpus": 1, "memory": 1024, "copies": 1})
found = []
for number in range(2):
    part = Model(image, estimator.model_data, role, sagemaker_session=session, predictor_cls=Predictor)
    found.append(
        part.deploy(
            1, "ml.m5.large", endpoint_name=f"components-{stamp}", endpoint_type=EndpointType.INFERENCE_COMPONENT_BASED,
            inference_component_name=f"component-{number}-{stamp}", resources=need, **wire,
        )
    )  # fmt: skip
answers = {float(predictor.predict(one)[0][0]) for predictor in found}
assert len(answers) == 1
print("COMPONENTS", answers.pop())
for predictor in found:
    predictor.delete_predictor(wait=True)
found[0].delete_endpoint()
