"""The environment that every process of a job or an endpoint gets: where the platform is, and who the process is."""

from __future__ import annotations

import os
import sys

from ...ids import upper
from ...provider.platform import Platform
from ...store.rows import Row


def base_environment(platform: Platform, row: Row, role_arn: str, seconds: float) -> dict[str, str]:
    """Region, endpoint, and a session of the execution role that outlives the process."""
    role = role_arn.rpartition("/")[2]
    with platform.database.read() as tx:
        known = tx.rows.get("Role", row.account, "", role)
    role_id = known.spec["RoleId"] if known else upper("AROA", 21)
    arn = f"arn:aws:sts::{row.account}:assumed-role/{role}/SageMaker"
    credential, token = platform.keyring.session(row.account, arn, f"{role_id}:SageMaker", "role", seconds + 86400)
    endpoint = f"http://{_reachable(platform.settings.host)}:{platform.settings.port}"
    bin_folder = os.path.dirname(sys.executable)
    return {
        "PATH": f"{bin_folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_REGION": row.region, "AWS_DEFAULT_REGION": row.region, "AWS_ACCESS_KEY_ID": credential.access_key,
        "AWS_SECRET_ACCESS_KEY": credential.secret, "AWS_SESSION_TOKEN": token, "AWS_ENDPOINT_URL": endpoint,
        "S3_ENDPOINT_URL": endpoint, "CLARY_ENDPOINT": endpoint, "AWS_EC2_METADATA_DISABLED": "true",
        "OMP_WAIT_POLICY": "PASSIVE",
    }  # fmt: skip


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "localhost", "") else host
