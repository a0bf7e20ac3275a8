"""Invoking a function: now and waiting for its answer, later from a queue, or only asking whether it could be."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ...clock import now
from ...provider.context import Context
from ...provider.errors import AwsError, coded
from ...provider.once import once
from ...provider.platform import Platform
from ...store.database import Transaction
from ...store.metrics import MetricKey
from ...store.rows import AlreadyExists, Key, Row
from . import functions
from .environments import Answer, Environments, Invocation, Throttled
from .naming import LATEST, denied, find, find_version, parse
from .permissions import admits
from .streams import Stream

Json = dict[str, Any]
MAX_REQUEST = 6_291_456
MAX_EVENT = 1_048_576
_MAX_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    """The version that a call runs, and under which ARN it was asked for."""

    row: Row
    arn: str
    reserved: int | None
    base: Row

    @property
    def qualifier(self) -> str:
        """The version or alias that was asked for; empty if none was."""
        return self.arn.removeprefix(self.base.arn).lstrip(":")


def target(ctx: Context, name: str, qualifier: str | None = None) -> Target:
    """Return the version that a call is for; one of two where an alias shares its calls.

    An ARN may name another account's function: the caller of this checks its policy, or asks ``admitted`` to.
    """
    ctx = replace(ctx, account=parse(name, qualifier).account or ctx.account)
    base, named = find(ctx, name, qualifier)
    row, _ = find_version(ctx, base.name, named.qualifier)
    alias = ctx.get("FunctionAlias", f"{base.name}:{named.qualifier}") if named.qualifier else None
    weights = ((alias.spec if alias else {}).get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    for version, weight in weights.items():
        if random.random() < weight:
            row, _ = find_version(ctx, base.name, version)
    arn = base.arn + (f":{named.qualifier}" if named.qualifier else "")
    return Target(row, arn, base.private.get("reserved"), base)


def admitted(ctx: Context, found: Target) -> Target:
    """Return a target that the caller may invoke; AccessDeniedException otherwise."""
    if not admits(found.base, found.qualifier, ctx.caller):
        raise denied(ctx, found.arn)
    return found


@functions.operation
async def invoke(ctx: Context, request: Json) -> Json:
    """Run a function."""
    payload = _payload(request.get("Payload"))
    kind = request.get("InvocationType", "RequestResponse")
    if len(payload) > (MAX_EVENT if kind == "Event" else MAX_REQUEST):
        raise coded(
            "RequestTooLargeException",
            f"{len(payload)} byte payload is too large for the {kind} invocation type (limit "
            f"{MAX_EVENT if kind == 'Event' else MAX_REQUEST} bytes)",
            413, Type="User",
        )  # fmt: skip
    found = await _look(ctx, request)
    if kind == "DryRun":
        return {"StatusCode": 204}
    if kind == "Event":
        await _enqueue(ctx, found, request.get("Qualifier"), payload)
        return {"StatusCode": 202}
    context = _client_context(request)
    try:
        answer = await run(ctx.platform, found, payload, ctx.request_id, context, request.get("LogType") == "Tail")
    except Throttled as error:
        raise throttled(error) from None
    result: Json = {"StatusCode": 200, "ExecutedVersion": found.row.spec["Version"], "Payload": answer.payload}
    if answer.error:
        result["FunctionError"] = answer.error
    if request.get("LogType") == "Tail":
        result["LogResult"] = base64.b64encode(answer.log).decode()
    return result


def _client_context(request: Json) -> str:
    try:
        return base64.b64decode(request.get("ClientContext") or "").decode("latin-1")
    except ValueError:
        raise coded(
            "InvalidRequestContentException", "Client context must be a valid Base64-encoded string.", 400
        ) from None


@functions.operation
async def invoke_with_response_stream(ctx: Context, request: Json) -> Json:
    """Run a function and pass on what it writes, while it writes; a function that does not stream is one piece."""
    payload = _payload(request.get("Payload"))
    if len(payload) > MAX_REQUEST:
        raise coded(
            "RequestTooLargeException",
            f"{len(payload)} byte payload is too large for the RequestResponse invocation type (limit {MAX_REQUEST} bytes)",
            413, Type="User",
        )  # fmt: skip
    found = await _look(ctx, request)
    if request.get("InvocationType") == "DryRun":
        return {"StatusCode": 204, "EventStream": []}
    tail = request.get("LogType") == "Tail"
    try:
        begun = await begin(ctx, found, payload, ctx.request_id, _client_context(request), tail)
    except Throttled as error:
        raise throttled(error) from None
    kind = begun.stream.content_type if begun.stream.used else "application/json"
    return {
        "StatusCode": 200, "ExecutedVersion": found.row.spec["Version"], "ResponseStreamContentType": kind,
        "EventStream": _events(begun, tail),
    }  # fmt: skip


async def _events(begun: Begun, tail: bool) -> AsyncIterator[Json]:
    async for piece in begun.stream.pieces():
        yield {"PayloadChunk": {"Payload": piece}}
    answer = await begun.answer
    if not begun.stream.used and not answer.error:
        yield {"PayloadChunk": {"Payload": answer.payload}}
    last: Json = {"LogResult": base64.b64encode(answer.log).decode()} if tail else {}
    if answer.error:
        last |= {"ErrorCode": answer.error, "ErrorDetails": answer.payload.decode("utf-8", "replace")}
    yield {"InvokeComplete": last}


@dataclass(frozen=True, slots=True)
class Begun:
    """A call whose response is read while it runs."""

    stream: Stream
    answer: asyncio.Task[Answer]


async def begin(
    ctx: Context, found: Target, payload: bytes, request_id: str, context: str = "", tail: bool = False
) -> Begun:
    """Start a call, and wait until it streams or has ended. Throttled when it cannot be taken."""
    stream = Stream()
    task = asyncio.get_running_loop().create_task(run(ctx.platform, found, payload, request_id, context, tail, stream))
    try:
        await stream.begun()
        if not stream.used:
            await task
    except asyncio.CancelledError:  # the caller has gone; the function goes on
        stream.abandon()
        raise
    return Begun(stream, task)


def throttled(error: Throttled) -> AwsError:
    """A call too many."""
    return coded("TooManyRequestsException", "Rate Exceeded.", 429, Type="User", Reason=str(error))


def _payload(given: Any) -> bytes:
    payload = bytes(given or b"") or b"{}"
    try:
        orjson.loads(payload)
    except ValueError as error:
        text = f"Could not parse request body into json: {error}"
        raise coded("InvalidRequestContentException", text, 400, Type="User") from None
    return payload


class Targets:
    """Functions that were looked up, kept until one of them changes; aliases that share their calls are not kept."""

    _KINDS = ("Function", "FunctionVersion", "FunctionAlias")

    def __init__(self, platform: Platform):
        self._known: dict[tuple[str, ...], Target] = {}
        self._changes = 0
        platform.database.listeners.append(self._changed)

    def _changed(self, keys: list[Key]) -> None:
        if any(key.kind in self._KINDS for key in keys):
            self._changes += 1
            self._known = {}

    async def find(self, ctx: Context, name: str, qualifier: str | None) -> Target:
        """The version that a call is for; AWS's error when there is none."""
        key = (ctx.account, ctx.region, name, qualifier or "")
        if (kept := self._known.get(key)) is not None:
            return kept
        changes = self._changes

        def work(tx: Transaction) -> tuple[Target, bool]:
            ctx.transaction = tx
            found = target(ctx, name, qualifier)
            alias = f"{found.base.name}:{found.qualifier}"
            shares = tx.rows.get("FunctionAlias", found.base.account, ctx.region, alias) if found.qualifier else None
            return found, shares is None or not shares.spec.get("RoutingConfig")

        found, fixed = await asyncio.get_running_loop().run_in_executor(
            ctx.platform.threads, lambda: ctx.platform.database.attempt(work, reads=True)
        )
        if fixed and changes == self._changes and len(self._known) < _MAX_KNOWN:
            self._known[key] = found
        return found


