"""The client start-up hook: makes unmodified SageMaker SDKs find Clary and not sleep before their first look.

Active only when the environment says Clary (``CLARY_ENDPOINT``); off with ``CLARY_CLIENT_HOOK=0``. It never changes what
a request says: only where a client's STS calls go, and how long SDKs and botocore's waiters sleep between looks
(``CLARY_FAST_POLLING=0`` leaves their sleeping alone).
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

POLL_SECONDS = 0.2
"""The longest sleep between two looks at Clary: its Describe calls wait for a change by themselves."""


def enabled() -> bool:
    """Whether this process talks to Clary."""
    return bool(os.environ.get("CLARY_ENDPOINT")) and os.environ.get("CLARY_CLIENT_HOOK", "1") != "0"


def activate() -> None:
    """Patch modules as they are imported."""
    if enabled() and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
        for name in list(_PATCHES):
            if name in sys.modules:
                _PATCHES[name](sys.modules[name])


class _Finder(importlib.abc.MetaPathFinder):
    """Runs a patch right after one of a few modules was imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in _PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _Loader(spec.loader, _PATCHES[name])
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: Any, patch: Callable[[ModuleType], None]):
        self._inner = inner
        self._patch = patch

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._inner.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        self._patch(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _ours(url: Any) -> bool:
    """Whether a client's endpoint is the Clary of the environment."""
    return isinstance(url, str) and url.rstrip("/") == os.environ.get("CLARY_ENDPOINT", "").rstrip("/")


def _patch_botocore_session(module: ModuleType) -> None:
    """SDKs build their STS client with AWS's own URL: send it to Clary, and only it."""
    session = module.Session
    original = session.create_client

    def create_client(self: Any, service_name: str, *args: Any, **kwargs: Any) -> Any:
        url = kwargs.get("endpoint_url")
        if service_name == "sts" and isinstance(url, str) and ".amazonaws.com" in url:
            kwargs["endpoint_url"] = os.environ["CLARY_ENDPOINT"]
        return original(self, service_name, *args, **kwargs)

    session.create_client = create_client


def _patch_botocore_waiter(module: ModuleType) -> None:
    """botocore's waiters sleep 30 s and more between two looks."""
    waiter = module.Waiter
    original = waiter.wait

    def wait(self: Any, **kwargs: Any) -> Any:
        client = getattr(self._operation_method, "__self__", None) or getattr(self._operation_method, "_client", None)
        method = getattr(self._operation_method, "_client_method", None)
        client = client or getattr(method, "__self__", None)
        url = getattr(getattr(client, "meta", None), "endpoint_url", None)
        settings = dict(kwargs.get("WaiterConfig") or {})
        if _ours(url) and "Delay" not in settings:
            delay, attempts = self.config.delay, settings.get("MaxAttempts", self.config.max_attempts)
            settings["Delay"] = min(delay, POLL_SECONDS)
            settings["MaxAttempts"] = max(attempts, int(attempts * delay / POLL_SECONDS))
            kwargs["WaiterConfig"] = settings
        return original(self, **kwargs)

    waiter.wait = wait


class _Time:
    """The ``time`` module as an SDK's polling module sees it: its sleeps are short."""

    def __init__(self, real: ModuleType):
        self._real = real

    def sleep(self, seconds: float) -> None:
        self._real.sleep(min(seconds, POLL_SECONDS))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _patch_sleep(module: ModuleType) -> None:
    """A module that polls with ``time.sleep``."""
    found = getattr(module, "time", None)
    if isinstance(found, ModuleType) and found.__name__ == "time":
        module.time = _Time(found)  # type: ignore[attr-defined]
    elif callable(getattr(module, "sleep", None)):
        real = module.sleep
        module.sleep = lambda seconds: real(min(seconds, POLL_SECONDS))  # type: ignore[attr-defined]


def _quiet(module: ModuleType) -> None:
    """The SDKs' telemetry goes to AWS: leave it out."""
    for name in ("_send_telemetry_request", "_send_telemetry", "_requests_helper"):
        if hasattr(module, name):
            setattr(module, name, lambda *args, **kwargs: None)


def _fast() -> bool:
    return os.environ.get("CLARY_FAST_POLLING", "1") != "0"


_PATCHES: dict[str, Callable[[ModuleType], None]] = {
    "botocore.session": _patch_botocore_session,
    "awscli.botocore.session": _patch_botocore_session,
    "sagemaker.telemetry.telemetry_logging": _quiet,  # SDK v2
    "sagemaker.core.telemetry.telemetry_logging": _quiet,  # SDK v3
    "sagemaker.serve.utils.telemetry_logger": _quiet,  # both
}
if _fast():
    _PATCHES |= dict.fromkeys(("botocore.waiter", "awscli.botocore.waiter"), _patch_botocore_waiter)
    _PATCHES |= dict.fromkeys(
        (
            "sagemaker.session",  # v2: fit, transform, deploy
            "sagemaker.local.local_session",
            "sagemaker.core.resources",  # v3: every resource's wait()
            "sagemaker.core.helper.session_helper",
            "sagemaker.core.common_utils",
            "sagemaker.core.transformer",
            "sagemaker.core.processing",
            "sagemaker.serve.deployment_progress",
            "sagemaker.train.common_utils.trainer_wait",
            "sagemaker.train.common_utils.job_wait",
            "sagemaker.train.common_utils.log_streamer",
        ),
        _patch_sleep,
    )
