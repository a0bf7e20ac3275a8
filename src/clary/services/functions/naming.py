"""How functions are named: by name, partial or full ARN, each with a version or an alias behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...provider.context import Context
from ...provider.errors import AwsError, coded
from ...store.rows import Row
from ...wire.bounded import digits

LATEST = "$LATEST"
_NAME = re.compile(
    r"^(?:arn:aws[a-z-]*:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>\d{12}):function:|function:)?"
    r"(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?$"
)


@dataclass(frozen=True, slots=True)
class Named:
    """A function's name, and the version or alias of it that is meant (empty: none was given)."""

    name: str
    qualifier: str = ""
    account: str = ""  # that the ARN names; empty for a name or a partial ARN


def invalid(text: str) -> AwsError:
    """A parameter that Lambda does not take."""
    return coded("InvalidParameterValueException", text, 400, Type="User")


def conflict(text: str) -> AwsError:
    """Something is there already, or is being changed."""
    return coded("ResourceConflictException", text, 409, Type="User")


def not_found(text: str) -> AwsError:
    """A missing function, version, alias or policy."""
    return coded("ResourceNotFoundException", text, 404, Type="User", Message=text)


def denied(ctx: Context, resource: str) -> AwsError:
    """A function of another account, whose policy does not let the caller in."""
    return coded(
        "AccessDeniedException",
        f"User: {ctx.caller.arn} is not authorized to access the resource {resource} because no resource-based policy "
        "allows it",
        403,
    )


def parse(text: str, qualifier: str | None = None) -> Named:
    """What a FunctionName and a Qualifier mean together."""
    found = _NAME.match(text)
    if found is None:
        raise invalid(f"{text} is not a valid function name or ARN.")
    own = found["qualifier"] or ""
    if own and qualifier and own != qualifier:
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    return Named(found["name"], own or qualifier or "", found["account"] or "")


def arn(ctx: Context, name: str, qualifier: str = "") -> str:
    """A function's ARN, with the qualifier if there is one."""
    return ctx.arn("lambda", f"function:{name}" + (f":{qualifier}" if qualifier else ""))


def find(ctx: Context, text: str, qualifier: str | None = None) -> tuple[Row, Named]:
    """The function itself; AWS's error when it is missing."""
    named = parse(text, qualifier)
    if named.account not in ("", ctx.account):
        raise denied(ctx, text)
    if (row := ctx.get("Function", named.name)) is None:
        raise not_found(f"Function not found: {arn(ctx, named.name, named.qualifier)}")
    return row, named


def find_version(ctx: Context, text: str, qualifier: str | None = None) -> tuple[Row, Named]:
    """The version that is meant, an alias followed to its (first) version."""
    row, named = find(ctx, text, qualifier)
    if named.qualifier in ("", LATEST):
        return row, named
    version = named.qualifier
    if not digits(version):
        alias = ctx.get("FunctionAlias", f"{named.name}:{version}")
        if alias is None:
            raise not_found(f"Function not found: {arn(ctx, named.name, version)}")
        version = alias.spec["FunctionVersion"]
        if version == LATEST:
            return row, named
    if (found := ctx.get("FunctionVersion", f"{named.name}:{version}")) is None:
        raise not_found(f"Function not found: {arn(ctx, named.name, version)}")
    return found, named
