"""Train TabTransformer on a table."""

import os
from copy import deepcopy

import numpy as np
import tabular
import torch
from network import made, split
from torch import nn

values = tabular.hyperparameters(
    n_epochs=5, patience=10, learning_rate=0.001, batch_size=256, input_dim=32, n_blocks=4, attn_dropout=0.2,
    mlp_dropout=0.1, frac_shared_embed=0.25,
)  # fmt: skip
torch.manual_seed(0)
(rows, target), (other, other_target), categorical = tabular.tables()
numeric = [i for i in range(rows.shape[1]) if i not in categorical]
classes, level, spread = None, 0.0, 1.0
if tabular.regression():
    level, spread = float(target.mean()), float(target.std()) or 1.0
else:
    target, other_target, classes = tabular.numbered(target, other_target)
deviation = np.nanstd(rows[:, numeric], axis=0)
described = {
    "categorical": categorical, "numeric": numeric, "known": [np.unique(rows[:, i]).tolist() for i in categorical],
    "mean": np.nanmean(rows[:, numeric], axis=0).tolist(), "deviation": np.where(deviation > 0, deviation, 1).tolist(),
    "outputs": 1 if classes is None else len(classes), "level": level, "spread": spread,
    "shape": [
        values["input_dim"], values["n_blocks"], values["attn_dropout"], values["mlp_dropout"], values["frac_shared_embed"],
    ],
}  # fmt: skip
model = made(described)
seen, unseen = split(rows, described), split(other, described)
kind = torch.float32 if classes is None else torch.int64
wanted = torch.tensor((target - level) / spread if classes is None else target, dtype=kind)


def loss_of(found, labels):
    """What is made small."""
    return (
        nn.functional.mse_loss(found[:, 0], labels) if classes is None else nn.functional.cross_entropy(found, labels)
    )


@torch.no_grad()
def quality():
    """R² of values, F1 of two classes, accuracy of more; on the validation rows."""
    model.eval()
    found = model(*unseen)
    if classes is None:
        told = found[:, 0].numpy() * spread + level
        return "r2", 1 - float(((told - other_target) ** 2).sum() / ((other_target - other_target.mean()) ** 2).sum())
    told = found.argmax(dim=1).numpy()
    if len(classes) > 2:
        return "accuracy", float((told == other_target).mean())
    hits = float(((told == 1) & (other_target == 1)).sum())
    return "f1", 2 * hits / max(1.0, float((told == 1).sum() + (other_target == 1).sum()))


steps = torch.optim.Adam(model.parameters(), values["learning_rate"])
best, kept, waited = -np.inf, deepcopy(model.state_dict()), 0
for epoch in range(values["n_epochs"]):
    model.train()
    total = 0.0
    for chosen in torch.randperm(len(wanted)).split(values["batch_size"]):
        loss = loss_of(model(*(part[chosen] for part in seen)), wanted[chosen])
        steps.zero_grad()
        loss.backward()
        steps.step()
        total += float(loss.detach()) * len(chosen)
    name, value = quality()
    print(f"epoch {epoch + 1}: loss={total / len(wanted):.4f}, metrics={{'{name}': {value:.4f}}}", flush=True)
    if value > best:
        best, kept, waited = value, deepcopy(model.state_dict()), 0
    else:
        waited += 1
        if waited >= values["patience"]:
            print(f"no improvement in {waited} epochs: ending early", flush=True)
            break
folder = os.environ["SM_MODEL_DIR"]
torch.save(kept, os.path.join(folder, "weights.pth"))
tabular.keep_code(folder, classes, described)
