"""Repositories with their settings, policies and tags."""

from __future__ import annotations

import re
from typing import Any

from ...clock import now
from ...provider.context import Context
from ...provider.errors import AwsError, coded
from ...provider.operation import Provider
from ...provider.pages import cut
from ...provider.platform import Platform
from ...store.database import Transaction
from ...store.rows import Row
from ...wire import bounded

Json = dict[str, Any]

ecr = Provider("ecr")

REPOSITORY = "Repository"
IMAGE = "EcrImage"
"""The kind of an image's row; it is named ``repository@digest``."""

_SETTINGS = {"imageTagMutability": "MUTABLE", "imageScanningConfiguration": {"scanOnPush": False}}
_ENCRYPTION = {"encryptionType": "AES256"}


def where(ctx: Context, name: str) -> str:
    """A repository, as errors have it."""
    return f"with name '{name}' in the registry with id '{ctx.account}'"


def address(platform: Platform) -> str:
    """The registry as container tools reach it. They take no name below ``localhost``, and plain HTTP from this one."""
    settings = platform.settings
    host = "localhost" if settings.host in ("0.0.0.0", "127.0.0.1", "::", "::1", "") else settings.host
    return f"{host}:{settings.port}"


def find(ctx: Context, request: Json) -> Row:
    """The repository that a request names."""
    name = request["repositoryName"]
    if (row := ctx.get(REPOSITORY, name)) is None:
        raise _absent(ctx, name)
    return row


def image_rows(tx: Transaction, repository: Row) -> list[Row]:
    """The images of a repository, in the order in which they came."""
    rows = tx.rows.list(IMAGE, repository.account, repository.region)
    return sorted((r for r in rows if r.name.startswith(f"{repository.name}@")), key=lambda r: r.created)


def _absent(ctx: Context, name: str) -> AwsError:
    text = f"The repository with name '{name}' does not exist in the registry with id '{ctx.account}'"
    return coded("RepositoryNotFoundException", text, 400)


def _named(ctx: Context, row: Row) -> Json:
    return {"registryId": ctx.account, "repositoryName": row.name}


def _shown(ctx: Context, row: Row) -> Json:
    return {
        **_named(ctx, row), "repositoryArn": row.arn, "createdAt": row.created,
        "repositoryUri": f"{address(ctx.platform)}/{row.name}", **row.spec,
    }  # fmt: skip


def _keep(ctx: Context, row: Row, **settings: Any) -> None:
    kept = {k: v for k, v in {**row.private, **settings}.items() if v is not None}
    ctx.tx.rows.save(row, private=kept)


def page(request: Json, rows: list[Any], name: str) -> Json:
    """A page of a list, and the token of the next one."""
    text = "Invalid parameter at 'nextToken' failed to satisfy constraint"
    invalid = coded("InvalidParameterException", text, 400)
    shown, token = cut(rows, request.get("nextToken"), request.get("maxResults", 100), invalid)
    return {name: shown, **({"nextToken": token} if token else {})}


@ecr.operation
def create_repository(ctx: Context, request: Json) -> Json:
    """A repository without images."""
    name = request["repositoryName"]
    if ctx.get(REPOSITORY, name) is not None:
        text = f"The repository with name '{name}' already exists in the registry with id '{ctx.account}'"
        raise coded("RepositoryAlreadyExistsException", text, 400)
    spec = {k: request.get(k, default) for k, default in _SETTINGS.items()}
    spec["encryptionConfiguration"] = request.get("encryptionConfiguration", _ENCRYPTION)
    arn = ctx.arn("ecr", f"repository/{name}")
    row = Row(REPOSITORY, ctx.account, ctx.region, name, arn, spec, created=now())
    ctx.tx.rows.add(row)
    if tags := request.get("tags"):
        ctx.tx.tags.put(arn, {t["Key"]: t.get("Value", "") for t in tags})
    return {"repository": _shown(ctx, row)}


@ecr.operation
def describe_repositories(ctx: Context, request: Json) -> Json:
    """All repositories, or those that are named."""
    if names := request.get("repositoryNames"):
        rows = [find(ctx, {"repositoryName": name}) for name in names]
    else:
        rows = sorted(ctx.tx.rows.list(REPOSITORY, ctx.account, ctx.region), key=lambda r: r.name)
    return page(request, [_shown(ctx, r) for r in rows], "repositories")


