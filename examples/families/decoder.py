"""A tiny GPT-like decoder: it learns what letter comes next, and writes on (PyTorch)."""

import argparse

import torch
from common import save
from texts import docstrings
from torch import nn

LENGTH, LETTERS = 64, 128


class Decoder(nn.Module):
    """Letters that look at those before them."""

    def __init__(self, width: int):
        super().__init__()
        self.letters = nn.Embedding(LETTERS, width)
        self.places = nn.Parameter(torch.randn(LENGTH, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, LETTERS)
        self.register_buffer("future", torch.triu(torch.full((LENGTH, LENGTH), float("-inf")), 1))

    def forward(self, texts):
        return self.out(self.layers(self.letters(texts.long()) + self.places, mask=self.future))


def main():
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--width", type=int, default=64)
    args = parser.parse_args()
    torch.manual_seed(0)
    text = torch.tensor(list("\n".join(t for t, _ in docstrings()).encode("ascii", "replace"))).clamp(max=127)
    model = Decoder(args.width)
    steps = torch.optim.AdamW(model.parameters(), 0.003)
    for step in range(args.steps):
        starts = torch.randint(len(text) - LENGTH - 1, (32,))
        batch = torch.stack([text[s : s + LENGTH + 1] for s in starts])
        loss = nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        steps.zero_grad()
        loss.backward()
        steps.step()
        if step % 30 == 29:
            print(f"step={step} loss={float(loss.detach()):.4f}", flush=True)
    print(f"loss={float(loss.detach()):.4f}")
    model.eval()
    written = list(b"Return the ")
    with torch.no_grad():
        for _ in range(80):
            seen = torch.tensor(written[-LENGTH:] + [0] * max(0, LENGTH - len(written)))[None]
            scores = model(seen)[0, min(len(written), LENGTH) - 1] / 0.7
            written.append(int(torch.multinomial(torch.softmax(scores, 0), 1)))
    print("wrote:", bytes(written).decode("ascii", "replace").replace("\n", " / "))
    save(model, torch.zeros(1, LENGTH))


if __name__ == "__main__":
    main()
