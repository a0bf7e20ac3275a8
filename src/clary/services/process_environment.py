"""What every process that runs users' code is told: where the platform is, and credentials of its role."""

from __future__ import annotations

import os
import sys

from ..ids import upper
from ..provider.platform import Platform
from ..settings import Settings


def address(settings: Settings) -> str:
    """The URL at which processes of this machine reach the platform."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "localhost", "") else settings.host
    return f"http://{host}:{settings.port}"


def system() -> dict[str, str]:
    """Where programs are, and how Python behaves."""
    folder = os.path.dirname(sys.executable)
    return {
        "PATH": f"{folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def credentials(
    platform: Platform, account: str, region: str, role_arn: str, session: str, seconds: float
) -> dict[str, str]:
    """Region, endpoint, and a session of the role, as AWS's SDKs read them."""
    role = role_arn.rpartition("/")[2]
    with platform.database.read() as tx:
        known = tx.rows.get("Role", account, "", role)
    role_id = known.spec["RoleId"] if known else upper("AROA", 21)
    arn = f"arn:aws:sts::{account}:assumed-role/{role}/{session}"
    credential, token = platform.keyring.session(account, arn, f"{role_id}:{session}", "role", seconds)
    return {
        "AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_ACCESS_KEY_ID": credential.access_key,
        "AWS_SECRET_ACCESS_KEY": credential.secret, "AWS_SESSION_TOKEN": token,
        "AWS_ENDPOINT_URL": address(platform.settings), "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
