"""CloudWatch Logs through boto3: pages end, nothing is lost or doubled."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.platform import Platform


@pytest.fixture
def logs(platform: Platform) -> Any:
    return platform.client("logs")


def _put(logs: Any, group: str, stream: str, messages: list[str], at: int | None = None) -> int:
    at = at or int(time.time() * 1000)
    events = [{"timestamp": at + i, "message": m} for i, m in enumerate(messages)]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    return at


@pytest.fixture
def group(logs: Any, name: str) -> str:
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    return name


def test_what_is_missing_and_what_is_taken(logs: Any, group: str) -> None:
    for call, code in (
        (lambda: logs.create_log_group(logGroupName=group), "ResourceAlreadyExistsException"),
        (lambda: logs.describe_log_streams(logGroupName="none"), "ResourceNotFoundException"),
        (lambda: logs.get_log_events(logGroupName=group, logStreamName="none"), "ResourceNotFoundException"),
    ):
        with pytest.raises(ClientError) as error:
            call()
        assert error.value.response["Error"]["Code"] == code


def test_forward_pages_end_with_the_same_token(logs: Any, group: str) -> None:
    _put(logs, group, "s", [f"line {i}" for i in range(25)])
    seen, token = [], None
    while True:
        options = {"nextToken": token} if token else {}
        page = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, limit=10, **options)
        seen += (e["message"] for e in page["events"])
        if page["nextForwardToken"] == token:
            assert page["events"] == []
            break
        token = page["nextForwardToken"]
    assert seen == [f"line {i}" for i in range(25)]
    _put(logs, group, "s", ["later"], at=int(time.time() * 1000) + 100)
    page = logs.get_log_events(logGroupName=group, logStreamName="s", nextToken=token, startFromHead=True)
    assert [e["message"] for e in page["events"]] == ["later"]


def test_without_start_from_head_the_last_page_comes_first(logs: Any, group: str) -> None:
    _put(logs, group, "s", [f"{i}" for i in range(5)])
    last = logs.get_log_events(logGroupName=group, logStreamName="s", limit=2)
    assert [e["message"] for e in last["events"]] == ["3", "4"]
    before = logs.get_log_events(logGroupName=group, logStreamName="s", limit=2, nextToken=last["nextBackwardToken"])
    assert [e["message"] for e in before["events"]] == ["1", "2"]


def test_times_bound_a_page(logs: Any, group: str) -> None:
    at = _put(logs, group, "s", ["a", "b", "c"])
    page = logs.get_log_events(
        logGroupName=group, logStreamName="s", startTime=at + 1, endTime=at + 2, startFromHead=True
    )
    assert [e["message"] for e in page["events"]] == ["b"]


def test_streams_are_listed_by_prefix_and_time(logs: Any, group: str) -> None:
    for i in range(5):
        logs.create_log_stream(logGroupName=group, logStreamName=f"job/algo-{i}")
    page = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="job/", orderBy="LogStreamName", limit=5)
    assert [s["logStreamName"] for s in page["logStreams"]] == [f"job/algo-{i}" for i in range(5)]
    assert "nextToken" not in page
    page = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="job/", limit=2)
    assert "nextToken" in page
    _put(logs, group, "job/algo-3", ["x"])
    newest = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)
    assert newest["logStreams"][0]["logStreamName"] == "job/algo-3"


def test_filtering(logs: Any, group: str) -> None:
    logs.create_log_stream(logGroupName=group, logStreamName="t")
    _put(logs, group, "s", ["ERROR one", "fine"])
    _put(logs, group, "t", ["ERROR two", "ERROR one too"])
    found = logs.filter_log_events(logGroupName=group, filterPattern='ERROR "one"')["events"]
    assert sorted(e["message"] for e in found) == ["ERROR one", "ERROR one too"]
    found = logs.filter_log_events(logGroupName=group, logStreamNamePrefix="t")["events"]
    assert len(found) == 2
    paginator = logs.get_paginator("filter_log_events")
    pages = paginator.paginate(logGroupName=group, PaginationConfig={"PageSize": 1})
    assert len([e for p in pages for e in p["events"]]) == 4
    with pytest.raises(ClientError, match="matches words and quoted phrases"):
        logs.filter_log_events(logGroupName=group, filterPattern="{ $.level = 1 }")


def test_groups_have_retention_and_tags(logs: Any, group: str) -> None:
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    assert found["retentionInDays"] == 7
    logs.tag_resource(resourceArn=found["logGroupArn"], tags={"a": "b"})
    assert logs.list_tags_for_resource(resourceArn=found["logGroupArn"])["tags"] == {"a": "b"}
    logs.delete_log_group(logGroupName=group)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []
