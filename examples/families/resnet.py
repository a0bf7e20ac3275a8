"""A small residual network for pictures of digits (PyTorch)."""

import argparse

import torch
from common import accuracy, digits, fit, save
from torch import nn


class Block(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, pictures):
        return torch.relu(pictures + self.second(self.first(pictures)))


class ResNet(nn.Module):
    """Two blocks, the mean over the picture, ten scores."""

    def __init__(self, width: int):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(Block(width), nn.MaxPool2d(2), Block(width))
        self.out = nn.Linear(width, 10)

    def forward(self, rows):
        return self.out(self.blocks(self.stem(rows.view(-1, 1, 8, 8))).mean(dim=(2, 3)))


def main():
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--width", type=int, default=16)
    args = parser.parse_args()
    torch.manual_seed(0)
    train, test = digits()
    model = ResNet(args.width)
    fit(model, train, args.epochs, rate=0.01)
    print(f"accuracy={accuracy(model, test):.4f}")
    save(model, torch.zeros(1, 64))


if __name__ == "__main__":
    main()
