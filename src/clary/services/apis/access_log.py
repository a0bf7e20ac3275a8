"""Access logs of stages: a line for each request, in the words of the stage's own format, in a log group.

Source: AWS, "Customize HTTP API access logs" and "Set up CloudWatch logging for REST APIs". Lines are stored a moment
later, many at once: no request waits for its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ...clock import moment, now
from ...provider.errors import AwsError
from ...provider.platform import Platform
from ...store.logs import StreamKey, milliseconds
from ...store.rows import Row
from ...web import Request
from .errors import bad_request

log = logging.getLogger(__name__)

Json = dict[str, Any]
_NAME = re.compile(r"\$context\.([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)")
_GROUP = re.compile(
    r"^arn:[a-z-]+:logs:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):log-group:(?P<group>[^:*]+)(?::\*)?$"
)
_EVERY_SECONDS = 0.2
_MAX_WAITING = 100_000


def check(destination: str | None, format: str | None) -> None:
    """Refuse a destination that is no log group, and formats that are not one line."""
    if destination and _GROUP.match(destination) is None:
        raise bad_request(
            f"Invalid ARN specified in the request: {destination}. Access logs go to CloudWatch log groups; Firehose is not "
            "served yet."
        )
    if format and "\n" in format.rstrip("\n"):
        raise bad_request("Access log format must be single line, cannot contain new line characters.")


def line(format: str, values: Json) -> str:
    """A request in a stage's format; ``-`` for what is not known. Values cannot break out of a JSON text."""

    def filled(match: re.Match[str]) -> str:
        found: Any = values
        for part in match[1].split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found is None or found == "":
            return "-"
        return json.dumps(found if isinstance(found, str) else str(found), ensure_ascii=False)[1:-1]

    return _NAME.sub(filled, format.rstrip("\n"))


def values(row: Row, request: Request, request_id: str, stage: str, milliseconds: float, notes: Json) -> Json:
    """What is known of a request that has just been answered; ``notes`` is what its gateway alone knows."""
    at = now() - milliseconds / 1000
    known = {
        "accountId": row.account, "apiId": row.name, "domainName": f"{row.name}.execute-api.{row.region}.amazonaws.com",
        "domainPrefix": row.name, "extendedRequestId": request_id, "httpMethod": request.method, "path": request.path,
        "protocol": "HTTP/1.1", "requestId": request_id, "stage": stage, "responseLatency": int(milliseconds),
        "requestTime": moment(at).strftime("%d/%b/%Y:%H:%M:%S +0000"), "requestTimeEpoch": int(at * 1000),
    }  # fmt: skip
    who = {"sourceIp": request.peer or "127.0.0.1", "userAgent": request.headers.get("user-agent")}
    return {**known, **notes, "identity": {**who, **notes.get("identity", {})}}


class AccessLog:
    """Takes the lines of all stages."""

    def __init__(self, platform: Platform):
        self._platform = platform
        self._waiting: dict[StreamKey, list[tuple[int, str]]] = {}
        self._count = 0

    def write(self, row: Row, stage: str, destination: str | None, format: str | None, values: Json) -> None:
        """One request of a stage, if the stage has a log."""
        if not destination or not format or self._count >= _MAX_WAITING:
            return
        found = _GROUP.match(destination)
        assert found is not None
        name = hashlib.md5(f"{row.name}/{stage}".encode(), usedforsecurity=False).hexdigest()
        key = StreamKey(found["account"], found["region"], found["group"], name)
        self._waiting.setdefault(key, []).append((milliseconds(), line(format, values)))
        self._count += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store what waits, until the block ends; then the rest."""

        async def work() -> None:
            while True:
                await asyncio.sleep(_EVERY_SECONDS)
                await self._store()

        task = asyncio.create_task(work())
        try:
            yield
        finally:
            task.cancel()
            await self._store()

    async def _store(self) -> None:
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for key, events in waiting.items():
            try:
                await asyncio.to_thread(self._platform.logs.append, key, events)
            except (AwsError, SQLAlchemyError, OSError) as error:
                log.warning("%d lines of the access log %s are lost: %s", len(events), key.group, error)
