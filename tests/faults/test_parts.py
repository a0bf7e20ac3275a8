"""Faults of the machine below the supervisor, the zygote and the shims: processes start, end and are found all the same.

What runs when a fault begins ends as it should, or fails with the fault's own words; never does it run without a sandbox.
"""

from __future__ import annotations

import errno
import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from clary.executors import limits
from tests.jobs import bucket, job, messages, train
from tests.platform import Gate, Platform, started, until
from tests.services.test_training import PACKAGE, REQUIRES, scripted, wheel

from .injection import CREATE, DESCRIPTOR, DISK, NAME, WRITE, Faults

FAULTS = {
    "ENOSPC": (errno.ENOSPC, CREATE | WRITE | NAME), "EIO": (errno.EIO, DISK), "EMFILE": (errno.EMFILE, DESCRIPTOR),
}  # fmt: skip
WORDS = ("No space left on device", "Input/output error", "Too many open files", "InternalServerError")


@pytest.fixture(scope="module")
def processes() -> Iterator[tuple[Platform, Faults]]:
    """A platform whose zygote and shims see faults."""
    home = Path(tempfile.mkdtemp(prefix="clary-test-"))
    faults = Faults(home, part="clary.executors")
    with started(home, **faults.environment) as platform:
        bucket(platform, "parts")
        yield platform, faults
        faults.none()


@pytest.mark.parametrize("fault", FAULTS)
def test_jobs_start_and_end_through_a_fault(processes: tuple[Platform, Faults], fault: str, name: str) -> None:
    platform, faults = processes
    error, kinds = FAULTS[fault]
    sagemaker = platform.client("sagemaker")
    met = 0
    for passes in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
        one = f"{name}-{passes}"
        with faults.injected(error, passes, kinds):
            sagemaker.create_training_job(**job(one, "parts"))
            until(lambda one=one: faults.failed > 3 or _over(platform, one), what="the fault is met")
            met += faults.failed > 0
        until(lambda one=one: _over(platform, one), 120, what=f"the job ends that met the fault after {passes}")
        found = sagemaker.describe_training_job(TrainingJobName=one)
        why = found.get("FailureReason", "")
        told = "\n".join(messages(platform, "/aws/sagemaker/TrainingJobs", one))
        assert found["TrainingJobStatus"] == "Completed" or any(w in why + told for w in WORDS), (passes, why, told)
        assert "without a sandbox" not in told
    assert met > 3
    assert train(platform, job(f"{name}-last", "parts"))["TrainingJobStatus"] == "Completed"
    until(lambda: not list((platform.home / "runs").glob("job-*")), what="the jobs' folders are gone")
    until(lambda: not _groups(platform), what=f"the jobs' control groups are gone: {_groups(platform)}")


@pytest.mark.parametrize("part", ["clary.executors", "clary.server"])
def test_packages_are_installed_through_a_fault(part: str, name: str) -> None:
    """An installation that met a fault is made again; half of one is never taken for the whole."""
    home = Path(tempfile.mkdtemp(prefix="clary-test-"))
    faults = Faults(home, part=part)
    with started(home, **faults.environment) as platform:
        sagemaker = platform.client("sagemaker")
        for number, passes in enumerate((0, 4, 16, 64, 128)):
            one = f"{name}-{passes}"
            package = wheel("tinypackage", f"VALUE = '{one}'\n")
            request = scripted(platform, one, REQUIRES, **{"requirements.txt": f"./{PACKAGE}\n", PACKAGE: package})
            error, kinds = list(FAULTS.values())[number % len(FAULTS)]
            sagemaker.create_training_job(**request)
            with faults.injected(error, passes, kinds):
                until(lambda one=one: faults.failed > 3 or _over(platform, one), what="the fault is met")
            until(lambda one=one: _over(platform, one), 120, what="the job ends")
            found = sagemaker.describe_training_job(TrainingJobName=one)
            told = "\n".join(messages(platform, "/aws/sagemaker/TrainingJobs", one))
            why = found.get("FailureReason", "")
            if found["TrainingJobStatus"] == "Completed":
                assert f"LOADED {one}" in told
            else:
                assert any(words in why + told for words in WORDS), (passes, why, told)
            again = {**request, "TrainingJobName": f"{one}-again"}
            assert train(platform, again)["TrainingJobStatus"] == "Completed"
            assert f"LOADED {one}" in "\n".join(messages(platform, "/aws/sagemaker/TrainingJobs", f"{one}-again"))
        until(lambda: not list((home / "runs").glob("*")), what="the folders of runs are gone")
        assert not [p for p in (home / "environments").glob(".*") if p.name != ".cache"]


def _over(platform: Platform, name: str) -> bool:
    try:
        found = platform.client("sagemaker").describe_training_job(TrainingJobName=name)
    except (ClientError, BotoCoreError):
        return False
    return found["TrainingJobStatus"] not in ("InProgress", "Stopping")


def _groups(platform: Platform) -> list[str]:
    bases = [h / limits.of_home(platform.home) for h in limits.hierarchies()]
    return sorted({str(g) for base in bases if base.is_dir() for g in base.glob("job-*")})


@pytest.mark.parametrize("fault", FAULTS)
def test_the_supervisor_lives_through_a_fault(fault: str) -> None:
    """Parts that end while it can neither open nor write anything are there again afterwards; so does ``clary down``."""
    home = Path(tempfile.mkdtemp(prefix="clary-test-"))
    faults = Faults(home, part="clary up")
    error, kinds = FAULTS[fault]
    with Gate() as gate, started(home, **faults.environment) as platform:
        (supervisor,) = platform.pids("clary up")
        with faults.injected(error, 0, kinds):
            for part in ("clary.serving", "clary.server", "clary.executors.zygote"):
                platform.kill(part)
            if fault == "EMFILE":
                until(lambda: faults.failed > 3, what="the supervisor meets the fault")
                assert not platform.pids("clary.server")
        until(lambda: _answers(platform), 60, what="the platform answers")
        assert platform.pids("clary up") == [supervisor]
        code = f"def handler(event, context): return {gate.code}"
        function = platform.client("lambda")
        function.create_function(
            FunctionName="held", Runtime="python3.12", Role="arn:aws:iam::000000000000:role/r", Handler="index.handler",
            Code={"ZipFile": packed(code)},
        )  # fmt: skip
        function.invoke(FunctionName="held", InvocationType="Event")
        gate.wait(1)
        with faults.injected(error, 0, kinds):
            platform.down()
        assert not platform.pids()
        faults.none()
        platform.up()
        assert platform.client("lambda").get_function(FunctionName="held")


def packed(text: str) -> bytes:
    """A function's archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("index.py", text)
    return out.getvalue()


def _answers(platform: Platform) -> bool:
    try:
        return bool(platform.page("/readyz") is not None)
    except OSError:
        return False


def test_a_disk_that_is_full_at_the_end_loses_no_result(processes: tuple[Platform, Faults], name: str) -> None:
    """How a process ended is written down when the disk has room again."""
    platform, faults = processes
    with faults.injected(kinds=NAME):
        assert train(platform, job(f"{name}-first", "parts"))["TrainingJobStatus"] == "Completed"
        last = faults.counted
    with faults.injected(errno.ENOSPC, last - 1, NAME):  # the last file that gets its name is the ending
        platform.client("sagemaker").create_training_job(**job(name, "parts"))
        until(lambda: faults.failed > 5, what="the shim tries again")
        assert not _over(platform, name)
    until(lambda: _over(platform, name), 120, what="the job ends")
    assert platform.client("sagemaker").describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Completed"
