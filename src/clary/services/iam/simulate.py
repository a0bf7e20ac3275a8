"""Policy simulation: what an identity's own policies say of an action on a resource.

Statements with conditions count only when they deny nothing: an Allow with a condition is not taken as met.
"""

from __future__ import annotations

from typing import Any

from ...patterns import wildcard
from ...provider.context import Context
from ...store.rows import Row
from ...wire import bounded
from . import iam
from .entities import no_such_entity
from .policies import policy

Json = dict[str, Any]


def statements(ctx: Context, row: Row) -> list[Json]:
    """Every statement of an identity's inline and attached policies."""
    texts = [bounded.loads(t) for t in row.private["inline"].values()]
    for arn in row.private["attached"]:
        found = policy(ctx, arn)
        texts.append(bounded.loads(found.private["versions"][found.spec["DefaultVersionId"]]["text"]))
    flat: list[Json] = []
    for text in texts:
        inner = text["Statement"]
        flat += inner if isinstance(inner, list) else [inner]
    return flat


def decide(found: list[Json], action: str, resource: str) -> str:
    """``allowed``, ``explicitDeny`` or ``implicitDeny``."""
    decision = "implicitDeny"
    for statement in found:
        if not _covers(statement, "Action", action.lower(), lower=True) or not _covers(statement, "Resource", resource):
            continue
        if statement["Effect"] == "Deny":
            return "explicitDeny"
        if not statement.get("Condition"):
            decision = "allowed"
    return decision


def _covers(statement: Json, member: str, value: str, lower: bool = False) -> bool:
    if member in statement:
        return _any(statement[member], value, lower)
    return f"Not{member}" in statement and not _any(statement[f"Not{member}"], value, lower)


def _any(patterns: Any, value: str, lower: bool) -> bool:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return any(_matches(p.lower() if lower else p, value) for p in listed)


def _matches(pattern: str, value: str) -> bool:
    if value == "*":
        return pattern == "*"
    return wildcard(pattern).full(value)


@iam.operation
def simulate_principal_policy(ctx: Context, request: Json) -> Json:
    """Evaluate actions for a user or a role."""
    row = ctx.tx.rows.by_arn(request["PolicySourceArn"])
    if row is None or row.kind not in ("User", "Role") or row.account != ctx.account:
        raise no_such_entity(f"The entity {request['PolicySourceArn']} cannot be found.")
    found = statements(ctx, row)
    results = [
        {
            "EvalActionName": action, "EvalResourceName": resource, "EvalDecision": decide(found, action, resource),
            "MatchedStatements": [], "MissingContextValues": [],
        }
        for action in request["ActionNames"]
        for resource in request.get("ResourceArns") or ["*"]
    ]  # fmt: skip
    return {"EvaluationResults": results, "IsTruncated": False}
