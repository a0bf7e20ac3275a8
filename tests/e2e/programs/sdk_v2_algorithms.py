"""The algorithm classes of the SageMaker Python SDK v2, trained with ``record_set``, deployed, and asked."""

import time

import numpy as np
import sagemaker
from sagemaker import KNN, LDA, PCA, FactorizationMachines, KMeans, LinearLearner, RandomCutForest

session = sagemaker.Session()
role = sagemaker.get_execution_role()
output = f"s3://{session.default_bucket()}/algorithms-{time.time():.0f}"
common = {"role": role, "instance_type": "ml.m5.large", "output_path": output, "sagemaker_session": session}

generator = np.random.default_rng(0)
centers = np.array([[0, 0, 0, 0], [8, 8, 0, 0], [0, 8, 8, 0]], dtype="float32")
labels = generator.integers(0, 3, 600)
rows = (centers[labels] + generator.normal(size=(600, 4))).astype("float32")
counts = generator.poisson(3, size=(120, 12)).astype("float32")


def use(estimator, data, labels=None, *, fields, asked=None, **fit):
    """Train on all rows, deploy, ask for the first three."""
    records = estimator.record_set(data, labels=None if labels is None else labels.astype("float32"))
    estimator.fit(records, logs=False, **fit)
    predictor = estimator.deploy(
        1, "ml.m5.large", endpoint_name=f"{type(estimator).__name__.lower()}-{time.time():.0f}"
    )
    answers = predictor.predict((data if asked is None else asked)[:3])
    predictor.delete_endpoint()
    assert len(answers) == 3, answers
    found = [answer.label[field].float32_tensor.values for answer in answers for field in fields]
    assert all(len(values) for values in found), answers
    job = session.describe_training_job(estimator.latest_training_job.name)
    metrics = {m["MetricName"]: m["Value"] for m in job.get("FinalMetricDataList", ())}
    print(type(estimator).__name__.upper(), [float(values[0]) for values in found], sorted(metrics))
    return found


found = use(KMeans(k=3, instance_count=2, **common), rows, fields=["closest_cluster", "distance_to_cluster"])
assert max(values[0] for values in found[1::2]) < 5
found = use(PCA(num_components=2, instance_count=1, **common), rows, fields=["projection"])
assert len(found[0]) == 2
learner = LinearLearner(predictor_type="binary_classifier", instance_count=1, epochs=5, num_models=4, **common)
found = use(learner, rows, labels > 0, fields=["score", "predicted_label"])
assert [bool(values[0]) for values in found[1::2]] == (labels[:3] > 0).tolist()
learner = LinearLearner(predictor_type="multiclass_classifier", num_classes=3, instance_count=1, epochs=5, **common)
found = use(learner, rows, labels, fields=["predicted_label"])
assert [values[0] for values in found] == labels[:3].tolist()
nearest = KNN(k=5, sample_size=600, predictor_type="classifier", instance_count=1, **common)
found = use(nearest, rows, labels, fields=["predicted_label"])
assert [values[0] for values in found] == labels[:3].tolist()
machine = FactorizationMachines(
    num_factors=4, predictor_type="regressor", epochs=20, linear_lr=0.05, factors_lr=0.05, instance_count=1, **common
)
use(machine, rows, rows.sum(axis=1), fields=["score"])
forest = RandomCutForest(num_trees=50, num_samples_per_tree=64, instance_count=1, **common)
use(forest, rows, fields=["score"])
topics = LDA(num_topics=3, **common)
records = topics.record_set(counts)
topics.fit(records, mini_batch_size=120, logs=False)
predictor = topics.deploy(1, "ml.m5.large", endpoint_name=f"lda-{time.time():.0f}")
mixture = predictor.predict(counts[:1])[0].label["topic_mixture"].float32_tensor.values
assert abs(sum(mixture) - 1) < 1e-4, mixture
predictor.delete_endpoint()
print("LDA", len(mixture))

# as people without those classes do it: an image, hyperparameters, CSV
image = sagemaker.image_uris.retrieve("kmeans", session.boto_region_name)
session.upload_string_as_file_body(
    "\n".join(",".join(map(str, row)) for row in rows), session.default_bucket(), "algorithms/rows.csv"
)
plain = sagemaker.estimator.Estimator(image, instance_count=1, **common)
plain.set_hyperparameters(k=3, feature_dim=4)
where = f"s3://{session.default_bucket()}/algorithms/rows.csv"
plain.fit({"train": sagemaker.inputs.TrainingInput(where, content_type="text/csv;label_size=0")}, logs=False)
transformer = plain.transformer(
    1, "ml.m5.large", accept="application/jsonlines", assemble_with="Line", output_path=output + "/batch"
)
transformer.transform(where, content_type="text/csv", split_type="Line", logs=False)
lines = sagemaker.s3.S3Downloader.read_file(
    f"{transformer.output_path}/rows.csv.out", sagemaker_session=session
).splitlines()
assert len(lines) == 600, len(lines)
print("BATCH", lines[0])
