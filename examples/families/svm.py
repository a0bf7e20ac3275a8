"""A support vector machine that tells digits apart (scikit-learn)."""

import argparse
import os

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC


def main():
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--penalty", type=float, default=1.0)
    args = parser.parse_args()
    rows, labels = load_digits(return_X_y=True)
    train, test, seen, unseen = train_test_split(rows / 16, labels, test_size=0.3, random_state=0, stratify=labels)
    model = SVC(C=args.penalty, kernel="rbf").fit(train, seen)
    print(f"accuracy={model.score(test, unseen):.4f}")
    joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))


def model_fn(folder):
    """What hosting loads."""
    return joblib.load(os.path.join(folder, "model.joblib"))


if __name__ == "__main__":
    main()
