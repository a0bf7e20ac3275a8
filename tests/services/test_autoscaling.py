"""Application Auto Scaling of endpoint variants, through boto3. Minutes that have passed are put in as history."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.jobs import csv, deploy, settled, table
from tests.platform import Platform, until

from . import test_asynchronous as asynchronous
from . import test_serverless as serverless


@pytest.fixture
def scaling(platform: Platform) -> Any:
    return platform.client("application-autoscaling")


def target(name: str) -> dict[str, Any]:
    return {
        "ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{name}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }  # fmt: skip


def count(platform: Platform, name: str) -> int:
    found = settled(platform, name)["ProductionVariants"][0]
    return int(found["CurrentInstanceCount"])


def activities(scaling: Any, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scaling.describe_scaling_activities(**target(name))["ScalingActivities"]
    return found


def history(platform: Platform, name: str, values: list[float], namespace: str = "load") -> None:
    """A metric's value in each of the minutes that have just passed; the last goes on, should a minute begin meanwhile."""
    minute = int(time.time()) // 60 * 60
    values = [*values, *[values[-1]] * 3]
    data = [
        {
            "MetricName": name,
            "Timestamp": dt.datetime.fromtimestamp(minute + 60 * (i + 3 - len(values)), dt.UTC),
            "Value": v,
        }
        for i, v in enumerate(values)
    ]
    platform.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)


