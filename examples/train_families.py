"""Train a model of each family in script mode – a support vector machine, a recurrent and a residual network, a GAN, an
encoder, a decoder –, deploy two of them and ask them.

Plain SageMaker Python SDK (v2) code; the scripts are in ``examples/families``.
"""

from pathlib import Path

import numpy as np
import sagemaker
from sagemaker.pytorch import PyTorch
from sagemaker.sklearn import SKLearn
from sklearn.datasets import load_digits

FOLDER = str(Path(__file__).with_name("families"))
session, role = sagemaker.Session(), sagemaker.get_execution_role()
common = {
    "source_dir": FOLDER,
    "role": role,
    "instance_type": "ml.m5.large",
    "instance_count": 1,
    "sagemaker_session": session,
}
NUMBER = r"([0-9.]+)"


def trained(kind, script, metric, least=None, most=None, **hyperparameters):
    """A job that reached what it should."""
    version = {"framework_version": "1.2-1"} if kind is SKLearn else {"framework_version": "2.5", "py_version": "py311"}
    estimator = kind(
        entry_point=f"{script}.py", hyperparameters=hyperparameters, base_job_name=script,
        metric_definitions=[{"Name": metric, "Regex": f"^{metric}={NUMBER}"}], **version, **common,
    )  # fmt: skip
    estimator.fit(logs=False)
    job = session.describe_training_job(estimator.latest_training_job.name)
    value = next(m["Value"] for m in job["FinalMetricDataList"] if m["MetricName"] == metric)
    print(f"{script:<8} {metric} {value:.3f}  ({job['TrainingTimeInSeconds']} s)", flush=True)
    assert (least is None or value >= least) and (most is None or value <= most), (script, value)
    return estimator


svm = trained(SKLearn, "svm", "accuracy", least=0.97, penalty=5)
rnn = trained(PyTorch, "rnn", "accuracy", least=0.9)
resnet = trained(PyTorch, "resnet", "accuracy", least=0.95)
gan = trained(PyTorch, "gan", "distance", most=0.7)
encoder = trained(PyTorch, "encoder", "accuracy", least=0.6)
decoder = trained(PyTorch, "decoder", "loss", most=2.8)

rows, labels = load_digits(return_X_y=True)
for name, estimator in (("svm", svm), ("resnet", resnet)):
    predictor = estimator.deploy(1, "ml.m5.large")
    answers = np.asarray(predictor.predict((rows[:100] / 16).astype("float32")))
    told = answers if answers.ndim == 1 else answers.argmax(axis=1)
    predictor.delete_endpoint()
    right = float((told == labels[:100]).mean())
    print(f"{name} endpoint tells {right:.0%} of 100 digits", flush=True)
    assert right > 0.9
