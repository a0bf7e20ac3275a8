"""SDK v2: sample data from the public bucket, a job with two channels, two instances, batch transform with a join."""

import boto3
import numpy as np
import pandas as pd
import sagemaker
from sagemaker.deserializers import JSONDeserializer
from sagemaker.serializers import CSVSerializer

role = sagemaker.get_execution_role()
session = sagemaker.Session()
region, bucket = session.boto_region_name, session.default_bucket()
boto3.client("s3").download_file(
    f"sagemaker-example-files-prod-{region}", "datasets/tabular/breast_cancer/wdbc.csv", "wdbc.csv"
)
data = pd.read_csv("wdbc.csv", header=None)
assert data.shape == (569, 32)
data[1] = (data[1] == "M").astype(int)
chosen = np.random.default_rng(1).random(len(data)) < 0.8
data[chosen].drop(columns=[0]).to_csv("train.csv", index=False, header=False)
data[~chosen].drop(columns=[0]).to_csv("validation.csv", index=False, header=False)
for name in ("train", "validation"):
    session.upload_data(f"{name}.csv", key_prefix=f"demo/{name}")
estimator = sagemaker.estimator.Estimator(
    sagemaker.image_uris.retrieve(framework="xgboost", region=region, version="1.7-1"),
    role,
    instance_count=1,
    instance_type="ml.m5.large",
    volume_size=50,
    input_mode="File",
    output_path=f"s3://{bucket}/demo/output",
    sagemaker_session=session,
)
estimator.set_hyperparameters(
    objective="binary:logistic",
    max_depth=5,
    eta=0.2,
    gamma=4,
    min_child_weight=6,
    subsample=0.8,
    verbosity=0,
    num_round=100,
)
channels = {
    name: sagemaker.inputs.TrainingInput(
        f"s3://{bucket}/demo/{name}", distribution="FullyReplicated", content_type="text/csv", s3_data_type="S3Prefix"
    )
    for name in ("train", "validation")
}
estimator.fit(inputs=channels, logs=True)
predictor = estimator.deploy(
    initial_instance_count=2, instance_type="ml.t2.medium", serializer=CSVSerializer(), deserializer=JSONDeserializer()
)
held = data[~chosen].drop(columns=[0]).to_numpy()
right = np.mean([(predictor.predict(row[1:])["predictions"][0]["score"] > 0.5) == (row[0] == 1) for row in held[:40]])
print("ACCURACY", right)
assert right > 0.85
predictor.delete_model()
predictor.delete_endpoint()

rows = data[~chosen]
rows.drop(columns=[0, 1]).to_csv("batch-plain.csv", index=False, header=False)
rows.drop(columns=[1]).to_csv("batch-with-id.csv", index=False, header=False)
for name in ("batch-plain.csv", "batch-with-id.csv"):
    session.upload_data(name, key_prefix="demo/batch")
transformer = estimator.transformer(1, "ml.m5.large")
transformer.transform(f"s3://{bucket}/demo/batch/batch-plain.csv", content_type="text/csv", split_type="Line")
transformer.wait()


def result(name):
    """A transform job's output as a table."""
    where, _, prefix = transformer.output_path.removeprefix("s3://").partition("/")
    boto3.client("s3").download_file(where, f"{prefix}/{name}.out", "result.csv")
    return pd.read_csv("result.csv", header=None)


plain = result("batch-plain.csv")
assert np.mean((plain[0] > 0.5).to_numpy() == (rows[1] == 1).to_numpy()) > 0.85
transformer.assemble_with, transformer.accept = "Line", "text/csv"
transformer.transform(
    f"s3://{bucket}/demo/batch/batch-with-id.csv",
    split_type="Line",
    content_type="text/csv",
    input_filter="$[1:]",
    join_source="Input",
    output_filter="$[0,-1]",
)
transformer.wait()
joined = result("batch-with-id.csv")
assert joined[0].tolist() == rows[0].tolist()
assert np.allclose(joined[1], plain[0])
print("JOINED", len(joined))