async def _look(ctx: Context, request: Json) -> Target:
    targets: Targets = ctx.platform.services["functions.targets"]
    return admitted(ctx, await targets.find(ctx, request["FunctionName"], request.get("Qualifier")))


async def _enqueue(ctx: Context, found: Target, qualifier: str | None, payload: bytes) -> None:
    """Acknowledge an asynchronous call once it is on disk."""
    event = {
        "FunctionName": found.base.name, "Qualifier": found.qualifier,
        "Payload": payload.decode("utf-8", "replace"),
    }  # fmt: skip

    def work(tx: Transaction) -> None:
        ctx.transaction = tx
        once(ctx, lambda: tx.rows.add(_event(found.base, event, ctx.request_id)) and None)

    await asyncio.get_running_loop().run_in_executor(ctx.platform.threads, lambda: ctx.platform.database.attempt(work))


def enqueue(platform: Platform, base: Row, event: Json, request_id: str) -> None:
    """Put an asynchronous call into the queue; one of the same id that waits there is the same call."""
    with contextlib.suppress(AlreadyExists), platform.database.write() as tx:
        tx.rows.add(_event(base, event, request_id))


def _event(base: Row, event: Json, request_id: str) -> Row:
    at = now()
    return Row("FunctionEvent", base.account, base.region, request_id, "", event, state="Pending", created=at, due=at)


