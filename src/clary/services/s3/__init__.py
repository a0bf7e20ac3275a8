"""S3: buckets, objects, multipart uploads, listings."""

from __future__ import annotations

from ...provider.operation import Provider
from ...provider.platform import Platform
from ...provider.service import Service

s3 = Provider(
    "s3",
    streams=frozenset(("PutObject", "UploadPart")),
    quick=frozenset(("HeadBucket", "GetBucketLocation")),
)


def _install(platform: Platform) -> None:
    """Give the gateway what only S3 needs."""
    from . import notifications
    from .body import decode_whole
    from .edges import finish, prepare

    platform.services.setdefault("reconcilers", []).append(notifications.ObjectEventReconciler(platform))
    platform.services["s3.decode"] = decode_whole
    platform.services["s3.prepare"] = prepare
    platform.services["s3.finish"] = finish


SERVICE = Service(s3, _install)
