"""The objects that a job reads: those under a prefix, or those that a manifest names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...provider.platform import Platform
from ...store.object import Forbidden, NoSuchBucket, Object, split_uri
from ...store.objects import AccountObjects
from ...wire import bounded

Json = dict[str, Any]


class InputError(Exception):
    """Inputs that cannot be had; the text is the job's FailureReason."""


@dataclass(frozen=True, slots=True)
class Item:
    """An object and its path inside the channel."""

    path: str
    source: Object


def list_items(platform: Platform, account: str, name: str, source: Json) -> list[Item]:
    """Return a channel's objects with their paths, as far as the account may read them; InputError if there are none."""
    uri, objects = source["S3Uri"], platform.objects.of(account)
    try:
        bucket, key = split_uri(uri)
        if source["S3DataType"] == "ManifestFile":
            return _manifest(platform, objects, bucket, key)
        found = objects.under(bucket, key)
    except Forbidden as error:
        raise InputError(
            f"ClientError: Data download failed: AccessDenied (403): {error} (channel {name}). Please ensure that the role "
            "has s3:ListBucket and s3:GetObject permissions on the bucket."
        ) from None
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


def _manifest(platform: Platform, objects: AccountObjects, bucket: str, key: str) -> list[Item]:
    try:
        entries = bounded.loads(platform.objects.read(objects.find(bucket, key)))
        base_bucket, base_key = split_uri(entries[0]["prefix"])
        names = [str(e) for e in entries[1:]]
    except Forbidden:
        raise
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
            items.append(Item(name, objects.find(base_bucket, base_key + name)))
        except Forbidden:
            raise
        except LookupError:
            raise InputError(
                f"ClientError: Data download failed: the manifest names s3://{base_bucket}/{base_key}{name}, which does not exist."
            ) from None
    return items