async def run(
    platform: Platform,
    found: Target,
    payload: bytes,
    request_id: str = "",
    context: str = "",
    tail: bool = False,
    stream: Stream | None = None,
) -> Answer:
    """Run a call and count it; Throttled when it cannot be taken."""
    environments: Environments = platform.services["functions"]
    row = found.row
    key = (row.account, row.region, row.spec["FunctionName"])

    def count(metric: str, value: float, unit: str = "Count") -> None:
        dimensions = (("FunctionName", key[2]),)
        platform.services["meters"].add(MetricKey(*key[:2], "AWS/Lambda", metric, dimensions), value, unit)

    call = Invocation(request_id or str(uuid.uuid4()), found.arn, payload, context, tail, stream=stream)
    count("ConcurrentExecutions", environments.concurrent(*key) + 1.0)
    try:
        answer = await environments.run(row, call, found.reserved)
    except Throttled:
        count("Throttles", 1.0)
        raise
    finally:
        if stream is not None:
            await stream.put(None)
    count("Throttles", 0.0)
    count("Invocations", 1.0)
    count("Errors", 1.0 if answer.error else 0.0)
    count("Duration", answer.milliseconds, "Milliseconds")
    return answer


async def call(ctx: Context, name: str, payload: bytes, allowed: Callable[[Row, str], bool] | None = None) -> Answer:
    """Invoke for another service. ``allowed`` looks at the function and the qualifier it was asked for.

    Raises PermissionError when it says no, AwsError when there is no such function, Throttled.
    """
    return await run(ctx.platform, await _permitted(ctx, name, allowed), payload, str(uuid.uuid4()))


async def call_streaming(
    ctx: Context, name: str, payload: bytes, allowed: Callable[[Row, str], bool] | None = None
) -> Begun:
    """The same, for who passes the response on while the function writes it."""
    return await begin(ctx, await _permitted(ctx, name, allowed), payload, str(uuid.uuid4()))


async def _permitted(ctx: Context, name: str, allowed: Callable[[Row, str], bool] | None) -> Target:
    if allowed is None:
        return await _look(ctx, {"FunctionName": name})
    targets: Targets = ctx.platform.services["functions.targets"]
    found = await targets.find(ctx, name, None)
    if not allowed(found.base, found.qualifier):
        raise PermissionError(f"the policy of {found.arn} lets nobody in who asks like this")
    return found


@functions.operation
async def invoke_async(ctx: Context, request: Json) -> Json:
    """The old form of an asynchronous call."""
    body = request.get("InvokeArgs") or b"{}"
    found = await _look(ctx, request)
    await _enqueue(ctx, found, LATEST, _payload(body))
    return {"Status": 202}
