"""From an image URI to the runtime that stands for it. Only repository and tag decide: any account, any region."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass

from ...algorithms import catalogue
from ...algorithms.contract import Algorithm
from ...provider.errors import ValidationException

_URI = re.compile(
    r"^(?:(?P<registry>[^/]+)/)?(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]+))?$"
)
_FRAMEWORKS = {
    "sagemaker-scikit-learn": ("scikit-learn", "sklearn", ""),
    "pytorch-training": ("pytorch", "torch", "torch"),
    "pytorch-inference": ("pytorch", "torch", "torch"),
    "sagemaker-pytorch": ("pytorch", "torch", "torch"),
}
"""Repositories of containers that run users' scripts: name, the module they are about, the extra that brings it."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs for an image: a built-in algorithm, a user's script, or either (``sagemaker-xgboost``)."""

    name: str
    tag: str
    algorithm: Algorithm | None = None

    @property
    def train(self) -> str:
        """A function for the zygote; none for images that run scripts only."""
        return self.algorithm.train if self.algorithm else ""

    @property
    def serve(self) -> str:
        """A function for the zygote; none for images that run scripts only."""
        return self.algorithm.serve if self.algorithm else ""


def resolve(uri: str) -> Runtime:
    """The runtime of an image; ValidationException that lists what would match, or says what to install."""
    match = _URI.match(uri)
    repository = (match["repository"] if match else uri).rpartition("/")[2]
    tag = (match["tag"] if match else None) or "latest"
    if (algorithm := catalogue.by_repository().get(repository)) is not None:
        if absent := catalogue.missing(algorithm):
            raise ValidationException(_install(algorithm.title, absent, algorithm.extra))
        return Runtime(algorithm.name, tag, algorithm)
    if repository in _FRAMEWORKS:
        name, module, extra = _FRAMEWORKS[repository]
        if importlib.util.find_spec(module) is None:
            raise ValidationException(_install(f"The image {uri}", [module], extra))
        return Runtime(name, tag)
    known = ", ".join(sorted(catalogue.by_repository()))
    raise ValidationException(
        f"Clary has no runtime for the image {uri}. It serves the algorithms {known}, and runs scripts in "
        f"{', '.join(sorted(_FRAMEWORKS))} and sagemaker-xgboost, from any registry and with any tag."
    )


def _install(what: str, modules: list[str], extra: str) -> str:
    return (
        f"{what} needs the Python package {', '.join(modules)}, which is not installed where Clary runs. Install it "
        f"with: pip install 'clary[{extra}]', and start Clary again."
    )


def python() -> str:
    """The interpreter that runs user code."""
    return sys.executable
