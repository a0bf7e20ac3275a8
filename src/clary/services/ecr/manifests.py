"""Images as a repository holds them: a manifest, what it refers to, and the tags that name it.

A manifest's form is that of github.com/opencontainers/image-spec (manifest.md, image-index.md), or Docker's of the same
shape ("Image Manifest Version 2, Schema 2").
"""

from __future__ import annotations

from typing import Any

from ...clock import now
from ...store.database import Transaction
from ...store.image_blobs import DIGEST, ImageBlobs
from ...store.rows import Row
from ...wire import bounded
from .repositories import IMAGE, image_rows

Json = dict[str, Any]
MAX_MANIFEST = 4 << 20
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
)  # fmt: skip
INDEXES = (
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
)  # fmt: skip


class Refused(Exception):
    """A manifest that cannot be kept: ECR's code, the registry's code, and why."""

    def __init__(self, code: str, registry_code: str, message: str):
        super().__init__(message)
        self.code = code
        self.registry_code = registry_code


def _read(data: bytes, media_type: str) -> tuple[Json, str]:
    try:
        manifest = bounded.loads(data)
        found = str(manifest.get("mediaType") or media_type)
        if found not in MANIFESTS + INDEXES:
            found = INDEXES[0] if "manifests" in manifest else MANIFESTS[0]
        parts = manifest["manifests"] if found in INDEXES else [manifest["config"], *manifest["layers"]]
        if manifest["schemaVersion"] != 2 or not all(DIGEST.fullmatch(p["digest"]) for p in parts):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        text = "Invalid parameter at 'imageManifest' failed to satisfy constraint: 'The provided manifest is not valid'"
        raise Refused("InvalidParameterException", "MANIFEST_INVALID", text) from None
    return manifest, found


def keep(
    tx: Transaction, blobs: ImageBlobs, repository: Row, data: bytes, media_type: str = "", tag: str | None = None
) -> Row:
    """Keep a manifest, and let a tag name it. Refused when a part is missing, or the tag must not move."""
    manifest, found = _read(data, media_type)
    images = {r.name.partition("@")[2]: r for r in image_rows(tx, repository)}
    size = len(data)
    if found in INDEXES:
        if absent := [p["digest"] for p in manifest["manifests"] if p["digest"] not in images]:
            text = f"Images with digests '{', '.join(absent)}' required for pushing image into repository with name '{repository.name}' in the registry with id '{repository.account}' do not exist"
            raise Refused("ReferencedImagesNotFoundException", "MANIFEST_BLOB_UNKNOWN", text)
    else:
        parts = [p["digest"] for p in (manifest["config"], *manifest["layers"])]
        if absent := [d for d in parts if blobs.size(d) is None]:
            text = f"Layers with digests '{', '.join(absent)}' required for pushing image into repository with name '{repository.name}' in the registry with id '{repository.account}' do not exist"
            raise Refused("LayersNotFoundException", "MANIFEST_BLOB_UNKNOWN", text)
        size = sum(blobs.size(layer["digest"]) or 0 for layer in manifest["layers"])
    digest = blobs.put(data)
    holder = next((r for r in images.values() if tag in r.private["tags"]), None) if tag else None
    if holder is not None and holder.name != f"{repository.name}@{digest}":
        if repository.spec.get("imageTagMutability") == "IMMUTABLE":
            text = f"The image tag '{tag}' already exists in the '{repository.name}' repository and cannot be overwritten because the repository is immutable."
            raise Refused("ImageTagAlreadyExistsException", "TAG_INVALID", text)
        tx.rows.save(holder, private={"tags": [t for t in holder.private["tags"] if t != tag]})
    row = images.get(digest)
    if row is None:
        spec = {
            "mediaType": found,
            "size": size,
            "config": (manifest.get("config") or {}).get("mediaType"),
            "parts": _parts(manifest),
        }
        row = Row(
            IMAGE, repository.account, repository.region, f"{repository.name}@{digest}",
            f"{repository.arn}@{digest}", spec, private={"tags": []}, created=now(),
        )  # fmt: skip
        tx.rows.add(row)
    if tag and tag not in row.private["tags"]:
        tx.rows.save(row, private={"tags": [*row.private["tags"], tag]})
    return row


def _parts(manifest: Json) -> list[str]:
    """Every blob that an image keeps alive."""
    parts = manifest["manifests"] if "manifests" in manifest else [manifest["config"], *manifest["layers"]]
    return [p["digest"] for p in parts]


def locate(tx: Transaction, repository: Row, reference: str) -> Row | None:
    """The image that a tag or a digest names."""
    for row in image_rows(tx, repository):
        if row.name == f"{repository.name}@{reference}" or reference in row.private["tags"]:
            return row
    return None


def digest_of(row: Row) -> str:
    """An image's digest."""
    return row.name.partition("@")[2]


def used(tx: Transaction, account: str) -> set[str]:
    """The blobs of all images of an account."""
    found: set[str] = set()
    for row in tx.rows.list(IMAGE, account):
        found.add(digest_of(row))
        found.update(row.spec["parts"])
    return found
