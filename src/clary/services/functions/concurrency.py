"""How many calls of a function run at once, how its asynchronous ones are repeated, and where their outcome goes."""

from __future__ import annotations

from typing import Any

from ...clock import now
from ...provider.context import Context
from ...store.rows import Row
from . import functions
from .api import paged, stamp
from .naming import LATEST, arn, find, find_version, invalid, not_found
from .provisioning import version_of

Json = dict[str, Any]
ACCOUNT_LIMIT = 1000
_UNRESERVED = 100
_INVOKE = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")


@functions.operation
def put_function_concurrency(ctx: Context, request: Json) -> Json:
    """Reserve a part of the account's concurrency, and bound the function by it."""
    row, _ = find(ctx, request["FunctionName"])
    wanted = request["ReservedConcurrentExecutions"]
    others = sum(
        r.private.get("reserved") or 0
        for r in ctx.tx.rows.list("Function", ctx.account, ctx.region)
        if r.uid != row.uid
    )
    if ACCOUNT_LIMIT - others - wanted < _UNRESERVED:
        raise invalid(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
            f"its minimum value of [{_UNRESERVED}]."
        )
    ctx.tx.rows.save(row, private={**row.private, "reserved": wanted})
    return {"ReservedConcurrentExecutions": wanted}


@functions.operation
def get_function_concurrency(ctx: Context, request: Json) -> Json:
    """What is reserved, if anything is."""
    row, _ = find(ctx, request["FunctionName"])
    reserved = row.private.get("reserved")
    return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}


@functions.operation
def delete_function_concurrency(ctx: Context, request: Json) -> None:
    """Give back what was reserved."""
    row, _ = find(ctx, request["FunctionName"])
    ctx.tx.rows.save(row, private={k: v for k, v in row.private.items() if k != "reserved"})


# ---- asynchronous calls ----------------------------------------------------------------------------------------------


def _config(ctx: Context, row: Row, qualifier: str, config: Json) -> Json:
    shown: Json = {"MaximumRetryAttempts": None, "MaximumEventAgeInSeconds": None, **config}
    shown.setdefault("DestinationConfig", {"OnSuccess": {}, "OnFailure": {}})
    return {
        **{k: v for k, v in shown.items() if v is not None},
        "FunctionArn": arn(ctx, row.name, qualifier or LATEST),
    }


def _configs(row: Row) -> dict[str, Json]:
    return dict(row.private.get("invoke", {}))


def _named(ctx: Context, request: Json) -> tuple[Row, str]:
    row, named = find(ctx, request["FunctionName"], request.get("Qualifier"))
    qualifier = "" if named.qualifier == LATEST else named.qualifier
    if qualifier:
        find_version(ctx, row.name, qualifier)
    return row, qualifier


def _put(ctx: Context, request: Json, before: Json) -> Json:
    row, qualifier = _named(ctx, request)
    config = {**before, **{k: request[k] for k in _INVOKE if k in request}, "LastModified": now()}
    ctx.tx.rows.save(row, private={**row.private, "invoke": {**_configs(row), qualifier: config}})
    return _config(ctx, row, qualifier, config)


@functions.operation
def put_function_event_invoke_config(ctx: Context, request: Json) -> Json:
    """How asynchronous calls are repeated, and where their outcome goes."""
    return _put(ctx, request, {})


@functions.operation
def update_function_event_invoke_config(ctx: Context, request: Json) -> Json:
    """The same, keeping what is not given."""
    row, qualifier = _named(ctx, request)
    return _put(ctx, request, _configs(row).get(qualifier, {}))


@functions.operation
def get_function_event_invoke_config(ctx: Context, request: Json) -> Json:
    """The configuration of asynchronous calls."""
    row, qualifier = _named(ctx, request)
    if (found := _configs(row).get(qualifier)) is None:
        raise not_found(f"The function {arn(ctx, row.name, qualifier or LATEST)} doesn't have an EventInvokeConfig")
    return _config(ctx, row, qualifier, found)


