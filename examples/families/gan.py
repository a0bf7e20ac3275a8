"""A generative adversarial network: one half draws digits, the other tells drawn ones from real ones (PyTorch)."""

import argparse

import torch
from common import digits, save
from torch import nn


def main():
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--noise", type=int, default=16)
    args = parser.parse_args()
    torch.manual_seed(0)
    (pictures, _), _ = digits()
    draw = nn.Sequential(nn.Linear(args.noise, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid())
    judge = nn.Sequential(nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(128, 1))
    steps = [torch.optim.Adam(part.parameters(), 0.001, betas=(0.5, 0.999)) for part in (draw, judge)]
    loss_of = nn.BCEWithLogitsLoss()
    for epoch in range(args.epochs):
        for batch in pictures[torch.randperm(len(pictures))].split(64):
            real, fake = torch.ones(len(batch), 1), torch.zeros(len(batch), 1)
            drawn = draw(torch.randn(len(batch), args.noise))
            judged = loss_of(judge(batch), 0.9 * real) + loss_of(judge(drawn.detach()), fake)
            steps[1].zero_grad()
            judged.backward()
            steps[1].step()
            fooled = loss_of(judge(drawn), real)
            steps[0].zero_grad()
            fooled.backward()
            steps[0].step()
        if epoch % 10 == 9:
            print(
                f"epoch={epoch} judge_loss={float(judged.detach()):.4f} draw_loss={float(fooled.detach()):.4f}",
                flush=True,
            )

    draw.eval()
    drawn = draw(torch.randn(500, args.noise)).detach()
    nearest = torch.cdist(drawn, pictures).min(dim=1).values.mean()
    noise = torch.cdist(torch.rand(500, 64), pictures).min(dim=1).values.mean()
    print(f"distance={float(nearest / noise):.4f}")  # of drawn pictures to the nearest real one, against plain noise
    for row in drawn[0].view(8, 8):
        print("".join(" .:*#"[min(4, int(5 * value))] for value in row))
    save(draw, torch.zeros(1, args.noise))


if __name__ == "__main__":
    main()
