"""Requests to SavedModels, as far as they need no TensorFlow."""

from __future__ import annotations

import io
import json

import pytest

from clary.runtimes.script_serving import Unsupported
from clary.runtimes.tensorflow import Request, read


def asked(body: bytes, content_type: str) -> Request:
    return Request("m", None, "predict", "", None, "", content_type, "application/json", len(body))


@pytest.mark.parametrize(
    ("content_type", "body", "wanted"),
    [
        ("application/json", b'{"inputs": [1]}', {"inputs": [1]}),
        ("application/jsonlines", b'{"a": 1}\n\n[2, 3]\n', {"instances": [{"a": 1}, [2, 3]]}),
        ("text/csv; charset=utf-8", b'1,2.5\n3,"x"\n', {"instances": [[1.0, 2.5], [3.0, "x"]]}),
    ],
)
def test_bodies_become_instances(content_type: str, body: bytes, wanted: object) -> None:
    assert json.loads(read(io.BytesIO(body), asked(body, content_type))) == wanted


def test_other_bodies_are_refused() -> None:
    with pytest.raises(Unsupported, match="Unsupported content type image/png"):
        read(io.BytesIO(b""), asked(b"", "image/png"))
