"""A function's resource policy: which services and accounts may invoke it."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from ...patterns import wildcard
from ...provider.caller import Caller
from ...provider.context import Context
from ...provider.errors import AwsError
from ...store.rows import Row
from . import functions
from .naming import LATEST, arn, conflict, find, find_version, invalid, not_found

Json = dict[str, Any]


def _scope(row: Row, qualifier: str) -> list[Json]:
    """The statements of a function, or of one of its versions or aliases."""
    found: list[Json] = row.private.get("policies", {}).get(qualifier, [])
    return found


def _save(ctx: Context, row: Row, qualifier: str, statements: list[Json]) -> None:
    policies = {**row.private.get("policies", {}), qualifier: statements}
    ctx.tx.rows.save(
        row, private={**row.private, "policies": policies}, spec={**row.spec, "RevisionId": str(uuid.uuid4())}
    )


def _target(ctx: Context, request: Json) -> tuple[Row, str]:
    row, named = find(ctx, request["FunctionName"], request.get("Qualifier"))
    if named.qualifier == LATEST:
        raise invalid("We currently do not support adding policies for $LATEST.")
    if named.qualifier:
        find_version(ctx, named.name, named.qualifier)
    return row, named.qualifier


@functions.operation
def add_permission(ctx: Context, request: Json) -> Json:
    """Let a service or an account invoke a function."""
    row, qualifier = _target(ctx, request)
    statements = _scope(row, qualifier)
    sid = request["StatementId"]
    if any(s["Sid"] == sid for s in statements):
        raise conflict(
            f"The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the "
            "existing statement."
        )
    statement: Json = {
        "Sid": sid, "Effect": "Allow", "Principal": _principal(request["Principal"]), "Action": request["Action"],
        "Resource": arn(ctx, row.name, qualifier),
    }  # fmt: skip
    conditions: Json = {}
    for member, operator, key in (
        ("SourceArn", "ArnLike", "AWS:SourceArn"), ("SourceAccount", "StringEquals", "AWS:SourceAccount"),
        ("PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"),
        ("FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"),
        ("EventSourceToken", "StringEquals", "lambda:EventSourceToken"),
        ("InvokedViaFunctionUrl", "Bool", "lambda:InvokedViaFunctionUrl"),
    ):  # fmt: skip
        if member in request:
            value = request[member]
            conditions.setdefault(operator, {})[key] = str(value).lower() if isinstance(value, bool) else value
    if conditions:
        statement["Condition"] = conditions
    _save(ctx, row, qualifier, [*statements, statement])
    return {"Statement": json.dumps(statement, separators=(",", ":"))}


def _principal(text: str) -> Any:
    if text == "*":
        return "*"
    if re.fullmatch(r"\d{12}", text):
        return {"AWS": f"arn:aws:iam::{text}:root"}
    return {"AWS": text} if text.startswith("arn:") else {"Service": text}


@functions.operation
def remove_permission(ctx: Context, request: Json) -> None:
    """Take a permission back."""
    row, qualifier = _target(ctx, request)
    statements = _scope(row, qualifier)
    kept = [s for s in statements if s["Sid"] != request["StatementId"]]
    if len(kept) == len(statements):
        raise not_found(f"Statement {request['StatementId']} is not found in resource policy.")
    _save(ctx, row, qualifier, kept)


@functions.operation
def get_policy(ctx: Context, request: Json) -> Json:
    """The policy of a function, or of one of its versions or aliases."""
    row, qualifier = _target(ctx, request)
    statements = _scope(row, qualifier)
    if not statements:
        raise _no_policy()
    policy = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
    return {"Policy": json.dumps(policy, separators=(",", ":")), "RevisionId": row.spec["RevisionId"]}


def _no_policy() -> AwsError:
    return not_found("The resource you requested does not exist.")


def allows(row: Row, qualifier: str, service: str, source_arn: str, source_account: str) -> bool:
    """Return whether the policy lets a service invoke the function for a source, which an account owns."""
    for statement in _scope(row, qualifier):
        principal = statement["Principal"]
        if principal != "*" and principal.get("Service") != service:
            continue
        if statement["Action"] not in ("lambda:InvokeFunction", "lambda:*"):
            continue
        conditions = statement.get("Condition", {})
        if conditions.get("StringEquals", {}).get("AWS:SourceAccount", source_account) != source_account:
            continue
        wanted = conditions.get("ArnLike", {}).get("AWS:SourceArn")
        if wanted is None or arn_like(wanted, source_arn):
            return True
    return False


def admits(row: Row, qualifier: str, caller: Caller, action: str = "lambda:InvokeFunction") -> bool:
    """Return whether a caller may invoke the function: its own account may, others as the policy names them."""
    if caller.account == row.account:
        return True
    principals = ("*", f"arn:aws:iam::{caller.account}:root", caller.arn)
    for statement in _scope(row, qualifier):
        principal = statement["Principal"]
        named = principal if isinstance(principal, str) else principal.get("AWS")
        if named in principals and statement["Action"] in (action, "lambda:*") and "Condition" not in statement:
            return bool(caller.account)
    return False


def lets_anybody(row: Row, qualifier: str) -> bool:
    """Whether the policy lets everybody call the function at its URL."""
    for statement in _scope(row, qualifier):
        wanted = statement.get("Condition", {}).get("StringEquals", {}).get("lambda:FunctionUrlAuthType", "NONE")
        actions = ("lambda:InvokeFunctionUrl", "lambda:*")
        if statement["Principal"] == "*" and statement["Action"] in actions and wanted == "NONE":
            return True
    return False


def arn_like(pattern: str, text: str) -> bool:
    """Whether an ARN matches a pattern: part by part, ``*`` and ``?`` stay inside a colon-delimited one."""
    wanted, given = pattern.split(":", 5), text.split(":", 5)
    return len(wanted) == len(given) and all(wildcard(w).full(g) for w, g in zip(wanted, given, strict=True))
