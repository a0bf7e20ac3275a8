"""CloudWatch through boto3 (CBOR) and in its two older protocols: metrics, math, alarms, and what endpoints report."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.jobs import bucket, csv, deploy, job, table, train
from tests.platform import Platform, until


@pytest.fixture
def cloudwatch(platform: Platform) -> Any:
    return platform.client("cloudwatch")


def moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def test_values_become_statistics(cloudwatch: Any, name: str) -> None:
    minute = int(time.time()) // 60 * 60 - 600
    here = [{"Name": "Where", "Value": "here"}, {"Name": "A", "Value": "b"}]
    data = [
        {"MetricName": "m", "Dimensions": here, "Timestamp": moment(minute + 5), "Value": 1.0, "Unit": "Count"},
        {"MetricName": "m", "Dimensions": here[::-1], "Timestamp": moment(minute + 50), "Values": [2.0, 6.0], "Counts": [3, 1], "Unit": "Count"},
        {
            "MetricName": "m", "Dimensions": here, "Timestamp": moment(minute + 60), "Unit": "Count",
            "StatisticValues": {"SampleCount": 2, "Sum": 10, "Minimum": 4, "Maximum": 6},
        },
        {"MetricName": "m", "Timestamp": moment(minute), "Value": 99.0},
    ]  # fmt: skip
    cloudwatch.put_metric_data(Namespace=name, MetricData=data)
    ask = {
        "Namespace": name,
        "MetricName": "m",
        "Dimensions": here,
        "StartTime": moment(minute),
        "EndTime": moment(minute + 120),
    }
    found = cloudwatch.get_metric_statistics(
        **ask, Period=60, Statistics=["Sum", "Average", "Minimum", "Maximum", "SampleCount"], ExtendedStatistics=["p50"]
    )
    assert found["Label"] == "m"
    assert found["Datapoints"] == [
        {
            "Timestamp": moment(minute), "SampleCount": 5.0, "Sum": 13.0, "Average": 2.6, "Minimum": 1.0, "Maximum": 6.0,
            "Unit": "Count", "ExtendedStatistics": {"p50": 2.0},
        },
        {
            "Timestamp": moment(minute + 60), "SampleCount": 2.0, "Sum": 10.0, "Average": 5.0, "Minimum": 4.0,
            "Maximum": 6.0, "Unit": "Count", "ExtendedStatistics": {"p50": 5.0},
        },
    ]  # fmt: skip
    (whole,) = cloudwatch.get_metric_statistics(**ask, Period=120, Statistics=["Sum"])["Datapoints"]
    assert (whole["Timestamp"], whole["Sum"]) == (moment(minute), 23.0)
    listed = cloudwatch.list_metrics(Namespace=name, Dimensions=[{"Name": "Where"}])["Metrics"]
    assert [sorted(d["Name"] for d in m["Dimensions"]) for m in listed] == [["A", "Where"]]
    assert len(cloudwatch.list_metrics(Namespace=name)["Metrics"]) == 2


def test_math_over_metrics(cloudwatch: Any, name: str) -> None:
    minute = int(time.time()) // 60 * 60 - 600
    for i in range(3):
        for metric, value in (("errors", i), ("calls", 10)):
            item = {"MetricName": metric, "Timestamp": moment(minute + 60 * i), "Value": float(value)}
            cloudwatch.put_metric_data(Namespace=name, MetricData=[item])

    def stat(each: str) -> dict[str, Any]:
        return {"Metric": {"Namespace": name, "MetricName": each}, "Period": 60, "Stat": "Sum"}

    found = cloudwatch.get_metric_data(
        MetricDataQueries=[
            {"Id": "rate", "Expression": "100 * e / c", "Label": "error rate"},
            {"Id": "e", "MetricStat": stat("errors"), "ReturnData": False},
            {"Id": "c", "MetricStat": stat("calls")},
        ],
        StartTime=moment(minute),
        EndTime=moment(minute + 180),
        ScanBy="TimestampAscending",
    )["MetricDataResults"]
    assert [(r["Id"], r["Label"], r["Values"], r["StatusCode"]) for r in found] == [
        ("rate", "error rate", [0.0, 10.0, 20.0], "Complete"), ("c", "calls", [10.0] * 3, "Complete"),
    ]  # fmt: skip
    with pytest.raises(ClientError, match="names x, which is not the Id"):
        cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": "a", "Expression": "x + 1"}], StartTime=moment(0), EndTime=moment(60)
        )


@pytest.mark.parametrize(
    ("call", "params", "code"),
    [
        ("put_metric_data", {"Namespace": "AWS/Mine", "MetricData": [{"MetricName": "m", "Value": 1}]}, "InvalidParameterValue"),
        ("put_metric_data", {"Namespace": "n", "MetricData": [{"MetricName": "m"}]}, "MissingParameter"),
        ("put_metric_data", {"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": float("nan")}]}, "InvalidParameterValue"),
        ("put_metric_data", {"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": 1, "Timestamp": moment(0)}]}, "InvalidParameterValue"),
        ("get_metric_statistics", {"Period": 7, "Statistics": ["Sum"]}, "InvalidParameterValue"),
        ("get_metric_statistics", {"Period": 1, "Statistics": ["Sum"]}, "InvalidParameterCombination"),
        ("get_metric_statistics", {"Period": 60}, "MissingParameter"),
        ("delete_alarms", {"AlarmNames": ["none"]}, "ResourceNotFound"),
    ],
)  # fmt: skip
def test_errors(cloudwatch: Any, call: str, params: dict[str, Any], code: str) -> None:
    if call == "get_metric_statistics":
        params = {"Namespace": "n", "MetricName": "m", "StartTime": moment(0), "EndTime": moment(7200), **params}
    with pytest.raises(ClientError) as error:
        getattr(cloudwatch, call)(**params)
    assert error.value.response["Error"]["Code"] == code


def test_alarms_follow_their_metric(cloudwatch: Any, name: str) -> None:
    def put(value: float) -> None:
        at = int(time.time())
        values = [
            {"MetricName": "m", "Timestamp": moment(at - back), "Value": value, "StorageResolution": 1}
            for back in range(0, 60, 5)
        ]
        cloudwatch.put_metric_data(Namespace=name, MetricData=values)

    alarm = {
        "AlarmName": name, "MetricName": "m", "Namespace": name, "Statistic": "Maximum", "Period": 10,
        "EvaluationPeriods": 2, "Threshold": 5.0, "ComparisonOperator": "GreaterThanThreshold",
        "AlarmActions": ["arn:aws:sns:us-east-1:000000000000:nobody"], "TreatMissingData": "ignore",
    }  # fmt: skip
    cloudwatch.put_metric_alarm(**alarm)

    def state() -> str:
        (found,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return str(found["StateValue"])

    assert state() == "INSUFFICIENT_DATA"
    put(9.0)
    until(lambda: state() == "ALARM", what="the alarm")
    (found,) = cloudwatch.describe_alarms(AlarmNamePrefix=name, StateValue="ALARM")["MetricAlarms"]
    assert "were greater than the threshold (5.0)" in found["StateReason"]
    assert (found["AlarmArn"].rpartition(":")[2], found["TreatMissingData"]) == (name, "ignore")
    history = cloudwatch.describe_alarm_history(AlarmName=name)["AlarmHistoryItems"]
    assert [h["HistoryItemType"] for h in history] == ["Action", "StateUpdate", "ConfigurationUpdate"]
    assert "Failed to execute action arn:aws:sns" in history[0]["HistorySummary"]
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="by hand")
    assert state() == "OK"
    cloudwatch.disable_alarm_actions(AlarmNames=[name])
    assert not cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["ActionsEnabled"]
    cloudwatch.delete_alarms(AlarmNames=[name])
    assert not cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    for change, words in (
        ({"Period": 7}, "Period must be"),
        ({"DatapointsToAlarm": 3}, "less than or equal to EvaluationPeriods"),
        ({"ExtendedStatistic": "p99"}, "Exactly one of"),
        ({"Period": 86400, "EvaluationPeriods": 2}, "more than a day"),
    ):
        with pytest.raises(ClientError, match=words):
            cloudwatch.put_metric_alarm(**{**alarm, **change})


def test_endpoints_report_what_they_do(platform: Platform, cloudwatch: Any, name: str) -> None:
    data = train(platform, job(name, bucket(platform, name)))["ModelArtifacts"]["S3ModelArtifacts"]
    deploy(platform, name, data, count=2)
    runtime = platform.client("sagemaker-runtime")
    body, began = csv(table()[:1, 1:]), int(time.time()) // 60 * 60
    for _ in range(6):
        runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body)
    for _ in range(2):
        with pytest.raises(ClientError, match="ModelError"):
            runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=b"a,b")
    who = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "AllTraffic"}]

    def statistic(metric: str, which: str) -> float:
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName=metric, Dimensions=who, StartTime=moment(began),
            EndTime=moment(began + 300), Period=300, **{"ExtendedStatistics" if which.startswith("p") else "Statistics": [which]},
        )["Datapoints"]  # fmt: skip
        values = [p["ExtendedStatistics"][which] if which.startswith("p") else p[which] for p in found]
        return float(max(values, default=0.0)) if which != "Sum" else float(sum(values))

    until(lambda: statistic("Invocations", "Sum") == 8, what="the invocations are reported")
    assert statistic("InvocationsPerInstance", "Sum") == 4
    assert statistic("Invocation4XXErrors", "Sum") == 2
    assert statistic("InvocationModelErrors", "Average") <= 1
    assert statistic("Invocation5XXErrors", "Sum") == 0
    assert (
        0
        < statistic("ModelLatency", "Minimum")
        <= statistic("ModelLatency", "p90")
        <= statistic("ModelLatency", "Maximum")
    )
    assert 0 < statistic("OverheadLatency", "Average") < 1e6
    assert {m["MetricName"] for m in cloudwatch.list_metrics(Namespace="AWS/SageMaker", Dimensions=who)["Metrics"]} >= {
        "Invocations", "ModelLatency", "OverheadLatency",
    }  # fmt: skip


def test_alarms_of_alarms(platform: Platform, name: str) -> None:
    cloudwatch = platform.client("cloudwatch")
    for part in ("one", "two"):
        cloudwatch.put_metric_alarm(
            AlarmName=f"{name}-{part}", MetricName="none", Namespace=name, Statistic="Sum", Period=3600,
            EvaluationPeriods=1, Threshold=1.0, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
        )  # fmt: skip

    def refused(rule: str, **more: Any) -> str:
        with pytest.raises(ClientError) as error:
            cloudwatch.put_composite_alarm(**{"AlarmName": f"{name}-both", "AlarmRule": rule, **more})
        return str(error.value.response["Error"]["Message"])

    assert "cannot be parsed" in refused("ALARM(")
    assert f"alarms [{name}-three] in the alarm rule do not exist" in refused(f"ALARM({name}-three)")
    assert "must not look at the alarm itself" in refused(f"ALARM({name}-both)")
    assert "exists already" in refused("TRUE", AlarmName=f"{name}-one")
    cloudwatch.put_composite_alarm(
        AlarmName=f"{name}-both", AlarmRule=f'ALARM("{name}-one") AND NOT ALARM("{name}-two")', AlarmDescription="d"
    )

    def state() -> str:
        found = cloudwatch.describe_alarms(AlarmNames=[f"{name}-both"], AlarmTypes=["CompositeAlarm"])
        assert found["MetricAlarms"] == []
        return str(found["CompositeAlarms"][0]["StateValue"])

    until(lambda: state() == "OK", what="it is evaluated")
    cloudwatch.set_alarm_state(AlarmName=f"{name}-one", StateValue="ALARM", StateReason="a test")
    until(lambda: state() == "ALARM", what="one of its alarms is on")
    cloudwatch.set_alarm_state(AlarmName=f"{name}-two", StateValue="ALARM", StateReason="a test")
    until(lambda: state() == "OK", what="the other is on too")
    history = cloudwatch.describe_alarm_history(AlarmName=f"{name}-both", HistoryItemType="StateUpdate")
    assert [h["AlarmType"] for h in history["AlarmHistoryItems"]] == ["CompositeAlarm"] * 3
    assert cloudwatch.describe_alarms(AlarmNames=[f"{name}-both"])["CompositeAlarms"] == []
    cloudwatch.delete_alarms(AlarmNames=[f"{name}-both"])
