"""The bucket itself, made once for the platform's region."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import logging
import tarfile
from collections.abc import AsyncIterator
from importlib.resources import files

from ..clock import now
from ..provider.platform import Platform
from ..store.border import PUBLIC
from ..store.object import Bucket
from .models import MODELS, Model
from .specifications import MANIFEST, artifact_key, inference_key, manifest, spec_key, specification, training_key

log = logging.getLogger(__name__)

_OWNER = "aws"
_SHARED = ("tabular.py",)


@contextlib.asynccontextmanager
async def running(platform: Platform) -> AsyncIterator[None]:
    """Fill the bucket beside everything else: nobody waits for it at the start."""

    def fill() -> None:
        try:
            install(platform)
        except Exception:  # the platform is whole without it, and the next start tries again
            log.exception("the bucket of packaged models could not be filled")

    task = asyncio.create_task(asyncio.to_thread(fill))
    try:
        yield
    finally:
        await task


def install(platform: Platform) -> None:
    """Make the bucket of the platform's region and fill it, if that was not done."""
    name = f"jumpstart-cache-prod-{platform.settings.region}"
    with platform.database.write() as tx:
        rows = platform.objects.rows(tx)
        if rows.bucket(name) is None:
            rows.add_bucket(Bucket(name, _OWNER, platform.settings.region, now(), documents={PUBLIC: True}))
    mark = f"clary-{_digest(platform.settings.region)}"  # stored last: without it the bucket is filled again
    if any(platform.objects.of(_OWNER).under(name, mark)):
        return

    def put(key: str, data: bytes, kind: str) -> None:
        platform.objects.of(_OWNER).put_file(name, key, io.BytesIO(data), kind)

    for model in MODELS:
        for key in (training_key(model), inference_key(model)):
            put(key, _packed(model), "application/gzip")
        put(spec_key(model), json.dumps(specification(model, platform.settings.region)).encode(), "application/json")
        for scope in ("train", "infer"):
            put(artifact_key(model, scope), _empty(model.id), "application/gzip")
    put(MANIFEST, json.dumps(manifest(MODELS)).encode(), "application/json")
    put(mark, b"", "text/plain")


def _digest(region: str) -> str:
    """Of everything that the bucket is made from."""
    found = hashlib.sha256()
    for model in MODELS:
        found.update(json.dumps(specification(model, region)).encode())
        for name, data in _members(model):
            found.update(name.encode() + data)
    return found.hexdigest()[:16]


def _packed(model: Model) -> bytes:
    """A source archive."""
    return _archive(_members(model))


def _members(model: Model) -> list[tuple[str, bytes]]:
    """A folder of scripts with what they share and what they are to predict."""
    folder = files(__package__) / "scripts"
    found = [(e.name, e.read_bytes()) for e in (folder / model.script).iterdir() if e.name.endswith((".py", ".txt"))]
    shared = [(name, (folder / name).read_bytes()) for name in _SHARED]
    task = "regression" if "regression" in model.id else "classification"
    return sorted([*found, *shared, ("task.txt", task.encode())])


def _empty(model: str) -> bytes:
    return _archive([("README", f"{model} is trained from nothing: no weights are shipped.\n".encode())])


def _archive(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            packed.addfile(entry, io.BytesIO(data))
    return out.getvalue()
