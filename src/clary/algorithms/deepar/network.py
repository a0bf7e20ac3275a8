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
        self.recurrent = nn.LSTM(total, cells, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout if layers == 1 else 0.0)  # several layers have it between them
        self.out = nn.Linear(cells, _PARAMETERS[likelihood])

    def context(self, categories: Any, level: Any, scale: Any) -> Any:
        """What does not change with time [rows, features]."""
        parts = [e(categories[:, i]) for i, e in enumerate(self.categories)]
        size = torch.log1p(level.abs()), torch.log(scale)
        return torch.cat([*parts, *(v[:, None] for v in size)], dim=1)

    def forward(self, inputs: Any, context: Any, state: Any = None) -> tuple[Any, Any]:
        """Parameters of the distribution [rows, steps, parameters] of scaled values, and the state after the last."""
        steps = context[:, None, :].expand(-1, inputs.shape[1], -1)
        found, state = self.recurrent(torch.cat([inputs, steps], dim=2), state)
        return self.out(self.dropout(found)), state

    def loss(self, raw: Any, values: Any, scale: Any) -> Any:
        """The negative logarithm of the likelihood of scaled values (counts: as they are), step by step."""
        if self.likelihood == "deterministic-L1":
            return (raw[..., 0] - values).abs()
        return -self.distribution(raw, scale).log_prob(values)

    def distribution(self, raw: Any, scale: Any) -> Any:
        """Of scaled values; of counts as they are, whose mean is scaled instead."""
        if self.likelihood == "gaussian":
            return torch.distributions.Normal(raw[..., 0], softplus(raw[..., 1]) + 1e-4)
        if self.likelihood == "student-T":
            return torch.distributions.StudentT(2 + softplus(raw[..., 2]), raw[..., 0], softplus(raw[..., 1]) + 1e-4)
        if self.likelihood == "beta":
            return torch.distributions.Beta(softplus(raw[..., 0]) + 1e-3, softplus(raw[..., 1]) + 1e-3)
        mean, shape = scale * softplus(raw[..., 0]) + 1e-4, softplus(raw[..., 1]) / torch.sqrt(scale) + 1e-4
        return _NegativeBinomial(mean, shape)

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
