"""Functions: the operations that make, show, change and remove them."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from ...clock import now
from ...provider.border import check_role
from ...provider.context import Context
from ...provider.errors import coded
from ...provider.once import once
from ...provider.pages import cut
from ...store.database import Transaction
from ...store.rows import Row
from ...wire.bounded import digits
from . import code, downloads, functions, layers, node
from .naming import LATEST, arn, conflict, find, find_version, invalid, parse

Json = dict[str, Any]
Result = TypeVar("Result")
RESERVED = frozenset(
    [
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    ]
)
_CONFIGURABLE = (
    "Role", "Handler", "Description", "Timeout", "MemorySize", "VpcConfig", "Environment", "Runtime",
    "DeadLetterConfig", "KMSKeyArn", "TracingConfig", "Layers", "FileSystemConfigs", "EphemeralStorage", "SnapStart",
    "LoggingConfig",
)  # fmt: skip
_ROLE = re.compile(r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$")
_MAX_ENVIRONMENT = 4096
_MAX_TIMEOUT = 900
PYTHON = re.compile(r"^python3\.\d+$")


def stamp(seconds: float) -> str:
    """A moment as Lambda writes it."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"


def shown(row: Row) -> Json:
    """A configuration as it is described."""
    return {k: v for k, v in row.spec.items() if v is not None}


async def write(ctx: Context, work: Callable[[], Result]) -> Result:
    """Do work in a transaction, from a handler that has something slow to do before."""

    def run(tx: Transaction) -> Result:
        ctx.transaction = tx
        answer: Result = once(ctx, work)
        return answer

    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(ctx.platform.threads, lambda: ctx.platform.database.attempt(run))


async def _kept(ctx: Context, given: Json) -> code.Code:
    def work() -> code.Code:
        return code.keep(ctx.platform, code.fetch(ctx.platform, ctx.account, given))

    return await asyncio.get_running_loop().run_in_executor(ctx.platform.threads, work)


@functions.operation
async def create_function(ctx: Context, request: Json) -> Json:
    """A new function, ready to be invoked."""
    name = parse(request["FunctionName"]).name
    if request.get("PackageType", "Zip") != "Zip":
        raise invalid("Clary does not run functions from container images yet; PackageType must be Zip.")
    kept = await _kept(ctx, request.get("Code") or {})
    return await write(ctx, lambda: _create(ctx, name, request, kept))


def _check_runtime(runtime: str) -> None:
    if PYTHON.match(runtime):
        return
    if not node.RUNTIME.match(runtime):
        raise invalid(
            "Clary runs the runtimes of Python (python3.12 and its like) and of Node.js (nodejs22.x and its like); it does "
            f"not serve {runtime} yet."
        )
    if not node.installed():
        raise invalid(
            f"The runtime {runtime} needs Node.js, and there is no node on the PATH that Clary was started with."
        )


def _create(ctx: Context, name: str, request: Json, kept: code.Code) -> Json:
    if ctx.get("Function", name) is not None:
        raise conflict(f"Function already exist: {name}")
    for member in ("Runtime", "Handler"):
        if not request.get(member):
            raise invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            )
    spec: Json = {
        "FunctionName": name, "FunctionArn": arn(ctx, name), "Description": "", "Timeout": 3, "MemorySize": 128,
        "PackageType": "Zip", "Architectures": request.get("Architectures") or ["x86_64"],
        "EphemeralStorage": {"Size": 512}, "TracingConfig": {"Mode": "PassThrough"}, "Version": LATEST,
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }  # fmt: skip
    spec |= {k: request[k] for k in _CONFIGURABLE if k in request and k != "Layers"}
    spec |= {"CodeSha256": kept.sha256, "CodeSize": kept.size}
    _check(ctx, spec, request)
    at = now()
    spec |= {
        "LastModified": stamp(at),
        "RevisionId": str(uuid.uuid4()),
        "State": "Active",
        "LastUpdateStatus": "Successful",
    }
    private: Json = {"versions": 0}
    row = Row("Function", ctx.account, ctx.region, name, spec["FunctionArn"], spec, private=private, created=at)
    ctx.tx.rows.add(row)
    if pairs := request.get("Tags"):
        ctx.tx.tags.put(row.arn, pairs)
    answer = {
        **shown(row), "State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating",
        "RevisionId": str(uuid.uuid4()),
    }  # fmt: skip
    answer.pop("LastUpdateStatus")
    if request.get("Publish"):
        from .versions import publish

        answer |= {"Version": publish(ctx, row, {})["Version"]}
    return answer


