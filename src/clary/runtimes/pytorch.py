"""What a PyTorch script does not say: TorchScript models, tensors from requests, lists from tensors.

Contract: the public documentation of sagemaker-pytorch-inference-toolkit (Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import script_serving


def model(folder: str) -> Any:
    """The one TorchScript model of a folder."""
    found = sorted(p.name for p in Path(folder).iterdir() if p.suffix in (".pt", ".pth"))
    if len(found) != 1:
        raise ValueError(
            f"Exactly one .pth or .pt file is required for PyTorch models: {found}. Other models need a script with "
            "model_fn."
        )
    return torch.jit.load(str(Path(folder) / found[0]), map_location=_device())


def read(body: Any, content_type: str) -> Any:
    """A tensor: of numbers as float32, of npy in its own type."""
    found = script_serving.read(body, content_type)
    if not content_type.startswith(script_serving.NPY):
        found = np.asarray(found, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(found)).to(_device())


def predict(data: Any, model: Any) -> Any:
    """What the model makes of it."""
    model.to(_device())
    model.eval()
    with torch.no_grad():
        return model(data.to(_device()) if torch.is_tensor(data) else data)


def write(prediction: Any, accept: str) -> Any:
    """Lists of tensors' numbers."""
    if torch.is_tensor(prediction):
        prediction = prediction.detach().cpu().numpy()
    return script_serving.write(prediction, accept)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
