"""Requests for domain names of users' own: the longest mapping of their path says which API and stage they are for."""

from __future__ import annotations

from typing import Any

from ...provider.platform import Platform
from ...store.rows import Row
from ...web import Request
from .hosts import Called
from .lives import Lives

Json = dict[str, Any]
KIND = "DomainName"


class Domains:
    """The domain names, and the ones that stand for all below a name (``*.example.com``)."""

    def __init__(self, platform: Platform):
        self._lives: Lives[Row] = Lives(platform, KIND, lambda row: row)

    async def called(self, request: Request) -> Called | None:
        """The API, stage and path of a request; None when its host is no such domain name."""
        host = request.headers.get("host", "").partition(":")[0].lower()
        if "." not in host:
            return None
        row = await self._lives.find(host) or await self._lives.find(f"*.{host.partition('.')[2]}")
        if row is None:
            return None
        path = request.target.partition("?")[0]
        found = mapped(list(row.private["mappings"].values()), path)
        return found or Called("", path)


def mapped(mappings: list[Json], path: str) -> Called | None:
    """The longest mapping that a path begins with, whole segments only; the stage comes first in what is called."""
    segments = path.strip("/").split("/")
    for mapping in sorted(mappings, key=lambda m: -len(m["ApiMappingKey"])):
        key = mapping["ApiMappingKey"].split("/") if mapping["ApiMappingKey"] else []
        if segments[: len(key)] == key:
            rest = path.lstrip("/")
            for part in key:
                rest = rest.removeprefix(part).removeprefix("/")
            stage = "" if mapping["Stage"] == "$default" else f"/{mapping['Stage']}"
            return Called(mapping["ApiId"], f"{stage}/{rest}")
    return None
