"""Managed spot, retries, and the line in which jobs wait for room."""

from __future__ import annotations

import os
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.jobs import IMAGE, bucket, channel, job, messages
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


def test_an_interrupted_algorithm_goes_on_from_its_checkpoint(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    options = {"k": "4", "feature_dim": "30", "mini_batch_size": "50", "epochs": "1500"}
    train = channel("train", f"s3://{where}/train", "text/csv;label_size=1")
    request = job(name, where, hyperparameters=options, InputDataConfig=[train])
    image = {"TrainingImage": IMAGE.replace("sagemaker-xgboost:1.7-1", "kmeans:1"), "TrainingInputMode": "File"}
    limits = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900}
    request |= {"AlgorithmSpecification": image, "StoppingCondition": limits, "EnableManagedSpotTraining": True}
    request["CheckpointConfig"] = {"S3Uri": f"s3://{name}/checkpoints"}
    sqlite_platform.client("sagemaker").create_training_job(**request)
    until(lambda: any("#progress_metric" in m for m in messages(sqlite_platform, GROUP, f"{name}/")))
    run([CLARY, "spot", "interrupt", name], sqlite_platform.environment)
    found = ended(sqlite_platform, name)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    resumed = [m for m in messages(sqlite_platform, GROUP, f"{name}/") if "Resuming from checkpoint" in m]
    assert len(resumed) == 1 and "kmeans-checkpoint.npz" in resumed[0]


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


# ---- warm pools ------------------------------------------------------------------------------------------------------

CACHES = """
import os
folder = os.environ["SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY"]
print("CACHED", sorted(os.listdir(folder)), flush=True)
open(f"{folder}/{os.environ['TRAINING_JOB_NAME'][-1]}", "w").write("x")
"""


def warm(platform: Platform, name: str, each: str, keep: int, **resources: Any) -> dict[str, Any]:
    """A job whose instances are kept after it."""
    request = unfed(job(each, name, hyperparameters=script(platform, name, CACHES)))
    kept = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1, "KeepAlivePeriodInSeconds": keep}
    return {**request, "ResourceConfig": {**kept, **resources}}


def pool(platform: Platform, name: str, status: str) -> dict[str, Any]:
    """A job's warm pool once it has a status."""
    sagemaker = platform.client("sagemaker")

    def found() -> dict[str, Any]:
        return dict(sagemaker.describe_training_job(TrainingJobName=name).get("WarmPoolStatus", {}))

    until(lambda: found().get("Status") == status)
    return found()


def test_a_like_job_goes_on_in_a_warm_pool_with_what_was_cached(platform: Platform, name: str) -> None:
    platform.client("s3").create_bucket(Bucket=name)
    sagemaker = platform.client("sagemaker")
    names = [f"{name}-{i}" for i in range(3)]
    sagemaker.create_training_job(**warm(platform, name, names[0], 3600))
    ended(platform, names[0])
    pool(platform, names[0], "Available")
    listed = sagemaker.list_training_jobs(NameContains=name, WarmPoolStatusEquals="Available")["TrainingJobSummaries"]
    assert [j["TrainingJobName"] for j in listed] == names[:1]
    with pytest.raises(ClientError, match="keeps an Available warm pool"):
        sagemaker.delete_training_job(TrainingJobName=names[0])

    sagemaker.create_training_job(**warm(platform, name, names[1], 3600, InstanceType="ml.m5.xlarge"))  # another kind
    ended(platform, names[1])
    assert pool(platform, names[0], "Available")["ResourceRetainedBillableTimeInSeconds"] >= 0
    sagemaker.create_training_job(**warm(platform, name, names[2], 3600))
    ended(platform, names[2])
    assert pool(platform, names[0], "Reused")["ReusedByJob"] == names[2]
    pool(platform, names[2], "Available")
    lines = [m for n in names for m in messages(platform, GROUP, f"{n}/") if m.startswith("CACHED")]
    assert lines == ["CACHED []", "CACHED []", "CACHED ['0']"]

    for each in names[1:]:
        sagemaker.update_training_job(TrainingJobName=each, ResourceConfig={"KeepAlivePeriodInSeconds": 0})
        pool(platform, each, "Terminated")
    until(lambda: not list((platform.home / "pools").iterdir()))
    with pytest.raises(ClientError, match="has no warm pool that is Available"):
        sagemaker.update_training_job(TrainingJobName=names[2], ResourceConfig={"KeepAlivePeriodInSeconds": 60})
    for each in names:
        sagemaker.delete_training_job(TrainingJobName=each)


def test_a_warm_pool_ends_with_its_time_and_makes_nobody_wait(sqlite_platform: Platform, name: str) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    sagemaker = sqlite_platform.client("sagemaker")
    sagemaker.create_training_job(**warm(sqlite_platform, name, f"{name}-0", 1))
    assert ended(sqlite_platform, f"{name}-0")["WarmPoolStatus"]["Status"] in ("Available", "Terminated")
    assert pool(sqlite_platform, f"{name}-0", "Terminated")["ResourceRetainedBillableTimeInSeconds"] >= 1

    whole = {"InstanceType": "ml.c5.18xlarge", "InstanceCount": 4}  # all that may be promised
    sagemaker.create_training_job(**warm(sqlite_platform, name, f"{name}-1", 3600, **whole))
    ended(sqlite_platform, f"{name}-1")
    pool(sqlite_platform, f"{name}-1", "Available")
    sagemaker.create_training_job(**warm(sqlite_platform, name, f"{name}-2", 0))
    assert ended(sqlite_platform, f"{name}-2")["TrainingJobStatus"] == "Completed"
    pool(sqlite_platform, f"{name}-1", "Terminated")


def test_a_spot_job_keeps_no_warm_pool(sqlite_platform: Platform, name: str) -> None:
    bucket(sqlite_platform, name)
    request = warm(sqlite_platform, name, name, 60)
    limits = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900}
    with pytest.raises(ClientError, match="cannot be used with managed spot training"):
        sqlite_platform.client("sagemaker").create_training_job(
            **request | {"EnableManagedSpotTraining": True, "StoppingCondition": limits}
        )
