"""What users, roles, policies and profiles share: names, documents, tags, pages, errors."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ...provider.context import Context
from ...provider.errors import AwsError, ValidationError, coded
from ...provider.pages import cut
from ...store.rows import Row
from ...wire import bounded
from ..outline import POLICY, problem_finder

Json = dict[str, Any]
_KINDS = {"User": "user", "Role": "role", "Policy": "policy", "InstanceProfile": "instance-profile"}


def no_such_entity(text: str) -> AwsError:
    """Missing."""
    return coded("NoSuchEntity", text, 404)


def already_exists(text: str) -> AwsError:
    """Taken."""
    return coded("EntityAlreadyExists", text, 409)


def delete_conflict(text: str) -> AwsError:
    """Still in use."""
    return coded("DeleteConflict", text, 409)


def limit_exceeded(text: str) -> AwsError:
    """Over a quota."""
    return coded("LimitExceeded", text, 409)


def find(ctx: Context, kind: str, name: str) -> Row | None:
    """An entity of the caller's account."""
    return ctx.tx.rows.get(kind, ctx.account, "", name)


def user(ctx: Context, name: str) -> Row:
    """A user; NoSuchEntity."""
    if (found := find(ctx, "User", name)) is None:
        raise no_such_entity(f"The user with name {name} cannot be found.")
    return found


def role(ctx: Context, name: str) -> Row:
    """A role; NoSuchEntity."""
    if (found := find(ctx, "Role", name)) is None:
        raise no_such_entity(f"The role with name {name} cannot be found.")
    return found


def arn(ctx: Context, kind: str, path: str, name: str) -> str:
    """An entity's ARN."""
    return f"arn:aws:iam::{ctx.account}:{_KINDS[kind]}{path}{name}"


_problem = problem_finder(POLICY)


def document(text: str, trust: bool = False) -> Json:
    """A policy document, checked for the outline that IAM insists on; MalformedPolicyDocument."""

    def malformed(words: str) -> AwsError:
        return coded("MalformedPolicyDocument", words, 400)

    try:
        policy: Json = bounded.loads(text)
    except ValueError:
        raise malformed("This policy contains invalid Json") from None
    if _problem(policy):
        raise malformed("Syntax errors in policy.")
    if policy.get("Version") not in (None, "2012-10-17", "2008-10-17"):
        raise malformed("Syntax errors in policy.")
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    ids = [s.get("Sid") for s in statements if s.get("Sid")]
    if len(ids) != len(set(ids)):
        raise malformed("Statement IDs (SID) in a single policy must be unique.")
    for statement in statements:
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise malformed("Syntax errors in policy.")
        actions = statement.get("Action", statement.get("NotAction"))
        if not actions:
            raise malformed("Policy statement must contain actions.")
        for action in [actions] if isinstance(actions, str) else actions:
            if action != "*" and ":" not in action:
                raise malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
        if trust and ("Resource" in statement or "NotResource" in statement):
            raise malformed("Has prohibited field Resource")
        if not trust and "Resource" not in statement and "NotResource" not in statement:
            raise malformed("Policy statement must contain resources.")
    return policy


def encoded(text: str) -> str:
    """A document as answers carry it: percent-encoded (RFC 3986)."""
    return quote(text, safe="-_.~")


def tags_of(ctx: Context, row: Row) -> list[Json]:
    """An entity's tags."""
    return [{"Key": k, "Value": v} for k, v in ctx.tx.tags.of(row.arn).items()]


def put_tags(ctx: Context, row: Row, tags: list[Json] | None) -> None:
    """Add tags; LimitExceeded over fifty."""
    pairs = {t["Key"]: t["Value"] for t in tags or ()}
    if len(ctx.tx.tags.of(row.arn) | pairs) > 50:
        raise limit_exceeded("The number of tags has reached the maximum limit.")
    ctx.tx.tags.put(row.arn, pairs)


def page(request: Json, items: list[Any]) -> tuple[list[Any], Json]:
    """A page of a list by ``Marker`` and ``MaxItems``, and the members that say whether there is more."""
    shown, marker = cut(items, request.get("Marker"), request.get("MaxItems", 100), ValidationError("Invalid Marker."))
    return shown, {"IsTruncated": marker is not None, **({"Marker": marker} if marker else {})}


def listed(ctx: Context, kind: str, prefix: str = "/") -> list[Row]:
    """The account's entities of a kind under a path."""
    return [r for r in ctx.tx.rows.list(kind, ctx.account, "") if r.spec.get("Path", "/").startswith(prefix)]
