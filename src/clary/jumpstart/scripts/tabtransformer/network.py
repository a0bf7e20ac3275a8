"""Categories that look at each other, beside numbers.

Source: X. Huang, A. Khetan, M. Cvitkovic and Z. Karnin, "TabTransformer: Tabular data modeling using contextual
embeddings" (2020).
"""

import torch
from torch import nn


class TabTransformer(nn.Module):
    """Logits of classes, or one value. ``sizes`` are the numbers of categories of each categorical column.

    Numbers come scaled; the paper's layer normalisation would take away how far a row as a whole is from the mean.
    """

    def __init__(self, sizes, numbers, outputs, width, blocks, attention_dropout, dropout, shared):
        super().__init__()
        self.common = max(1, int(width * shared)) if sizes else 0
        self.columns = nn.Parameter(torch.randn(len(sizes), self.common) * 0.02)
        self.categories = nn.ModuleList(nn.Embedding(size + 1, width - self.common) for size in sizes)
        layer = nn.TransformerEncoderLayer(
            width, 8 if width % 8 == 0 else 4, 4 * width, attention_dropout, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, blocks, enable_nested_tensor=False) if sizes else None
        wide = len(sizes) * width + numbers
        self.head = nn.Sequential(
            nn.Linear(wide, 4 * wide), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * wide, 2 * wide), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(2 * wide, outputs),
        )  # fmt: skip

    def forward(self, categories, numbers):
        """[rows, categorical columns] and [rows, numeric columns]."""
        parts = []
        if self.layers is not None:
            found = torch.stack([e(categories[:, i]) for i, e in enumerate(self.categories)], dim=1)
            names = self.columns[None].expand(len(categories), -1, -1)
            parts.append(self.layers(torch.cat([names, found], dim=2)).flatten(1))
        return self.head(torch.cat([*parts, numbers], dim=1))


def split(rows, described):
    """Rows as category numbers and scaled numbers; a category that was not seen in training has one number more."""
    categories = torch.zeros((len(rows), len(described["categorical"])), dtype=torch.int64)
    for place, (column, known) in enumerate(zip(described["categorical"], described["known"], strict=True)):
        found = {value: i for i, value in enumerate(known)}
        categories[:, place] = torch.tensor([found.get(float(v), len(known)) for v in rows[:, column]])
    numeric = torch.tensor(rows[:, described["numeric"]], dtype=torch.float32)
    mean, deviation = (torch.tensor(described[n], dtype=torch.float32) for n in ("mean", "deviation"))
    return categories, torch.nan_to_num((numeric - mean) / deviation)


def made(described):
    """The network that a description is of."""
    sizes = [len(known) for known in described["known"]]
    return TabTransformer(sizes, len(described["numeric"]), described["outputs"], *described["shape"])
