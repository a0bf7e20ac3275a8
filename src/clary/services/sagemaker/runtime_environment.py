"""The environment that every process of a job or an endpoint gets: where the platform is, and who the process is."""

from __future__ import annotations

from ...provider.platform import Platform
from ...store.rows import Row
from ..process_environment import address, credentials, system

_PIP = {
    "PIP_TARGET": "/tmp/pip", "PYTHONPATH": "/tmp/pip", "PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore", "PIP_PROGRESS_BAR": "off",
}  # fmt: skip
"""What a script installs by itself goes to where it can write, and is found there."""


def container_environment(
    platform: Platform, row: Row, role_arn: str, seconds: float, reached_at: str = ""
) -> dict[str, str]:
    """The same for a container, which brings its own programs; ``reached_at`` is the platform's URL inside of it."""
    endpoint = reached_at or address(platform.settings)
    return {
        **credentials(platform, row.account, row.region, role_arn, "SageMaker", seconds + 86400),
        "AWS_ENDPOINT_URL": endpoint, "S3_ENDPOINT_URL": endpoint, "CLARY_ENDPOINT": endpoint,
    }  # fmt: skip


def base_environment(platform: Platform, row: Row, role_arn: str, seconds: float) -> dict[str, str]:
    """Region, endpoint, and a session of the execution role that outlives the process."""
    endpoint = address(platform.settings)
    return {
        **system(), **credentials(platform, row.account, row.region, role_arn, "SageMaker", seconds + 86400),
        **_PIP, "S3_ENDPOINT_URL": endpoint, "CLARY_ENDPOINT": endpoint, "GOMP_SPINCOUNT": "10000",
    }  # fmt: skip
