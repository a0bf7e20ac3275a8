"""A transform job's work: objects through the replicas, answers into outputs, in order and in constant memory."""

from __future__ import annotations

import gzip
import io
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, cast

import orjson

from ....control.activities import Cancelled
from ....provider.platform import Platform
from ....store.logs import StreamKey, milliseconds
from ....store.object import split_uri
from ....store.rows import Row
from ....wire.values import write_time
from .. import fleet as fleets
from ..input_objects import InputError, Item, list_items
from ..replica_call import Caller
from . import execution
from .processing import ProcessingError, Processor
from .records import RecordError, bare, payloads, records

Json = dict[str, Any]
LOG_GROUP = "/aws/sagemaker/TransformJobs"


class TransformError(Exception):
    """A job that failed; the text is its FailureReason."""


class _Refused(Exception):
    """A request that the model did not answer with a success."""


def run(platform: Platform, row: Row, cancel: threading.Event) -> None:
    """Transform every object of a job; TransformError when one of them failed."""
    try:
        items = list_items(platform, row.account, "input", row.spec["TransformInput"]["DataSource"]["S3DataSource"])
    except InputError as error:
        raise TransformError(str(error)) from None
    for uri in filter(None, (row.spec["TransformOutput"]["S3OutputPath"], _capture_target(row))):
        if platform.objects.of(row.account).forbidden(split_uri(uri)[0]):
            raise TransformError(f"ClientError: AccessDenied (403): the job may not write to {uri}.")
    fleet = row.private["fleet"]
    instances = list(fleets.instances(platform, row, fleet))
    workers = [_Instance(platform, row, parts, cancel) for parts in instances]
    with ThreadPoolExecutor(len(workers), "transform") as pool:
        shares = [pool.submit(w.transform, items[i :: len(workers)]) for i, w in enumerate(workers)]
    failures = [line for share in shares for line in share.result()]
    if failures:
        raise TransformError(
            f"AlgorithmError: See job logs for more information. {len(failures)} of {len(items)} objects failed; "
            f"the first: {failures[0]}"[:1024]
        )
    _capture(platform, row, items)


