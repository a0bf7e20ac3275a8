"""What algorithms on PyTorch share. Imported by their programs only: the library is an extra, and slow to load."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import nn

from .checkpoints import Tree
from .environment import UserError, gpus

_PRODUCTS = 4_000_000  # for which another thread is worth while: some 100 µs
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 32 << 20  # the most that glibc takes
_SMALLEST_SHARE, _MOST_SHARES = 64, 8  # rows of a recurrent network: as fast one after another as all at once


def preload() -> None:
    """Import what torch imports only when the first optimizer is made: as much again as it is itself."""
    optimizer("adam", [nn.Parameter(torch.zeros(1))], 0.1)
    with contextlib.suppress(ImportError):
        import gensim.models  # noqa: F401  # BlazingText's word vectors


def begin(products: int = 0) -> None:
    """Before a network is made for training: on a GPU if the job has one; the same job gives the same model.

    ``products`` are those of the largest matrix product of a step: threads that share little work cost more than they
    do. With none torch has a single thread; ``Shares`` bring their own.
    """
    torch.manual_seed(0)
    _keep_memory()
    torch.set_num_threads(max(1, min(torch.get_num_threads(), products // _PRODUCTS)))
    if gpus() and torch.cuda.is_available():
        torch.set_default_device("cuda")


def _keep_memory() -> None:
    """Have glibc keep what a step frees for the next: else each large tensor is made of fresh pages, one fault each."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES * 32)


def _on_gpu() -> bool:
    return torch.get_default_device().type == "cuda"


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
    # one pass over all weights: torch's default visits each in Python, Adam for 770 µs instead of 40 with 12 of them
    fused = name in ("sgd", "adam") or (name == "adagrad" and not _on_gpu())  # where there is such a pass
    options: dict[str, Any] = {"fused" if fused else "foreach": True}
    options |= {"rho": 0.95, "eps": 1e-5} if name == "adadelta" else {}
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


class Batch(Protocol):
    """Rows of which some can be taken."""

    def __getitem__(self, rows: slice, /) -> Self: ...


B = TypeVar("B", bound=Batch)


class Shares:
    """Shares of a batch, each learned from by a thread of its own; their gradients are added in order.

    Torch's own threads meet after each small step, and where something else wants a core, all of them wait for it. What
    the shares are follows from the size of the batch and not from the machine: the same job gives the same model.
    """

    def __init__(self, network: nn.Module, size: int):
        self._weights = list(network.parameters())
        count = 1 if _on_gpu() else max(1, min(_MOST_SHARES, size // _SMALLEST_SHARE))
        self._bounds = [size * i // count for i in range(count + 1)]
        self._threads = ThreadPoolExecutor(count) if count > 1 else None

    def learn(self, batch: B, loss: Callable[[B, torch.Generator], torch.Tensor]) -> float:
        """Leave the gradients of the shares' losses' sum at the weights; that sum. The losses draw from what they are given."""
        seeds = torch.randint(1 << 62, (len(self._bounds) - 1,)).tolist()

        def share(number: int) -> tuple[float, tuple[torch.Tensor, ...]]:
            random = torch.Generator(torch.get_default_device()).manual_seed(seeds[number])
            part = loss(batch[self._bounds[number] : self._bounds[number + 1]], random)
            return float(part.detach()), torch.autograd.grad(part, self._weights)

        found = (self._threads.map if self._threads is not None else map)(share, range(len(seeds)))
        losses, gradients = zip(*found, strict=True)
        for weight, each in zip(self._weights, zip(*gradients, strict=True), strict=True):
            weight.grad = sum(each[1:], each[0])
        return float(sum(losses))


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
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if _on_gpu() else [])]


def _tensor(value: Tree) -> Any:
    return tensor(np.array(value)) if isinstance(value, np.ndarray) else value


def _slots(optimizer: Any) -> Tree:
    """What an optimizer remembers of each parameter."""
    found = optimizer.state_dict()["state"]
    return {str(k): {n: array(v) if hasattr(v, "numpy") else v for n, v in each.items()} for k, each in found.items()}
