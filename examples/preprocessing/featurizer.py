"""One-hot columns and scaled numbers: learnt in a training job, applied to training data and to requests alike."""

import argparse
import io
import os

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

WORDS = ["job", "marital", "contact"]
NUMBERS = ["age", "balance", "duration"]
LABEL = "deposit"


def main():
    """Learn the transformation, and write the training data in its new form for the next job."""
    argparse.ArgumentParser().parse_known_args()
    table = pd.read_csv(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "bank.csv"))
    made = ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
            ("numbers", StandardScaler(), NUMBERS),
        ]
    )
    features = made.fit_transform(table[WORDS + NUMBERS])
    rows = np.column_stack([table[LABEL] == "yes", features])
    np.savetxt(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "train.csv"), rows, delimiter=",", fmt="%g")
    print(f"features={features.shape[1]}")
    joblib.dump(made, os.path.join(os.environ["SM_MODEL_DIR"], "featurizer.joblib"))


def model_fn(folder):
    """What hosting loads."""
    return joblib.load(os.path.join(folder, "featurizer.joblib"))


def input_fn(body, content_type):
    """Raw rows of a request: the six columns, without the label."""
    if not content_type.startswith("text/csv"):
        raise ValueError(f"{content_type} is not served; send text/csv")
    return pd.read_csv(io.StringIO(body), header=None, names=WORDS + NUMBERS)


def predict_fn(table, model):
    """The same transformation as in training."""
    return model.transform(table)


def output_fn(rows, accept):
    """CSV for the model that comes next."""
    return "\n".join(",".join(f"{value:g}" for value in row) for row in rows), "text/csv"


if __name__ == "__main__":
    main()
