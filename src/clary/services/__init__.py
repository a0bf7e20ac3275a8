"""The services. A service is installed once for each platform; its operations are bound when it is imported."""

from __future__ import annotations

from ..provider.platform import Platform


def install_all(platform: Platform) -> None:
    """Install every service that the platform serves."""
    from . import autoscaling, cloudwatch, functions, iam, logs, s3, sagemaker, sagemaker_runtime, sts

    for module in (s3, sts, iam, logs, cloudwatch, autoscaling, sagemaker, sagemaker_runtime, functions):
        provider = module.install(platform)
        platform.providers[provider.name] = provider
