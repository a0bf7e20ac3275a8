"""The checksums that S3 stores beside an object."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ...faults import whole_import
from ...provider.errors import coded

ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
_SIZES = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}


class Running(Protocol):
    """A checksum over bytes as they come."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def digest(self) -> bytes:
        """The checksum, big endian."""


class _Crc:
    def __init__(self, function: Callable[[bytes, int], int], size: int):
        self._function = function
        self._size = size
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def start(algorithm: str) -> Running:
    """A new checksum."""
    match algorithm:
        case "CRC32":
            return _Crc(zlib.crc32, 4)
        case "SHA1":
            return hashlib.sha1(usedforsecurity=False)
        case "SHA256":
            return hashlib.sha256()
    with whole_import():
        from awscrt import checksums  # at first use: most clients send CRC32

    return _Crc(checksums.crc32c, 4) if algorithm == "CRC32C" else _Crc(checksums.crc64nvme, 8)


def combine(algorithm: str, parts: list[tuple[bytes, int]]) -> bytes:
    """The checksum of parts put together, from each part's checksum and size; for the CRCs."""
    with whole_import():
        from awscrt import checksums

    join = {
        "CRC32": checksums.combine_crc32, "CRC32C": checksums.combine_crc32c,
        "CRC64NVME": checksums.combine_crc64nvme,
    }[algorithm]  # fmt: skip
    whole = 0
    for digest, size in parts:
        whole = join(whole, int.from_bytes(digest, "big"), size)
    return int(whole).to_bytes(_SIZES[algorithm], "big")


def encode(digest: bytes) -> str:
    """A checksum as it travels."""
    return base64.b64encode(digest).decode()


def header(algorithm: str) -> str:
    """The header that carries a checksum."""
    return f"x-amz-checksum-{algorithm.lower()}"


def claimed(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """The algorithm and value that a request's headers state, checked for form."""
    found = [(a, headers[header(a)]) for a in ALGORITHMS if header(a) in headers]
    if len(found) > 1:
        text = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        raise coded("InvalidRequest", text, 400)
    if found:
        check_form(*found[0])
    return found[0] if found else None


def check_form(algorithm: str, value: str) -> None:
    """InvalidRequest when a value is not base64 of the right length."""
    try:
        valid = len(base64.b64decode(value, validate=True)) == _SIZES[algorithm]
    except ValueError:
        valid = False
    if not valid:
        raise coded("InvalidRequest", f"Value for {header(algorithm)} header is invalid.", 400)


def shown(checksum: dict[str, Any] | None, full: bool = True) -> dict[str, str]:
    """The members that answers show of a stored checksum."""
    if not checksum:
        return {}
    members = {f"Checksum{checksum['algorithm']}": checksum["value"]}
    return {**members, "ChecksumType": checksum.get("type", "FULL_OBJECT")} if full else members
