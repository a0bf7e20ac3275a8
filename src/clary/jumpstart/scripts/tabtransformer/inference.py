"""Serve TabTransformer."""

import json
import os

import tabular
import torch
from network import made, split


def model_fn(folder):
    """The network, its classes and what it is made of."""
    with open(os.path.join(folder, tabular.COLUMNS)) as file:
        described = json.load(file)
    model = made(described)
    model.load_state_dict(torch.load(os.path.join(folder, "weights.pth"), weights_only=True))
    return model.eval(), tabular.classes_of(folder), described


def transform_fn(model, body, content_type, accept):
    """Rows to probabilities or values."""
    network, classes, described = model
    with torch.no_grad():
        found = network(*split(tabular.asked(body, content_type), described))
    if classes is None:
        return tabular.answer(found[:, 0].numpy() * described["spread"] + described["level"], None, accept)
    return tabular.answer(torch.softmax(found, dim=1).numpy(), classes, accept)
