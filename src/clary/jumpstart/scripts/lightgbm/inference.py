"""Serve LightGBM."""

import os

import joblib
import tabular


def model_fn(folder):
    """The booster, and its classes."""
    return joblib.load(os.path.join(folder, "model.pkl")), tabular.classes_of(folder)


def transform_fn(model, body, content_type, accept):
    """Rows to probabilities or values."""
    booster, classes = model
    return tabular.answer(booster.predict(tabular.asked(body, content_type)), classes, accept)
