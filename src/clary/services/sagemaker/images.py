"""From an image URI to the runtime that stands for it. Only repository and tag decide: any account, any region."""

from __future__ import annotations

import importlib.util
import platform as machine_platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...algorithms import catalogue
from ...algorithms.contract import Algorithm
from ...provider.errors import ValidationException
from ...provider.platform import Platform
from ...runtimes.program import forkable
from ..ecr.manifests import digest_of, locate
from . import own_images

Json = dict[str, Any]
_URI = re.compile(
    r"^(?:(?P<registry>[^/]+)/)?(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]+))?$"
)


@dataclass(frozen=True, slots=True)
class _Framework:
    """A container that runs users' scripts."""

    name: str
    module: str  # what has to be installed with the platform
    extra: str = ""  # of the platform, which brings it
    brings: tuple[str, ...] = ()  # what is installed for its scripts, when it is not there


_PYTORCH = _Framework("pytorch", "torch", "deep")
_TRANSFORMERS = _Framework("huggingface", "torch", "deep", ("transformers",))
_SMALL = sys.platform == "linux" and machine_platform.machine() == "x86_64"  # where a build without GPUs exists
_TENSORFLOW = _Framework("tensorflow", "numpy", "", ("tensorflow-cpu" if _SMALL else "tensorflow",))
_OLDER = "transformers<4.50"  # the last whose pipelines know TensorFlow and do without torch
_TRANSFORMERS_ON_TENSORFLOW = _Framework("huggingface", "numpy", "", (*_TENSORFLOW.brings, "tf-keras", _OLDER))
_FRAMEWORKS = {
    "sagemaker-scikit-learn": _Framework("scikit-learn", "sklearn"),
    "pytorch-training": _PYTORCH, "pytorch-inference": _PYTORCH, "sagemaker-pytorch": _PYTORCH,
    "huggingface-pytorch-training": _TRANSFORMERS, "huggingface-pytorch-inference": _TRANSFORMERS,
    "huggingface-tensorflow-training": _TRANSFORMERS_ON_TENSORFLOW,
    "huggingface-tensorflow-inference": _TRANSFORMERS_ON_TENSORFLOW,
    "tensorflow-training": _TENSORFLOW, "tensorflow-inference": _TENSORFLOW, "sagemaker-tensorflow": _TENSORFLOW,
    "sagemaker-tensorflow-scriptmode": _TENSORFLOW, "sagemaker-tensorflow-serving": _TENSORFLOW,
}  # fmt: skip
"""By repository."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs for an image: a built-in algorithm, a user's script, either (``sagemaker-xgboost``), or the image."""

    name: str
    tag: str
    algorithm: Algorithm | None = None
    brings: tuple[str, ...] = ()  # requirements that scripts of this image need not name
    image: str = ""  # the digest of an image that a user pushed, which brings everything itself

    @property
    def train(self) -> str:
        """A function for the zygote; none for images that run scripts only."""
        return self.algorithm.train if self.algorithm else ""

    @property
    def preload(self) -> str:
        """The heavy library that the algorithm's functions import."""
        needs = self.algorithm.needs if self.algorithm else ()
        return next((library for library in ("torch", "faiss") if library in needs), "")

    @property
    def libraries(self) -> str:
        """The heavy library that scripts of this image import."""
        return "torch" if self.name in ("pytorch", "huggingface") else "sklearn"

    @property
    def serve(self) -> str:
        """A function for the zygote; none for images that run scripts only."""
        return self.algorithm.serve if self.algorithm else ""


def resolve(platform: Platform, account: str, uri: str) -> Runtime:
    """Return what runs an account's image: the image that it pushed here, else one of Clary's runtimes.

    ValidationException if there is neither, or if the image is in another account's repository.
    """
    match, pushed = _URI.match(uri), ""
    if match is not None:
        pushed, owner = _pushed(platform, account, uri, match)
        if pushed and owner == account:
            return Runtime("container", match["tag"] or "latest", image=pushed)
    try:
        return runtime_of(uri)
    except ValidationException:
        if not pushed:
            raise
    raise ValidationException(
        f"The repository of your image {uri} does not grant ecr:GetDownloadUrlForLayer, ecr:BatchGetImage, "
        "ecr:BatchCheckLayerAvailability permission to sagemaker.amazonaws.com service principal."
    )


def runtime_of(uri: str) -> Runtime:
    """The runtime of an image; ValidationException that lists what would match, or says what to install."""
    match = _URI.match(uri)
    repository = (match["repository"] if match else uri).rpartition("/")[2]
    tag = (match["tag"] if match else None) or "latest"
    if (algorithm := catalogue.by_repository().get(repository)) is not None:
        if absent := catalogue.missing(algorithm):
            raise ValidationException(_install(algorithm.title, absent, algorithm.extra))
        return Runtime(algorithm.name, tag, algorithm)
    if repository in _FRAMEWORKS:
        framework = _FRAMEWORKS[repository]
        if importlib.util.find_spec(framework.module) is None:
            raise ValidationException(_install(f"The image {uri}", [framework.module], framework.extra))
        return Runtime(framework.name, tag, None, framework.brings)
    known = ", ".join(sorted(catalogue.by_repository()))
    raise ValidationException(
        f"Clary has no runtime for the image {uri}. It serves the algorithms {known}, and runs scripts in "
        f"{', '.join(sorted(_FRAMEWORKS))} and sagemaker-xgboost, from any registry and with any tag; any other image "
        "must be pushed to Clary's own registry first (aws ecr create-repository, then docker push)."
    )


def _pushed(platform: Platform, account: str, uri: str, match: re.Match[str]) -> tuple[str, str]:
    """Return the digest of the image that was pushed under this name, and the repository's account; empty if none."""
    reference = match["digest"] or match["tag"] or "latest"
    with platform.database.read() as tx:
        repository = own_images.repository(tx, match["registry"] or "", match["repository"], account)
        if repository is None:
            return "", ""
        row = locate(tx, repository, reference)
    if row is None and repository.account == account:
        raise ValidationException(f"Requested image {uri} not found.")
    return digest_of(row) if row else "absent", repository.account


def _install(what: str, modules: list[str], extra: str) -> str:
    return (
        f"{what} needs the Python package {', '.join(modules)}, which is not installed where Clary runs. Install it "
        f"with: pip install 'clary[{extra}]', and start Clary again."
    )


def script(runtime: Runtime, action: str, own: Mapping[str, str], packages: bool) -> Json:
    """How a user's script is run (``train`` or ``serve``): the fields of a ProcessSpec.

    In a fork of a zygote that has the image's libraries, unless variables of the user's ``own`` or packages of the
    script's mean that an interpreter has to start anew.
    """
    if packages or not forkable(own):
        return {"command": (python(), "-m", "clary.runtimes.script_mode", action)}
    return {"call": f"clary.runtimes.script_mode:{action}_forked", "preload": runtime.libraries}


def python() -> str:
    """The interpreter that runs user code."""
    return sys.executable
