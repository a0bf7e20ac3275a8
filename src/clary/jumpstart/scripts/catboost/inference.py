"""Serve CatBoost."""

import json
import os

import catboost
import tabular


def model_fn(folder):
    """The model, its classes and its categorical columns."""
    classes = tabular.classes_of(folder)
    model = catboost.CatBoostRegressor() if classes is None else catboost.CatBoostClassifier()
    model.load_model(os.path.join(folder, "model"))
    with open(os.path.join(folder, tabular.COLUMNS)) as file:
        return model, classes, json.load(file)["categorical"]


def transform_fn(model, body, content_type, accept):
    """Rows to probabilities or values."""
    library, classes, categorical = model
    rows = tabular.asked(body, content_type)
    if categorical:
        made = rows.astype(object)
        for i in categorical:
            made[:, i] = [f"{v:g}" for v in rows[:, i]]
        rows = made
    found = library.predict(rows) if classes is None else library.predict_proba(rows)
    return tabular.answer(found, classes, accept)
