"""Managed spot, retries, and the line in which jobs wait for room."""

from __future__ import annotations

import os
from typing import Any

from tests.jobs import bucket, job, messages
from tests.platform import CLARY, Platform, run, until
from tests.services.test_training import script, unfed

GROUP = "/aws/sagemaker/TrainingJobs"
COUNTS = """
import os, signal, sys, time
folder = "/opt/ml/checkpoints"
at = len(os.listdir(folder))
print("BEGAN AT", at, flush=True)
def told(*_):
    open(f"{folder}/{at}", "w").write("x")
    print("TOLD TO END", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
while at < 1:
    time.sleep(0.05)
open("/opt/ml/model/result", "w").write(str(at))
"""


def spot(platform: Platform, name: str, text: str, **changes: Any) -> dict[str, Any]:
    """A spot job that runs a script."""
    platform.client("s3").create_bucket(Bucket=name)
    request = unfed(job(name, name, hyperparameters=script(platform, name, text)), **changes)
    return {
        **request, "EnableManagedSpotTraining": True, "CheckpointConfig": {"S3Uri": f"s3://{name}/checkpoints"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900},
    }  # fmt: skip


def ended(platform: Platform, name: str) -> dict[str, Any]:
    """A job's description once it is over."""
    sagemaker = platform.client("sagemaker")
    over = ("Completed", "Failed", "Stopped")
    until(lambda: sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] in over)
    return dict(sagemaker.describe_training_job(TrainingJobName=name))


def test_an_interrupted_spot_job_goes_on_from_its_checkpoints(sqlite_platform: Platform, name: str) -> None:
    sagemaker = sqlite_platform.client("sagemaker")
    sagemaker.create_training_job(**spot(sqlite_platform, name, COUNTS))
    until(lambda: "BEGAN AT 0" in messages(sqlite_platform, GROUP, f"{name}/"))
    printed = run([CLARY, "spot", "interrupt", name], sqlite_platform.environment).stdout
    assert f"clary jobs watch {name}" in printed
    found = ended(sqlite_platform, name)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    path = [t["Status"] for t in found["SecondaryStatusTransitions"]]
    assert path == ["Starting", "Downloading", "Training", "Interrupted", "Downloading", "Training", "Uploading", "Completed"]  # fmt: skip
    printed_lines = messages(sqlite_platform, GROUP, f"{name}/")
    assert [line for line in printed_lines if line.isupper() or "BEGAN" in line] == ["BEGAN AT 0", "TOLD TO END", "BEGAN AT 1"]  # fmt: skip
    assert found["BillableTimeInSeconds"] <= found["TrainingTimeInSeconds"]
    streams = sqlite_platform.client("logs").describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")
    assert len(streams["logStreams"]) == 2
    assert not list((sqlite_platform.home / "runs").glob("job-*-1"))


def test_what_cannot_be_interrupted_says_why(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    sqlite_platform.client("sagemaker").create_training_job(**job(name, where))
    for asked, words in ((name, "is no spot job"), ("nobody", "There is no training job named 'nobody'")):
        found = run([CLARY, "spot", "interrupt", asked], sqlite_platform.environment, check=False)
        assert found.returncode == 1 and words in found.stderr
    ended(sqlite_platform, name)


def test_jobs_wait_for_room_in_the_order_they_came(sqlite_platform: Platform, name: str) -> None:
    """As many as there is room for run; the others say what they wait for, and one that is stopped leaves the line."""
    sagemaker = sqlite_platform.client("sagemaker")
    text = "import os, time\nwhile not os.path.exists('/opt/ml/checkpoints/go'): time.sleep(0.05)\n"
    cores = os.cpu_count() or 1
    request = spot(sqlite_platform, name, "print('unused')")
    request |= {"HyperParameters": script(sqlite_platform, name, text)}
    whole = {"InstanceType": "ml.c5.18xlarge", "InstanceCount": 4, "VolumeSizeInGB": 1}  # all that may be promised
    names = [f"{name}-{i}" for i in range(3)]
    for i, each in enumerate(names):
        checkpoints = {"S3Uri": f"s3://{name}/{each}"}
        sagemaker.create_training_job(**{**request, "TrainingJobName": each, "CheckpointConfig": checkpoints, "ResourceConfig": whole})  # fmt: skip
        until(lambda i=i, each=each: _secondary(sqlite_platform, each) == ("Pending" if i else "Training"))
    last = sagemaker.search(Resource="TrainingJob", SearchExpression={"Filters": [{"Name": "TrainingJobName", "Operator": "Equals", "Value": names[2]}]})["Results"][0]["TrainingJob"]  # fmt: skip
    said = last["SecondaryStatusTransitions"][-1]["StatusMessage"]
    assert f"needs {4 * cores} vCPU" in said and f"taken by {names[0]}" in said and f"before it: {names[1]}" in said
    sagemaker.stop_training_job(TrainingJobName=names[1])
    assert ended(sqlite_platform, names[1])["TrainingJobStatus"] == "Stopped"
    sagemaker.stop_training_job(TrainingJobName=names[0])
    until(lambda: _secondary(sqlite_platform, names[2]) == "Training")
    sagemaker.stop_training_job(TrainingJobName=names[2])
    assert ended(sqlite_platform, names[2])["TrainingJobStatus"] == "Stopped"


def _secondary(platform: Platform, name: str) -> str:
    found = platform.client("sagemaker").list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    return next(str(j["SecondaryStatus"]) for j in found if j["TrainingJobName"] == name)


def test_the_command_line_shows_jobs(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    sqlite_platform.client("sagemaker").create_training_job(**job(name, where))

    def clary(*arguments: str) -> str:
        return run([CLARY, "jobs", *arguments], sqlite_platform.environment).stdout

    watched = clary("watch", name)
    assert "Completed" in watched and "train:auc" in watched and "┤" in watched
    assert name in clary("list") and name in clary("list", "--status", "Completed", "--name", name)
    shown = clary("show", name)
    for words in ("1 x ml.m5.large", f"s3://{name}/train text/csv", "num_round=10", "model.tar.gz", "validation:auc", "Training"):  # fmt: skip
        assert words in shown
    assert "[9]\ttrain-auc" in clary("logs", name)
    assert "validation:logloss" in clary("metrics", name)
    assert len(clary("metrics", name, "--metric", "train:auc").splitlines()) == 13
    wrong = run([CLARY, "jobs", "metrics", name, "--metric", "x"], sqlite_platform.environment, check=False)
    assert wrong.returncode == 1 and "has no metric 'x'. It has: train:auc" in wrong.stderr
    wrong = run([CLARY, "jobs", "show", "nothing"], sqlite_platform.environment, check=False)
    assert wrong.returncode == 1 and "clary jobs list" in wrong.stderr
