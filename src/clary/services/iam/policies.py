"""Managed policies and their versions."""

from __future__ import annotations

import json
from typing import Any

from ...clock import now
from ...ids import upper
from ...provider.context import Context
from ...store.rows import Row
from . import iam, managed
from .entities import (
    already_exists,
    arn,
    delete_conflict,
    document,
    encoded,
    limit_exceeded,
    listed,
    no_such_entity,
    page,
    put_tags,
    tags_of,
)

Json = dict[str, Any]


def attachments(ctx: Context, policy_arn: str) -> list[Row]:
    """The users and roles that carry a policy."""
    return [r for kind in ("User", "Role") for r in listed(ctx, kind) if policy_arn in r.private["attached"]]


def policy(ctx: Context, policy_arn: str) -> Row:
    """A policy of the account, or an AWS-managed one as a row; NoSuchEntity."""
    found = ctx.tx.rows.by_arn(policy_arn)
    if found is not None and found.kind == "Policy" and found.account == ctx.account:
        return found
    text = managed.find(policy_arn)
    if text is None:
        raise no_such_entity(f"Policy {policy_arn} was not found.")
    name = policy_arn.rpartition("/")[2]
    path = policy_arn.removeprefix("arn:aws:iam::aws:policy").removesuffix(name)
    spec = {"PolicyName": name, "PolicyId": "ANPA" + name.upper()[:17].ljust(17, "A"), "Arn": policy_arn, "Path": path,
            "DefaultVersionId": "v1", "CreateDate": 0, "UpdateDate": 0}  # fmt: skip
    versions = {"v1": {"text": json.dumps(text), "created": 0}}
    return Row("Policy", "aws", "", name, policy_arn, spec, private={"versions": versions, "next": 2})


def shown(ctx: Context, row: Row) -> Json:
    """A policy as answers show it."""
    count = len(attachments(ctx, row.arn))
    return {**row.spec, "AttachmentCount": count, "PermissionsBoundaryUsageCount": 0, "IsAttachable": True}


@iam.operation
def create_policy(ctx: Context, request: Json) -> Json:
    """A new policy, version 1."""
    name, path, text = request["PolicyName"], request.get("Path", "/"), request["PolicyDocument"]
    document(text)
    if len("".join(text.split())) > 6144:
        raise limit_exceeded("Cannot exceed quota for PolicySize: 6144")
    where = arn(ctx, "Policy", path, name)
    if ctx.tx.rows.get("Policy", ctx.account, "", name):
        raise already_exists(f"A policy called {name} already exists. Duplicate names are not allowed.")
    spec = {
        "PolicyName": name, "PolicyId": upper("ANPA", 21), "Arn": where, "Path": path, "DefaultVersionId": "v1",
        "CreateDate": now(), "UpdateDate": now(), **({"Description": request["Description"]} if "Description" in request else {}),
    }  # fmt: skip
    private = {"versions": {"v1": {"text": text, "created": now()}}, "next": 2}
    row = ctx.tx.rows.add(Row("Policy", ctx.account, "", name, where, spec, private=private))
    put_tags(ctx, row, request.get("Tags"))
    return {"Policy": shown(ctx, row)}


@iam.operation
def get_policy(ctx: Context, request: Json) -> Json:
    """A policy, without its document."""
    row = policy(ctx, request["PolicyArn"])
    tags = tags_of(ctx, row)
    return {"Policy": {**shown(ctx, row), **({"Tags": tags} if tags else {})}}


@iam.operation
def list_policies(ctx: Context, request: Json) -> Json:
    """Policies: the account's, AWS's, or both."""
    scope, prefix = request.get("Scope", "All"), request.get("PathPrefix", "/")
    found = listed(ctx, "Policy", prefix) if scope in ("All", "Local") else []
    if scope in ("All", "AWS"):
        aws = [policy(ctx, f"arn:aws:iam::aws:policy/{name}") for name in managed.POLICIES]
        found += [r for r in aws if r.spec["Path"].startswith(prefix)]
    rows = [shown(ctx, r) for r in found]
    if request.get("OnlyAttached"):
        rows = [r for r in rows if r["AttachmentCount"]]
    items, more = page(request, rows)
    return {"Policies": items, **more}


