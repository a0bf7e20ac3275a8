"""The registry that container tools push to and pull from, at ``/v2/`` of every host name that leads here.

Source: github.com/opencontainers/distribution-spec (spec.md); the user and the password are ECR's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from ...provider.platform import Platform
from ...store.database import Transaction
from ...store.image_blobs import DIGEST, ImageBlobs, ImageStores, NoSuchUpload, WrongDigest
from ...store.rows import Row
from ...web import FileSlice, FileSlices, Request, Response
from ...wire.bounded import digits
from ..sealing import Foreign, seal, unseal
from .manifests import MAX_MANIFEST, Refused, digest_of, keep, locate
from .repositories import REPOSITORY, image_rows

Json = dict[str, Any]
_HOST = re.compile(r"^(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.")
_PATH = re.compile(
    r"^/v2/(?P<name>[a-z0-9._/-]+)/(?P<what>blobs|manifests|tags)/(?P<rest>[A-Za-z0-9_.:-]+(?:/[A-Za-z0-9-]*)?)$"
)
_PURPOSE = "registry password"
_WRITTEN_BYTES = 4 << 20
_JSON = {"Content-Type": "application/json", "Docker-Distribution-Api-Version": "registry/2.0"}


def password(platform: Platform, account: str, region: str, expires: float) -> str:
    """Return what `docker login` takes for an account's registry. It is sealed for that alone: no session's token is one."""
    return seal(platform, _PURPOSE, f"{account} {region} {expires:.0f}".encode())


def is_registry(request: Request) -> bool:
    """Whether a request is for the registry; others below ``/v2/`` manage HTTP APIs, which is signed, or are S3's."""
    if not (request.path in ("/v2", "/v2/") or _PATH.match(request.path)):
        return False
    signed = request.headers.get("authorization", "").startswith("AWS4-") or "X-Amz-" in request.query
    return not signed and ".s3." not in request.headers.get("host", "")


