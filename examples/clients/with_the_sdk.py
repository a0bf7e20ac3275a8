"""From outside, with the SageMaker SDK: the profile of the user who may only predict."""

import json
from pathlib import Path

import boto3
import features
import sagemaker
import tables
from sagemaker.deserializers import CSVDeserializer
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer

model = json.loads(Path("model-bike.json").read_text())
session = sagemaker.Session(boto3.Session(profile_name="ml_user_predict"))
predictor = Predictor(
    model["endpoint"], sagemaker_session=session, serializer=CSVSerializer(), deserializer=CSVDeserializer()
)
rows = tables.rentals(300, seed=2)
answer = predictor.predict([features.encode(model["schema"], model["scales"], row) for row in rows])
predictions = [float(value) for line in answer for value in line]
errors = [abs(p - row["count"]) for p, row in zip(predictions, rows, strict=True)]
mean = sum(row["count"] for row in rows) / len(rows)
naive = sum(abs(mean - row["count"]) for row in rows)
print(
    f"SDK: {len(rows)} hours, mean error {sum(errors) / len(rows):.1f} bicycles, {sum(errors) / naive:.0%} of guessing"
)
