"""The services. A service is installed once for each platform; its operations are bound when it is imported."""

from __future__ import annotations

from ..provider.platform import Platform


def install_all(platform: Platform) -> None:
    """Install every service that the platform serves."""
    from . import (
        autoscaling,
        cloudformation,
        cloudwatch,
        ecr,
        functions,
        iam,
        logs,
        metering,
        s3,
        sagemaker,
        sagemaker_runtime,
        secretsmanager,
        ssm,
        sts,
    )
    from .apis import http, rest

    metering.install(platform)
    for module in (
        s3, sts, iam, logs, cloudwatch, autoscaling, sagemaker, sagemaker_runtime, functions, http, rest, ssm,
        ecr, secretsmanager, cloudformation,
    ):  # fmt: skip
        provider = module.install(platform)
        platform.providers[provider.name] = provider
