"""``clary replay``."""

from __future__ import annotations

import base64
import json
import math
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click

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
    found = sorted((r for r in _records(platform, bucket, prefix) if r["at"] >= since), key=lambda r: float(r["at"]))
    records = [r for r in found if "request" in r][-limit:]
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
                time.sleep(max(0.0, began + record["at"] - records[0]["at"] - time.time()))
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


def _records(platform: Running, bucket: str, prefix: str) -> Iterator[Json]:
    s3 = platform.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            for line in s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().splitlines():
                yield json.loads(line)


def _send(client: Any, endpoint: str, record: Json) -> tuple[bytes | None, str]:
    """The answer, or None and why there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    names = {
        "ContentType": "contentType", "Accept": "accept", "InferenceId": "inferenceId",
        "CustomAttributes": "customAttributes", "TargetModel": "targetModel",
    }  # fmt: skip
    request: Json = {member: record[name] for member, name in names.items() if record.get(name)}
    request |= {"EndpointName": endpoint, "Body": base64.b64decode(record["request"])}
    try:
        if record.get("pieces"):
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


@dataclass(slots=True)
class _Outcome:
    """What came of the requests."""

    tolerance: float
    alike: int = 0
    unknown: int = 0
    different: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, record: Json, answer: bytes | None, error: str) -> None:
        """One more."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["at"])) + f"{record['at'] % 1:.3f}"[1:]
        which = f"{moment} {record['inferenceId']}".strip()
        if answer is None:
            self.failed.append(f"{which}: {error}")
        elif "response" not in record:
            self.unknown += 1
        elif same(before := base64.b64decode(record["response"]), answer, self.tolerance):
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
