"""Words and numbers to predictions: a scikit-learn job learns one-hot encoding and scaling, XGBoost learns from what it
makes, and both stand behind one endpoint that takes raw rows.

Plain SageMaker Python SDK (v2) code; the script is ``examples/preprocessing/featurizer.py``. The table has the form of
the bank marketing data of UCI and is made here.
"""

import io
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import sagemaker
from sagemaker.deserializers import CSVDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.pipeline import PipelineModel
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer
from sagemaker.sklearn import SKLearn

WORDS, NUMBERS = ["job", "marital", "contact"], ["age", "balance", "duration"]
session, role = sagemaker.Session(), sagemaker.get_execution_role()
bucket, stamp = session.default_bucket(), f"{time.time():.0f}"
common = {"role": role, "instance_type": "ml.m5.large", "instance_count": 1, "sagemaker_session": session}

random, count = np.random.default_rng(0), 3000
table = pd.DataFrame(
    {
        "job": random.choice(["student", "technician", "retired", "manager"], count),
        "marital": random.choice(["single", "married"], count),
        "contact": random.choice(["cellular", "telephone"], count),
        "age": random.integers(18, 80, count),
        "balance": random.normal(1500, 900, count).round(),
        "duration": random.exponential(250, count).round(),
    }
)
inclined = (table.job == "student") * 1.5 + (table.job == "retired") + (table.contact == "cellular") * 0.8
inclined += (table.duration - 250) / 150 + (table.balance - 1500) / 1500
table["deposit"] = np.where(inclined + random.logistic(0, 0.5, count) > 1.5, "yes", "no")
train, test = table[:2500], table[2500:]

folder = Path(tempfile.mkdtemp())
train.to_csv(folder / "bank.csv", index=False)
raw = session.upload_data(str(folder / "bank.csv"), bucket, f"{stamp}/raw")
featurizer = SKLearn(
    entry_point="featurizer.py",
    source_dir=str(Path(__file__).with_name("preprocessing")),
    framework_version="1.2-1",
    **common,
)
featurizer.fit({"train": raw.rpartition("/")[0]}, logs=False)
print("✓ the transformation is learnt")

output = featurizer.model_data.replace("model.tar.gz", "output.tar.gz")
packed = sagemaker.s3.S3Downloader.read_bytes(output, sagemaker_session=session)
with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
    (folder / "train.csv").write_bytes(archive.extractfile("train.csv").read())
made = session.upload_data(str(folder / "train.csv"), bucket, f"{stamp}/made")
booster = Estimator(sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1"), **common)
booster.set_hyperparameters(objective="binary:logistic", num_round=60, max_depth=4, eta=0.2)
booster.fit({"train": TrainingInput(made, content_type="text/csv")}, logs=False)
print("✓ the booster is trained on what it makes")

name = f"raw-rows-{stamp}"
pipeline = PipelineModel(
    [featurizer.create_model(), booster.create_model()], role, name=name, sagemaker_session=session
)
pipeline.deploy(1, "ml.m5.large", endpoint_name=name)
predictor = Predictor(name, session, CSVSerializer(), CSVDeserializer())
answers = predictor.predict(test[WORDS + NUMBERS].to_csv(index=False, header=False))
chances = np.array([float(row[0]) for row in answers])
right = float(((chances > 0.5) == (test.deposit == "yes")).mean())
print(f"✓ the endpoint takes raw rows and is right for {right:.1%} of {len(test)}")
assert right > 0.8
predictor.delete_endpoint()
