"""What a stack's row holds, and what follows from it. Used by the operations and by the reconciler."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

from ...clock import now
from ...provider.context import Context
from ...provider.errors import AwsError, ValidationError, coded
from ...store.database import Transaction
from ...store.rows import Row
from ...wire import bounded
from .. import secretsmanager, ssm
from . import catalogue
from . import template as templates
from .intrinsics import Scope

Json = dict[str, Any]
MAX_EVENTS = 2000
DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
_NAMED = {
    "AWS::IAM::Role": "RoleName", "AWS::IAM::ManagedPolicy": "ManagedPolicyName", "AWS::IAM::User": "UserName",
    "AWS::IAM::Group": "GroupName", "AWS::IAM::InstanceProfile": "InstanceProfileName",
}  # fmt: skip


def find(ctx: Context, name: str) -> Row:
    """A stack by name or id; AWS's error when it is missing."""
    row = lookup(ctx.tx, ctx.account, ctx.region, name)
    if row is None:
        raise ValidationError(f"Stack with id {name} does not exist")
    return row


def lookup(tx: Transaction, account: str, region: str, name: str) -> Row | None:
    """A stack by name or id; deleted ones by id only."""
    if name.startswith("arn:"):
        short = name.partition(":stack/")[2].partition("/")[0]
        row = tx.rows.get("Stack", account, region, short)
        return row if row is not None and row.arn == name else tx.rows.get("DeletedStack", account, region, name)
    return tx.rows.get("Stack", account, region, name)


def event(
    row: Row, private: Json, logical: str, physical: str, kind: str, status: str, reason: str = "", props: Any = None
) -> None:
    """Add an event to a stack's; the newest is the last."""

    identifier = (
        str(uuid.uuid4())
        if kind == "AWS::CloudFormation::Stack" and logical == row.name
        else f"{logical}-{status}-{uuid.uuid4()}"
    )
    before: list[Json] = private.get("events", [])
    at = round(now(), 3)
    if before and at <= before[-1]["Timestamp"]:  # clients sort by a time of milliseconds
        at = round(before[-1]["Timestamp"] + 0.001, 3)
    found: Json = {
        "StackId": row.arn, "EventId": identifier, "StackName": row.name, "LogicalResourceId": logical,
        "PhysicalResourceId": physical, "ResourceType": kind, "Timestamp": at, "ResourceStatus": status,
    }  # fmt: skip
    if reason:
        found["ResourceStatusReason"] = reason[:1024]
    if props is not None:
        found["ResourceProperties"] = json.dumps(props, default=str)
    private["events"] = [*before, found][-MAX_EVENTS:]


def going_back(private: Json, plan: Json, description: str) -> Json:
    """The plan that undoes an update as far as that got."""
    return {
        "kind": "update_rollback", "template": private["template"], "original": private.get("original", ""),
        "parameters": private["parameters"], "shown": private["shown"], "done": [], "description": description,
        "replaced": plan.get("replaced", []), "tags": private.get("tags", []),
    }  # fmt: skip


def tags_now(row: Row) -> list[Json]:
    """The tags that a stack has; those of an update that is under way are its when it is done."""
    found: list[Json] = row.private["tags"] if "tags" in row.private else row.spec.get("Tags") or []
    return found


def _secret(context: Context, reference: str) -> str:
    """``id:SecretString:key:label:version``, of which only the id is needed; the id may be an ARN."""
    size = 7 if reference.startswith("arn:") else 1
    parts = reference.split(":")
    identifier, rest = ":".join(parts[:size]), [*parts[size:], "", "", "", ""]
    kind, key, stage, version = rest[:4]
    said = f"Could not resolve the dynamic reference to secret {identifier}"
    if kind not in ("", "SecretString"):
        raise ValidationError(f"{said}: SecretString is the only part that can be named, not {kind}.")
    try:
        text = secretsmanager.value(context, identifier, stage, version)
    except AwsError as error:
        raise ValidationError(f"{said}: {error.message}") from None
    if not key:
        return text
    try:
        found = bounded.loads(text)[key]
    except (ValueError, KeyError, TypeError):
        raise ValidationError(f"{said}: it is no JSON object with the key {key}.") from None
    return found if isinstance(found, str) else json.dumps(found)


