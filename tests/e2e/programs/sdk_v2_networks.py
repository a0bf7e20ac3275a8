"""The algorithms on networks, by the SageMaker Python SDK v2: its classes where it has them, images where not."""

import json
import time

import numpy as np
import sagemaker
from sagemaker import NTM, IPInsights, Object2Vec
from sagemaker.amazon.amazon_estimator import RecordSet
from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import JSONSerializer

session, role = sagemaker.Session(), sagemaker.get_execution_role()
bucket, stamp = session.default_bucket(), f"{time.time():.0f}"
common = {"role": role, "instance_count": 1, "instance_type": "ml.m5.large", "sagemaker_session": session}
generator = np.random.default_rng(0)
spoken = {"serializer": JSONSerializer(), "deserializer": JSONDeserializer()}


def upload(name, text, content_type):
    """A channel."""
    session.upload_string_as_file_body(text, bucket, f"{stamp}/{name}")
    return TrainingInput(f"s3://{bucket}/{stamp}/{name}", content_type=content_type)


def records(name, text, columns):
    """A channel for the classes that ask for records; what they are is the algorithm's to know."""
    session.upload_string_as_file_body(text, bucket, f"{stamp}/{name}")
    return RecordSet(f"s3://{bucket}/{stamp}/{name}", text.count("\n"), columns, s3_data_type="S3Prefix")


def lines(documents):
    """JSON lines."""
    return "".join(json.dumps(d) + "\n" for d in documents)


def deploy(estimator, **more):
    """An endpoint."""
    return estimator.deploy(1, "ml.m5.large", endpoint_name=f"{estimator.base_job_name or 'net'}-{stamp}"[:63], **more)


def metrics(estimator):
    """The job's final metrics."""
    found = session.describe_training_job(estimator.latest_training_job.name)["FinalMetricDataList"]
    return {m["MetricName"]: m["Value"] for m in found}


# ---- topics of documents
counts = np.zeros((200, 20), dtype="float32")
for i, row in enumerate(counts):
    words = generator.integers(0, 10, 40) + 10 * (i % 2)
    np.add.at(row, words, 1)
topics = NTM(num_topics=2, epochs=60, optimizer="adam", learning_rate=0.01, base_job_name="ntm", **common)
topics.fit(topics.record_set(counts), mini_batch_size=20, logs=False)
predictor = deploy(topics)
weights = [np.array(r.label["topic_weights"].float32_tensor.values) for r in predictor.predict(counts[:2])]
assert weights[0].argmax() != weights[1].argmax(), weights
print("NTM", metrics(topics)["train:total_loss"], weights[0].tolist())
predictor.delete_endpoint()

# ---- pairs of sentences
sentences = generator.integers(1, 30, (400, 2, 4))
pairs = [{"label": int(a[0] < 15), "in0": a.tolist(), "in1": b.tolist()} for a, b in sentences]
embedding = Object2Vec(
    enc0_max_seq_len=4, enc0_vocab_size=30, enc_dim=16, mlp_dim=16, mini_batch_size=40, epochs=10, learning_rate=0.01,
    enc0_token_embedding_dim=16, output_layer="softmax", num_classes=2, base_job_name="object2vec", **common,
)  # fmt: skip
embedding.fit(records("pairs", lines(pairs), 8), mini_batch_size=40, logs=False)
predictor = deploy(embedding, **spoken)
answer = predictor.predict({"instances": [{"in0": p["in0"], "in1": p["in1"]} for p in pairs[:50]]})
right = np.mean([np.argmax(a["scores"]) == p["label"] for a, p in zip(answer["predictions"], pairs, strict=False)])
assert right > 0.9, right
encoded = predictor.predict({"instances": [{"in0": pairs[0]["in0"]}]})["predictions"][0]["embeddings"]
print("OBJECT2VEC", metrics(embedding)["train:accuracy"], right, len(encoded))
predictor.delete_endpoint()

