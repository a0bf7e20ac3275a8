"""Sends queued requests to instances, as many at once as each may have, and stores what they answer.

A request leaves the queue when its result is stored: one that was under way when the platform died is sent again, and
writes the same object.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ....clock import now
from ....provider.platform import Platform
from ....serving import frames
from ....store.async_requests import AsyncRequest, AsyncRequests
from ....store.database import Transaction
from ....store.logs import StreamKey, milliseconds
from ....store.metrics import MINUTE, MetricKey, MetricRows, Statistics
from ....store.object import Forbidden, Unreachable, split_uri
from ....store.rows import Row
from .. import fleet as fleets
from ..replica_call import Body, Caller
from . import notification

log = logging.getLogger(__name__)

Json = dict[str, Any]
Parts = tuple[fleets.Slot, ...]
MAX_INPUT = frames.MAX_REQUEST - (1 << 20)
"""AWS's limit, 1 GB."""
_DEFAULT_CONCURRENCY = 4
_TOGETHER = 64
_TRIES = 3
_GAUGE_SECONDS = 10.0
_NAMESPACE = "AWS/SageMaker"
_SERVING = ("InService", "Updating", "RollingBack")


class _Failed(Exception):
    """A request that ends without a prediction; the text is told, ``answer`` is what the model said."""

    def __init__(self, metric: str, text: str, answer: bytes | None = None):
        super().__init__(text)
        self.metric = metric
        self.answer = answer


@dataclass(frozen=True, slots=True)
class _Place:
    """An instance that takes requests."""

    row: Row
    fleet: Json
    parts: Parts

    @property
    def key(self) -> str:
        """It, among all instances."""
        return str(self.parts[0].folder)


