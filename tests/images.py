"""Container images for tests, made without a container engine: from the interpreter that runs the tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import urllib3

from tests.platform import Platform

_LEFT_OUT = {
    "test",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "pydoc_data",
    "__pycache__",
    "site-packages",
}
_ACCOUNTS = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nserver:x:1000:1000::/home/server:/bin/sh\n",
    "etc/group": b"root:x:0:\nserver:x:1000:\nlogs:x:50:server\n",
}


def layer(files: Mapping[str, bytes | str | None], ids: int = 0) -> bytes:
    """A layer of files: bytes, the target of a link (a text), or None for a folder; ``.wh.NAME`` removes NAME."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.uid = entry.gid = ids
            entry.mode = 0o755
            if content is None:
                entry.type = tarfile.DIRTYPE
                packed.addfile(entry)
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                packed.addfile(entry)
            else:
                entry.size = len(content)
                packed.addfile(entry, io.BytesIO(content))
    return gzip.compress(out.getvalue(), 1, mtime=0)


def _libraries(binary: Path) -> set[Path]:
    found = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False).stdout
    words = {word for line in found.splitlines() for word in line.split() if word.startswith("/")}
    return {Path(word) for word in words}


@lru_cache
def python() -> bytes:
    """A layer with Python, its standard library and the libraries of the system that they need; ``/bin/python``."""
    base, version = Path(sys.base_prefix).resolve(), f"python{sys.version_info.major}.{sys.version_info.minor}"
    binary = base / "bin" / version
    standard = Path(sysconfig.get_path("stdlib", vars={"installed_base": str(base), "base": str(base)}))
    wanted: dict[str, Path] = {f"usr/bin/{version}": binary}
    needed = _libraries(binary)
    for where, folders, names in os.walk(standard):
        folders[:] = [f for f in folders if f not in _LEFT_OUT and not f.startswith("config-")]
        for name in names:
            path = Path(where) / name
            wanted[f"usr/lib/{version}/{path.relative_to(standard)}"] = path
            if path.suffix == ".so":
                needed |= _libraries(path)
    for path in needed:
        wanted[str(path)[1:]] = path.resolve()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", dereference=True) as packed:
        for target, path in sorted(wanted.items()):
            entry = packed.gettarinfo(str(path), target)
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            with path.open("rb") as file:
                packed.addfile(entry, file)
        for link, to in (("bin", "usr/bin"), ("usr/bin/python", version)):
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            packed.addfile(entry)
    with_accounts = out.getvalue()
    return gzip.compress(with_accounts, 1, mtime=0)


def layout(folder: Path, layers: list[bytes], **config: Any) -> Path:
    """An OCI image layout (github.com/opencontainers/image-spec) of one image with these layers; its digest is in ``index.json``."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def keep(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    kind = "application/vnd.oci.image"
    described = [keep(data, f"{kind}.layer.v1.tar+gzip") for data in layers]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    settings = {
        "architecture": machine, "os": "linux", "config": config,
        "rootfs": {
            "type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(gzip.decompress(d)).hexdigest()}" for d in layers],
        },
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json",
        "config": keep(json.dumps(settings).encode(), f"{kind}.config.v1+json"), "layers": described,
    }  # fmt: skip
    entry = keep(json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return folder


def accounts() -> bytes:
    """A layer that names users and groups."""
    return layer(_ACCOUNTS)


def push(platform: Platform, repository: str, folder: Path, tag: str = "latest") -> str:
    """Push the image of a layout to the platform's registry, as container tools do; the image's URI."""
    ecr = platform.client("ecr")
    if not any(r["repositoryName"] == repository for r in ecr.describe_repositories()["repositories"]):
        ecr.create_repository(repositoryName=repository)
    (found,) = ecr.get_authorization_token()["authorizationData"]
    headers = {"Authorization": f"Basic {found['authorizationToken']}"}
    root, pool = f"http://127.0.0.1:{platform.port}/v2/{repository}", urllib3.PoolManager()
    (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
    manifest = (folder / "blobs" / "sha256" / entry["digest"][7:]).read_bytes()
    said = json.loads(manifest)
    for part in (said["config"], *said["layers"]):
        if pool.request("HEAD", f"{root}/blobs/{part['digest']}", headers=headers).status == 200:
            continue
        data = (folder / "blobs" / "sha256" / part["digest"][7:]).read_bytes()
        sent = pool.request("POST", f"{root}/blobs/uploads/?digest={part['digest']}", body=data, headers=headers)
        assert sent.status == 201, sent.data
    kept = pool.request(
        "PUT", f"{root}/manifests/{tag}", body=manifest, headers={**headers, "Content-Type": said["mediaType"]}
    )
    assert kept.status == 201, kept.data
    return f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{repository}:{tag}"