def test_bounds_hold_at_once(platform: Platform, scaling: Any, name: str, model_data: str) -> None:
    with pytest.raises(ClientError, match="does not exist"):
        scaling.register_scalable_target(**target("none"), MinCapacity=1, MaxCapacity=2)
    deploy(platform, name, model_data)
    for params, words in (
        ({"MinCapacity": 1}, "MaxCapacity is required"),
        ({"MinCapacity": 3, "MaxCapacity": 2}, "cannot be less than minimum"),
        ({"MinCapacity": 0, "MaxCapacity": 2}, "A real-time variant always has an instance"),
    ):
        with pytest.raises(ClientError, match=words):
            scaling.register_scalable_target(**target(name), **params)
    arn = scaling.register_scalable_target(**target(name), MinCapacity=2, MaxCapacity=3)["ScalableTargetARN"]
    until(lambda: count(platform, name) == 2, what="the minimum is there")
    until(lambda: activities(scaling, name)[0]["StatusCode"] == "Successful", what="the activity has ended")
    (activity,) = activities(scaling, name)
    assert activity["Description"] == "Setting desired instance count to 2."
    assert activity["Cause"] == "minimum capacity was set to 2"
    assert activity["StatusMessage"].endswith("Change successfully fulfilled by sagemaker.")
    scaling.register_scalable_target(**target(name), MaxCapacity=5)
    (found,) = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[target(name)["ResourceId"]]
    )["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"], found["ScalableTargetARN"]) == (2, 5, arn)
    assert not found["SuspendedState"]["DynamicScalingInSuspended"]
    at = dt.datetime.fromtimestamp(time.time() + 3, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    scaling.put_scheduled_action(
        **target(name), ScheduledActionName="later", Schedule=f"at({at})",
        ScalableTargetAction={"MinCapacity": 1, "MaxCapacity": 1},
    )  # fmt: skip
    until(lambda: count(platform, name) == 1, what="the scheduled action")
    assert activities(scaling, name)[0]["Cause"] == "maximum capacity was set to 1"
    (action,) = scaling.describe_scheduled_actions(**target(name))["ScheduledActions"]
    assert (action["Schedule"], action["ScheduledActionName"]) == (f"at({at})", "later")
    platform.client("sagemaker").delete_endpoint(EndpointName=name)

    def gone() -> bool:
        which = {"ServiceNamespace": "sagemaker", "ResourceIds": [target(name)["ResourceId"]]}
        return not scaling.describe_scalable_targets(**which)["ScalableTargets"]

    until(gone, what="the target goes with its endpoint")
    assert not scaling.describe_scheduled_actions(**target(name))["ScheduledActions"]


def test_load_on_an_endpoint_scales_it_out(platform: Platform, scaling: Any, name: str, model_data: str) -> None:
    deploy(platform, name, model_data)
    scaling.register_scalable_target(**target(name), MinCapacity=1, MaxCapacity=2)
    made = scaling.put_scaling_policy(
        **target(name), PolicyName="p", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0, "ScaleInCooldown": 600, "ScaleOutCooldown": 60,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )  # fmt: skip
    resource = target(name)["ResourceId"]
    assert [a["AlarmName"].rsplit("-", 6)[0] for a in made["Alarms"]] == [
        f"TargetTracking-{resource}", f"TargetTracking-{resource}",
    ]  # fmt: skip
    (policy,) = scaling.describe_scaling_policies(**target(name))["ScalingPolicies"]
    assert (policy["PolicyARN"], policy["Alarms"]) == (made["PolicyARN"], made["Alarms"])
    cloudwatch = platform.client("cloudwatch")
    high, low = cloudwatch.describe_alarms(AlarmNames=[a["AlarmName"] for a in made["Alarms"]])["MetricAlarms"]
    assert (high["Threshold"], high["EvaluationPeriods"], high["ComparisonOperator"]) == (
        5.0,
        3,
        "GreaterThanThreshold",
    )
    assert (low["Threshold"], low["EvaluationPeriods"], low["ComparisonOperator"]) == (4.5, 15, "LessThanThreshold")
    minute = int(time.time()) // 60 * 60
    latencies = {"count": 40, "total": 4000.0, "low": 100.0, "high": 100.0, "samples": [[100.0, 40]]}
    document = [
        {
            "variant": ["000000000000", "us-east-1", name, "AllTraffic", "", ""], "at": minute - 60 * back, "invocations": 40,
            "per_instance": 40.0, "client_errors": 0, "server_errors": 0, "model_errors": 0, "model": latencies,
            "overhead": latencies,
        }
        for back in range(-3, 5)
    ]  # fmt: skip
    handed = platform.home / "run" / "metrics" / f"{name}.new"  # as a front hands over what it counted
    handed.write_text(json.dumps(document))
    handed.rename(handed.with_suffix(".json"))
    until(lambda: count(platform, name) == 2, 60, what="the second instance")
    until(lambda: activities(scaling, name)[0]["StatusCode"] == "Successful", what="the activity has ended")
    cause = activities(scaling, name)[0]["Cause"]
    assert cause == f"monitor alarm {high['AlarmName']} in state ALARM triggered policy p"
    scaling.delete_scaling_policy(**target(name), PolicyName="p")
    assert not cloudwatch.describe_alarms(AlarmNamePrefix=f"TargetTracking-{resource}")["MetricAlarms"]
    scaling.deregister_scalable_target(**target(name))
    with pytest.raises(ClientError, match="No scalable target found"):
        scaling.deregister_scalable_target(**target(name))


def test_idle_minutes_scale_in_and_steps_scale_out(
    platform: Platform, scaling: Any, name: str, model_data: str
) -> None:
    deploy(platform, name, model_data, count=3)
    scaling.register_scalable_target(**target(name), MinCapacity=1, MaxCapacity=4)
    scaling.put_scaling_policy(
        **target(name), PolicyName="own", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 20.0, "ScaleInCooldown": 0, "ScaleOutCooldown": 0,
            "CustomizedMetricSpecification": {"Metrics": [
                {"Id": "m", "MetricStat": {"Metric": {"Namespace": "load", "MetricName": name}, "Stat": "Average"}, "ReturnData": False},
                {"Id": "e", "Expression": "m * 2", "ReturnData": True},
            ]},
        },
    )  # fmt: skip
    history(platform, name, [4.0] * 16)
    until(lambda: count(platform, name) == 2, 60, what="scaled in to what the metric needs")
    scaling.delete_scaling_policy(**target(name), PolicyName="own")
    arn = scaling.put_scaling_policy(
        **target(name), PolicyName="steps", PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity", "Cooldown": 600,
            "StepAdjustments": [
                {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 50, "ScalingAdjustment": 1},
                {"MetricIntervalLowerBound": 50, "ScalingAdjustment": 2},
            ],
        },
    )["PolicyARN"]  # fmt: skip
    history(platform, f"{name}-steps", [80.0] * 3)
    platform.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{name}-steps", Namespace="load", MetricName=f"{name}-steps", Statistic="Average", Period=60,
        EvaluationPeriods=1, Threshold=20.0, ComparisonOperator="GreaterThanThreshold", AlarmActions=[arn],
    )  # fmt: skip
    until(lambda: count(platform, name) == 4, 60, what="two more instances")
    history_items = platform.client("cloudwatch").describe_alarm_history(AlarmName=f"{name}-steps")["AlarmHistoryItems"]
    assert any(h["HistorySummary"] == f"Successfully executed action {arn}" for h in history_items)