@ecr.operation
def delete_repository(ctx: Context, request: Json) -> Json:
    """Remove a repository: one with images only by force."""
    row = find(ctx, request)
    shown = _shown(ctx, row)
    held = image_rows(ctx.tx, row)
    if held and not request.get("force"):
        text = (
            f"The repository with name '{row.name}' in registry with id '{ctx.account}' cannot be deleted because it "
            "still contains images"
        )
        raise coded("RepositoryNotEmptyException", text, 400)
    for image in held:
        ctx.tx.rows.delete(image)
    ctx.tx.rows.delete(row)
    return {"repository": shown}


def _document(text: str, what: str) -> str:
    try:
        bounded.loads(text)
    except ValueError as error:
        message = f"Invalid parameter at '{what}' failed to satisfy constraint: 'Invalid JSON: {error}'"
        raise coded("InvalidParameterException", message, 400) from None
    return text


@ecr.operation
def set_repository_policy(ctx: Context, request: Json) -> Json:
    """Who may use a repository."""
    row = find(ctx, request)
    _keep(ctx, row, policy=_document(request["policyText"], "PolicyText"))
    return {**_named(ctx, row), "policyText": request["policyText"]}


def _stored(ctx: Context, row: Row, name: str, error: str, what: str) -> str:
    if (text := row.private.get(name)) is None:
        raise coded(error, f"{what} does not exist for the repository {where(ctx, row.name)}", 400)
    return str(text)


@ecr.operation
def get_repository_policy(ctx: Context, request: Json) -> Json:
    """A repository's policy."""
    row = find(ctx, request)
    text = _stored(ctx, row, "policy", "RepositoryPolicyNotFoundException", "Repository policy")
    return {**_named(ctx, row), "policyText": text}


@ecr.operation
def delete_repository_policy(ctx: Context, request: Json) -> Json:
    """Take a repository's policy away."""
    found = get_repository_policy(ctx, request)
    _keep(ctx, find(ctx, request), policy=None)
    return found


@ecr.operation
def put_lifecycle_policy(ctx: Context, request: Json) -> Json:
    """Which images expire; kept and shown, for there are none."""
    row = find(ctx, request)
    text = _document(request["lifecyclePolicyText"], "LifecyclePolicyText")
    _keep(ctx, row, lifecycle=text)
    return {**_named(ctx, row), "lifecyclePolicyText": text}


@ecr.operation
def get_lifecycle_policy(ctx: Context, request: Json) -> Json:
    """A repository's lifecycle policy."""
    row = find(ctx, request)
    text = _stored(ctx, row, "lifecycle", "LifecyclePolicyNotFoundException", "Lifecycle policy")
    return {**_named(ctx, row), "lifecyclePolicyText": text}


@ecr.operation
def delete_lifecycle_policy(ctx: Context, request: Json) -> Json:
    """Take a repository's lifecycle policy away."""
    found = get_lifecycle_policy(ctx, request)
    _keep(ctx, find(ctx, request), lifecycle=None)
    return found


@ecr.operation
def put_image_tag_mutability(ctx: Context, request: Json) -> Json:
    """Whether tags may move."""
    row = find(ctx, request)
    ctx.tx.rows.save(row, spec={**row.spec, "imageTagMutability": request["imageTagMutability"]})
    return {**_named(ctx, row), "imageTagMutability": request["imageTagMutability"]}


@ecr.operation
def put_image_scanning_configuration(ctx: Context, request: Json) -> Json:
    """Whether images would be scanned."""
    row, wanted = find(ctx, request), request["imageScanningConfiguration"]
    ctx.tx.rows.save(row, spec={**row.spec, "imageScanningConfiguration": wanted})
    return {**_named(ctx, row), "imageScanningConfiguration": wanted}


def _by_arn(ctx: Context, request: Json) -> Row:
    match = re.fullmatch(r"arn:[^:]+:ecr:[^:]+:[^:]+:repository/(.+)", request["resourceArn"])
    if match is None:
        text = f"Invalid parameter at 'resourceArn' failed to satisfy constraint: '{request['resourceArn']} is no ARN'"
        raise coded("InvalidParameterException", text, 400)
    return find(ctx, {"repositoryName": match[1]})


@ecr.operation
def tag_resource(ctx: Context, request: Json) -> Json:
    """Add or replace tags."""
    ctx.tx.tags.put(_by_arn(ctx, request).arn, {t["Key"]: t.get("Value", "") for t in request["tags"]})
    return {}


@ecr.operation
def untag_resource(ctx: Context, request: Json) -> Json:
    """Remove tags."""
    ctx.tx.tags.remove(_by_arn(ctx, request).arn, request["tagKeys"])
    return {}


@ecr.operation
def list_tags_for_resource(ctx: Context, request: Json) -> Json:
    """A repository's tags."""
    return {"tags": [{"Key": k, "Value": v} for k, v in ctx.tx.tags.of(_by_arn(ctx, request).arn).items()]}
