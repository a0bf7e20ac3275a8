"""Updates of endpoints in stages, under load: no request is dropped, and an alarm moves everything back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from clary.serving import invocation
from clary.settings import Settings
from tests.jobs import configure, csv, deploy, settled, table
from tests.platform import Gate, Platform, until

from .test_endpoints import pack, refused

PERCENT, COUNT = "CAPACITY_PERCENT", "INSTANCE_COUNT"


class Load:
    """Requests without a pause; the old fleet answers with a number, the new one with a brace."""

    def __init__(self, platform: Platform, name: str):
        self.answers: list[str] = []
        self.failures: list[Exception] = []
        self._platform, self._name, self._over = platform, name, threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(3)]

    def _call(self) -> None:
        runtime, body = self._platform.client("sagemaker-runtime"), csv(table()[:1, 1:])
        while not self._over.is_set():
            try:
                answer = runtime.invoke_endpoint(EndpointName=self._name, ContentType="text/csv", Body=body)
                self.answers.append("new" if answer["Body"].read().startswith(b"{") else "old")
            except ClientError as error:
                self.failures.append(error)

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()

    def share(self, of: int = 200) -> float:
        """The part of the next answers that the new fleet gives."""
        start = len(self.answers) + len(self._threads)  # some are on their way
        until(lambda: len(self.answers) >= start + of or self.failures, what="more answers")
        return self.answers[start:].count("new") / len(self.answers[start:])


def update(platform: Platform, name: str, data: str, deployment: dict[str, Any], count: int = 1) -> Any:
    configure(platform, f"{name}-new", data, count=count, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="application/json")
    sagemaker = platform.client("sagemaker")
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-new", DeploymentConfig=deployment)
    return sagemaker


def pending(platform: Platform, name: str) -> dict[str, Any]:
    """The status of the next fleet's variant, or nothing."""
    found = platform.client("sagemaker").describe_endpoint(EndpointName=name)
    for variant in (found.get("PendingDeploymentSummary") or {}).get("ProductionVariants", ()):
        return {**variant["VariantStatus"][0], "Count": variant["CurrentInstanceCount"]}
    return {}


def blue_green(kind: str, wait: int, last: int = 0, **size: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **size}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": last}}


def test_a_canary(platform: Platform, name: str, model_data: str) -> None:
    deploy(platform, name, model_data, count=2)
    config = blue_green("CANARY", 5, 6, CanarySize={"Type": PERCENT, "Value": 25})
    with Load(platform, name).running() as load:
        sagemaker = update(platform, name, model_data, config, 2)
        until(lambda: pending(platform, name).get("Status") == "Baking", what="the canary bakes")
        text = pending(platform, name)["StatusMessage"]
        assert 0.05 < load.share(100) < 0.5
        assert text == (
            "Baking for 5 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s)."
        )
        until(lambda: "TerminationWaitInSeconds" in pending(platform, name).get("StatusMessage", ""), what="all of it")
        assert load.share(50) == 1
        found = settled(platform, name)
        assert load.share(50) == 1
    assert load.failures == []
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", f"{name}-new")
    assert (found["LastDeploymentConfig"], found.get("PendingDeploymentSummary")) == (config, None)
    configure(platform, f"{name}-3", model_data)
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-3", RetainDeploymentConfig=True)
    until(lambda: "canary" in pending(platform, name).get("StatusMessage", ""), what="the policy is used again")
    assert settled(platform, name)["LastDeploymentConfig"] == config


def test_steps(platform: Platform, name: str, model_data: str) -> None:
    deploy(platform, name, model_data)
    config = blue_green("LINEAR", 4, LinearStepSize={"Type": PERCENT, "Value": 40})
    shares = []
    with Load(platform, name).running() as load:
        update(platform, name, model_data, config)
        while True:
            found = platform.client("sagemaker").describe_endpoint(EndpointName=name)
            if found["EndpointStatus"] == "InService":
                break
            shares.append(load.share(20))
    assert load.failures == []
    assert any(0.1 < s < 0.65 for s in shares)
    assert any(0.65 <= s < 1 for s in shares)
    assert found["EndpointConfigName"] == f"{name}-new"


