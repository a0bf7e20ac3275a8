"""From an image URI to the runtime that stands for it. Only repository and tag decide: any account, any region."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from ...provider.errors import ValidationException

_URI = re.compile(
    r"^(?:(?P<registry>[^/]+)/)?(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]+))?$"
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs for an image."""

    name: str
    tag: str
    train: str = ""  # a function for the zygote
    serve: str = ""


def resolve(uri: str) -> Runtime:
    """The runtime of an image; ValidationException that lists what would match."""
    match = _URI.match(uri)
    repository = (match["repository"] if match else uri).rpartition("/")[2]
    tag = (match["tag"] if match else None) or "latest"
    if repository in ("xgboost", "sagemaker-xgboost"):
        package = "clary.algorithms.xgboost"
        return Runtime("xgboost", tag, f"{package}.train:main", f"{package}.serve:main")
    if repository == "sagemaker-scikit-learn":
        return Runtime("scikit-learn", tag)
    raise ValidationException(
        f"Clary has no runtime for the image {uri}. It serves the repositories sagemaker-xgboost and xgboost (built-in "
        "XGBoost and script mode) and sagemaker-scikit-learn (script mode), from any registry and with any tag."
    )


def python() -> str:
    """The interpreter that runs user code."""
    return sys.executable
