"""What a handler that takes a ``context`` may ask of its request and say beside its answer.

The object is TorchServe's ``Context`` (https://github.com/pytorch/serve, ``ts/context.py``), which SageMaker's PyTorch
and Hugging Face containers pass on; a batch has one request here, so the index is not looked at.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_PREFIX = "X-Amzn-SageMaker-"
_REQUEST = ("Content-Type", "Accept", f"{_PREFIX}Custom-Attributes", f"{_PREFIX}Inference-Id", f"{_PREFIX}Target-Model")
_ANSWER = {
    f"{_PREFIX}Custom-Attributes".lower(): "custom",
    f"{_PREFIX}New-Session-Id".lower(): "new-session",
    f"{_PREFIX}Closed-Session-Id".lower(): "closed-session",
}


class Context:
    """One request's headers, and those of its answer."""

    def __init__(self, head: bytes = b"", model_dir: str = ""):
        values = head.decode("utf-8", "replace").split("\0")
        names = (*_REQUEST, f"{_PREFIX}Session-Id")
        self._request = {n.lower(): v for n, v in zip(names, values, strict=False) if v}
        self._answer: dict[str, str] = {}
        self.system_properties: dict[str, Any] = {"model_dir": model_dir, "gpu_id": None}

    def get_request_header(self, idx: int, key: str) -> str | None:
        """A header of the request; None when it has none of that name."""
        return self._request.get(key.lower())

    def get_all_request_header(self, idx: int) -> dict[str, str]:
        """All headers of the request that reach containers."""
        return dict(self._request)

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """A header of the answer. SageMaker passes on three: custom attributes, new and closed session ids."""
        if (name := _ANSWER.get(key.lower())) is not None:
            self._answer[name] = str(value).translate({0: None, 10: None, 13: None})

    def notes(self) -> tuple[bytes, bytes]:
        """The answer's custom attributes, and what is said beside them, as frames have it."""
        said = dict(self._answer)
        custom = said.pop("custom", "").encode("latin-1", "replace")
        return custom, b"".join(b"\0" + f"{k}={v}".encode("latin-1", "replace") for k, v in said.items())


def takes_context(function: Callable[..., Any]) -> bool:
    """Whether a handler has a parameter for it."""
    try:
        return "context" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