@pytest.mark.parametrize("size", [{"Type": PERCENT, "Value": 50}, {"Type": COUNT, "Value": 1}])
def test_rolling(platform: Platform, name: str, model_data: str, size: dict[str, Any]) -> None:
    deploy(platform, name, model_data, count=3)
    config = {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": 1}}
    seen: set[tuple[int, int]] = set()
    with Load(platform, name).running() as load:
        sagemaker = update(platform, name, model_data, config, 3)
        while (found := sagemaker.describe_endpoint(EndpointName=name))["EndpointStatus"] == "Updating":
            if upcoming := found.get("PendingDeploymentSummary"):
                counts = (v["CurrentInstanceCount"] for f in (found, upcoming) for v in f["ProductionVariants"])
                seen.add(tuple(counts))  # type: ignore[arg-type]
    assert load.failures == []
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", f"{name}-new")
    assert any(old < 3 and new > 0 for old, new in seen)
    assert all(old + new >= 3 for old, new in seen)
    assert {"old", "new"} <= set(load.answers)


@pytest.mark.parametrize("policy", ["canary", "rolling"])
def test_an_alarm_moves_everything_back(platform: Platform, name: str, model_data: str, policy: str) -> None:
    cloudwatch = platform.client("cloudwatch")
    deploy(platform, name, model_data, count=2)
    config = (
        blue_green("CANARY", 3600, CanarySize={"Type": PERCENT, "Value": 50})
        if policy == "canary"
        else {"RollingUpdatePolicy": {"MaximumBatchSize": {"Type": COUNT, "Value": 1}, "WaitIntervalInSeconds": 5}}
    )
    config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name}]}
    configure(platform, f"{name}-no", model_data)
    found = refused(
        platform.client("sagemaker").update_endpoint, EndpointName=name, EndpointConfigName=f"{name}-no",
        DeploymentConfig=config,
    )  # fmt: skip
    assert f"alarms that do not exist: {name}" in found["Error"]["Message"]
    cloudwatch.put_metric_alarm(
        AlarmName=name, MetricName="Invocation5XXErrors", Namespace="AWS/SageMaker", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1.0, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
    )  # fmt: skip
    with Load(platform, name).running() as load:
        sagemaker = update(platform, name, model_data, config, 2)
        until(lambda: pending(platform, name).get("Status") == "Baking", what="the new fleet bakes")
        if policy == "rolling":  # an old instance is gone already
            until(lambda: pending(platform, name).get("Count") == 2, what="the second batch")
        assert load.share(50) > 0.25
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
        until(lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService", what="the end")
        found = sagemaker.describe_endpoint(EndpointName=name)
        assert load.share(50) == 0
    assert load.failures == []
    assert (found["EndpointConfigName"], found.get("PendingDeploymentSummary")) == (name, None)
    assert found["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert f"the CloudWatch alarm(s) {name} went into ALARM state" in found["FailureReason"]


def test_a_fleet_under_deployment_has_metrics_of_its_own(platform: Platform, name: str, model_data: str) -> None:
    deploy(platform, name, model_data)
    config = blue_green("CANARY", 2, CanarySize={"Type": PERCENT, "Value": 50})
    with Load(platform, name).running():
        update(platform, name, model_data, config)
        settled(platform, name)
    cloudwatch = platform.client("cloudwatch")

    def configs() -> set[str]:
        found = cloudwatch.list_metrics(
            Namespace="AWS/SageMaker", MetricName="Invocations", Dimensions=[{"Name": "EndpointName", "Value": name}]
        )["Metrics"]
        return {d["Value"] for m in found for d in m["Dimensions"] if d["Name"] == "EndpointConfigName"}

    until(lambda: configs() == {name, f"{name}-new"}, what="metrics of both configurations")


def _held(platform: Platform, name: str, gate: Gate) -> str:
    """An endpoint whose answers wait at a gate; where its model lies."""
    code = f"""
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    {gate.code}
    return body, "text/plain"
"""
    platform.client("s3").create_bucket(Bucket=name)
    data = pack(platform, name, "m.tar.gz", code__inference_DOT_py=code.encode())
    assert deploy(platform, name, data, SAGEMAKER_PROGRAM="inference.py")["EndpointStatus"] == "InService"
    return data


def test_a_slow_request_outlives_its_fleet(platform: Platform, name: str, model_data: str) -> None:
    assert Settings().drain_seconds > invocation.STREAM_SECONDS > invocation.INVOKE_SECONDS
    runtime = platform.client("sagemaker-runtime")
    with Gate() as gate, ThreadPoolExecutor(1) as threads:
        _held(platform, name, gate)
        asked = threads.submit(runtime.invoke_endpoint, EndpointName=name, ContentType="text/plain", Body=b"slow")
        gate.wait(1)
        update(platform, name, model_data, blue_green("ALL_AT_ONCE", 0))
        assert settled(platform, name)["EndpointStatus"] == "InService"
        assert runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=csv(table()[:1, 1:]))
        gate.open()
        assert asked.result()["Body"].read() == b"slow"


def test_what_nobody_waits_for_keeps_no_endpoint(platform: Platform, name: str) -> None:
    """A model that hangs: its client has given up, and the endpoint goes without waiting for it."""
    hasty = platform.client("sagemaker-runtime", config=Config(read_timeout=3, retries={"max_attempts": 0}))
    sagemaker = platform.client("sagemaker")
    with Gate() as gate, ThreadPoolExecutor(1) as threads:
        _held(platform, name, gate)
        asked = threads.submit(hasty.invoke_endpoint, EndpointName=name, ContentType="text/plain", Body=b"never")
        gate.wait(1)
        sagemaker.delete_endpoint(EndpointName=name)
        with pytest.raises(ReadTimeoutError):
            asked.result()

        def gone() -> bool:
            return not sagemaker.list_endpoints(NameContains=name)["Endpoints"]

        until(gone, 30, what="the endpoint is gone")
