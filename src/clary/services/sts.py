"""STS: who am I, and temporary credentials."""

from __future__ import annotations

import re
from typing import Any

from ..provider.caller import Caller
from ..provider.context import Context
from ..provider.errors import AccessDenied, ValidationError
from ..provider.operation import Provider
from ..provider.service import Service
from ..sessions import Credential

Json = dict[str, Any]

sts = Provider("sts")
SERVICE = Service(sts)
_ROLE_ARN = re.compile(r"^arn:aws[a-z-]*:iam::(\d{12}):role/(?:.*/)?([\w+=,.@-]+)$")


@sts.operation
def get_caller_identity(ctx: Context, request: Json) -> Json:
    """The caller; needs no permission."""
    return {"UserId": ctx.caller.user_id, "Account": ctx.caller.account, "Arn": ctx.caller.arn}


@sts.operation
def assume_role(ctx: Context, request: Json) -> Json:
    """A session of a role whose trust policy lets the caller in."""
    match = _ROLE_ARN.match(request["RoleArn"])
    if match is None:
        raise ValidationError(f"{request['RoleArn']} is invalid")
    account, name = match[1], match[2]
    role = ctx.tx.rows.get("Role", account, "", name)
    denied = AccessDenied(
        f"User: {ctx.caller.arn} is not authorized to perform: sts:AssumeRole on resource: {request['RoleArn']}"
    )
    if role is None or role.arn != request["RoleArn"]:
        raise denied
    if ctx.caller.arn.endswith(":root") and not ctx.platform.settings.open:
        raise AccessDenied("Roles may not be assumed by root accounts.")
    if not _trusts(role.private["trust"], ctx.caller):
        raise denied
    seconds = request.get("DurationSeconds", 3600)
    if ctx.caller.kind == "role" and seconds > 3600:
        raise ValidationError(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        )
    if seconds > role.spec["MaxSessionDuration"]:
        raise ValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    session, role_id = request["RoleSessionName"], role.spec["RoleId"]
    arn = f"arn:aws:sts::{account}:assumed-role/{name}/{session}"
    credential, token = ctx.platform.keyring.session(account, arn, f"{role_id}:{session}", "role", seconds)
    answer: Json = {"Credentials": shown(credential, token)}
    answer["AssumedRoleUser"] = {"AssumedRoleId": f"{role_id}:{session}", "Arn": arn}
    if request.get("SourceIdentity"):
        answer["SourceIdentity"] = request["SourceIdentity"]
    return answer


def _trusts(policy: Json, caller: Caller) -> bool:
    """Whether a trust policy names the caller: its ARN, its account, or everyone."""
    statements = policy.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        actions = statement.get("Action", [])
        actions = [actions] if isinstance(actions, str) else actions
        if statement.get("Effect") != "Allow" or not {"sts:AssumeRole", "sts:*", "*"} & set(actions):
            continue
        principal = statement.get("Principal", {})
        named = principal if isinstance(principal, str) else principal.get("AWS", [])
        named = [named] if isinstance(named, str) else named
        role_arn = re.sub(r":sts::(\d+):assumed-role/([^/]+)/.*", r":iam::\1:role/\2", caller.arn)
        if {"*", caller.account, f"arn:aws:iam::{caller.account}:root", caller.arn, role_arn} & set(named):
            return True
    return False


@sts.operation
def get_session_token(ctx: Context, request: Json) -> Json:
    """Temporary credentials of the caller itself."""
    if ctx.caller.kind == "role":
        raise AccessDenied("Cannot call GetSessionToken with session credentials")
    seconds = request.get("DurationSeconds", 43200)
    if ctx.caller.kind == "root":
        seconds = min(seconds, 3600)
    caller = ctx.caller
    credential, token = ctx.platform.keyring.session(caller.account, caller.arn, caller.user_id, caller.kind, seconds)
    return {"Credentials": shown(credential, token)}


def shown(credential: Credential, token: str) -> Json:
    """Temporary credentials as answers show them."""
    return {
        "AccessKeyId": credential.access_key, "SecretAccessKey": credential.secret, "SessionToken": token,
        "Expiration": credential.expires,
    }  # fmt: skip
