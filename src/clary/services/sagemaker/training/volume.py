"""The volume of an instance: a job that writes more than it asked for ends, before it fills the machine's disk."""

from __future__ import annotations

from ....executors.volumes import Volume, full
from ....store.rows import Row
from .contract import Host, volume_bytes


def of_hosts(row: Row, all_hosts: list[Host]) -> list[Volume]:
    """Return the volumes of a job's hosts."""
    return [Volume(h.folder, (h.folder,), volume_bytes(row)) for h in all_hosts]


def told(row: Row, host: Host) -> str:
    """Return why a job failed whose volume was full; empty when it was not."""
    if not (found := full(host.folder)):
        return ""
    return (
        f"ClientError: No space left on device: {host.name} held {found / 2**30:.2f} GiB, the volume has "
        f"{volume_bytes(row) / 2**30:.0f} GiB (ResourceConfig.VolumeSizeInGB). Ask for a larger one, or write less."
    )
