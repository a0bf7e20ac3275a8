"""The objects that a job reads: those under a prefix, or those that a manifest names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ...provider.platform import Platform
from ...store.object import NoSuchBucket, Object, split_uri

Json = dict[str, Any]


class InputError(Exception):
    """Inputs that cannot be had; the text is the job's FailureReason."""


@dataclass(frozen=True, slots=True)
class Item:
    """An object and its path inside the channel."""

    path: str
    source: Object


def list_items(platform: Platform, name: str, source: Json) -> list[Item]:
    """A channel's objects with their paths; InputError when there are none."""
    uri = source["S3Uri"]
    try:
        bucket, key = split_uri(uri)
        if source["S3DataType"] == "ManifestFile":
            return _manifest(platform, bucket, key)
        found = platform.objects.under(bucket, key)
    except NoSuchBucket as error:
        raise InputError(
            f"ClientError: Data download failed: NoSuchBucket (404): The bucket {error} of channel {name} does not exist."
        ) from None
    except ValueError as error:
        raise InputError(f"ClientError: Data download failed: {error} (channel {name}).") from None
    items = [Item(relative(o.key, key), o) for o in found if not o.key.endswith("/")]
    if not items:
        raise InputError(
            f'ClientError: Data download failed: No S3 objects found under S3 URL "{uri}" given in input data source '
            f"(channel {name}). Please ensure that the bucket exists in the selected region, that objects exist under "
            "that S3 prefix, and that the role has s3:ListBucket permissions on the bucket."
        )
    return items


def relative(key: str, prefix: str) -> str:
    """A key's path inside the channel: without the prefix; a prefix inside a name keeps the whole name."""
    if key == prefix:
        return key.rpartition("/")[2]
    if prefix == "" or prefix.endswith("/") or key[len(prefix)] == "/":
        return key[len(prefix) :].lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def _manifest(platform: Platform, bucket: str, key: str) -> list[Item]:
    try:
        entries = json.loads(platform.objects.read(platform.objects.find(bucket, key)))
        base_bucket, base_key = split_uri(entries[0]["prefix"])
        names = [str(e) for e in entries[1:]]
    except LookupError:
        raise InputError(
            f"ClientError: Data download failed: the manifest s3://{bucket}/{key} does not exist."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"ClientError: Data download failed: the manifest s3://{bucket}/{key} is not a JSON list that begins with "
            'a {"prefix": "s3://…"} object.'
        ) from None
    items: list[Item] = []
    for name in names:
        try:
            items.append(Item(name, platform.objects.find(base_bucket, base_key + name)))
        except LookupError:
            raise InputError(
                f"ClientError: Data download failed: the manifest names s3://{base_bucket}/{base_key}{name}, which does not exist."
            ) from None
    return items
