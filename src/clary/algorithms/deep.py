"""What algorithms on PyTorch share. Imported by their programs only: the library is an extra, and slow to load."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from .checkpoints import Tree
from .environment import UserError, gpus

_PRODUCTS = 4_000_000  # for which another thread is worth while: some 100 µs


def preload() -> None:
    """Import what torch imports only when the first optimizer is made: as much again as it is itself."""
    optimizer("adam", [nn.Parameter(torch.zeros(1))], 0.1)
    with contextlib.suppress(ImportError):
        import gensim.models  # noqa: F401  # BlazingText's word vectors


def begin(products: int) -> None:
    """Before a network is made for training: on a GPU if the job has one; the same job gives the same model.

    ``products`` are those of the largest matrix product of a step: threads that share little work cost more than they
    do.
    """
    torch.manual_seed(0)
    torch.set_num_threads(max(1, min(torch.get_num_threads(), products // _PRODUCTS)))
    if gpus() and torch.cuda.is_available():
        torch.set_default_device("cuda")


def tensor(values: np.ndarray[Any, Any]) -> torch.Tensor:
    """Numbers where the networks are."""
    return torch.from_numpy(values).to(torch.get_default_device())


def array(values: torch.Tensor) -> np.ndarray[Any, Any]:
    """Numbers from where the networks are."""
    return np.asarray(values.detach().cpu().numpy())


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
    return {name: array(value) for name, value in module.state_dict().items()}


def restore(module: nn.Module, named: dict[str, np.ndarray[Any, Any]]) -> None:
    """Put weights back; ValueError when they are those of another module."""
    try:
        module.load_state_dict({name: tensor(np.array(value)) for name, value in named.items()})
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"the weights are those of another network: {error}") from None


class Course:
    """A network on its way: its weights, its optimizers, the weights at its best, and torch's random numbers."""

    def __init__(self, network: nn.Module, *optimizers: Any):
        self._network = network
        self._optimizers = optimizers
        self._best: dict[str, np.ndarray[Any, Any]] | None = None

    def keep(self) -> None:
        """The network is at its best now."""
        self._best = {name: value.copy() for name, value in arrays(self._network).items()}

    def settle(self) -> None:
        """Be as it was at its best, if it ever was."""
        if self._best is not None:
            restore(self._network, self._best)

    def state(self) -> Tree:
        """For a checkpoint."""
        return {
            "network": arrays(self._network), "best": self._best, "random": [s.numpy() for s in _random()],
            "optimizers": [_slots(o) for o in self._optimizers],
        }  # fmt: skip

    def restore(self, state: Tree) -> None:
        """Go on."""
        try:
            restore(self._network, state["network"])
        except ValueError as error:
            raise UserError(f"The checkpoint does not fit the data of this job: {error}") from None
        self._best = state["best"]
        for setting, numbers in zip((torch.set_rng_state, torch.cuda.set_rng_state), state["random"], strict=False):
            setting(torch.from_numpy(numbers))
        for optimizer, slots in zip(self._optimizers, state["optimizers"], strict=True):
            found = {int(k): {n: _tensor(v) for n, v in each.items()} for k, each in slots.items()}
            optimizer.load_state_dict({"state": found, "param_groups": optimizer.state_dict()["param_groups"]})


def _random() -> list[torch.Tensor]:
    """What random numbers come next: the processor's, and the GPU's where there is one in use."""
    cuda = torch.get_default_device().type == "cuda"
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if cuda else [])]


def _tensor(value: Tree) -> Any:
    return tensor(np.array(value)) if isinstance(value, np.ndarray) else value


def _slots(optimizer: Any) -> Tree:
    """What an optimizer remembers of each parameter."""
    found = optimizer.state_dict()["state"]
    return {str(k): {n: array(v) if hasattr(v, "numpy") else v for n, v in each.items()} for k, each in found.items()}