class _Fault(Exception):
    """An answer in the registry's form of errors."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status = status
        self.code = code


class Registry:
    """One registry for each account and region; who asks is known by the password."""

    def __init__(self, platform: Platform):
        self._platform = platform

    def _blobs(self, repository: Row) -> ImageBlobs:
        stores: ImageStores = self._platform.services["image-blobs"]
        return stores.of(repository.account)

    async def answer(self, request: Request) -> Response:
        """One request below ``/v2/``."""
        try:
            account, region = self._who(request)
            if request.path in ("/v2/", "/v2"):
                return Response(200, dict(_JSON), b"{}")
            match = _PATH.match(request.path)
            if match is None:
                raise _Fault(404, "NAME_UNKNOWN", f"{request.path} is nothing that a registry has")
            repository = await self._do(lambda tx: self._repository(tx, account, region, match["name"]))
            way = {"blobs": self._blob, "manifests": self._manifest, "tags": self._tags}[match["what"]]
            return await way(request, repository, match["rest"])
        except _Fault as fault:
            headers = dict(_JSON)
            if fault.status == 401:
                headers["WWW-Authenticate"] = f'Basic realm="http://{request.headers.get("host", "")}/",service="ecr.amazonaws.com"'  # fmt: skip
            body = {"errors": [{"code": fault.code, "message": str(fault)}]}
            return Response(
                fault.status, headers, json.dumps(body).encode(), close=request.method in ("PATCH", "PUT", "POST")
            )

    async def _do(self, work: Callable[[Transaction], Any]) -> Any:
        return await asyncio.to_thread(self._platform.database.attempt, work)

    def _who(self, request: Request) -> tuple[str, str]:
        """The account and region of the registry that is asked."""
        settings = self._platform.settings
        named = _HOST.match(request.headers.get("host", ""))
        given = request.headers.get("authorization", "")
        if settings.open:
            return (named["account"], named["region"]) if named else (settings.account, settings.region)
        if not given.lower().startswith("basic "):
            raise _Fault(
                401, "UNAUTHORIZED", "Not Authorized: log in as AWS with the password of `aws ecr get-login-password`"
            )
        try:
            user, _, sealed = base64.b64decode(given[6:]).decode().partition(":")
            account, region, expires = unseal(self._platform, _PURPOSE, sealed).decode().split(" ")
        except (ValueError, Foreign):
            raise _Fault(401, "UNAUTHORIZED", "Not Authorized") from None
        if user != "AWS":
            raise _Fault(401, "UNAUTHORIZED", "Not Authorized")
        if float(expires) < time.time():
            raise _Fault(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        if named and named["account"] != account:
            raise _Fault(403, "DENIED", f"The password is not one of account {named['account']}")
        return account, named["region"] if named else region

    def _repository(self, tx: Transaction, account: str, region: str, name: str) -> Row:
        row = tx.rows.get(REPOSITORY, account, region, name)
        if row is None:
            text = (
                f"The repository with name '{name}' does not exist in the registry with id '{account}' in {region}; "
                f"make it with: aws ecr create-repository --repository-name {name}"
            )
            raise _Fault(404, "NAME_UNKNOWN", text)
        return row

    # ---- blobs -----------------------------------------------------------------------------------------------------

    async def _blob(self, request: Request, repository: Row, rest: str) -> Response:
        if rest.startswith("uploads/"):
            try:
                return await self._upload(request, repository, rest.removeprefix("uploads/"))
            except NoSuchUpload:
                raise _Fault(404, "BLOB_UPLOAD_UNKNOWN", "The upload is not known to the registry") from None
        size = self._blobs(repository).size(rest)
        if size is None:
            raise _Fault(404, "BLOB_UNKNOWN", f"The layer {rest} is not known to the registry")
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": rest}
        if request.method == "HEAD":
            return Response(200, headers, b"", size)
        if request.method != "GET":
            raise _Fault(405, "UNSUPPORTED", f"{request.method} is not supported for layers")
        return Response(200, headers, FileSlices((FileSlice(self._blobs(repository).path(rest), 0, size),)))

    async def _upload(self, request: Request, repository: Row, name: str) -> Response:
        query = {k: v[0] for k, v in parse_qs(request.query).items()}
        if request.method == "POST":
            mounted = query.get("mount", "")
            if mounted and self._blobs(repository).size(mounted) is not None:
                return self._kept(repository, mounted)
            name = await asyncio.to_thread(self._blobs(repository).begin)
            if "digest" in query:
                return await self._finish(request, repository, name, query["digest"])
            return self._progress(repository, name, 202, 0)
        if request.method == "PATCH":
            there = self._blobs(repository).uploaded(name)
            begins = request.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
            if digits(begins) and int(begins) != there:
                raise _Fault(416, "BLOB_UPLOAD_INVALID", f"The upload has {there} bytes; the next piece begins there")
            return self._progress(repository, name, 202, await self._take(request, repository, name))
        if request.method == "PUT":
            return await self._finish(request, repository, name, query.get("digest", ""))
        if request.method == "DELETE":
            self._blobs(repository).give_up(name)
            return Response(204, dict(_JSON))
        return self._progress(repository, name, 204, self._blobs(repository).uploaded(name))

    async def _take(self, request: Request, repository: Row, name: str) -> int:
        """Write a body to an upload as it comes."""
        held: list[bytes] = []
        size = total = 0
        while pieces := await request.body.arrived():
            held += pieces
            size += sum(map(len, pieces))
            if size >= _WRITTEN_BYTES:
                total = await asyncio.to_thread(self._blobs(repository).append, name, held)
                held, size = [], 0
        return (
            await asyncio.to_thread(self._blobs(repository).append, name, held)
            if held
            else total or self._blobs(repository).uploaded(name)
        )

    async def _finish(self, request: Request, repository: Row, name: str, digest: str) -> Response:
        if not DIGEST.fullmatch(digest):
            raise _Fault(400, "DIGEST_INVALID", f"{digest!r} is not a SHA-256 digest")
        await self._take(request, repository, name)
        try:
            await asyncio.to_thread(self._blobs(repository).finish, name, digest)
        except WrongDigest as error:
            self._blobs(repository).give_up(name)
            raise _Fault(400, "DIGEST_INVALID", f"The layer's digest is {error}, not {digest}") from None
        return self._kept(repository, digest)

    def _kept(self, repository: Row, digest: str) -> Response:
        headers = {"Location": f"/v2/{repository.name}/blobs/{digest}", "Docker-Content-Digest": digest}
        return Response(201, {**_JSON, **headers})

    def _progress(self, repository: Row, name: str, status: int, size: int) -> Response:
        headers = {
            "Location": f"/v2/{repository.name}/blobs/uploads/{name}", "Docker-Upload-UUID": name,
            "Range": f"0-{max(0, size - 1)}",
        }  # fmt: skip
        return Response(status, {**_JSON, **headers})

    # ---- manifests and tags ----------------------------------------------------------------------------------------

    async def _manifest(self, request: Request, repository: Row, reference: str) -> Response:
        if request.method == "PUT":
            return await self._keep(request, repository, reference)
        row = await self._do(lambda tx: locate(tx, repository, reference))
        if row is None:
            raise _Fault(404, "MANIFEST_UNKNOWN", f"Requested image not found: {repository.name}:{reference}")
        if request.method == "DELETE":
            await self._do(lambda tx: tx.rows.delete(row))
            return Response(202, dict(_JSON))
        data = await asyncio.to_thread(self._blobs(repository).path(digest_of(row)).read_bytes)
        headers = {**_JSON, "Content-Type": row.spec["mediaType"], "Docker-Content-Digest": digest_of(row)}
        return Response(200, headers, b"" if request.method == "HEAD" else data, len(data))

    async def _keep(self, request: Request, repository: Row, reference: str) -> Response:
        data = await request.body.read(MAX_MANIFEST)
        tag = None if DIGEST.fullmatch(reference) else reference
        kind = request.headers.get("content-type", "")
        try:
            row = await self._do(lambda tx: keep(tx, self._blobs(repository), repository, data, kind, tag))
        except Refused as error:
            raise _Fault(400, error.registry_code, str(error)) from None
        headers = {"Location": f"/v2/{repository.name}/manifests/{digest_of(row)}"}
        return Response(201, {**_JSON, **headers, "Docker-Content-Digest": digest_of(row)})

    async def _tags(self, request: Request, repository: Row, rest: str) -> Response:
        if rest != "list" or request.method != "GET":
            raise _Fault(404, "UNSUPPORTED", "Of tags there is only a list")
        rows = await self._do(lambda tx: image_rows(tx, repository))
        tags = sorted(t for row in rows for t in row.private["tags"])
        return Response(200, dict(_JSON), json.dumps({"name": repository.name, "tags": tags}).encode())
