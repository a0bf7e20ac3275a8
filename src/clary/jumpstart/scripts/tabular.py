"""What the packaged scripts share: tables without a header whose first column is the target, and answers in JSON.

Data contract: the SageMaker developer guide, "Input and output interface" of the tabular algorithms.
"""

import argparse
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np

CLASSES, COLUMNS, TASK = "classes.json", "columns.json", "task.txt"


def hyperparameters(**defaults):
    """The job's, typed as the defaults are."""
    parser = argparse.ArgumentParser()
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    found, _ = parser.parse_known_args()
    return vars(found)


def is_true(text):
    """A yes in any spelling."""
    return str(text).lower() in ("true", "1")


def regression():
    """Whether values are to be predicted, or classes: the archive that the script came in says so."""
    return Path(__file__).with_name(TASK).read_text().strip() == "regression"


def tables():
    """Rows to learn from and rows to judge by: (features, target) each, and the categorical columns, from 0."""
    folder = Path(
        os.environ.get("SM_CHANNEL_TRAINING") or os.environ.get("SM_CHANNEL_TRAIN") or "/opt/ml/input/data/training"
    )
    train = next((folder / n for n in ("train", "training") if (folder / n).is_dir()), folder)
    held_out = folder / "validation"
    if "SM_CHANNEL_VALIDATION" in os.environ:
        held_out = Path(os.environ["SM_CHANNEL_VALIDATION"])
    rows = _rows(train)
    if held_out.is_dir():
        other = _rows(held_out)
    else:
        order = np.random.default_rng(0).permutation(len(rows))
        cut = max(1, len(rows) // 5)
        rows, other = rows[order[cut:]], rows[order[:cut]]
    if rows.shape[1] != other.shape[1]:
        raise ValueError(f"training rows have {rows.shape[1]} columns, validation rows {other.shape[1]}")
    listed = [p for p in (train / "categorical_index.json", folder / "categorical_index.json") if p.is_file()]
    categorical = [int(i) - 1 for i in json.loads(listed[0].read_text())["cat_index_list"]] if listed else []
    return (rows[:, 1:], rows[:, 0]), (other[:, 1:], other[:, 0]), categorical


def _rows(folder):
    paths = sorted(
        p for p in folder.rglob("*") if p.is_file() and p.suffix in (".csv", "") and not p.name.startswith(".")
    )
    parts = [np.genfromtxt(p, delimiter=",", ndmin=2) for p in paths if p.stat().st_size]
    if not parts:
        raise FileNotFoundError(f"there are no CSV files below {folder}")
    rows = np.concatenate(parts)
    if np.isnan(rows[:, 0]).any():
        line = int(np.isnan(rows[:, 0]).argmax()) + 1
        raise ValueError(f"row {line} below {folder} has no number as its target; the files must have no header")
    return rows


def numbered(target, other):
    """Classes as numbers from 0 on, and what they are called."""
    classes = np.unique(np.concatenate([target, other]))
    return np.searchsorted(classes, target), np.searchsorted(classes, other), classes.tolist()


def keep_code(model_folder, classes, columns):
    """Put what serves the model beside it: the archive is hosted as it is."""
    code = Path(model_folder) / "code"
    code.mkdir(exist_ok=True)
    for path in Path(__file__).parent.glob("*"):
        if path.suffix in (".py", ".txt") and path.name != "transfer_learning.py":
            shutil.copy(path, code)
    (Path(model_folder) / CLASSES).write_text(json.dumps(classes))
    (Path(model_folder) / COLUMNS).write_text(json.dumps(columns))


def classes_of(folder):
    """What the classes are called; None for a regression."""
    return json.loads((Path(folder) / CLASSES).read_text())


def asked(body, content_type):
    """The rows of a request, without a target."""
    if content_type.partition(";")[0].strip() != "text/csv":
        raise ValueError(f"{content_type} is not supported; send text/csv")
    return np.genfromtxt(io.StringIO(body if isinstance(body, str) else body.decode()), delimiter=",", ndmin=2)


def answer(found, classes, accept):
    """Probabilities of classes, or values; ``application/json;verbose`` adds the labels."""
    if classes is None:
        return json.dumps({"prediction": np.ravel(found).tolist()}), "application/json"
    found = np.asarray(found)
    if found.ndim == 1:
        found = np.column_stack([1 - found, found])
    row = {"probabilities": found.tolist()}
    if "verbose" in accept:
        row |= {"labels": classes, "predicted_label": [classes[i] for i in found.argmax(axis=1)]}
    return json.dumps(row), "application/json"
