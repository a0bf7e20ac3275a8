"""The local executor ends what it is asked to end, whatever became of the shim."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clary.executors.limits import Groups, hierarchies
from clary.executors.local import LocalExecutor
from tests.platform import until

ORPHAN = """
import fcntl, os, sys
from pathlib import Path
from clary.executors.limits import Groups
groups = Groups(Path(sys.argv[1]))
groups.join()
lock = os.open(sys.argv[1] + "/lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
import signal
signal.pause()
"""


@pytest.mark.skipif(os.geteuid() != 0 or not list(hierarchies()), reason="control groups are made by root")
def test_what_a_killed_shim_left_behind_is_stopped(tmp_path: Path) -> None:
    """A shim that is killed before its child asked to die with it leaves a process that holds the lock."""
    folder = tmp_path / "runs" / "ep-1" / "a"
    folder.mkdir(parents=True)
    dead = subprocess.Popen(["true"])
    dead.wait()
    (folder / "pid").write_text(f"{dead.pid} {dead.pid}\n")
    groups = Groups(folder)
    groups.create(0, 64)
    orphan = subprocess.Popen([sys.executable, "-c", ORPHAN, str(folder)], stdout=subprocess.PIPE)
    try:
        assert orphan.stdout is not None and orphan.stdout.readline() == b"held\n"
        executor = LocalExecutor(tmp_path / "run")
        assert executor.see(folder).state == "running"
        executor.stop(folder, 60)
        until(lambda: orphan.poll() is not None, 10, "the orphan ends")
        assert executor.see(folder).state == "vanished"
    finally:
        orphan.kill()
        orphan.communicate()
        groups.remove()
    assert not groups.paths
