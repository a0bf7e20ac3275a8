"""Takes an asynchronous request: checks it and puts it into its endpoint's queue."""

from __future__ import annotations

import re
import uuid
from typing import Any

from ....clock import now
from ....provider.context import Context
from ....provider.errors import ValidationError
from ....store.async_requests import AsyncRequests
from ....store.database import Transaction
from ....store.object import split_uri

Json = dict[str, Any]
MAX_INLINE = 128_000
_FILENAME = re.compile(r"^[A-Za-z0-9_-]{1,31}(\.[A-Za-z0-9_-]+)?$")


def accept(ctx: Context, request: Json, body: bytes) -> Json:
    """Queue a request; what InvokeEndpointAsync answers. It is on disk when this returns."""
    platform = ctx.platform
    record = _read(request, body)

    def work(tx: Transaction) -> Json:
        name = request["EndpointName"]
        row = tx.rows.get("Endpoint", ctx.account, ctx.region, name)
        current = row.private.get("current") if row is not None else None
        if row is None or current is None:
            raise ValidationError(f"Endpoint {name} of account {ctx.account} not found.")
        config = current.get("async")
        if config is None:
            raise ValidationError(
                f"Endpoint {name} is not configured for asynchronous inference: its configuration has no "
                "AsyncInferenceConfig. Call InvokeEndpoint."
            )
        number = record["id"]
        extension = (request.get("S3OutputPathExtension") or "").strip("/")
        out, failed = _places(ctx, name, config)
        named = request.get("Filename") or f"{number}.out"
        record["output"] = "/".join(filter(None, (out, extension, named)))
        record["failure"] = f"{failed}/{number}-error.out"
        AsyncRequests(tx.connection).add(row.uid, now(), record, None if "input" in record else body)
        return {"InferenceId": number, "OutputLocation": record["output"], "FailureLocation": record["failure"]}

    answer = platform.database.attempt(work)
    platform.services["async.wake"]()
    return answer


def _places(ctx: Context, name: str, config: Json) -> tuple[str, str]:
    """Where results go; AWS's own bucket where the configuration names none."""
    default = f"s3://sagemaker-{ctx.region}-{ctx.account}"
    out = config["OutputConfig"].get("S3OutputPath") or f"{default}/async-endpoint-outputs/{name}"
    failed = config["OutputConfig"].get("S3FailurePath") or f"{default}/async-endpoint-failures/{name}"
    return out.rstrip("/"), failed.rstrip("/")


def _read(request: Json, body: bytes) -> Json:
    location = request.get("InputLocation")
    if bool(location) == bool(body):
        raise ValidationError("Exactly one of InputLocation and Body must be given.")
    if len(body) > MAX_INLINE:
        raise ValidationError(f"Body has {len(body)} bytes; at most {MAX_INLINE} are taken. Use InputLocation.")
    if location:
        try:
            _, key = split_uri(location)
        except ValueError as error:
            raise ValidationError(f"InputLocation: {error}.") from None
        if not key:
            raise ValidationError(f"InputLocation names no object: {location}")
    filename = request.get("Filename")
    if filename and (len(filename) > 32 or not _FILENAME.match(filename)):
        raise ValidationError(
            f"Filename is {filename!r}; it has at most 32 letters, digits, - and _, and at most one dot."
        )
    record = {
        "id": request.get("InferenceId") or str(uuid.uuid4()), "content_type": request.get("ContentType") or "",
        "accept": request.get("Accept") or "", "custom": request.get("CustomAttributes") or "",
        "ttl": request.get("RequestTTLSeconds") or 21600, "timeout": request.get("InvocationTimeoutSeconds") or 900,
    }  # fmt: skip
    return {**record, "input": location} if location else record
