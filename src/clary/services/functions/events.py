"""The queue of asynchronous calls: each is run, repeated when it fails, and told where its outcome should go.

A call is a row until it has ended, so it survives restarts; one that control died with is run again.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import UTC, datetime
from typing import Any

import orjson

from ...clock import now
from ...control.loop import Outcome
from ...provider.context import context_of
from ...provider.errors import AwsError
from ...provider.platform import Platform
from ...store.rows import Key, Row
from .environments import Answer, Throttled
from .invoke import Target, admitted, enqueue, run, target

log = logging.getLogger(__name__)

Json = dict[str, Any]
_RETRIES = 2
_AGE_SECONDS = 21600
_LOOK_SECONDS = 5.0


class EventReconciler:
    """Asynchronous calls. They run beside the loop, so that a slow function holds nobody up."""

    kind = "FunctionEvent"

    def __init__(self, platform: Platform):
        self._platform = platform
        self._running: dict[Key, asyncio.Task[Answer | Throttled | None]] = {}

    async def reconcile(self, row: Row) -> Outcome:
        """Start a call, or take up how it ended."""
        task = self._running.get(row.key)
        if task is None:
            found = await asyncio.to_thread(self._target, row)
            if found is None:  # the function was deleted: nobody is left to be told
                return Outcome({}, row.private, "Done", delete=True)
            task = self._running[row.key] = asyncio.create_task(self._run(row, found))
            engine = self._platform.services["engine"]
            task.add_done_callback(lambda _: engine.wake(row.key))
        if not task.done():
            return Outcome({}, row.private, "Running", _LOOK_SECONDS)
        del self._running[row.key]
        return await self._ended(row, task.result())

    def _target(self, row: Row) -> Target | None:
        with self._platform.database.read() as tx:
            try:
                return target(
                    context_of(self._platform, row, tx), row.spec["FunctionName"], row.spec["Qualifier"] or None
                )
            except AwsError:
                return None

    async def _run(self, row: Row, found: Target) -> Answer | Throttled | None:
        try:
            return await run(self._platform, found, row.spec["Payload"].encode(), row.name)
        except Throttled as error:
            return error
        except Exception:  # a bug must not lose the event: it is tried again
            log.exception("running event %s of function %s failed", row.name, row.spec["FunctionName"])
            return None

    async def _ended(self, row: Row, answer: Answer | Throttled | None) -> Outcome:
        found = await asyncio.to_thread(self._target, row)
        if found is None:
            return Outcome({}, row.private, "Done", delete=True)
        qualifier = row.spec["Qualifier"]
        config = found.base.private.get("invoke", {}).get(qualifier, {})
        tries, age = row.private.get("tries", 0), now() - row.created
        oldest = config.get("MaximumEventAgeInSeconds") or _AGE_SECONDS
        retry = self._platform.settings.function_retry_seconds
        if not isinstance(answer, Answer):  # throttled: again and again, until it is too old
            pause = min(300.0, 2.0 ** min(row.private.get("throttled", 0), 8))
            private = {**row.private, "throttled": row.private.get("throttled", 0) + 1}
            if age + pause <= oldest:
                return Outcome({}, private, "Pending", pause)
            return await self._tell(row, found, config, None, "EventAgeExceeded", tries)
        tries += 1
        if not answer.error:
            return await self._tell(row, found, config, answer, "Success", tries)
        allowed = config.get("MaximumRetryAttempts")
        if tries > (_RETRIES if allowed is None else allowed):
            return await self._tell(row, found, config, answer, "RetriesExhausted", tries)
        pause = retry * (1 if tries == 1 else 2)
        if age + pause > oldest:
            return await self._tell(row, found, config, answer, "EventAgeExceeded", tries)
        return Outcome({}, {**row.private, "tries": tries}, "Pending", pause)

    async def _tell(
        self, row: Row, found: Target, config: Json, answer: Answer | None, condition: str, tries: int
    ) -> Outcome:
        """Send the outcome where it should go; the call is over then."""
        member = "OnSuccess" if condition == "Success" else "OnFailure"
        destination = ((config.get("DestinationConfig") or {}).get(member) or {}).get("Destination", "")
        if destination:
            record = _record(row, found, answer, condition, tries)
            if ":lambda:" in destination:
                await asyncio.to_thread(self._forward, row, destination, record)
            else:
                log.warning(
                    "the outcome of a call of %s cannot be sent to %s: Clary sends to functions", found.arn, destination
                )
        return Outcome({}, row.private, "Done", delete=True)

    def _forward(self, row: Row, destination: str, record: Json) -> None:
        with self._platform.database.read() as tx:
            try:
                ctx = context_of(self._platform, row, tx)
                other = admitted(ctx, target(ctx, destination))
            except AwsError as error:
                log.warning("the outcome of a call cannot be sent to %s: %s", destination, error)
                return
        event = {
            "FunctionName": other.base.name, "Qualifier": other.qualifier,
            "Payload": orjson.dumps(record).decode(),
        }  # fmt: skip
        enqueue(self._platform, other.base, event, str(uuid.uuid5(uuid.NAMESPACE_OID, f"{row.name}:{destination}")))


def _record(row: Row, found: Target, answer: Answer | None, condition: str, tries: int) -> Json:
    """What a destination is told."""
    version = found.row.spec["Version"]
    record: Json = {
        "version": "1.0", "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "requestContext": {
            "requestId": row.name, "functionArn": f"{found.base.arn}:{row.spec['Qualifier'] or version}",
            "condition": condition, "approximateInvokeCount": tries,
        },
        "requestPayload": orjson.loads(row.spec["Payload"]),
    }  # fmt: skip
    if answer is not None:
        record["responseContext"] = {"statusCode": 200, "executedVersion": version}
        if answer.error:
            record["responseContext"]["functionError"] = answer.error
        record["responsePayload"] = orjson.loads(answer.payload or b"null")
    return record
