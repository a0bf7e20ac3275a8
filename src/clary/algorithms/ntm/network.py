"""The neural topic model: a variational autoencoder whose code is a mixture of topics.

Source: Y. Miao, L. Yu and P. Blunsom, "Neural variational inference for text processing" (2016); R. Ding, R. Nallapati
and B. Xiang, "Coherence-aware neural topic modeling" (2018).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .. import deep


class Network(nn.Module):
    """Word counts to topics, and back to the chances of words."""

    def __init__(self, words: int, topics: int, layers: list[int], activation: str, batch_norm: bool):
        super().__init__()
        parts: list[nn.Module] = []
        width = words
        for size in layers:
            parts.append(nn.Linear(width, size))
            if batch_norm:
                parts.append(nn.BatchNorm1d(size))
            parts.append(deep.activation(activation))
            width = size
        self.encoder = nn.Sequential(*parts)
        self.mean = nn.Linear(width, topics)
        self.spread = nn.Linear(width, topics)  # the logarithm of the variance
        self.projection = nn.Linear(topics, words)

    def forward(self, counts: Any) -> tuple[Any, Any]:
        """For each document the loss of its words and the divergence of its code, per word."""
        total = counts.sum(dim=1).clamp(min=1)
        code = self.encoder(counts / total[:, None])
        mean, spread = self.mean(code), self.spread(code).clamp(-10, 10)
        drawn = mean + torch.randn_like(mean) * torch.exp(spread / 2) if self.training else mean
        chances = torch.log_softmax(self.projection(torch.softmax(drawn, dim=1)), dim=1)
        words = -(counts * chances).sum(dim=1) / total
        divergence = 0.5 * (mean**2 + spread.exp() - spread - 1).sum(dim=1) / total
        return words, divergence

    def topics(self, counts: Any) -> Any:
        """Each document's weights of topics."""
        total = counts.sum(dim=1).clamp(min=1)
        return torch.softmax(self.mean(self.encoder(counts / total[:, None])), dim=1)