def scope(tx: Transaction, row: Row, document: Json, parameters: Json, resources: Json, context: Context) -> Scope:
    """The names of a template for a stack: its parameters, its resources, others' exports, SSM's parameters."""

    def dynamic(service: str, reference: str) -> str:
        if service == "secretsmanager":
            return _secret(context, reference)
        if service not in ("ssm", "ssm-secure"):
            raise ValidationError(
                f"Invalid dynamic reference: {service} is none of ssm, ssm-secure and secretsmanager."
            )
        try:
            return ssm.value(context, reference, decrypt=service == "ssm-secure")
        except AwsError:
            raise ValidationError(f"Parameters: [{service}:{reference}] cannot be found.") from None

    def exports(name: str) -> str:
        for other in tx.rows.list("Stack", row.account, row.region):
            for output in other.status.get("Outputs") or ():
                if output.get("ExportName") == name:
                    return str(output["OutputValue"])
        raise ValidationError(f"No export named {name} found.")

    def attribute(logical: str, name: str) -> Any:
        made = resources.get(logical)
        if made is None:
            raise ValidationError(f"Template error: instance of Fn::GetAtt references undefined resource {logical}")
        found: Any = made.get("Attributes") or {}
        if name in found:
            return found[name]
        raise ValidationError(
            f"Template error: resource {logical} does not support attribute type {name} in Fn::GetAtt"
        )

    values = dict(parameters)
    for name, about in (document.get("Parameters") or {}).items():
        if name in values and str(about.get("Type", "")).startswith("AWS::SSM::Parameter::Value"):
            values[name] = dynamic("ssm", values[name])
    values |= {
        "AWS::AccountId": row.account, "AWS::Region": row.region, "AWS::Partition": "aws", "AWS::StackName": row.name,
        "AWS::StackId": row.arn, "AWS::URLSuffix": "amazonaws.com",
        "AWS::NotificationARNs": row.spec.get("NotificationARNs") or [],
    }  # fmt: skip
    refs = {name: made["PhysicalResourceId"] for name, made in resources.items() if made.get("PhysicalResourceId")}
    return Scope(document, values, refs, attribute, exports, dynamic)


def static_scope(tx: Transaction, row: Row, document: Json, parameters: Json, ctx: Context) -> Scope:
    """A scope for what can be known before anything is made: every resource refers to itself."""
    found = scope(tx, row, document, parameters, {}, ctx)
    found.resources = {name: name for name in document["Resources"]}
    found.attribute = lambda logical, name: f"{logical}.{name}"
    found.exports = lambda name: name
    stored = found.dynamic  # a secret is read when it is needed: the stack itself may make it
    found.dynamic = lambda service, reference: "" if service == "secretsmanager" else stored(service, reference)
    return found


def capabilities(document: Json, given: list[str] | None) -> None:
    """Refuse to make IAM's resources for who did not say that this is meant."""
    kinds = {name: r for name, r in document["Resources"].items() if str(r["Type"]).startswith("AWS::IAM::")}
    if not kinds:
        return
    named = any(_NAMED.get(r["Type"], "-") in (r.get("Properties") or {}) for r in kinds.values())
    needed = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
    have = set(given or ())
    if needed in have or "CAPABILITY_NAMED_IAM" in have:
        return
    raise coded("InsufficientCapabilitiesException", f"Requires capabilities : [{needed}]", 400)


def check_types(document: Json, wanted: Iterable[str]) -> None:
    """Refuse types that nobody knows, of the resources that are to be made."""
    kinds = {str(document["Resources"][logical]["Type"]) for logical in wanted}
    unknown = sorted(kind for kind in kinds if catalogue.find(kind) is None)
    if unknown:
        raise ValidationError(f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")


def body_of(ctx: Context, request: Json, before: str | None = None) -> str:
    """The template that a request carries or points to."""
    if request.get("UsePreviousTemplate") and before is not None:
        return before
    if body := request.get("TemplateBody"):
        if len(body.encode()) > templates.MAX_BODY:
            raise ValidationError(
                f"1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length "
                f"less than or equal to {templates.MAX_BODY}"
            )
        return str(body)
    if url := request.get("TemplateURL"):
        return _fetched(ctx, url)
    raise ValidationError("Either Template URL or Template Body must be specified.")


def _fetched(ctx: Context, url: str) -> str:
    from urllib.parse import unquote, urlsplit

    from ...store.object import Unreachable

    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
    if ".s3" in host and not host.startswith("s3"):
        bucket, key = host.partition(".s3")[0], path
    else:
        bucket, _, key = path.partition("/")
    try:
        with ctx.platform.objects.open(ctx.platform.objects.of(ctx.account).find(bucket, key)) as stored:
            return str(stored.read(1 << 20).decode())
    except (Unreachable, UnicodeDecodeError):
        raise ValidationError(f"S3 error: Access Denied, or no template at {url}") from None
