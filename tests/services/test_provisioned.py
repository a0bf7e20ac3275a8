"""Processes of functions that are ready before anybody calls."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.platform import Platform, until

from .test_functions import call, create

SLOW = """
import os, time
time.sleep(0.5)
def handler(event, context):
    time.sleep(event or 0)
    return [os.getpid(), os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]]
"""


def test_processes_are_kept_ready(platform: Platform, name: str) -> None:
    client = create(platform, name, SLOW)
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    named = {"FunctionName": name, "Qualifier": "live"}
    made = client.put_provisioned_concurrency_config(**named, ProvisionedConcurrentExecutions=2)
    assert (made["Status"], made["AvailableProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 0)

    def ready() -> bool:
        found = client.get_provisioned_concurrency_config(**named)
        return bool(found["Status"] == "READY" and found["AvailableProvisionedConcurrentExecutions"] == 2)

    until(ready, 20, "two processes")
    pid, why = call(client, name, 0, Qualifier="live")[0]
    assert why == "provisioned-concurrency"
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="1", Description="the same")
    assert call(client, name, 0, Qualifier="1")[0][0] == pid  # the alias's version
    assert call(client, name, 0)[0][1] == "on-demand"
    client.delete_provisioned_concurrency_config(**named)
    with pytest.raises(ClientError, match="No Provisioned Concurrency Config found"):
        client.get_provisioned_concurrency_config(**named)


def test_what_cannot_be_kept_ready(platform: Platform, name: str) -> None:
    client = create(platform, name, "raise ValueError('never')")
    client.publish_version(FunctionName=name)
    named = {"FunctionName": name, "Qualifier": "1"}
    client.put_provisioned_concurrency_config(**named, ProvisionedConcurrentExecutions=1)

    def status() -> str:
        return str(client.get_provisioned_concurrency_config(**named)["Status"])

    until(lambda: status() == "FAILED", 20, "the failure")
    found = client.get_provisioned_concurrency_config(**named)
    assert found["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    found = client.put_provisioned_concurrency_config(**named, ProvisionedConcurrentExecutions=500)
    assert found["Status"] == "FAILED" and "This machine keeps at most" in found["StatusReason"]
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    with pytest.raises(ClientError, match="greater than function's reserved concurrency"):
        client.put_provisioned_concurrency_config(**named, ProvisionedConcurrentExecutions=4)
    with pytest.raises(ClientError, match="cannot be applied to unpublished function versions"):
        client.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1
        )
