"""A part that no longer does anything is restarted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError

from clary.cli.supervisor import Supervisor
from clary.settings import Settings
from tests.platform import Platform, started, until


@pytest.mark.parametrize("part", ["clary.server", "clary.serving"])
def test_a_stopped_part_is_restarted(part: str) -> None:
    with started(Path(tempfile.mkdtemp(prefix="clary-test-")), CLARY_LIVENESS_SECONDS="3") as platform:
        others = {p: platform.pids(p) for p in ("clary.server", "clary.serving", "clary.executors.zygote") if p != part}
        (before,) = platform.pids(part)
        os.kill(before, signal.SIGSTOP)
        until(lambda: platform.pids(part) not in ([before], []), 60, f"another {part}")
        until(lambda: _answers(platform), 60, "the platform answers")
        assert platform.client("sagemaker").list_endpoints()["Endpoints"] == []
        assert others == {p: platform.pids(p) for p in others}
        assert "gave no sign of life" in platform.log()


def test_control_ends_with_its_supervisor_whatever_its_threads_wait_for() -> None:
    """A stack's call to the platform itself gets no answer any more; control must not wait for that."""
    with started(Path(tempfile.mkdtemp(prefix="clary-test-"))) as platform:
        properties = {"Type": "String", "Value": "v"}
        body = json.dumps({"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": properties}}})
        (front,) = platform.pids("clary.serving")

        def begun() -> bool:
            with contextlib.closing(sqlite3.connect(f"file:{platform.home}/clary.db?mode=ro", uri=True)) as database:
                rows = database.execute("select private from resource where kind = 'Stack'").fetchall()
            return any('"Token"' in private for (private,) in rows)

        asked = threading.Thread(target=_create_stack, args=(platform, body))
        asked.start()
        try:
            until(begun, what="the stack's first call is about to be made")
            os.kill(front, signal.SIGSTOP)
            platform.kill("clary up")
            until(lambda: not platform.pids("clary.server"), 10, "control ends")
        finally:
            os.kill(front, signal.SIGKILL)
            asked.join()
        platform.up()


def _create_stack(platform: Platform, body: str) -> None:
    with contextlib.suppress(BotoCoreError):  # the front may be stopped before it has passed on the answer
        platform.client("cloudformation").create_stack(StackName="one", TemplateBody=body)


def _answers(platform: object) -> bool:
    try:
        return bool(platform.page("/livez") == "ok\n")  # type: ignore[attr-defined]
    except OSError:
        return False


def test_a_part_that_spins_is_restarted_and_one_that_works_is_not(home: Path) -> None:
    log = os.open(home / "log", os.O_RDWR | os.O_CREAT)
    parts = {"control": "tests.faults.spinner", "front": "tests.faults.spinner"}
    os.environ["SPINNER"] = "control"
    supervisor = Supervisor(Settings(home=str(home / "h"), port=0, liveness_seconds=3), log, parts=parts)
    try:
        supervisor.start()
        first = {p.name: p.process.pid for p in supervisor._parts if p.process}
        watcher = threading.Thread(target=supervisor.wait, args=(lambda: supervisor.stopping,))
        watcher.start()
        until(lambda: (home / "log").read_text().count("spinning") >= 2, 60, "it is started again")
        supervisor.stopping = True
        watcher.join()
        now = {p.name: p.process.pid for p in supervisor._parts if p.process}
        assert now["front"] == first["front"] and now["control"] != first["control"]
        assert "control" in (home / "log").read_text().partition("gave no sign")[0].splitlines()[-1]
    finally:
        del os.environ["SPINNER"]
        supervisor.stop()
        os.close(log)


def test_a_supervisor_that_was_away_judges_nobody(home: Path) -> None:
    log = os.open(home / "log", os.O_RDWR | os.O_CREAT)
    supervisor = Supervisor(
        Settings(home=str(home / "h"), port=0, liveness_seconds=3), log, parts={"control": "tests.faults.spinner"}
    )
    try:
        supervisor.start()
        (part,) = supervisor._parts
        until(lambda: supervisor.look() or part.beats, 30, "the first beat")
        assert part.process is not None
        pid = part.process.pid
        part.beat_at -= 100  # as after a night in a suspended machine
        supervisor._looked_at -= 100
        supervisor.look()
        assert part.process.poll() is None and part.process.pid == pid
        part.beat_at = time.monotonic() - 100
        os.kill(pid, signal.SIGSTOP)
        until(lambda: supervisor.look() or (part.process is not None and part.process.pid != pid), 30, "it is ended")
    finally:
        supervisor.stop()
        os.close(log)
