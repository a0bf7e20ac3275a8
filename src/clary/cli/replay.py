"""``clary replay``."""

from __future__ import annotations

import heapq
import json
import math
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click

from ..serving import frames
from ..serving.capture import Captured
from .platform import Running, running

Json = dict[str, Any]
_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_SHOWN = 10


@click.command("replay")
@click.argument("endpoint")
@click.option("--to", "target", metavar="ENDPOINT", help="Send to another endpoint.")
@click.option("--minutes", type=float, help="Only what was captured in the last so many minutes.")
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most so many requests, the latest."
)
@click.option("--tolerance", type=float, default=0.0, show_default=True, help="Numbers may differ by so much.")
@click.option("--pace", is_flag=True, help="Keep the time between requests, instead of sending one after the other.")
def command(endpoint: str, target: str | None, minutes: float | None, limit: int, tolerance: float, pace: bool) -> None:
    """Send captured requests again and show what is answered differently.

    \b
    Examples:
      clary replay my-endpoint
      clary replay my-endpoint --to my-new-endpoint --tolerance 1e-6
    """
    platform = running()
    bucket, prefix = _where(platform, endpoint)
    since = time.time() - minutes * 60 if minutes is not None else 0.0
    found = (r for r in _records(platform, bucket, prefix) if r.head.at >= since)
    records = heapq.nlargest(limit, found, key=lambda r: r.head.at)[::-1]
    if not records:
        raise click.ClickException(
            f"no captured requests under s3://{bucket}/{prefix}; captures arrive within seconds."
        )
    outcome = _Outcome(tolerance)
    client, began, name = platform.client("sagemaker-runtime"), time.time(), target or endpoint
    label = f"{len(records)} requests to {name}"
    with click.progressbar(length=len(records), label=label, file=sys.stderr) as bar:
        for record in records:
            if pace:
                time.sleep(max(0.0, began + record.head.at - records[0].head.at - time.time()))
            outcome.add(record, *_send(client, name, record))
            bar.update(1)
    outcome.show()
    if outcome.different or outcome.failed:
        raise SystemExit(1)


def _where(platform: Running, endpoint: str) -> tuple[str, str]:
    """Where an endpoint's exact records lie."""
    from botocore.exceptions import ClientError

    try:
        found = platform.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        raise click.ClickException(f"{error.response['Error']['Message']} See: clary status") from None
    config = found.get("DataCaptureConfig")
    if config is None:
        raise click.ClickException(f"endpoint {endpoint} captures nothing: its configuration has no DataCaptureConfig.")
    bucket, _, prefix = config["DestinationS3Uri"].removeprefix("s3://").rstrip("/").partition("/")
    return bucket, f"{prefix}.clary/{endpoint}/"


def _records(platform: Running, bucket: str, prefix: str) -> Iterator[_Record]:
    s3 = platform.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            yield from _read(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())


def _read(data: bytes) -> Iterator[_Record]:
    """The requests of a file that a front wrote."""
    (text, _), *items = frames.every(data)[0]
    rule = json.loads(text)["rule"]
    for (fields, asked), (_, answer) in zip(items[::2], items[1::2], strict=True):
        if rule["input"]:
            yield _Record(Captured.read(fields), asked, answer if rule["output"] else None)


def _send(client: Any, endpoint: str, record: _Record) -> tuple[bytes | None, str]:
    """The answer, or None and why there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    head = record.head
    members = {
        "ContentType": head.content_type, "Accept": head.accept, "InferenceId": head.inference_id,
        "CustomAttributes": head.attributes, "TargetModel": head.target_model,
    }  # fmt: skip
    request: Json = {name: value.decode("latin-1") for name, value in members.items() if value}
    request |= {"EndpointName": endpoint, "Body": record.request}
    try:
        if head.pieces:
            stream = client.invoke_endpoint_with_response_stream(**request)["Body"]
            return b"".join(event["PayloadPart"]["Bytes"] for event in stream), ""
        return client.invoke_endpoint(**request)["Body"].read(), ""
    except ClientError as error:
        return None, str(error.response.get("OriginalMessage") or error.response["Error"]["Message"])
    except BotoCoreError as error:
        return None, str(error)


def same(before: bytes, after: bytes, tolerance: float) -> bool:
    """Whether two answers are alike: byte for byte, or but for numbers that differ by no more than ``tolerance``."""
    if before == after:
        return True
    if not tolerance or _NUMBER.sub(b"#", before) != _NUMBER.sub(b"#", after):
        return False
    pairs = zip(_NUMBER.findall(before), _NUMBER.findall(after), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.0, abs_tol=tolerance) for a, b in pairs)


@dataclass(frozen=True, slots=True)
class _Record:
    """A captured request, and its answer if that was captured."""

    head: Captured
    request: bytes
    answer: bytes | None


@dataclass(slots=True)
class _Outcome:
    """What came of the requests."""

    tolerance: float
    alike: int = 0
    unknown: int = 0
    different: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, record: _Record, answer: bytes | None, error: str) -> None:
        """One more."""
        at = record.head.at
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03d}"
        which = f"{moment} {record.head.inference_id.decode('latin-1')}".strip()
        if answer is None:
            self.failed.append(f"{which}: {error}")
        elif (before := record.answer) is None:
            self.unknown += 1
        elif same(before, answer, self.tolerance):
            self.alike += 1
        else:
            self.different.append(f"{which}: {_short(before)} became {_short(answer)}")

    def show(self) -> None:
        """Print it."""
        for title, lines in (("different", self.different), ("failed", self.failed)):
            for line in lines[:_SHOWN]:
                click.echo(f"{click.style(title, fg='red')}  {line}")
            if len(lines) > _SHOWN:
                click.echo(f"{title}  and {len(lines) - _SHOWN} more")
        parts = [f"{self.alike} alike", f"{len(self.different)} different", f"{len(self.failed)} failed"]
        if self.unknown:
            parts.append(f"{self.unknown} whose first answer was not captured")
        click.echo(", ".join(parts))


def _short(data: bytes) -> str:
    text = data[:61].decode("utf-8", "replace").strip()
    return repr(text[:60] + ("…" if len(text) > 60 else ""))