def hand_over(platform: Platform, name: str, *items: dict[str, Any]) -> None:
    """Counts of an endpoint, as a front hands them over."""
    none = {"count": 0, "total": 0.0, "low": 0.0, "high": 0.0, "samples": []}
    common = {"variant": ["000000000000", "us-east-1", name, "AllTraffic", "", ""], "invocations": 0, "model": none}
    handed = platform.home / "run" / "metrics" / f"{name}.new"
    handed.write_text(json.dumps([{**common, **item} for item in items]))
    handed.rename(handed.with_suffix(".json"))


def test_concurrency_is_followed_closely(platform: Platform, scaling: Any, name: str, model_data: str) -> None:
    """The policy that looks each ten seconds at how many requests are under way."""
    deploy(platform, name, model_data)
    scaling.register_scalable_target(**target(name), MinCapacity=1, MaxCapacity=4)
    alarms = scaling.put_scaling_policy(
        **target(name), PolicyName="close", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 2.0, "ScaleInCooldown": 600, "ScaleOutCooldown": 60,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"},
        },
    )["Alarms"]  # fmt: skip
    high, low = platform.client("cloudwatch").describe_alarms(AlarmNames=[a["AlarmName"] for a in alarms])["MetricAlarms"]  # fmt: skip
    assert (high["Period"], high["EvaluationPeriods"], low["EvaluationPeriods"]) == (10, 3, 90)
    ten = int(time.time()) // 10 * 10
    hand_over(
        platform,
        name,
        *({"at": at // 60 * 60, "second": at, "concurrent": [5.0]} for at in range(ten - 40, ten + 90, 10)),
    )
    until(lambda: count(platform, name) == 3, what="5 requests at once, 2 for each")
    assert activities(scaling, name)[0]["Cause"] == f"monitor alarm {high['AlarmName']} in state ALARM triggered policy close"  # fmt: skip
    scaling.deregister_scalable_target(**target(name))


def test_provisioned_concurrency_is_scaled(platform: Platform, scaling: Any, name: str, model_data: str) -> None:
    serverless.deploy(platform, name, model_data, MaxConcurrency=6, ProvisionedConcurrency=1)
    place = {**target(name), "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency"}
    with pytest.raises(ClientError, match="does not exist, has no"):
        scaling.register_scalable_target(
            **{**place, "ResourceId": f"endpoint/{name}/variant/none"}, MinCapacity=1, MaxCapacity=2
        )
    scaling.register_scalable_target(**place, MinCapacity=2, MaxCapacity=5)

    def kept() -> int:
        found = settled(platform, name)["ProductionVariants"][0]["CurrentServerlessConfig"]
        return int(found["ProvisionedConcurrency"])

    until(lambda: kept() == 2, what="the minimum")
    (activity,) = scaling.describe_scaling_activities(**place)["ScalingActivities"]
    assert activity["Description"] == "Setting desired provisioned concurrency to 2."
    scaling.put_scaling_policy(
        **place, PolicyName="use", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 0.5, "ScaleInCooldown": 600, "ScaleOutCooldown": 60,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantProvisionedConcurrencyUtilization"},
        },
    )  # fmt: skip

    def counted() -> bool:
        """Whether what the front itself counted has become a metric."""
        platform.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=name, ContentType="text/csv", Body=csv(table()[:1, 1:])
        )
        which = {"MetricName": "ServerlessProvisionedConcurrencyUtilization"}
        found = platform.client("cloudwatch").list_metrics(Namespace="AWS/SageMaker", **which)["Metrics"]
        return any({"Name": "EndpointName", "Value": name} in m["Dimensions"] for m in found)

    until(counted, what="the metric")
    minute = int(time.time()) // 60 * 60
    items = ({"at": at, "second": at, "provisioned": [[3, 2]]} for at in range(minute - 240, minute + 180, 60))
    hand_over(platform, name, *items)
    until(lambda: kept() == 4, what="twice as much as is used up")
    metrics = platform.client("cloudwatch").list_metrics(
        Namespace="AWS/SageMaker", Dimensions=[{"Name": "EndpointName", "Value": name}]
    )["Metrics"]
    assert "ServerlessProvisionedConcurrencyExecutions" in {m["MetricName"] for m in metrics}
    scaling.deregister_scalable_target(**place)