@iam.operation
def delete_policy(ctx: Context, request: Json) -> None:
    """Remove a policy that is attached to nothing and has one version."""
    row = policy(ctx, request["PolicyArn"])
    if attachments(ctx, row.arn):
        raise delete_conflict("Cannot delete a policy attached to entities.")
    if len(row.private["versions"]) > 1:
        raise delete_conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."
        )
    ctx.tx.rows.delete(row)


def _version(row: Row, name: str) -> Json:
    if (found := row.private["versions"].get(name)) is None:
        raise no_such_entity(f"Policy {row.arn} version {name} does not exist or is not attachable.")
    return {"VersionId": name, "IsDefaultVersion": name == row.spec["DefaultVersionId"], "CreateDate": found["created"]}


@iam.operation
def create_policy_version(ctx: Context, request: Json) -> Json:
    """A further version; at most five are kept."""
    row, text = policy(ctx, request["PolicyArn"]), request["PolicyDocument"]
    document(text)
    if len(row.private["versions"]) >= 5:
        raise limit_exceeded(
            "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."
        )
    name = f"v{row.private['next']}"
    private = {
        "versions": {**row.private["versions"], name: {"text": text, "created": now()}},
        "next": row.private["next"] + 1,
    }
    spec = {**row.spec, "UpdateDate": now()}
    if request.get("SetAsDefault"):
        spec["DefaultVersionId"] = name
    row = ctx.tx.rows.save(row, spec=spec, private=private)
    return {"PolicyVersion": _version(row, name)}


@iam.operation
def get_policy_version(ctx: Context, request: Json) -> Json:
    """A version with its document."""
    row = policy(ctx, request["PolicyArn"])
    shown_version = _version(row, request["VersionId"])
    text = row.private["versions"][request["VersionId"]]["text"]
    return {"PolicyVersion": {**shown_version, "Document": encoded(text)}}


@iam.operation
def list_policy_versions(ctx: Context, request: Json) -> Json:
    """A policy's versions, newest first."""
    row = policy(ctx, request["PolicyArn"])
    items, more = page(request, [_version(row, name) for name in reversed(row.private["versions"])])
    return {"Versions": items, **more}


@iam.operation
def set_default_policy_version(ctx: Context, request: Json) -> None:
    """The version in force."""
    row = policy(ctx, request["PolicyArn"])
    _version(row, request["VersionId"])
    ctx.tx.rows.save(row, spec={**row.spec, "DefaultVersionId": request["VersionId"], "UpdateDate": now()})


@iam.operation
def delete_policy_version(ctx: Context, request: Json) -> None:
    """Remove a version that is not in force."""
    row, name = policy(ctx, request["PolicyArn"]), request["VersionId"]
    if _version(row, name)["IsDefaultVersion"]:
        raise delete_conflict("Cannot delete the default version of a policy.")
    versions = {k: v for k, v in row.private["versions"].items() if k != name}
    ctx.tx.rows.save(row, private={**row.private, "versions": versions})


@iam.operation
def list_entities_for_policy(ctx: Context, request: Json) -> Json:
    """Who carries a policy."""
    found = attachments(ctx, policy(ctx, request["PolicyArn"]).arn)
    return {
        "PolicyRoles": [{"RoleName": r.name, "RoleId": r.spec["RoleId"]} for r in found if r.kind == "Role"],
        "PolicyUsers": [{"UserName": r.name, "UserId": r.spec["UserId"]} for r in found if r.kind == "User"],
        "PolicyGroups": [],
        "IsTruncated": False,
    }
