"""The network: a recurrent one that is told the past and the calendar, and answers with a distribution for each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import softplus

_PARAMETERS = {"gaussian": 2, "beta": 2, "negative-binomial": 2, "student-T": 3, "deterministic-L1": 1}


class Network(nn.Module):
    """Shapes: values [rows, steps], inputs [rows, steps, features]."""

    def __init__(
        self, inputs: int, cardinality: list[int], width: int, cells: int, layers: int, dropout: float, likelihood: str
    ):
        super().__init__()
        self.likelihood = likelihood
        self.categories = nn.ModuleList(nn.Embedding(c, min(width, (c + 1) // 2 + 1)) for c in cardinality)
        total = inputs + sum(min(width, (c + 1) // 2 + 1) for c in cardinality) + 2
        self.recurrent = nn.ModuleList(nn.LSTM(cells if i else total, cells, batch_first=True) for i in range(layers))
        self._kept = 1 - dropout
        self.out = nn.Linear(cells, _PARAMETERS[likelihood])

    def context(self, categories: Any, level: Any, scale: Any) -> Any:
        """What does not change with time [rows, features]."""
        parts = [e(categories[:, i]) for i, e in enumerate(self.categories)]
        size = torch.log1p(level.abs()), torch.log(scale)
        return torch.cat([*parts, *(v[:, None] for v in size)], dim=1)

    def forward(
        self, inputs: Any, context: Any, state: list[Any] | None = None, random: torch.Generator | None = None
    ) -> tuple[Any, list[Any]]:
        """Parameters of the distribution [rows, steps, parameters] of scaled values, and each layer's state after the last.

        With random numbers some cells are dropped, as for learning: between layers, behind a single one.
        """
        steps = context[:, None, :].expand(-1, inputs.shape[1], -1)
        found, states = torch.cat([inputs, steps], dim=2), []
        for number, layer in enumerate(self.recurrent):
            found, after = layer(
                self._drop(found, random) if number else found, None if state is None else state[number]
            )
            states.append(after)
        return self.out(self._drop(found, random) if len(states) == 1 else found), states

    def _drop(self, found: Any, random: torch.Generator | None) -> Any:
        if random is None or self._kept == 1:
            return found
        return found * (torch.empty_like(found).bernoulli_(self._kept, generator=random) / self._kept)

    def loss(self, raw: Any, values: Any, scale: Any) -> Any:
        """The negative logarithm of the likelihood of scaled values (counts: as they are), step by step."""
        if self.likelihood == "deterministic-L1":
            return (raw[..., 0] - values).abs()
        return -self.distribution(raw, scale).log_prob(values)

    def distribution(self, raw: Any, scale: Any) -> Any:
        """Of scaled values; of counts as they are, whose mean is scaled instead."""
        if self.likelihood == "gaussian":
            return torch.distributions.Normal(raw[..., 0], softplus(raw[..., 1]) + 1e-4, validate_args=False)
        if self.likelihood == "student-T":
            freedom, spread = 2 + softplus(raw[..., 2]), softplus(raw[..., 1]) + 1e-4
            return torch.distributions.StudentT(freedom, raw[..., 0], spread, validate_args=False)
        if self.likelihood == "beta":
            first, second = softplus(raw[..., 0]) + 1e-3, softplus(raw[..., 1]) + 1e-3
            return torch.distributions.Beta(first, second, validate_args=False)
        mean, spread = scale * softplus(raw[..., 0]) + 1e-4, softplus(raw[..., 1]) / torch.sqrt(scale) + 1e-4
        return _NegativeBinomial(mean, spread)

    def draw(self, raw: Any, scale: Any) -> Any:
        """A sample of scaled values, or of counts as they are."""
        if self.likelihood == "deterministic-L1":
            return raw[..., 0]
        return self.distribution(raw, scale).sample()


class _NegativeBinomial:
    """Counts by mean and shape (the variance is mean + shape * mean²); counts are not scaled."""

    def __init__(self, mean: Any, shape: Any):
        self._total = 1 / shape
        self._logits = torch.log(mean * shape)

    def log_prob(self, values: Any) -> Any:
        return torch.distributions.NegativeBinomial(self._total, logits=self._logits, validate_args=False).log_prob(
            values
        )

    def sample(self) -> Any:
        return torch.distributions.NegativeBinomial(self._total, logits=self._logits).sample()