def _check(ctx: Context, spec: Json, request: Json) -> None:
    """What AWS refuses although each value alone is valid; puts layers in their described form."""
    check_role(ctx, spec["Role"])
    if not _ROLE.match(spec["Role"]):
        raise coded(
            "ValidationException",
            f"1 validation error detected: Value '{spec['Role']}' at 'role' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
            400,
        )
    if spec["Timeout"] > _MAX_TIMEOUT:
        raise coded(
            "ValidationException",
            f"1 validation error detected: Value '{spec['Timeout']}' at 'timeout' failed to satisfy constraint: Member "
            f"must have value less than or equal to {_MAX_TIMEOUT}",
            400,
        )
    _check_runtime(spec["Runtime"])
    variables = (spec.get("Environment") or {}).get("Variables") or {}
    if taken := sorted(RESERVED & variables.keys()):
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided contains reserved keys that are currently not supported for modification. Reserved keys used in "
            f"this request: {', '.join(taken)}"
        )
    if sum(len(k.encode()) + len(v.encode()) for k, v in variables.items()) > _MAX_ENVIRONMENT:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the {_MAX_ENVIRONMENT} bytes limit."
        )
    if "Layers" in request:
        spec["Layers"] = layers.resolved(ctx, request["Layers"])


@functions.operation
async def update_function_code(ctx: Context, request: Json) -> Json:
    """Other code; processes of the old one finish what they have."""
    if request.get("DryRun"):
        row, _ = await write(ctx, lambda: find(ctx, request["FunctionName"]))
        return shown(row)
    kept = await _kept(ctx, request)

    def work() -> Json:
        changes = {"CodeSha256": kept.sha256, "CodeSize": kept.size}
        if architectures := request.get("Architectures"):
            changes["Architectures"] = architectures
        return _changed(ctx, request, changes)

    return await write(ctx, work)


@functions.operation
def update_function_configuration(ctx: Context, request: Json) -> Json:
    """Other settings; the next call runs with them."""
    return _changed(ctx, request, {k: request[k] for k in _CONFIGURABLE if k in request})


def _changed(ctx: Context, request: Json, changes: Json) -> Json:
    row, _ = find(ctx, request["FunctionName"])
    _check_revision(row, request)
    spec = {**row.spec, **changes}
    if "LoggingConfig" in changes:
        spec["LoggingConfig"] = {**row.spec["LoggingConfig"], **changes["LoggingConfig"]}
    _check(ctx, spec, request)
    spec |= {"LastModified": stamp(now()), "RevisionId": str(uuid.uuid4())}
    row = ctx.tx.rows.save(row, spec=spec)
    answer = {
        **shown(row), "LastUpdateStatus": "InProgress", "LastUpdateStatusReason": "The function is being created.",
        "LastUpdateStatusReasonCode": "Creating",
    }  # fmt: skip
    if request.get("Publish"):
        from .versions import publish

        answer |= {"Version": publish(ctx, row, {})["Version"]}
    return answer


def _check_revision(row: Row, request: Json) -> None:
    wanted = request.get("RevisionId")
    if wanted is not None and wanted != row.spec["RevisionId"]:
        raise coded(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
            "retrieve the latest Revision Id",
            412,
            Type="User",
        )