class Dispatcher:
    """All asynchronous endpoints' work."""

    def __init__(self, platform: Platform, loop: asyncio.AbstractEventLoop):
        self._platform = platform
        self._loop = loop
        self._news = asyncio.Event()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._under_way: dict[int, str] = {}  # request → instance
        self._tries: Counter[int] = Counter()
        self._pool = ThreadPoolExecutor(_TOGETHER, "async-inference")
        self._gauged = 0.0

    def wake(self) -> None:
        """There is something to do; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._news.set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work while the block runs."""
        task = asyncio.create_task(self._work())
        try:
            yield
        finally:
            self._over.set()
            task.cancel()
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        while True:
            self._news.clear()
            waiting = False
            try:
                waiting = await asyncio.to_thread(self._look)
            except Exception:  # the database may be away: the queue itself lives on
                log.exception("looking for asynchronous requests failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), 0.25 if waiting else 5.0)

    # ---- which request goes where ----------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Send what can be sent; whether requests are left that no instance has room for."""
        with self._platform.database.read() as tx:
            backlog = AsyncRequests(tx.connection).backlog()
            gauge = now() - self._gauged > _GAUGE_SECONDS
            if not backlog and not gauge:
                return False
            rows = [r for r in tx.rows.list("Endpoint") if (r.private.get("current") or {}).get("async")]
        places = {row.uid: self._places(row) for row in rows}
        if gauge:
            self._gauged = now()
            self._gauge(rows, backlog, places)
        known = {row.uid for row in rows}
        for uid in backlog.keys() - known:
            self._forget_if_gone(uid)
        sent = 0
        for row in rows:
            if row.uid in backlog:
                sent += self._send(row, places[row.uid])
        return sum(count for uid, (count, _) in backlog.items() if uid in known) > len(self._under_way)

    def _places(self, row: Row) -> list[_Place]:
        current = row.private["current"]
        if row.state not in _SERVING:
            return []
        every = fleets.instances(self._platform, row, current)
        return [_Place(row, current, parts) for parts in every if fleets.ready(current, parts)]

    def _send(self, row: Row, places: list[_Place]) -> int:
        config = row.private["current"]["async"]
        most = (config.get("ClientConfig") or {}).get("MaxConcurrentInvocationsPerInstance") or _DEFAULT_CONCURRENCY
        with self._lock:
            busy = Counter(self._under_way.values())
            present = set(self._under_way)
        free = [place for place in places for _ in range(most - busy[place.key])]
        free.sort(key=lambda place: busy[place.key])
        room = min(len(free), _TOGETHER - len(present))
        if room <= 0:
            return 0
        with self._platform.database.read() as tx:
            found = AsyncRequests(tx.connection).first(row.uid, room, present)
        for request, place in zip(found, free, strict=False):
            with self._lock:
                self._under_way[request.id] = place.key
            self._pool.submit(self._serve, request, place)
        return len(found)

    def _forget_if_gone(self, uid: str) -> None:
        """The queue of an endpoint that was deleted is of no use."""
        with self._platform.database.write() as tx:
            if not any(r.uid == uid for r in tx.rows.list("Endpoint")):
                AsyncRequests(tx.connection).remove_all(uid)

    # ---- one request -----------------------------------------------------------------------------------------------

    def _serve(self, request: AsyncRequest, place: _Place) -> None:
        try:
            self._finish(request, place)
        except Exception:  # e.g. the database is away: the request stays queued and is tried again
            log.exception("asynchronous request %s of endpoint %s", request.request["id"], place.row.name)
        finally:
            with self._lock:
                self._under_way.pop(request.id, None)
            self.wake()

    def _finish(self, request: AsyncRequest, place: _Place) -> None:
        """Have a request answered, store the answer or why there is none, and take it from the queue."""
        began, record = now(), request.request
        metrics: dict[str, tuple[str, float]] = {"TimeInBacklog": ("Milliseconds", (began - request.received) * 1e3)}
        reason, answer, content_type = "", b"", "text/plain"
        try:
            with self._input(place.row.account, request, metrics) as body:
                status, content_type, answer = self._call(request, place, body, metrics)
            if not 200 <= status < 300:
                kind = "client" if status < 500 else "server"
                words = answer[:500].decode("utf-8", "replace")
                raise _Failed(
                    "InvocationFailures", f'Received {kind} error ({status}) from model with message "{words}"', answer
                )
            self._store(place.row.account, record["output"], answer, content_type, metrics)
        except _Failed as error:
            reason = str(error)
            metrics[error.metric] = ("None", 1.0)
            answer = error.answer if error.answer is not None else reason.encode()
            with contextlib.suppress(_Failed):
                self._store(place.row.account, record["failure"], answer, "text/plain", {})
        except ConnectionError as error:
            self._tries[request.id] += 1
            if self._tries[request.id] < _TRIES:
                return  # the instance died with it: another one gets it
            reason = f"the model's process ended each of {_TRIES} times while it worked on the request: {error}"
            metrics["InvocationFailures"] = ("None", 1.0)
            with contextlib.suppress(_Failed):
                self._store(place.row.account, record["failure"], reason.encode(), "text/plain", {})
        self._tries.pop(request.id, None)
        self._tell(request, place, content_type, answer, reason, metrics)
        metrics["TotalProcessingTime"] = ("Milliseconds", (now() - request.received) * 1e3)
        metrics["InvocationsProcesssed"] = ("None", 1.0)
        self._log(request, place, reason)

        def done(tx: Transaction) -> None:
            AsyncRequests(tx.connection).remove(request.id)
            self._count(tx, place, metrics)

        self._platform.database.attempt(done)

    @contextlib.contextmanager
    def _input(self, account: str, request: AsyncRequest, metrics: dict[str, tuple[str, float]]) -> Iterator[Body]:
        """What the model is sent; what lies in S3 is read while it is sent."""
        record = request.request
        if now() > request.received + record["ttl"]:
            raise _Failed("ExpiredRequests", f"The request waited longer than its RequestTTLSeconds ({record['ttl']}).")
        if request.body is not None:
            yield request.body
            return
        began = time.perf_counter()
        try:
            found = self._platform.objects.of(account).find(*split_uri(record["input"]))
            if found.size > MAX_INPUT:
                raise _Failed(
                    "RequestDownloadFailures",
                    f"The input {record['input']} has {found.size} bytes; at most {MAX_INPUT} are taken.",
                )
            file = self._platform.objects.open(found)
        except Unreachable as error:
            reason = "AccessDenied (403)" if isinstance(error, Forbidden) else "there is no such object"
            raise _Failed(
                "RequestDownloadFailures", f"Failed to download the input {record['input']}: {reason}."
            ) from None
        metrics["RequestDownloadLatency"] = ("Microseconds", (time.perf_counter() - began) * 1e6)
        with file:
            yield file, found.size

    def _call(
        self, request: AsyncRequest, place: _Place, body: Body, metrics: dict[str, tuple[str, float]]
    ) -> tuple[int, str, bytes]:
        record = request.request
        caller, began = Caller(place.parts, float(record["timeout"]), self._over.wait), time.perf_counter()
        try:
            return caller.call(record["content_type"], record["accept"], body, record["custom"], record["id"])
        except TimeoutError:
            raise _Failed(
                "InvocationFailures",
                f"The model did not answer within InvocationTimeoutSeconds ({record['timeout']}).",
            ) from None
        except (OSError, ValueError) as error:
            raise ConnectionError(str(error)) from error
        finally:
            caller.close()
            metrics["ModelLatency"] = ("Microseconds", (time.perf_counter() - began) * 1e6)

    def _store(
        self, account: str, uri: str, data: bytes, content_type: str, metrics: dict[str, tuple[str, float]]
    ) -> None:
        began = time.perf_counter()
        bucket, key = split_uri(uri)
        try:
            self._platform.objects.of(account).put_file(
                bucket, key, io.BytesIO(data), content_type or "binary/octet-stream"
            )
        except Unreachable as error:
            reason = "AccessDenied (403)" if isinstance(error, Forbidden) else "there is no such bucket"
            raise _Failed("ResponseUploadFailures", f"Failed to store {uri}: {reason}.") from None
        metrics["ResponseUploadLatency"] = ("Microseconds", (time.perf_counter() - began) * 1e6)

    # ---- who is told -----------------------------------------------------------------------------------------------

    def _tell(
        self, request: AsyncRequest, place: _Place, content_type: str, answer: bytes, reason: str,
        metrics: dict[str, tuple[str, float]],
    ) -> None:  # fmt: skip
        """A topic, if the configuration names one for this outcome."""
        config = place.fleet["async"]
        topic = notification.topic(config, not reason)
        if topic is None:
            return
        times = (request.received, now())
        document = notification.message(
            place.row.region, place.row.name, config, request.request, times, content_type, answer=answer, reason=reason
        )
        notify = self._platform.services.get("notify")
        try:
            if notify is None:
                raise LookupError("no notification service is served yet")
            notify(topic, document)
        except Exception as error:  # noqa: BLE001  # nobody to tell is no reason to lose a result
            metrics["NotificationFailures"] = ("None", 1.0)
            self._write(place, f"{request.request['id']}: {topic} could not be told: {error}")

    def _log(self, request: AsyncRequest, place: _Place, reason: str) -> None:
        record = request.request
        source = record.get("input") or "the request's body"
        outcome = f"failed: {reason}. See {record['failure']}" if reason else f"stored as {record['output']}"
        self._write(place, f"{record['id']}: {source}: {outcome}")

    def _write(self, place: _Place, text: str) -> None:
        row, slot = place.row, place.parts[0]
        stream = f"{slot.variant['VariantName']}/{fleets.instance_id(row, place.fleet, slot)}/data-log"
        key = StreamKey(row.account, row.region, f"/aws/sagemaker/Endpoints/{row.name}", stream)
        self._platform.logs.append(key, [(milliseconds(), text)])

    # ---- metrics ---------------------------------------------------------------------------------------------------

    def _count(self, tx: Transaction, place: _Place, metrics: dict[str, tuple[str, float]]) -> None:
        row, minute = place.row, int(now()) // MINUTE * MINUTE
        dimensions = (("EndpointName", row.name), ("VariantName", place.parts[0].variant["VariantName"]))
        rows = MetricRows(tx.connection)
        for name, (unit, value) in metrics.items():
            rows.add(MetricKey(row.account, row.region, _NAMESPACE, name, dimensions), minute, unit, _one(value))

    def _gauge(self, rows: list[Row], backlog: dict[str, tuple[int, float]], places: dict[str, list[_Place]]) -> None:
        """How long the queues are, also when they are empty."""
        if not rows:
            return
        at, minute = now(), int(now()) // MINUTE * MINUTE
        with self._platform.database.write() as tx:
            metrics = MetricRows(tx.connection)
            for row in rows:
                count, oldest = backlog.get(row.uid, (0, at))
                ready = len(places[row.uid])
                for name, unit, value in (
                    ("ApproximateBacklogSize", "Count", float(count)),
                    ("ApproximateBacklogSizePerInstance", "Count", count / (ready or 1)),
                    ("ApproximateAgeOfOldestRequest", "Seconds", max(0.0, at - oldest)),
                    ("HasBacklogWithoutCapacity", "Count", float(bool(count and not ready))),
                ):
                    key = MetricKey(row.account, row.region, _NAMESPACE, name, (("EndpointName", row.name),))
                    metrics.add(key, minute, unit, _one(value))


def _one(value: float) -> Statistics:
    return Statistics(1.0, value, value, value, {value: 1.0})
