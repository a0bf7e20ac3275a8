"""The gateway's own pages: health, version, metrics, coverage, reset."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import orjson

from .. import __version__, tokens
from ..provider.errors import AwsError
from ..provider.platform import Platform
from ..web import Request, Response
from .identity import Audience, Authenticator

Page = Callable[[Request], Awaitable[Response]]
Ready = Callable[[], dict[str, bool]]


def _json(value: Any, status: int = 200) -> Response:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
    return Response(status, {"Content-Type": "application/json"}, body)


def pages(platform: Platform, ready: Ready, counts: Callable[[], dict[tuple[str, str, int], int]]) -> dict[str, Page]:
    """Pages by path."""
    started = time.time()
    password = tokens.ensure(platform.settings.folder, tokens.METRICS)
    authenticator = Authenticator(platform.settings, platform.keyring)

    async def livez(request: Request) -> Response:
        return Response(200, {"Content-Type": "text/plain"}, b"ok\n")

    async def readyz(request: Request) -> Response:
        parts = ready()
        return _json({"ready": all(parts.values()), "parts": parts}, 200 if all(parts.values()) else 503)

    async def version(request: Request) -> Response:
        return _json({"name": "clary", "version": __version__, "python": sys.version.split()[0]})

    async def metrics(request: Request) -> Response:
        """Counters for Prometheus. They name endpoints and functions, so they are not for everybody."""
        if not (platform.settings.open or tokens.matches(request.headers.get("authorization"), password)):
            text = (
                "The metrics need a password: send the header 'Authorization: Bearer TOKEN' with the content of "
                "tokens/metrics in the platform's home folder (Prometheus: authorization.credentials_file).\n"
            )
            return Response(401, {"Content-Type": "text/plain", "WWW-Authenticate": "Bearer"}, text.encode())
        of_services = await asyncio.to_thread(platform.services["cloudwatch.prometheus"], platform)
        text = _metrics(counts(), started) + _front(platform) + of_services
        return Response(200, {"Content-Type": "text/plain; version=0.0.4"}, text.encode())

    async def coverage(request: Request) -> Response:
        return _json(served(platform))

    async def reset(request: Request) -> Response:
        if not platform.settings.open:
            return _json({"message": "reset is offered in open mode only (clary up --open)"}, 403)
        if request.method != "POST":
            return _json({"message": "reset is a POST"}, 405)
        account = next(iter(parse_qs(request.query).get("account", [])), None)
        removed = await platform.services["reset"](account)
        return _json({"account": account or "all", "removed": removed})

    async def interrupt(request: Request) -> Response:
        """Take a spot job's instance away, as AWS does when it needs the capacity."""
        if request.method != "POST":
            return _json({"message": "an interruption is a POST"}, 405)
        try:
            caller = authenticator.check(request, Audience("sagemaker", "json"), b"").caller
        except AwsError as error:
            return _json({"__type": error.code, "message": str(error)}, error.status or 403)
        job, region = (next(iter(parse_qs(request.query).get(n, [])), "") for n in ("job", "region"))
        why = await asyncio.to_thread(
            platform.services["training.interrupt"], platform, caller.account, region or platform.settings.region, job
        )
        return _json({"__type": "ValidationException", "message": why}, 400) if why else _json({"interrupted": job})

    return {
        "/livez": livez, "/readyz": readyz, "/version": version, "/metrics": metrics,
        "/_clary/coverage": coverage, "/_clary/reset": reset,
        "/_clary/spot/interrupt": interrupt, **platform.services.get("pages", {}),
    }  # fmt: skip


def served(platform: Platform) -> dict[str, dict[str, Any]]:
    """Operations by service: those served, and how many the model knows."""
    return {
        name: {"served": sorted(provider.handlers), "of": len(provider.model.operations)}
        for name, provider in sorted(platform.providers.items())
    }


def _metrics(calls: dict[tuple[str, str, int], int], started: float) -> str:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    lines = [
        "# HELP clary_requests_total Requests answered by the control plane.",
        "# TYPE clary_requests_total counter",
        *(
            f'clary_requests_total{{service="{service}",operation="{operation}",status="{status}"}} {count}'
            for (service, operation, status), count in sorted(calls.items())
        ),
        "# HELP process_start_time_seconds Start of the control process.",
        "# TYPE process_start_time_seconds gauge",
        f"process_start_time_seconds {started:.3f}",
        "# HELP process_cpu_seconds_total CPU time of the control process.",
        "# TYPE process_cpu_seconds_total counter",
        f"process_cpu_seconds_total {usage.ru_utime + usage.ru_stime:.3f}",
        "# HELP process_open_fds Open files of the control process.",
        "# TYPE process_open_fds gauge",
        f"process_open_fds {_open_files()}",
        "",
    ]
    return "\n".join(lines)


def _front(platform: Platform) -> str:
    """The data plane's counters, which the front writes down once a second."""
    try:
        return (platform.settings.folder / "run" / "front.metrics").read_text()
    except OSError:
        return ""


def _open_files() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 0
