"""Layers: code that several functions share, laid over ``/opt``."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ... import litter
from ...clock import now
from ...provider.context import Context
from ...provider.platform import Platform
from ...store.rows import Row
from . import code, downloads, functions
from .naming import denied, invalid, not_found

Json = dict[str, Any]
MAX_LAYERS = 5
_ARN = re.compile(
    r"^arn:aws[a-z-]*:lambda:[a-z0-9-]+:(?P<account>\d{12}):layer:(?P<name>[A-Za-z0-9_-]+):(?P<version>\d+)$"
)
_LAYER = re.compile(r"^(?:arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:layer:)?(?P<name>[A-Za-z0-9_-]+)$")


@functions.operation
async def publish_layer_version(ctx: Context, request: Json) -> Json:
    """A new version of a layer."""
    from .api import stamp, write

    def keep() -> code.Code:
        return code.keep(ctx.platform, code.fetch(ctx.platform, ctx.account, request["Content"]))

    kept = await asyncio.get_running_loop().run_in_executor(ctx.platform.threads, keep)
    name = _name(request["LayerName"])

    def work() -> Json:
        number = max((int(r.spec["Version"]) for r in _versions(ctx, name)), default=0) + 1
        layer = ctx.arn("lambda", f"layer:{name}")
        spec = {
            "LayerArn": layer, "LayerVersionArn": f"{layer}:{number}", "Version": number, "CodeSha256": kept.sha256,
            "Content": {"CodeSha256": kept.sha256, "CodeSize": kept.size}, "CreatedDate": stamp(now()),
            "Description": request.get("Description", ""), "CompatibleRuntimes": request.get("CompatibleRuntimes"),
            "LicenseInfo": request.get("LicenseInfo"), "CompatibleArchitectures": request.get("CompatibleArchitectures"),
        }  # fmt: skip
        ctx.tx.rows.add(
            Row("LayerVersion", ctx.account, ctx.region, f"{name}:{number}", f"{layer}:{number}", spec, created=now())
        )
        return _with_link(ctx, spec)

    return await write(ctx, work)


def _name(text: str) -> str:
    if (found := _LAYER.match(text)) is None:
        raise invalid(f"{text} is not a valid layer name or ARN.")
    return found["name"]


def _shown(spec: Json) -> Json:
    return {k: v for k, v in spec.items() if v is not None and k != "CodeSha256"}


def _with_link(ctx: Context, spec: Json) -> Json:
    """A version, and where its archive is."""
    found = _shown(spec)
    return {**found, "Content": {**found["Content"], "Location": downloads.link(ctx, spec["CodeSha256"])}}


def _versions(ctx: Context, name: str) -> list[Row]:
    rows = ctx.tx.rows.list("LayerVersion", ctx.account, ctx.region)
    return sorted((r for r in rows if r.name.startswith(f"{name}:")), key=lambda r: -int(r.spec["Version"]))


@functions.operation
def get_layer_version(ctx: Context, request: Json) -> Json:
    """A version of a layer."""
    name, number = _name(request["LayerName"]), request["VersionNumber"]
    if (row := ctx.get("LayerVersion", f"{name}:{number}")) is None:
        raise not_found("The resource you requested does not exist.")
    return _with_link(ctx, row.spec)


@functions.operation
def list_layer_versions(ctx: Context, request: Json) -> Json:
    """A layer's versions, newest first."""
    from .api import paged

    return paged("LayerVersions", [_shown(r.spec) for r in _versions(ctx, _name(request["LayerName"]))], request)


@functions.operation
def list_layers(ctx: Context, request: Json) -> Json:
    """Layers, each with its newest version."""
    from .api import paged

    newest: dict[str, Json] = {}
    rows = ctx.tx.rows.list("LayerVersion", ctx.account, ctx.region)
    for row in sorted(rows, key=lambda r: int(r.spec["Version"])):
        name = row.name.partition(":")[0]
        newest[name] = {"LayerName": name, "LayerArn": row.spec["LayerArn"], "LatestMatchingVersion": _shown(row.spec)}
    return paged("Layers", [newest[n] for n in sorted(newest)], request)


@functions.operation
def delete_layer_version(ctx: Context, request: Json) -> None:
    """Remove a version; functions that have it keep it until they are changed."""
    if (row := ctx.get("LayerVersion", f"{_name(request['LayerName'])}:{request['VersionNumber']}")) is not None:
        ctx.tx.rows.delete(row)


def resolved(ctx: Context, arns: list[str]) -> list[Json]:
    """A function's layers as its configuration shows them; all must be there."""
    if len(arns) > MAX_LAYERS:
        raise invalid(f"Cannot reference more than {MAX_LAYERS} layers.")
    found = []
    for text in arns:
        match = _ARN.match(text)
        if match and match["account"] != ctx.account:
            other = ctx.tx.rows.get("LayerVersion", match["account"], ctx.region, f"{match['name']}:{match['version']}")
            if other is not None:
                raise denied(ctx, text)
        row = ctx.get("LayerVersion", f"{match['name']}:{match['version']}") if match else None
        if row is None:
            raise invalid(f"Layer version {text} does not exist.")
        found.append({"Arn": text, "CodeSize": row.spec["Content"]["CodeSize"], "CodeSha256": row.spec["CodeSha256"]})
    return found


def merged(platform: Platform, layers: list[Json]) -> Path | None:
    """The folder that a function sees at ``/opt``: its layers laid over each other, later ones on top."""
    if not layers:
        return None
    base = platform.settings.folder / "runs"
    name = hashlib.sha256("".join(layer["CodeSha256"] for layer in layers).encode()).hexdigest()[:32]
    final = base / f"layers-{name}"
    if not final.exists():
        aside = Path(mkdtemp(prefix=".layers-", dir=base))
        try:
            aside.chmod(0o755)
            for layer in layers:
                shutil.copytree(code.folder(platform, layer["CodeSha256"]) / "files", aside, dirs_exist_ok=True)
            aside.rename(final)
        except OSError:
            litter.remove(aside)
            if not final.exists():  # otherwise another call was faster
                raise
    return final