class _Instance:
    """One instance's share of the objects."""

    def __init__(self, platform: Platform, row: Row, parts: tuple[fleets.Slot, ...], cancel: threading.Event):
        spec, slot = row.spec, parts[0]
        self._platform = platform
        self._account = row.account
        self._cancel = cancel
        self._parts = parts
        self._split = spec["TransformInput"].get("SplitType", "None")
        self._gzip = spec["TransformInput"].get("CompressionType", "None") == "Gzip"
        self._content_type = spec["TransformInput"].get("ContentType", "")
        self._last_accept = spec["TransformOutput"].get("Accept", "")
        self._accept = spec["TransformOutput"].get("Accept") or "binary/octet-stream"
        self._line = spec["TransformOutput"].get("AssembleWith", "None") == "Line"
        client = spec.get("ModelClientConfig") or {}
        self._timeout = float(client.get("InvocationsTimeoutInSeconds", 600))
        self._retries = int(client.get("InvocationsMaxRetries", 3))
        self._bucket, self._prefix = split_uri(spec["TransformOutput"]["S3OutputPath"].rstrip("/"))
        self._processor = Processor(spec, _extra(row))
        self._scratch = slot.folder.parent / f"out-{slot.index}"
        stream = f"{row.name}/{fleets.instance_id(row, row.private['fleet'], slot)}/data-log"
        self._log_key = StreamKey(row.account, row.region, LOG_GROUP, stream)
        self._callers = threading.local()
        wanted = execution.parameters(spec, self._execution_parameters(spec))
        self._together, self._limit, self._concurrent = wanted.together, wanted.payload, wanted.concurrent
        self._pool = ThreadPoolExecutor(self._concurrent, "transform-call")

    def _execution_parameters(self, spec: dict[str, Any]) -> bytes | None:
        """What the container says, where the job leaves something open."""
        if execution.complete(spec):
            return None
        caller = Caller(self._parts, 10.0, self._cancel.wait)
        try:
            return caller.execution_parameters()
        except (OSError, ValueError):
            return None  # as on AWS: the defaults hold
        finally:
            caller.close()

    def transform(self, items: list[Item]) -> list[str]:
        """Transform objects one after another; a line for each that failed."""
        strategy = "MULTI_RECORD" if self._together else "SINGLE_RECORD"
        self._log(
            f"[sagemaker logs]: MaxConcurrentTransforms={self._concurrent}, MaxPayloadInMB={self._limit >> 20}, "
            f"BatchStrategy={strategy}"
        )
        failures = []
        try:
            for number, item in enumerate(items, 1):
                name, began = f"{item.source.bucket}/{item.source.key}", time.monotonic()
                try:
                    count, requests = self._object(item)
                except (RecordError, ProcessingError, _Refused, LookupError, EOFError, gzip.BadGzipFile) as error:
                    failures.append(f"{name}: {error}")
                    self._log(f"[sagemaker logs]: {name}: {error}")
                    continue
                self._log(
                    f"[sagemaker logs]: {name}: {count} records in {requests} requests, "
                    f"{time.monotonic() - began:.2f} s ({number} of {len(items)} objects)"
                )
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
        return failures

    def _object(self, item: Item) -> tuple[int, int]:
        """One object into its ``.out``; the numbers of records and requests."""
        count = requests = 0
        with open(self._scratch, "w+b") as out:
            for group, answer in self._answered(self._groups(item)):
                data = self._processor.joined(group, answer)
                if self._line and data and not data.endswith(b"\n"):
                    data += b"\n"
                out.write(data)
                count += len(group)
                requests += 1
            out.seek(0)
            if self._cancel.is_set():
                raise Cancelled
            key = "/".join(filter(None, (self._prefix, f"{item.path}.out")))
            self._platform.objects.of(self._account).put_file(self._bucket, key, out, self._accept)
        return count, requests

    def _groups(self, item: Item) -> Iterator[list[bytes]]:
        with self._platform.objects.open(item.source) as stored:
            file = cast(BinaryIO, gzip.GzipFile(fileobj=stored)) if self._gzip else stored
            yield from payloads(records(file, self._split, self._limit), self._together, self._limit)

    def _answered(self, groups: Iterator[list[bytes]]) -> Iterator[tuple[list[bytes], bytes]]:
        """Groups with their answers, in order; as many are under way at once as the job allows."""
        waiting: deque[tuple[list[bytes], Future[bytes]]] = deque()
        try:
            for group in groups:
                if self._cancel.is_set():
                    raise Cancelled
                waiting.append((group, self._pool.submit(self._ask, self._payload(group))))
                if len(waiting) >= self._concurrent:
                    first, answer = waiting.popleft()
                    yield first, answer.result()
            while waiting:
                first, answer = waiting.popleft()
                yield first, answer.result()
        finally:
            for _, answer in waiting:
                answer.cancel()

    def _payload(self, group: list[bytes]) -> bytes:
        parts = [self._processor.filtered(r) for r in group]
        if not self._together:
            parts = [bare(p, self._split) for p in parts]
        return b"".join(parts)

    # ---- the replica -----------------------------------------------------------------------------------------------

    def _ask(self, body: bytes) -> bytes:
        """The model's answer; what may pass – a fault, a silence, a lost connection – is tried again."""
        trouble = ""
        for _ in range(self._retries + 1):
            if self._cancel.is_set():
                raise Cancelled
            try:
                status, answer = self._exchange(body)
            except TimeoutError:
                trouble = f"no answer from algorithm within {self._timeout:.0f} s"
                continue
            except OSError as error:
                trouble = f"the connection to the algorithm broke: {error}"
                continue
            if 200 <= status < 300:
                return answer
            trouble = f"Bad HTTP status received from algorithm: {status} {answer[:300].decode('utf-8', 'replace')}"
            if status < 500:
                break
        raise _Refused(trouble)

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        caller: Caller | None = getattr(self._callers, "caller", None)
        if caller is None:
            caller = self._callers.caller = Caller(self._parts, self._timeout, self._cancel.wait)
        status, _, answer = caller.call(self._content_type, self._last_accept, body)
        return status, answer

    def _log(self, text: str) -> None:
        self._platform.logs.append(self._log_key, [(milliseconds(), text)])


def _extra(row: Row) -> Callable[[], tuple[str, str]] | None:
    """An inference id for each record, and when the job began."""
    if not (row.spec.get("DataCaptureConfig") or {}).get("GenerateInferenceId"):
        return None
    began = write_time(float(int(row.created)))
    return lambda: (str(uuid.uuid4()), began)


def _capture_target(row: Row) -> str:
    return str((row.spec.get("DataCaptureConfig") or {}).get("DestinationS3Uri") or "")


def _capture(platform: Platform, row: Row, items: list[Item]) -> None:
    """Manifests of what was read and written, where the job asks for data capture."""
    if not (target := _capture_target(row)):
        return
    bucket, prefix = split_uri(target.rstrip("/"))
    hour = time.strftime("%Y/%m/%d/%H", time.gmtime(row.created))
    names = [item.path for item in items]
    source = items[0].source
    read_from = f"s3://{source.bucket}/{source.key.removesuffix(items[0].path)}"
    written_to = row.spec["TransformOutput"]["S3OutputPath"].rstrip("/") + "/"
    for part, where, listed in (
        ("input", read_from, names),
        ("output", written_to, [f"{name}.out" for name in names]),
    ):
        key = "/".join(filter(None, (prefix, part, hour, f"{row.uid}.json")))
        body = io.BytesIO(orjson.dumps([{"prefix": where}, *listed]))
        platform.objects.of(row.account).put_file(bucket, key, body, "application/json")
