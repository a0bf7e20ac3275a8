"""Serve AutoGluon."""

import json
import os

import autogluon_table
import tabular
from autogluon.tabular import TabularPredictor


def model_fn(folder):
    """The ensemble, in memory, with its classes and categorical columns."""
    predictor = TabularPredictor.load(folder, verbosity=0)
    predictor.persist()
    with open(os.path.join(folder, tabular.COLUMNS)) as file:
        return predictor, tabular.classes_of(folder), json.load(file)["categorical"]


def transform_fn(model, body, content_type, accept):
    """Rows to probabilities or values."""
    predictor, classes, categorical = model
    table = autogluon_table.frame(tabular.asked(body, content_type), categorical)
    found = predictor.predict(table) if classes is None else predictor.predict_proba(table)
    return tabular.answer(found.to_numpy(), classes, accept)
