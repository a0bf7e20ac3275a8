"""The volume of an instance: a job that writes more than it asked for ends, before it fills the machine's disk."""

from __future__ import annotations

from ....executors import files
from ....executors.volumes import Volume, full, used
from ....store.rows import Row
from .contract import Host, volume_bytes

_TOO_LARGE = "File too large"
"""What a program says that met the bound of a file (EFBIG)."""


def of_hosts(row: Row, all_hosts: list[Host]) -> list[Volume]:
    """Return the volumes of a job's hosts."""
    return [Volume(h.folder, (h.folder,), volume_bytes(row)) for h in all_hosts]


def told(row: Row, host: Host) -> str:
    """Return why a job failed whose volume was full; empty when it was not."""
    if not (found := full(host.folder)):
        return ""
    return _words(row, host, found)


def told_of_failure(row: Row, host: Host) -> str:
    """Return the same for a process that failed by itself: it may have met the bound of a file before the volume's."""
    if _TOO_LARGE not in files.read_text_tail(host.folder / "log", 16 << 10):
        return ""
    found = used(host.folder)
    return _words(row, host, found) if found >= volume_bytes(row) else ""


def _words(row: Row, host: Host, found: int) -> str:
    return (
        f"ClientError: No space left on device: {host.name} held {found / 2**30:.2f} GiB, the volume has "
        f"{volume_bytes(row) / 2**30:.0f} GiB (ResourceConfig.VolumeSizeInGB). Ask for a larger one, or write less."
    )
