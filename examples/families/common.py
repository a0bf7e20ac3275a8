"""What the scripts of this folder share: data that ships with scikit-learn, a loop, TorchScript."""

import os

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


def digits():
    """Pictures of 8 by 8 points as rows, and what they show: to learn from, and to test with."""
    rows, labels = load_digits(return_X_y=True)
    found = train_test_split(rows / 16, labels, test_size=0.3, random_state=0, stratify=labels)
    train, test, seen, unseen = (torch.tensor(part) for part in found)
    return (train.float(), seen), (test.float(), unseen)


def fit(model, data, epochs, rate, batch=64):
    """Learn to tell labels."""
    rows, labels = data
    steps = torch.optim.Adam(model.parameters(), rate)
    model.train()
    for epoch in range(epochs):
        for chosen in torch.randperm(len(rows)).split(batch):
            loss = nn.functional.cross_entropy(model(rows[chosen]), labels[chosen])
            steps.zero_grad()
            loss.backward()
            steps.step()
        print(f"epoch={epoch} loss={float(loss.detach()):.4f}", flush=True)


@torch.no_grad()
def accuracy(model, data):
    """The part of labels that is told right."""
    model.eval()
    rows, labels = data
    return float((model(rows).argmax(dim=1) == labels).float().mean())


def save(model, example):
    """Leave a model that is served without a script."""
    model.eval()
    torch.backends.mha.set_fastpath_enabled(False)  # a trace has to be the same every time
    torch.jit.trace(model, example).save(os.path.join(os.environ["SM_MODEL_DIR"], "model.pt"))
