"""What algorithms on PyTorch share. Imported by their programs only: the library is an extra, and slow to load."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn


def seeded() -> None:
    """The same job gives the same model."""
    torch.manual_seed(0)


def optimizer(name: str, weights: Iterable[Any], rate: float, decay: float = 0.0) -> Any:
    """By AWS's name. Adadelta takes no learning rate where these algorithms come from, so its own is 1."""
    made: dict[str, Any] = {
        "sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad,
        "rmsprop": torch.optim.RMSprop, "adadelta": torch.optim.Adadelta,
    }  # fmt: skip
    options: dict[str, Any] = {"rho": 0.95, "eps": 1e-5} if name == "adadelta" else {}
    return made[name](weights, lr=1.0 if name == "adadelta" else rate, weight_decay=decay, **options)


def activation(name: str) -> nn.Module:
    """By AWS's name."""
    return {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "linear": nn.Identity}[name]()


def arrays(module: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    """A module's weights and buffers by name."""
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def restore(module: nn.Module, named: dict[str, np.ndarray[Any, Any]]) -> None:
    """Put weights back; ValueError when they are those of another module."""
    try:
        module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in named.items()})
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"the weights are those of another network: {error}") from None


class Patience:
    """Whether something still gets better: by more than ``tolerance`` of itself, at least every so many looks."""

    def __init__(self, looks: int, tolerance: float):
        self._looks = looks
        self._tolerance = tolerance
        self.best = np.inf
        self._waited = 0

    def better(self, value: float) -> bool:
        """Take a value, of which less is better; whether it is the best so far."""
        if value < self.best - self._tolerance * abs(self.best if np.isfinite(self.best) else 0.0):
            self.best, self._waited = value, 0
            return True
        self._waited += 1
        return False

    @property
    def over(self) -> bool:
        """Whether it has not got better for too long."""
        return self._waited >= self._looks
