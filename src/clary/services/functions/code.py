"""Where functions' code lies: archives and what they unpack to, named by their content, in ``home/functions``."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Any

from ... import litter
from ...faults import is_fault
from ...provider.errors import coded
from ...provider.platform import Platform
from ...store.object import Forbidden, Unreachable
from .naming import invalid

Json = dict[str, Any]
MAX_UNPACKED = 262_144_000
_MAX_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Code:
    """An archive's sum (base64, as AWS shows it) and its size in bytes."""

    sha256: str
    size: int


def folder(platform: Platform, sha256: str) -> Path:
    """Where an archive of that sum lies, with its files below ``files``."""
    return platform.settings.folder / "functions" / base64.b64decode(sha256).hex()


def fetch(platform: Platform, account: str, given: Json) -> bytes:
    """Return the archive that an account's request carries or points to."""
    if "ZipFile" in given:
        return bytes(given["ZipFile"])
    if "S3Bucket" in given and "S3Key" in given:
        try:
            found = platform.objects.of(account).find(given["S3Bucket"], given["S3Key"], given.get("S3ObjectVersion"))
            with platform.objects.open(found) as stored:
                return bytes(stored.read(MAX_UNPACKED + 1))
        except Unreachable as error:
            text = f"Error occurred while GetObject. S3 Error Code: {error.code}. S3 Error Message: {error.words}"
            if isinstance(error, Forbidden):
                raise coded("AccessDeniedException", text, 403, Type="User") from None
            raise invalid(text) from None
    if "ImageUri" in given:
        raise invalid("Clary does not run functions from container images yet; give a ZipFile or S3Bucket and S3Key.")
    raise invalid("Please provide a source for function code.")


def keep(platform: Platform, data: bytes) -> Code:
    """Store an archive and unpack it; again is harmless. InvalidParameterValueException when it is not one to be had."""
    sha256 = base64.b64encode(hashlib.sha256(data).digest()).decode()
    code, final = Code(sha256, len(data)), folder(platform, sha256)
    if final.exists():
        return code
    final.parent.mkdir(mode=0o755, exist_ok=True)
    aside = Path(mkdtemp(prefix=".new-", dir=final.parent))
    try:
        aside.chmod(0o755)
        _write(aside / "code.zip", data)
        _unpack(data, aside / "files")
        if not final.exists():
            os.rename(aside, final)
    except FileExistsError:  # somebody else has just stored the same
        pass
    finally:
        litter.remove(aside)
    return code


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _unpack(data: bytes, target: Path) -> None:
    target.mkdir(mode=0o755)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            members = packed.infolist()
            if not members:
                raise invalid("Uploaded file must be a non-empty zip")
            if sum(m.file_size for m in members) > MAX_UNPACKED or len(members) > _MAX_FILES:
                raise invalid(f"Unzipped size must be smaller than {MAX_UNPACKED} bytes")
            left = MAX_UNPACKED
            for member in members:
                left -= _extract(packed, member, target, left)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        if is_fault(error):
            raise
        raise invalid("Could not unzip uploaded file. Please check your file, then try to upload again.") from error


def _extract(packed: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int) -> int:
    """One member, if it stays inside; the bytes it took. What its header says of its size is not believed."""
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    mode = member.external_attr >> 16
    if not parts or ".." in parts or parts[0] == "/" or stat.S_ISLNK(mode):
        raise invalid(f"The archive holds {member.filename!r}, which leads outside of it.")
    path = target.joinpath(*parts)
    if member.is_dir():
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    size = 0
    with packed.open(member) as source, path.open("wb") as file:
        while block := source.read(1 << 20):
            size += len(block)
            if size > left:
                raise invalid(f"Unzipped size must be smaller than {MAX_UNPACKED} bytes")
            file.write(block)
    path.chmod(0o755 if mode & 0o111 else 0o644)
    return size


def sweep(platform: Platform) -> int:
    """Remove archives that no function, version or layer has any more; how many there were."""
    with platform.database.read() as tx:
        rows = [r for kind in ("Function", "FunctionVersion", "LayerVersion") for r in tx.rows.list(kind)]
    used = {base64.b64decode(r.spec["CodeSha256"]).hex() for r in rows}
    base = platform.settings.folder / "functions"
    unused = [p for p in (base.iterdir() if base.exists() else ()) if p.name not in used]
    for path in unused:
        shutil.rmtree(path, ignore_errors=True)
    return len(unused)
