"""Operations on images, and the password for tools that push them."""

from __future__ import annotations

import base64
from typing import Any

from ...clock import now
from ...provider.context import Context
from ...provider.errors import AwsError, coded
from ...store.image_blobs import ImageBlobs, ImageStores
from ...store.rows import Row
from .manifests import Refused, digest_of, keep, locate
from .registry import password as registry_password
from .repositories import address, ecr, find, image_rows, page, where

Json = dict[str, Any]
_PASSWORD_SECONDS = 12 * 3600.0


def _blobs(ctx: Context) -> ImageBlobs:
    stores: ImageStores = ctx.platform.services["image-blobs"]
    return stores.of(ctx.account)


@ecr.operation
def get_authorization_token(ctx: Context, request: Json) -> Json:
    """The user ``AWS`` and a password for twelve hours, as ``docker login`` takes them."""
    password = registry_password(ctx.platform, ctx.account, ctx.region, now() + _PASSWORD_SECONDS)
    data = {
        "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
        "expiresAt": now() + _PASSWORD_SECONDS,
        "proxyEndpoint": f"http://{address(ctx.platform)}",
    }
    return {"authorizationData": [data]}


def _named(row: Row) -> list[Json]:
    digest = digest_of(row)
    return [{"imageDigest": digest, "imageTag": t} for t in row.private["tags"]] or [{"imageDigest": digest}]


def _missing(ctx: Context, repository: Row, wanted: Json) -> AwsError:
    digest, tag = wanted.get("imageDigest", "null"), wanted.get("imageTag", "null")
    said = f"{{imageDigest:'{digest}', imageTag:'{tag}'}}"
    text = f"The image with imageId {said} does not exist within the repository {where(ctx, repository.name)}"
    return coded("ImageNotFoundException", text, 400)


def _wanted(ctx: Context, repository: Row, wanted: Json) -> Row | None:
    """The image that an ``imageId`` names; both its digest and its tag must be right."""
    row = locate(ctx.tx, repository, wanted.get("imageDigest") or wanted.get("imageTag") or "")
    if row is not None and wanted.get("imageTag") not in (None, *row.private["tags"]):
        return None
    return row


@ecr.operation
def list_images(ctx: Context, request: Json) -> Json:
    """The ids of a repository's images, one for each tag."""
    status = (request.get("filter") or {}).get("tagStatus")
    rows = image_rows(ctx.tx, find(ctx, request))
    chosen = [r for r in rows if status in (None, "ANY") or bool(r.private["tags"]) == (status == "TAGGED")]
    return page(request, [name for row in chosen for name in _named(row)], "imageIds")


@ecr.operation
def describe_images(ctx: Context, request: Json) -> Json:
    """Images by tag or digest, or all."""
    repository = find(ctx, request)
    rows = image_rows(ctx.tx, repository)
    if wanted := request.get("imageIds"):
        rows = []
        for each in wanted:
            if (row := _wanted(ctx, repository, each)) is None:
                raise _missing(ctx, repository, each)
            rows.append(row)
    details = []
    for row in rows:
        detail = {
            "registryId": ctx.account, "repositoryName": repository.name, "imageDigest": digest_of(row),
            "imageSizeInBytes": row.spec["size"], "imagePushedAt": row.created,
            "imageManifestMediaType": row.spec["mediaType"],
        }  # fmt: skip
        if row.private["tags"]:
            detail["imageTags"] = row.private["tags"]
        if row.spec["config"]:
            detail["artifactMediaType"] = row.spec["config"]
        details.append(detail)
    return page(request, details, "imageDetails")


@ecr.operation
def batch_get_image(ctx: Context, request: Json) -> Json:
    """Manifests."""
    repository = find(ctx, request)
    images, failures = [], []
    for wanted in request["imageIds"]:
        if (row := _wanted(ctx, repository, wanted)) is None:
            failures.append(
                {"imageId": wanted, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
            )
            continue
        digest = digest_of(row)
        named = {"imageDigest": digest, **({"imageTag": wanted["imageTag"]} if "imageTag" in wanted else {})}
        text = _blobs(ctx).path(digest).read_text()
        images.append(
            {
                "registryId": ctx.account, "repositoryName": repository.name, "imageId": named, "imageManifest": text,
                "imageManifestMediaType": row.spec["mediaType"],
            }
        )  # fmt: skip
    return {"images": images, "failures": failures}


@ecr.operation
def put_image(ctx: Context, request: Json) -> Json:
    """Keep a manifest whose layers are there; this is also how an image gets another tag."""
    repository = find(ctx, request)
    data, tag = request["imageManifest"].encode(), request.get("imageTag")
    try:
        row = keep(ctx.tx, _blobs(ctx), repository, data, request.get("imageManifestMediaType", ""), tag)
    except Refused as error:
        raise coded(error.code, str(error), 400) from None
    if (said := request.get("imageDigest")) and said != digest_of(row):
        raise coded("ImageDigestDoesNotMatchException", "The specified image digest does not match the digest that Amazon ECR calculated for the image.", 400)  # fmt: skip
    named = {"imageDigest": digest_of(row), **({"imageTag": tag} if tag else {})}
    image = {
        "registryId": ctx.account, "repositoryName": repository.name, "imageId": named,
        "imageManifest": request["imageManifest"], "imageManifestMediaType": row.spec["mediaType"],
    }  # fmt: skip
    return {"image": image}


@ecr.operation
def batch_delete_image(ctx: Context, request: Json) -> Json:
    """Take tags away, and images whose last one it was or that are named by digest."""
    repository = find(ctx, request)
    gone, failures = [], []
    for wanted in request["imageIds"]:
        row = _wanted(ctx, repository, wanted)
        if row is None:
            failures.append(
                {"imageId": wanted, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
            )
            continue
        left = [t for t in row.private["tags"] if t != wanted.get("imageTag")]
        if ("imageDigest" in wanted and "imageTag" not in wanted) or not left:
            gone += _named(row)
            ctx.tx.rows.delete(row)
        else:
            gone.append({"imageDigest": digest_of(row), "imageTag": wanted["imageTag"]})
            ctx.tx.rows.save(row, private={"tags": left})
    return {"imageIds": gone, "failures": failures}


@ecr.operation
def batch_check_layer_availability(ctx: Context, request: Json) -> Json:
    """Which layers are there."""
    find(ctx, request)
    layers, failures = [], []
    for digest in request["layerDigests"]:
        size = _blobs(ctx).size(digest)
        if size is None:
            failures.append(
                {"layerDigest": digest, "failureCode": "MissingLayerDigest", "failureReason": "Layer not found"}
            )
        else:
            layers.append({"layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": size})
    return {"layers": layers, "failures": failures}
