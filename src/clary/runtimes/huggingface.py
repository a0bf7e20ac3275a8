"""What a Hugging Face script does not say: a pipeline of the model's folder, inputs and parameters in JSON.

Contract: the public documentation of sagemaker-huggingface-inference-toolkit (Apache-2.0).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_TASKS = {
    "ForSequenceClassification": "text-classification", "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering", "ForMaskedLM": "fill-mask", "ForCausalLM": "text-generation",
    "ForConditionalGeneration": "text2text-generation", "ForImageClassification": "image-classification",
}  # fmt: skip


def model(folder: str) -> Any:
    """A pipeline for the task that ``HF_TASK`` names, or that the model's architecture is made for."""
    weights = {path.suffix for path in Path(folder).glob("*")}
    if ".h5" in weights and not weights & {".safetensors", ".bin"}:
        os.environ["USE_TF"] = "1"  # before the import: torch may lie beside TensorFlow here, and would be taken
    from transformers import pipeline

    name = os.environ.get("HF_MODEL_ID") or folder
    return pipeline(os.environ.get("HF_TASK") or _task(Path(folder)), model=name)


def _task(folder: Path) -> str:
    path = folder / "config.json"
    architectures = json.loads(path.read_text()).get("architectures") or [] if path.is_file() else []
    for architecture in architectures:
        for ending, task in _TASKS.items():
            if architecture.endswith(ending):
                return task
    raise ValueError(f"the model's task cannot be told from {architectures}; set the environment variable HF_TASK")


def read(body: Any, content_type: str) -> Any:
    """``{"inputs": …, "parameters": {…}}``."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        from .script_serving import Unsupported

        raise Unsupported(415, f"content type {content_type} is not supported; use application/json")
    found = json.loads(body)
    if not isinstance(found, dict) or "inputs" not in found:
        raise ValueError('the request has the form {"inputs": "a text", "parameters": {}}')
    return found


def predict(data: Any, model: Any) -> Any:
    """What the pipeline answers."""
    return model(data["inputs"], **(data.get("parameters") or {}))


def write(prediction: Any, accept: str) -> Any:
    """JSON."""
    return json.dumps(prediction, default=float), "application/json"
