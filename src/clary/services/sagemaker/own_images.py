"""Images that users pushed: which one a URI names, and its files on this machine.

An image is unpacked once, whatever jobs and replicas run it; its digest is noted beside what runs, so that a tag that
moves changes nothing that is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform as machine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...clock import now
from ...executors import files, layers
from ...executors.archives import ArchiveError
from ...executors.spec import ProcessSpec
from ...faults import is_fault
from ...locks import Turns
from ...provider.platform import Platform
from ...store.database import Transaction
from ...store.image_blobs import ImageBlobs, ImageStores
from ...store.rows import Row
from ...wire import bounded
from ..ecr.manifests import INDEXES
from ..ecr.repositories import REPOSITORY

Json = dict[str, Any]
NOTE = "image"
"""In a folder of a job or fleet: the digest of the image that it runs."""
_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine.machine(), machine.machine())
"""What images call machines like this one."""
_CUT_OFF_SECONDS = 86400.0
_turns = Turns()


class ImageError(Exception):
    """An image that cannot be run; the text is for its user."""


@dataclass(frozen=True, slots=True)
class Image:
    """An unpacked image: its files, and what its configuration says of the process."""

    digest: str
    files: Path
    config: Json

    @property
    def environment(self) -> dict[str, str]:
        """Its own variables."""
        found = dict(text.split("=", 1) for text in self.config.get("Env") or () if "=" in text)
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **found}

    def command(self, arguments: list[str], entrypoint: list[str] | None = None) -> tuple[str, ...]:
        """What is executed: as ``docker run [--entrypoint] IMAGE ARGUMENTS``."""
        own = self.config.get("Entrypoint") or []
        return (*(entrypoint if entrypoint is not None else own), *arguments)

    @property
    def user(self) -> str:
        """Who runs it."""
        return str(self.config.get("User") or "")

    @property
    def directory(self) -> str:
        """Where it runs."""
        return str(self.config.get("WorkingDir") or "/")

    @property
    def home(self) -> str:
        """Where its user's files lie, if its root user runs it."""
        return "/root" if self.user in ("", "0", "root") else "/"


def repository(tx: Transaction, registry: str, name: str, default: str) -> Row | None:
    """The repository that a URI names: of an account's registry, or of this machine's, as a port or no registry says."""
    account, _, rest = registry.partition(".dkr.ecr.")
    region = rest.partition(".")[0]
    named = (account, region) if rest and account.isdigit() else None
    local = not registry or ":" in registry or registry == "localhost"
    if named is None and not local:
        return None
    for row in tx.rows.list(REPOSITORY, named[0] if named else None, named[1] if named else None):
        if row.name == name and (named or row.account == default):
            return row
    return None


def folder(platform: Platform, digest: str) -> Path:
    """Where an image's files lie."""
    return platform.settings.folder / "images" / "unpacked" / digest.removeprefix("sha256:")


def labels(platform: Platform, digest: str) -> dict[str, str]:
    """The labels of an image, read from its configuration without unpacking it."""
    manifest = _manifest(platform, digest)
    config = bounded.loads(_blobs(platform, digest).path(manifest["config"]["digest"]).read_bytes())
    return dict((config.get("config") or {}).get("Labels") or {})


def ensure(platform: Platform, digest: str) -> Image:
    """An image with its files at hand. ImageError when they cannot be."""
    with _turns.of(digest):
        place = folder(platform, digest)
        if not (place / "config.json").exists():
            _unpack(platform, digest, place)
        os.utime(place)
        return Image(digest, place / "files", json.loads((place / "config.json").read_text()))


def _blobs(platform: Platform, digest: str) -> ImageBlobs:
    """The blobs of an account that has an image."""
    stores: ImageStores = platform.services["image-blobs"]
    found = stores.holding(digest)
    if found is None:
        raise ImageError(f"The image {digest} is no longer in its repository; push it again.")
    return found


def _manifest(platform: Platform, digest: str) -> Json:
    """The manifest for machines like this one."""
    manifest: Json = bounded.loads(_blobs(platform, digest).path(digest).read_bytes())
    if manifest.get("mediaType") not in INDEXES and "manifests" not in manifest:
        return manifest
    kinds = {}
    for entry in manifest["manifests"]:
        said = entry.get("platform") or {}
        kinds[f"{said.get('os')}/{said.get('architecture')}"] = entry["digest"]
    if f"linux/{_MACHINE}" not in kinds:
        raise ImageError(f"The image {digest} is for {', '.join(sorted(kinds))}; this machine is linux/{_MACHINE}.")
    return _manifest(platform, kinds[f"linux/{_MACHINE}"])


def _unpack(platform: Platform, digest: str, place: Path) -> None:
    manifest, blobs = _manifest(platform, digest), _blobs(platform, digest)
    aside = place.with_name(f".{place.name}.new")
    files.remove(aside)
    aside.mkdir(parents=True, mode=0o700)
    try:
        config = bounded.loads(blobs.path(manifest["config"]["digest"]).read_bytes())
        if config.get("architecture", _MACHINE) != _MACHINE:
            raise ImageError(
                f"The image {digest} is for {config['architecture']}, and this machine is {_MACHINE}: build it with "
                f"--platform linux/{_MACHINE}."
            )
        layers.unpack([blobs.path(part["digest"]) for part in manifest["layers"]], aside / "files")
    except (ArchiveError, OSError, ValueError, KeyError) as error:
        files.remove(aside)
        if is_fault(error):
            raise
        raise ImageError(f"The image {digest} cannot be unpacked: {error}") from None
    (aside / "config.json").write_text(json.dumps(config.get("config") or {}))
    files.remove(place)
    os.rename(aside, place)


def digest_of(spec: ProcessSpec) -> str:
    """The digest of the image that a process runs; empty when it runs none."""
    return f"sha256:{Path(spec.image).parent.name}" if spec.image else ""


def sweep(platform: Platform, older_than: float) -> int:
    """Remove the files of images that nobody asked for since; those of jobs and replicas that are there stay."""
    root = platform.settings.folder
    notes = [*(root / "runs").glob(f"*/{NOTE}"), *(root / "runs").glob(f"*/models/.*.{NOTE}")]
    used = {note.read_text().strip() for note in notes}
    removed = 0
    unpacked = root / "images" / "unpacked"
    for left in (*unpacked.glob(".*.gone"), *unpacked.glob(".*.new")):  # of a removal or an unpacking that was cut off
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < now() - _CUT_OFF_SECONDS:
                files.remove(left)
    for path in unpacked.glob("[0-9a-f]*"):
        digest = f"sha256:{path.name}"
        with _turns.of(digest), contextlib.suppress(OSError):
            if digest not in used and path.stat().st_mtime < now() - older_than:
                gone = path.with_name(f".{path.name}.gone")
                os.rename(path, gone)
                files.remove(gone)
                removed += 1
    return removed
