"""What serving costs where nobody asks for much: memory of one endpoint and of a hundred, and cold starts."""

from __future__ import annotations

import contextlib
import os
import signal
import tarfile
import tempfile
import time
from pathlib import Path

import xgboost
from botocore.exceptions import ClientError
from tests import jobs
from tests.platform import Platform, started, until

from bench.table import show

_MANY = 100
_IDLE = "CLARY_SERVERLESS_IDLE_SECONDS"


def hosting(model: xgboost.Booster, folder: Path) -> None:
    """Endpoints of one small built-in model, on a platform of their own."""
    model.save_model(folder / "hosted.ubj")
    with tarfile.open(folder / "h.tar.gz", "w:gz") as packed:
        packed.add(folder / "hosted.ubj", "xgboost-model")
    with started(Path(tempfile.mkdtemp(prefix="clary-bench-home-")), **{_IDLE: "1"}) as platform:
        s3 = platform.client("s3")
        s3.create_bucket(Bucket="bench")
        s3.upload_file(str(folder / "h.tar.gz"), "bench", "h.tar.gz")
        jobs.deploy(platform, "bench-0", "s3://bench/h.tar.gz")
        jobs.predict(platform, "bench-0", jobs.table()[:1, 1:])
        megabytes = memory(platform.pids("clary.serving") + _replicas(platform))
        show("serving one small model: front and replica (PSS)", f"{megabytes:.0f} MB", "< 150 MB", megabytes < 150)
        _replica(platform)
        _serverless(platform)
        sagemaker = platform.client("sagemaker")
        for number in range(1, _MANY):
            sagemaker.create_endpoint(EndpointName=f"bench-{number}", EndpointConfigName="bench-0")
        for number in range(_MANY):
            assert jobs.settled(platform, f"bench-{number}")["EndpointStatus"] == "InService"
            jobs.predict(platform, f"bench-{number}", jobs.table()[:1, 1:])
        total = memory(platform.pids())
        show(f"{_MANY} endpoints of it: all processes (PSS)", f"{total:.0f} MB", "< 2048 MB", total < 2048)


def memory(pids: list[int]) -> float:
    """Megabytes that processes hold, what they share divided among them."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))
    return total / 1024


def _replica(platform: Platform) -> None:
    """From the end of a replica to the answer of the next one: the request waits for it."""
    times = []
    for _ in range(5):
        for pid in _replicas(platform):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        began = time.perf_counter()
        until(lambda: _answers(platform), what="the next replica")
        times.append(time.perf_counter() - began)
    show("a replica that was killed, until the next one answers", f"{sorted(times)[2] * 1000:.0f} ms", "< 500 ms", sorted(times)[2] < 0.5)  # fmt: skip


def _replicas(platform: Platform) -> list[int]:
    """The processes whose output goes to a replica's log: itself and who watches over it."""
    found = []
    for pid in platform.pids("clary.executors.zygote"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/1").startswith(f"{platform.home}/runs/ep-"):
                found.append(pid)
    return found


def _answers(platform: Platform) -> bool:
    try:
        return bool(jobs.predict(platform, "bench-0", jobs.table()[:1, 1:]))
    except ClientError:  # it went while it had the request
        return False


def _serverless(platform: Platform) -> None:
    """The first request to an endpoint that sleeps."""
    sagemaker = platform.client("sagemaker")
    variant = {
        "VariantName": "A", "ModelName": "bench-0", "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2},
    }  # fmt: skip
    sagemaker.create_endpoint_config(EndpointConfigName="bench-sleeper", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="bench-sleeper", EndpointConfigName="bench-sleeper")
    assert jobs.settled(platform, "bench-sleeper")["EndpointStatus"] == "InService"
    times = []
    for _ in range(5):
        until(lambda: len(list(platform.home.glob("runs/ep-*/v0-*"))) == 1, what="it sleeps")
        began = time.perf_counter()
        jobs.predict(platform, "bench-sleeper", jobs.table()[:1, 1:])
        times.append(time.perf_counter() - began)
    show("first request to a serverless endpoint that sleeps", f"{sorted(times)[2] * 1000:.0f} ms", "< 700 ms", sorted(times)[2] < 0.7)  # fmt: skip
    sagemaker.delete_endpoint(EndpointName="bench-sleeper")
