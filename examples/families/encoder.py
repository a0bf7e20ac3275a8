"""A tiny BERT-like encoder: it learns to fill in hidden letters, then to classify texts (PyTorch)."""

import argparse

import torch
from common import save
from texts import docstrings
from torch import nn

LENGTH, MASK, LETTERS = 64, 127, 128


class Encoder(nn.Module):
    """Letters that look at all others, in both directions."""

    def __init__(self, width: int):
        super().__init__()
        self.letters = nn.Embedding(LETTERS, width)
        self.places = nn.Parameter(torch.randn(LENGTH, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.letter = nn.Linear(width, LETTERS)
        self.group = nn.Linear(width, 2)

    def states(self, texts):
        return self.layers(self.letters(texts) + self.places)

    def forward(self, texts):
        return self.group(self.states(texts.long()).mean(dim=1))


def main():
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--width", type=int, default=48)
    args = parser.parse_args()
    torch.manual_seed(0)
    pairs = docstrings()
    rows = torch.tensor([list(t.encode("ascii", "replace")[:LENGTH].ljust(LENGTH)) for t, _ in pairs]).clamp(max=126)
    labels = torch.tensor([group for _, group in pairs])
    order = torch.randperm(len(rows))
    train, test = order[: int(0.8 * len(order))], order[int(0.8 * len(order)) :]
    model = Encoder(args.width)
    steps = torch.optim.Adam(model.parameters(), 0.002)
    for step in range(args.steps):
        batch = rows[train[torch.randint(len(train), (32,))]]
        hidden = torch.rand(batch.shape) < 0.15
        told = model.letter(model.states(batch.masked_fill(hidden, MASK)))
        loss = nn.functional.cross_entropy(told[hidden], batch[hidden])
        steps.zero_grad()
        loss.backward()
        steps.step()
        if step % 20 == 19:
            print(f"step={step} hidden_letters_loss={float(loss.detach()):.4f}", flush=True)
    for epoch in range(args.epochs):
        model.train()
        for chosen in train[torch.randperm(len(train))].split(32):
            loss = nn.functional.cross_entropy(model(rows[chosen]), labels[chosen])
            steps.zero_grad()
            loss.backward()
            steps.step()
        print(f"epoch={epoch} loss={float(loss.detach()):.4f}", flush=True)
    model.eval()
    with torch.no_grad():
        right = (model(rows[test]).argmax(dim=1) == labels[test]).float().mean()
    print(f"accuracy={float(right):.4f} chance={float(labels.float().mean().maximum(1 - labels.float().mean())):.4f}")
    save(model, torch.zeros(1, LENGTH))


if __name__ == "__main__":
    main()