def test_an_asynchronous_endpoint_scales_to_zero_and_back(
    platform: Platform, scaling: Any, name: str, model_data: str
) -> None:
    platform.client("s3").create_bucket(Bucket=name)
    runtime = asynchronous.deploy(platform, name, model_data)
    scaling.register_scalable_target(**target(name), MinCapacity=0, MaxCapacity=2)
    scaling.put_scaling_policy(
        **target(name), PolicyName="backlog", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0, "ScaleInCooldown": 0, "ScaleOutCooldown": 0,
            "CustomizedMetricSpecification": {"Namespace": "load", "MetricName": name, "Statistic": "Average"},
        },
    )  # fmt: skip
    history(platform, name, [0.0] * 16)
    until(lambda: count(platform, name) == 0, 60, what="nothing to do, no instance")
    place = runtime.invoke_endpoint_async(EndpointName=name, Body=csv(table()[:1, 1:]), ContentType="text/csv")
    arn = scaling.put_scaling_policy(
        **target(name), PolicyName="wake", PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity", "Cooldown": 300,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
    )["PolicyARN"]  # fmt: skip
    history(platform, f"{name}-waits", [1.0] * 3)  # what HasBacklogWithoutCapacity would show in two minutes
    platform.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{name}-waits", Namespace="load", MetricName=f"{name}-waits", Statistic="Average", Period=60,
        EvaluationPeriods=1, Threshold=1.0, ComparisonOperator="GreaterThanOrEqualToThreshold", AlarmActions=[arn],
    )  # fmt: skip
    until(lambda: asynchronous.result(platform, place["OutputLocation"]), 60, what="an instance came for the request")
    scaling.deregister_scalable_target(**target(name))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"PolicyType": "TargetTrackingScaling"}, "TargetTrackingScalingPolicyConfiguration is required"),
        (
            {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": 1.0,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget"},
                },
            },
            "does not serve the predefined metric ALBRequestCountPerTarget",
        ),
        (
            {
                "PolicyType": "StepScaling",
                "StepScalingPolicyConfiguration": {
                    "AdjustmentType": "ChangeInCapacity",
                    "StepAdjustments": [
                        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 5, "ScalingAdjustment": 1},
                        {"MetricIntervalLowerBound": 6, "ScalingAdjustment": 1},
                    ],
                },
            },
            "can't overlap or have gaps",
        ),
        ({"PolicyType": "PredictiveScaling"}, "does not serve policies of type PredictiveScaling"),
    ],
    ids=["nothing", "metric", "gap", "predictive"],
)
def test_policies_that_are_refused(
    platform: Platform, scaling: Any, name: str, model_data: str, params: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match="No scalable target found"):
        scaling.put_scaling_policy(**target(name), PolicyName="p", **params)
    deploy(platform, name, model_data)
    scaling.register_scalable_target(**target(name), MinCapacity=1, MaxCapacity=2)
    with pytest.raises(ClientError, match=words):
        scaling.put_scaling_policy(**target(name), PolicyName="p", **params)