# ---- who comes from where
visits = "".join(f"user{i % 20},10.{i % 20}.0.{i % 250}\n" for i in range(4000))
insights = IPInsights(
    num_entity_vectors=100, vector_dim=16, epochs=8, learning_rate=0.01, mini_batch_size=200, base_job_name="insights",
    **common,
)  # fmt: skip
insights.fit(records("visits", visits, 2), mini_batch_size=200, logs=False)
predictor = deploy(insights)
usual, strange = (
    predictor.predict(f"user3,{address}")["predictions"][0]["dot_product"] for address in ("10.3.0.7", "201.77.9.4")
)
assert usual > strange, (usual, strange)
print("IPINSIGHTS", usual, strange)
predictor.delete_endpoint()

# ---- series that go on
image = sagemaker.image_uris.retrieve("forecasting-deepar", session.boto_region_name)
series = [
    {"start": "2024-01-01 00:00:00", "target": (10 + 5 * np.sin(np.arange(200) * 2 * np.pi / 7) + i).tolist()}
    for i in range(6)
]
forecaster = Estimator(image, base_job_name="deepar", **common)
forecaster.set_hyperparameters(
    time_freq="D", context_length=14, prediction_length=7, epochs=8, num_cells=20, learning_rate=0.01
)
held_out = [{**s, "target": s["target"][:-7]} for s in series]
forecaster.fit(
    {
        "train": upload("train.json", lines(held_out), "application/jsonlines"),
        "test": upload("test.json", lines(series), "application/jsonlines"),
    },
    logs=False,
)
predictor = deploy(forecaster, **spoken)
wanted = {"num_samples": 50, "output_types": ["mean", "quantiles"], "quantiles": ["0.1", "0.9"]}
answer = predictor.predict({"instances": held_out, "configuration": wanted})["predictions"]
errors = [np.abs(np.array(a["mean"]) - s["target"][-7:]).mean() for a, s in zip(answer, series, strict=True)]
assert len(answer[0]["quantiles"]["0.9"]) == 7 and np.mean(errors) < 2.5, errors
print("DEEPAR", float(np.mean(errors)), metrics(forecaster)["test:RMSE"])
predictor.delete_endpoint()

# ---- words, and texts with labels; the second one through a pipe from an augmented manifest
image = sagemaker.image_uris.retrieve("blazingtext", session.boto_region_name)
texts = [
    (f"__label__{'good' if i % 2 else 'bad'}", "fine nice great day" if i % 2 else "poor sad awful night")
    for i in range(300)
]
plain = upload("texts", "".join(f"{label} {text}\n" for label, text in texts), "text/plain")
words = Estimator(image, base_job_name="words", **common)
words.set_hyperparameters(mode="skipgram", vector_dim=10, min_count=2, epochs=3)
words.fit({"train": upload("corpus", "".join(f"{text}\n" for _, text in texts), "text/plain")}, logs=False)
predictor = deploy(words, **spoken)
vectors = predictor.predict({"instances": ["great", "nobody"]})
assert len(vectors[0]["vector"]) == 10, vectors
print("WORD2VEC", len(vectors))
predictor.delete_endpoint()

manifest = lines({"source": text, "label": label.endswith("good") + 1} for label, text in texts)
session.upload_string_as_file_body(manifest, bucket, f"{stamp}/texts.manifest")
classifier = Estimator(image, base_job_name="texts", input_mode="Pipe", **common)
classifier.set_hyperparameters(mode="supervised", vector_dim=10, min_count=2, epochs=10, early_stopping="False")
classifier.fit(
    {
        "train": TrainingInput(
            f"s3://{bucket}/{stamp}/texts.manifest", s3_data_type="AugmentedManifestFile", input_mode="Pipe",
            attribute_names=["source", "label"], record_wrapping="RecordIO", content_type="application/x-recordio",
        )
    },
    logs=False,
)  # fmt: skip
predictor = deploy(classifier, **spoken)
answer = predictor.predict({"instances": ["great nice", "sad poor"], "configuration": {"k": 1}})
assert [a["label"] for a in answer] == [["__label__2"], ["__label__1"]], answer
print("BLAZINGTEXT", answer)
predictor.delete_endpoint()
