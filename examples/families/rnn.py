"""A recurrent network that reads digits line by line, top to bottom (PyTorch LSTM)."""

import argparse

import torch
from common import accuracy, digits, fit, save
from torch import nn


class Reader(nn.Module):
    """Eight lines of eight points, one a step."""

    def __init__(self, cells: int):
        super().__init__()
        self.lines = nn.LSTM(8, cells, batch_first=True)
        self.out = nn.Linear(cells, 10)

    def forward(self, rows):
        states, _ = self.lines(rows.view(-1, 8, 8))
        return self.out(states[:, -1])


def main():
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--cells", type=int, default=64)
    args = parser.parse_args()
    torch.manual_seed(0)
    train, test = digits()
    model = Reader(args.cells)
    fit(model, train, args.epochs, rate=0.005)
    print(f"accuracy={accuracy(model, test):.4f}")
    save(model, torch.zeros(1, 64))


if __name__ == "__main__":
    main()