@functions.operation
def get_function(ctx: Context, request: Json) -> Json:
    """A function's configuration, where its code is, its tags and its concurrency."""
    row, named = find_version(ctx, request["FunctionName"], request.get("Qualifier"))
    base, _ = find(ctx, named.name)
    answer: Json = {
        "Configuration": _qualified(ctx, row, named.qualifier),
        "Code": {"RepositoryType": "S3", "Location": downloads.link(ctx, row.spec["CodeSha256"])},
    }
    if tags := ctx.tx.tags.of(base.arn):
        answer["Tags"] = tags
    if (reserved := base.private.get("reserved")) is not None:
        answer["Concurrency"] = {"ReservedConcurrentExecutions": reserved}
    return answer


def _qualified(ctx: Context, row: Row, qualifier: str) -> Json:
    found = shown(row)
    if qualifier:
        found["FunctionArn"] = arn(ctx, found["FunctionName"], qualifier)
    return found


@functions.operation
def get_function_configuration(ctx: Context, request: Json) -> Json:
    """A function's configuration."""
    row, named = find_version(ctx, request["FunctionName"], request.get("Qualifier"))
    return _qualified(ctx, row, named.qualifier)


@functions.operation
def list_functions(ctx: Context, request: Json) -> Json:
    """Functions by page; with all their versions where that is asked for."""
    kinds = ("Function", "FunctionVersion") if request.get("FunctionVersion") == "ALL" else ("Function",)
    rows = sorted((r for k in kinds for r in ctx.tx.rows.list(k, ctx.account, ctx.region)), key=lambda r: r.name)
    return paged("Functions", [shown(r) for r in rows], request)


def paged(member: str, items: list[Json], request: Json) -> Json:
    """A page of a list, and the marker of the next one."""
    shown, marker = cut(
        items, request.get("Marker"), request.get("MaxItems", 50), invalid("The pagination token is invalid.")
    )
    return {member: shown, **({"NextMarker": marker} if marker else {})}


@functions.operation
def delete_function(ctx: Context, request: Json) -> None:
    """Remove a function with all its versions and aliases, or one version."""
    row, named = find(ctx, request["FunctionName"], request.get("Qualifier"))
    if named.qualifier:
        if named.qualifier == LATEST:
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        version, _ = find_version(ctx, named.name, named.qualifier)
        if not digits(named.qualifier):
            raise invalid(f"Deletion of aliases is not currently supported. Call DeleteAlias for {named.qualifier}.")
        users = [a for a in belonging(ctx, "FunctionAlias", named.name) if a.spec["FunctionVersion"] == named.qualifier]
        if users:
            names = ", ".join(a.spec["Name"] for a in users)
            raise conflict(
                f"Version {named.qualifier} cannot be deleted because the following aliases use it: [{names}]."
            )
        ctx.tx.rows.delete(version)
        return
    for url in ctx.tx.rows.list("FunctionUrl", ctx.account, ctx.region):
        if url.spec["Function"] == named.name:
            ctx.tx.rows.delete(url)
    for kind in ("FunctionVersion", "FunctionAlias"):
        for other in belonging(ctx, kind, named.name):
            ctx.tx.rows.delete(other)
    ctx.tx.rows.delete(row)


def belonging(ctx: Context, kind: str, name: str) -> list[Row]:
    """A function's rows of a kind."""
    return [r for r in ctx.tx.rows.list(kind, ctx.account, ctx.region) if r.name.startswith(f"{name}:")]


@functions.operation
def get_account_settings(ctx: Context, request: Json) -> Json:
    """The account's limits and use."""
    rows = ctx.tx.rows.list("Function", ctx.account, ctx.region)
    reserved = sum(r.private.get("reserved") or 0 for r in rows)
    return {
        "AccountLimit": {
            "TotalCodeSize": 80530636800, "CodeSizeUnzipped": code.MAX_UNPACKED, "CodeSizeZipped": 52428800,
            "ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000 - reserved,
        },
        "AccountUsage": {"TotalCodeSize": sum(r.spec["CodeSize"] for r in rows), "FunctionCount": len(rows)},
    }  # fmt: skip


@functions.operation
def get_function_code_signing_config(ctx: Context, request: Json) -> Json:
    """Which signatures a function's code must have: none, for none can be asked for here."""
    row, _ = find(ctx, request["FunctionName"])
    return {"CodeSigningConfigArn": "", "FunctionName": row.name}
