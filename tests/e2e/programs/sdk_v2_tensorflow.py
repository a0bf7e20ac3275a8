"""SDK v2: a TensorFlow estimator, its SavedModel served as TensorFlow Serving does, and behind handlers of a script."""

import pathlib
import time

import sagemaker
from sagemaker.deserializers import CSVDeserializer
from sagemaker.serializers import CSVSerializer
from sagemaker.tensorflow import TensorFlow, TensorFlowModel

pathlib.Path("train.py").write_text('''
"""Fit a line and export it as version 1 of a model."""
import argparse, os
import numpy as np
import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--model_dir")
arguments = parser.parse_args()
tf.keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(256, 2)).astype("float32")
y = x @ [[2.0], [-1.0]] + 3.0
model = tf.keras.Sequential([tf.keras.layers.Input((2,)), tf.keras.layers.Dense(1)])
model.compile(optimizer=tf.keras.optimizers.SGD(0.1), loss="mse")
model.fit(x, y, epochs=arguments.epochs, verbose=2)
model.export(os.path.join(os.environ["SM_MODEL_DIR"], "line", "1"))

class Words(tf.Module):
    """Two inputs and two outputs by name."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "word"), tf.TensorSpec([None], tf.float32, "times")])
    def answer(self, word, times):
        return {"word": word, "length": times * tf.cast(tf.strings.length(word), tf.float32)}

words = Words()
tf.saved_model.save(words, os.path.join(os.environ["SM_MODEL_DIR"], "words", "3"), {"serving_default": words.answer})
''')
pathlib.Path("inference.py").write_text("""
import json

def input_handler(data, context):
    assert context.request_content_type == "text/csv", context
    rows = [[float(v) for v in line.split(",")] for line in data.read().decode().splitlines()]
    return json.dumps({"instances": rows})

def output_handler(response, context):
    if response.status_code != 200:
        raise ValueError(response.content.decode())
    return ",".join(f"{row[0]:.2f}" for row in response.json()["predictions"]), context.accept_header
""")
pathlib.Path("whole").mkdir()
pathlib.Path("whole/inference.py").write_text('''
import json
import urllib.request

def handler(data, context):
    """Asks the model server itself, as handlers that do everything do."""
    body = json.dumps({"instances": [[float(v) for v in data.read().decode().split(",")]]}).encode()
    with urllib.request.urlopen(urllib.request.Request(context.rest_uri, body)) as answer:
        return str(round(json.load(answer)["predictions"][0][0], 1)), "text/plain"
''')
session, role = sagemaker.Session(), sagemaker.get_execution_role()
now = f"{time.time():.0f}"
estimator = TensorFlow(
    entry_point="train.py", framework_version="2.19.0", py_version="py312", role=role, instance_count=1,
    instance_type="ml.c5.xlarge", hyperparameters={"epochs": 30}, sagemaker_session=session,
)  # fmt: skip
estimator.fit(logs=["Training"])

predictor = estimator.deploy(1, "ml.c5.xlarge", endpoint_name=f"tensorflow-{now}")
answer = predictor.predict({"instances": [[1.0, 1.0], [0.0, 2.0]]})
assert [round(row[0], 1) for row in answer["predictions"]] == [4.0, 1.0], answer
columns = predictor.predict({"signature_name": "serving_default", "inputs": [[0.0, 0.0]]})
assert round(columns["outputs"][0][0], 1) == 3.0, columns
rows = [{"word": "ab", "times": 2.0}, {"word": {"b64": "YWJj"}, "times": 1.0}]
named = predictor.predict({"instances": rows}, initial_args={"CustomAttributes": "tfs-model-name=words"})
assert named == {"predictions": [{"word": "ab", "length": 4.0}, {"word": "abc", "length": 3.0}]}, named
try:
    predictor.predict({"instances": [[0.0, 0.0]]}, initial_args={"CustomAttributes": "tfs-model-version=9"})
except session.sagemaker_runtime_client.exceptions.ModelError as error:
    assert "the newest version answers" in str(error), error
else:
    raise AssertionError("a version that is not there answered")
try:
    predictor.predict({"rows": []})
except session.sagemaker_runtime_client.exceptions.ModelError as error:
    assert "client error (400)" in str(error) and "'instances' key" in str(error), error
else:
    raise AssertionError("a request without instances was answered")
predictor.delete_endpoint()

model = TensorFlowModel(
    model_data=estimator.model_data, role=role, framework_version="2.18.0", entry_point="inference.py",
    sagemaker_session=session,
)  # fmt: skip
predictor = model.deploy(
    1, "ml.c5.xlarge", endpoint_name=f"handlers-{now}", serializer=CSVSerializer(), deserializer=CSVDeserializer()
)
predictor.accept = ("text/csv",)
assert predictor.predict([[1, 1], [0, 2]], initial_args={"Accept": "text/csv"}) == [["4.00", "1.00"]]
predictor.delete_endpoint()
model = TensorFlowModel(
    model_data=estimator.model_data, role=role, framework_version="2.18.0", entry_point="inference.py",
    source_dir="whole", sagemaker_session=session,
)  # fmt: skip
predictor = model.deploy(
    1, "ml.c5.xlarge", endpoint_name=f"whole-{now}", serializer=CSVSerializer(), deserializer=CSVDeserializer()
)
assert predictor.predict([[1, 1]]) == [["4.0"]]
predictor.delete_endpoint()
print("TENSORFLOW", answer)
