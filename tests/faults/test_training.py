"""Jobs that wait, begin again or install packages, while the processes that see to it are killed."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from tests.faults import BOTH_STORES
from tests.faults.test_crashes import _over
from tests.jobs import messages
from tests.platform import CLARY, Platform, run, until
from tests.services.test_queue import COUNTS, pool, spot, warm
from tests.services.test_training import GROUP, PACKAGE, REQUIRES, scripted, wheel

WAITS = (
    "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('/opt/ml/checkpoints/go'): time.sleep(0.05)\n"
)


def _kill_processes(platform: Platform, name: str) -> None:
    """A job's processes: the shims first, or they would write the exit status of what is below them."""
    for folder in platform.home.glob("runs/job-*/algo-1"):
        if (folder / "pid").exists():
            for pid in (folder / "pid").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def _path(found: dict[str, Any]) -> list[str]:
    return [t["Status"] for t in found["SecondaryStatusTransitions"]]


def test_a_job_with_a_retry_strategy_begins_again(own_platform: Platform, name: str) -> None:
    request = spot(own_platform, name, WAITS)
    request |= {"EnableManagedSpotTraining": False, "RetryStrategy": {"MaximumRetryAttempts": 1}}
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 600}
    own_platform.client("sagemaker").create_training_job(**request)
    until(lambda: "up" in messages(own_platform, GROUP, f"{name}/"), what="the job runs")
    _kill_processes(own_platform, name)
    until(lambda: messages(own_platform, GROUP, f"{name}/").count("up") == 2, what="the job runs again")
    (next(own_platform.home.glob("runs/job-*-1/algo-1/ml/checkpoints")) / "go").touch()
    found = until(lambda: _over(own_platform, name), what="the job ends")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert _path(found) == ["Starting", "Downloading", "Training", "Restarting", "Downloading", "Training", "Uploading", "Completed"]  # fmt: skip


def test_an_interruption_outlives_control(own_platform: Platform, name: str) -> None:
    own_platform.client("sagemaker").create_training_job(**spot(own_platform, name, COUNTS))
    until(lambda: "BEGAN AT 0" in messages(own_platform, GROUP, f"{name}/"), what="the job runs")
    run([CLARY, "spot", "interrupt", name], own_platform.environment)
    own_platform.kill("clary.server")
    found = until(lambda: _over(own_platform, name), what="the job ends")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert "Interrupted" in _path(found) and "BEGAN AT 1" in messages(own_platform, GROUP, f"{name}/")


@BOTH_STORES
def test_the_line_outlives_control(own_platform: Platform, name: str) -> None:
    sagemaker = own_platform.client("sagemaker")
    request = spot(own_platform, name, WAITS)
    whole = {"InstanceType": "ml.c5.18xlarge", "InstanceCount": 4, "VolumeSizeInGB": 1}
    for each in (f"{name}-a", f"{name}-b"):
        checkpoints = {"S3Uri": f"s3://{name}/{each}"}
        sagemaker.create_training_job(**{**request, "TrainingJobName": each, "CheckpointConfig": checkpoints, "ResourceConfig": whole})  # fmt: skip
    until(lambda: "up" in messages(own_platform, GROUP, f"{name}-a/"), what="the first job runs")
    own_platform.kill("clary.server")
    until(lambda: _secondary(own_platform, f"{name}-b") == "Pending", what="control is back")
    assert messages(own_platform, GROUP, f"{name}-b/") == []
    for each in (f"{name}-a", f"{name}-b"):
        until(lambda each=each: messages(own_platform, GROUP, f"{each}/").count("up") >= 1, what=f"{each} runs")
        for folder in own_platform.home.glob("runs/job-*/algo-*/ml/checkpoints"):
            (folder / "go").touch()
        assert until(lambda each=each: _over(own_platform, each), what=f"{each} ends")["TrainingJobStatus"] == "Completed"  # fmt: skip


def _secondary(platform: Platform, name: str) -> str:
    with contextlib.suppress(Exception):
        found = platform.client("sagemaker").list_training_jobs(NameContains=name)["TrainingJobSummaries"]
        return str(found[0]["SecondaryStatus"])
    return ""


def test_an_installation_is_begun_again_by_the_next_control(own_platform: Platform, name: str) -> None:
    files = {"requirements.txt": f"./{PACKAGE}\n", PACKAGE: wheel("tinypackage", f"VALUE = '{name}'\n")}
    request = scripted(own_platform, name, REQUIRES, **files)
    own_platform.client("sagemaker").create_training_job(**request)
    until(lambda: list(own_platform.home.glob("runs/packages-*/installer/pid")), what="the installer runs")
    own_platform.kill("clary.server")
    found = until(lambda: _over(own_platform, name), what="the job ends")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert not list(own_platform.home.glob("runs/packages-*"))
    assert f"LOADED {name} /opt/packages/tinypackage.py" in messages(own_platform, GROUP, f"{name}/")


def test_a_warm_pool_outlives_control(own_platform: Platform, name: str) -> None:
    own_platform.client("s3").create_bucket(Bucket=name)
    sagemaker = own_platform.client("sagemaker")
    sagemaker.create_training_job(**warm(own_platform, name, f"{name}-0", 3600))
    pool(own_platform, f"{name}-0", "Available")
    own_platform.kill("clary.server")
    sagemaker.create_training_job(**warm(own_platform, name, f"{name}-1", 0))
    until(lambda: _over(own_platform, f"{name}-1"), what="the job ends")
    assert pool(own_platform, f"{name}-0", "Reused")["ReusedByJob"] == f"{name}-1"
    pool(own_platform, f"{name}-1", "Terminated")
    assert "CACHED ['0']" in messages(own_platform, GROUP, f"{name}-1/")
