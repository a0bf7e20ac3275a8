"""Log groups and alarms."""

from __future__ import annotations

from collections.abc import Callable

from ..kind import Failed, Json, Kind, Made, Work, gone, only, retag, tags_of


def _log_group(work: Work, props: Json) -> Made:
    logs, tags = work.client("logs"), tags_of(props)
    try:
        logs.create_log_group(logGroupName=work.name, **({"tags": tags} if tags else {}))
    except logs.exceptions.ResourceAlreadyExistsException:
        raise Failed(f"{work.name} already exists in stack or outside of it") from None
    return _log_settings(work, work.name, {}, props)


def _log_settings(work: Work, name: str, old: Json, props: Json) -> Made:
    logs, arn = work.client("logs"), f"arn:aws:logs:{work.region}:{work.account}:log-group:{name}"
    if days := props.get("RetentionInDays"):
        logs.put_retention_policy(logGroupName=name, retentionInDays=days)
    elif old.get("RetentionInDays"):
        logs.delete_retention_policy(logGroupName=name)
    if old:
        retag(
            old, props, lambda tags: logs.tag_resource(resourceArn=arn, tags=tags),
            lambda keys: logs.untag_resource(resourceArn=arn, tagKeys=keys),
        )  # fmt: skip
    return Made(name, {"Arn": f"{arn}:*"})


def _log_stream(work: Work, props: Json) -> Made:
    work.client("logs").create_log_stream(logGroupName=props["LogGroupName"], logStreamName=work.name)
    return Made(work.name)


def _no_log_stream(work: Work, name: str, props: Json) -> None:
    gone(work.client("logs").delete_log_stream, logGroupName=props["LogGroupName"], logStreamName=name)


_METRIC_ALARM = (
    "ActionsEnabled", "AlarmActions", "AlarmDescription", "ComparisonOperator", "DatapointsToAlarm", "Dimensions",
    "EvaluateLowSampleCountPercentile", "EvaluationPeriods", "ExtendedStatistic", "InsufficientDataActions", "MetricName",
    "Metrics", "Namespace", "OKActions", "Period", "Statistic", "Threshold", "ThresholdMetricId", "TreatMissingData", "Unit",
    "Tags",
)  # fmt: skip
_COMPOSITE_ALARM = (
    "ActionsEnabled", "AlarmActions", "AlarmDescription", "AlarmRule", "InsufficientDataActions", "OKActions", "Tags",
)  # fmt: skip


def _alarm(operation: str, members: tuple[str, ...]) -> Callable[[Work, Json], Made]:
    def put(work: Work, props: Json) -> Made:
        getattr(work.client("cloudwatch"), operation)(AlarmName=work.name, **only(props, *members))
        return Made(work.name, {"Arn": f"arn:aws:cloudwatch:{work.region}:{work.account}:alarm:{work.name}"})

    return put


def _alarm_kind(operation: str, members: tuple[str, ...], *ignores: str) -> Kind:
    put = _alarm(operation, members)
    return Kind(
        put, lambda w, i, p: gone(w.client("cloudwatch").delete_alarms, AlarmNames=[i]), lambda w, i, o, p: put(w, p),
        named="AlarmName", ignores=ignores,
    )  # fmt: skip


KINDS: dict[str, Kind] = {
    "AWS::Logs::LogGroup": Kind(
        _log_group, lambda w, i, p: gone(w.client("logs").delete_log_group, logGroupName=i), _log_settings,
        named="LogGroupName", ignores=(
            "BearerTokenAuthenticationEnabled", "DataProtectionPolicy", "DeletionProtectionEnabled", "FieldIndexPolicies",
            "KmsKeyId", "LogGroupClass", "ResourcePolicyDocument",
        ),
    ),
    "AWS::Logs::LogStream": Kind(_log_stream, _no_log_stream, named="LogStreamName"),
    "AWS::CloudWatch::Alarm": _alarm_kind(
        "put_metric_alarm", _METRIC_ALARM, "ActionConfiguration", "EvaluationCriteria", "EvaluationInterval",
        "EvaluationWindow", "WarmUpConfiguration",
    ),
    "AWS::CloudWatch::CompositeAlarm": _alarm_kind(
        "put_composite_alarm", _COMPOSITE_ALARM, "ActionsSuppressor", "ActionsSuppressorExtensionPeriod",
        "ActionsSuppressorWaitPeriod",
    ),
}  # fmt: skip
