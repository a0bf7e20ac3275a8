"""Parameter Store through boto3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.platform import Platform


def code(call: Any, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**params)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_versions_and_labels(platform: Platform, name: str) -> None:
    ssm = platform.client("ssm")
    path = f"/{name}/endpoint/name"
    assert ssm.put_parameter(Name=path, Value="one", Type="String")["Version"] == 1
    assert code(ssm.put_parameter, Name=path, Value="x", Type="String")[0] == "ParameterAlreadyExists"
    assert ssm.put_parameter(Name=path, Value="two", Overwrite=True)["Version"] == 2
    assert ssm.put_parameter(Name=path, Value="three", Overwrite=True)["Version"] == 3
    found = ssm.get_parameter(Name=path)["Parameter"]
    assert (found["Value"], found["Version"], found["Type"]) == ("three", 3, "String")
    assert found["ARN"].endswith(f":parameter/{name}/endpoint/name")
    assert ssm.get_parameter(Name=found["ARN"])["Parameter"]["Value"] == "three"
    ssm.label_parameter_version(Name=path, ParameterVersion=1, Labels=["first"])
    assert ssm.get_parameter(Name=f"{path}:first")["Parameter"]["Value"] == "one"
    assert ssm.get_parameter(Name=f"{path}:2")["Parameter"]["Selector"] == ":2"
    assert code(ssm.get_parameter, Name=f"{path}:9")[0] == "ParameterVersionNotFound"
    assert code(ssm.get_parameter, Name="/none") == ("ParameterNotFound", "")
    history = ssm.get_parameter_history(Name=path)["Parameters"]
    assert [(h["Version"], h["Value"], h["Labels"]) for h in history] == [
        (1, "one", ["first"]),
        (2, "two", []),
        (3, "three", []),
    ]
    ssm.delete_parameter(Name=path)
    assert code(ssm.delete_parameter, Name=path)[0] == "ParameterNotFound"


def test_paths(platform: Platform, name: str) -> None:
    ssm = platform.client("ssm")
    for part in ("a", "b", "deep/c"):
        ssm.put_parameter(Name=f"/{name}/{part}", Value=part, Type="String", Tags=[{"Key": "k", "Value": part}])

    def names(**more: Any) -> list[str]:
        found = ssm.get_parameters_by_path(Path=f"/{name}", **more)["Parameters"]
        return [p["Name"].removeprefix(f"/{name}/") for p in found]

    assert names() == ["a", "b"]
    assert names(Recursive=True) == ["a", "b", "deep/c"]
    first = ssm.get_parameters_by_path(Path=f"/{name}", Recursive=True, MaxResults=2)
    assert len(first["Parameters"]) == 2
    assert names(Recursive=True, NextToken=first["NextToken"]) == ["deep/c"]
    several = ssm.get_parameters(Names=[f"/{name}/a", "/none"])
    assert ([p["Value"] for p in several["Parameters"]], several["InvalidParameters"]) == (["a"], ["/none"])
    described = ssm.describe_parameters(
        ParameterFilters=[{"Key": "Name", "Option": "BeginsWith", "Values": [f"/{name}/"]}]
    )
    assert len(described["Parameters"]) == 3
    assert ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=f"/{name}/a")["TagList"] == [
        {"Key": "k", "Value": "a"}
    ]
    assert code(ssm.put_parameter, Name=f"{name}/x", Value="v", Type="String") == (
        "ValidationException",
        "Parameter name must be a fully qualified name.",
    )
    assert code(ssm.put_parameter, Name=f"/{name}/large", Value="x" * 5000, Type="String")[0] == "ValidationException"
    assert code(ssm.put_parameter, Name=f"/{name}/untyped", Value="x")[0] == "ValidationException"


def test_secret_values_are_sealed(sqlite_platform: Platform, name: str) -> None:
    ssm = sqlite_platform.client("ssm")
    ssm.put_parameter(Name=name, Value="the-hidden-word", Type="SecureString")
    assert "the-hidden-word" not in ssm.get_parameter(Name=name)["Parameter"]["Value"]
    assert ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] == "the-hidden-word"
    for path in sqlite_platform.home.glob("clary.db*"):
        assert b"the-hidden-word" not in path.read_bytes()