@functions.operation
def delete_function_event_invoke_config(ctx: Context, request: Json) -> None:
    """Forget the configuration of asynchronous calls."""
    row, qualifier = _named(ctx, request)
    configs = _configs(row)
    if configs.pop(qualifier, None) is None:
        raise not_found(f"The function {arn(ctx, row.name, qualifier or LATEST)} doesn't have an EventInvokeConfig")
    ctx.tx.rows.save(row, private={**row.private, "invoke": configs})


@functions.operation
def list_function_event_invoke_configs(ctx: Context, request: Json) -> Json:
    """Every configuration of asynchronous calls of a function."""
    row, _ = find(ctx, request["FunctionName"])
    shown = [_config(ctx, row, q, c) for q, c in sorted(_configs(row).items())]
    return paged("FunctionEventInvokeConfigs", shown, request)


# ---- provisioned -----------------------------------------------------------------------------------------------------


@functions.operation
def put_provisioned_concurrency_config(ctx: Context, request: Json) -> Json:
    """Keep processes of a version or an alias ready."""
    row, qualifier = _provisionable(ctx, request)
    wanted = request["ProvisionedConcurrentExecutions"]
    others = sum(c["count"] for q, c in row.private.get("provisioned", {}).items() if q != qualifier)
    reserved = row.private.get("reserved")
    if reserved is not None and others + wanted > reserved:
        raise invalid(
            f"Specified ConcurrentExecutions for function is greater than function's reserved concurrency [{reserved}]."
        )
    provisioned = {**row.private.get("provisioned", {}), qualifier: {"count": wanted, "at": now()}}
    ctx.tx.rows.save(row, private={**row.private, "provisioned": provisioned})
    return _provisioned(ctx, row, qualifier, provisioned[qualifier])


def _provisionable(ctx: Context, request: Json) -> tuple[Row, str]:
    row, named = find(ctx, request["FunctionName"], request.get("Qualifier"))
    if named.qualifier in ("", LATEST):
        raise invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
    find_version(ctx, row.name, named.qualifier)
    return row, named.qualifier


def _provisioned(ctx: Context, row: Row, qualifier: str, config: Json) -> Json:
    """What is wanted and what is there."""
    count, environments = config["count"], ctx.platform.services["functions"]
    version = version_of(ctx.tx, row, qualifier)
    ready = min(count, environments.loaded(version.uid) if version else 0)
    shown = {
        "RequestedProvisionedConcurrentExecutions": count, "AvailableProvisionedConcurrentExecutions": ready,
        "AllocatedProvisionedConcurrentExecutions": ready, "LastModified": stamp(config["at"]),
        "Status": "READY" if ready == count else "IN_PROGRESS",
    }  # fmt: skip
    if count > environments.most_kept:
        reason = f"This machine keeps at most {environments.most_kept} processes of functions ready."
        shown |= {"Status": "FAILED", "StatusReason": reason}
    elif version and environments.fails(version.uid):
        shown |= {"Status": "FAILED", "StatusReason": "FUNCTION_ERROR_INIT_FAILURE"}
    return shown


@functions.operation
def get_provisioned_concurrency_config(ctx: Context, request: Json) -> Json:
    """What is kept ready of a version or an alias."""
    row, qualifier = _provisionable(ctx, request)
    if (found := row.private.get("provisioned", {}).get(qualifier)) is None:
        from ...provider.errors import coded

        raise coded(
            "ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function",
            404, Type="User",
        )  # fmt: skip
    return _provisioned(ctx, row, qualifier, found)


@functions.operation
def delete_provisioned_concurrency_config(ctx: Context, request: Json) -> None:
    """Keep nothing ready any more."""
    row, qualifier = _provisionable(ctx, request)
    kept = {k: v for k, v in row.private.get("provisioned", {}).items() if k != qualifier}
    ctx.tx.rows.save(row, private={**row.private, "provisioned": kept})


@functions.operation
def list_provisioned_concurrency_configs(ctx: Context, request: Json) -> Json:
    """Everything that is kept ready of a function."""
    row, _ = find(ctx, request["FunctionName"])
    shown = [
        {**_provisioned(ctx, row, q, c), "FunctionArn": arn(ctx, row.name, q)}
        for q, c in sorted(row.private.get("provisioned", {}).items())
    ]
    return paged("ProvisionedConcurrencyConfigs", shown, request)
