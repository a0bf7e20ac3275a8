"""Calling a model and showing what it answered, for ``clary endpoint test`` and ``clary doctor model``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

GOOD, BAD = click.style("ok  ", fg="green"), click.style("FAIL", fg="red")
_SHOWN = 100


def body(text: str | None) -> bytes | None:
    """A request's body from an option: the text itself, or ``@FILE``."""
    if text is None or not text.startswith("@"):
        return None if text is None else text.encode()
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{text[1:]} cannot be read: {error.strerror}") from None


def invoke(runtime: Any, subject: str, **request: Any) -> bool:
    """Call an endpoint, print a line of what came, and say whether it is a prediction."""
    from botocore.exceptions import BotoCoreError, ClientError

    began = time.perf_counter()
    try:
        answer = runtime.invoke_endpoint(**request)
        data = answer["Body"].read()
    except ClientError as error:
        found = error.response
        what = found.get("OriginalMessage") or found["Error"]["Message"]
        code = f"{found['Error']['Code']} {found.get('OriginalStatusCode', '')}".strip()
        click.echo(f"{BAD}  {subject:<14} {code}: {what.strip()}")
        return False
    except BotoCoreError as error:
        click.echo(f"{BAD}  {subject:<14} {error}")
        return False
    seconds = time.perf_counter() - began
    text = data[: _SHOWN + 1].decode("utf-8", "replace").strip().replace("\n", "\\n")
    shown = text[:_SHOWN] + ("…" if len(text) > _SHOWN or len(data) > _SHOWN + 1 else "")
    click.echo(f"{GOOD}  {subject:<14} {answer['ContentType']}  {seconds * 1e3:.1f} ms  {shown}")
    return True
