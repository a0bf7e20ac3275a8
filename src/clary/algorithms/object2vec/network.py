"""Two encoders, a comparison of what they make, and layers that tell from it how the two belong together.

Source: the SageMaker developer guide, "How Object2Vec works".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .. import deep
from ..hyperparameters import Params

_SPREAD = 0.1  # of token vectors at the beginning; wider ones are learnt by heart


class Encoder(nn.Module):
    """Token sequences [rows, length], padded with -1, to vectors [rows, size]."""

    def __init__(self, tokens: nn.Embedding, network: str, layers: int, width: int, size: int, dropout: float):
        super().__init__()
        self.tokens = tokens
        self.network = network
        inner = tokens.embedding_dim
        self.dropout = nn.Dropout(dropout)
        if network == "hcnn":
            self.layers = nn.ModuleList(
                nn.Conv1d(inner if i == 0 else size, size, width, padding=width // 2) for i in range(layers)
            )
            inner = size * layers
        elif network == "bilstm":
            self.recurrent = nn.LSTM(inner, size, layers, batch_first=True, bidirectional=True)
            inner = 2 * size
        self.out = nn.Linear(inner, size)

    def forward(self, sequences: Any) -> Any:
        present = (sequences >= 0).unsqueeze(2)
        vectors = self.dropout(self.tokens(sequences.clamp(min=0)) * present)
        if self.network == "hcnn":
            return self.out(self._convolved(vectors, present))
        if self.network == "bilstm":
            vectors, _ = self.recurrent(vectors)
            return self.out(_largest(vectors, present))
        return self.out((vectors * present).sum(dim=1) / present.sum(dim=1).clamp(min=1))

    def _convolved(self, vectors: Any, present: Any) -> Any:
        """Each layer's largest values, side by side: words, phrases, sentences."""
        found, rows = [], vectors.transpose(1, 2)
        for layer in self.layers:
            rows = torch.relu(layer(rows)[:, :, : vectors.shape[1]])
            found.append(_largest(rows.transpose(1, 2), present))
        return torch.cat(found, dim=1)


def _largest(vectors: Any, present: Any) -> Any:
    return vectors.masked_fill(~present, -1e4).amax(dim=1)


class Network(nn.Module):
    """The whole."""

    def __init__(self, params: Params):
        super().__init__()
        size = params["enc_dim"]
        self.first = _encoder(params, "enc0", None)
        shared = self.first.tokens if params["tied_token_embedding_weight"] else None
        self.second = _encoder(params, "enc0" if params["enc1_network"] == "enc0" else "enc1", shared)
        self.comparators = params["comparator_list"]
        width = sum(2 * size if name == "concat" else size for name in self.comparators)
        parts: list[nn.Module] = []
        for _ in range(params["mlp_layers"]):
            parts += (nn.Linear(width, params["mlp_dim"]), deep.activation(params["mlp_activation"]))
            width = params["mlp_dim"]
        outputs = params["num_classes"] if params["output_layer"] == "softmax" else 1
        self.judge = nn.Sequential(*parts, nn.Linear(width, outputs))

    def forward(self, first: Any, second: Any) -> Any:
        """Scores [rows, classes], or [rows, 1] of a regression."""
        a, b = self.first(first), self.second(second)
        return self.judge(torch.cat([_compared(name, a, b) for name in self.comparators], dim=1))


def _compared(name: str, a: Any, b: Any) -> Any:
    if name == "hadamard":
        return a * b
    return torch.cat([a, b], dim=1) if name == "concat" else (a - b).abs()


def _encoder(params: Params, side: str, shared: Any) -> Encoder:
    network = params[f"{side}_network"]
    layers = params[f"{side}_layers"] or (4 if network == "hcnn" else 1)
    tokens = shared
    if tokens is None:
        tokens = nn.Embedding(params[f"{side}_vocab_size"], params[f"{side}_token_embedding_dim"])
        nn.init.normal_(tokens.weight, 0, _SPREAD)
    return Encoder(tokens, network, layers, params[f"{side}_cnn_filter_width"], params["enc_dim"], params["dropout"])
