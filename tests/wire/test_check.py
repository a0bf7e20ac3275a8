"""Constraint violations in AWS's words."""

from __future__ import annotations

from clary.wire import check
from clary.wire.model import load
from clary.wire.protocols import PROTOCOLS

_codec = PROTOCOLS["json"](load("sagemaker"))


def _violations(operation: str, params: dict[str, object]) -> list[str]:
    return _codec.check(_codec.service.operations[operation], params)


def test_a_missing_member_is_null() -> None:
    assert _violations("DescribeEndpoint", {}) == [
        "Value null at 'endpointName' failed to satisfy constraint: Member must not be null"
    ]


def test_a_pattern_is_quoted_as_the_model_has_it() -> None:
    (found,) = _violations("DescribeModel", {"ModelName": "under_score"})
    assert found == (
        "Value 'under_score' at 'modelName' failed to satisfy constraint: Member must satisfy regular expression "
        "pattern: [a-zA-Z0-9]([\\-a-zA-Z0-9]*[a-zA-Z0-9])?"
    )


def test_several_violations_make_one_message() -> None:
    found = _violations("ListEndpoints", {"SortBy": "Size", "MaxResults": 1000})
    text = check.message(found)
    assert text.startswith("2 validation errors detected: Value 'Size' at 'sortBy'")
    assert "Member must satisfy enum value set: [Name, CreationTime, Status]" in text
    assert (
        "Value '1000' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 100"
        in text
    )


def test_paths_lead_into_lists() -> None:
    found = _violations(
        "AddTags", {"ResourceArn": "arn:aws:sagemaker:us-east-1:000000000000:model/a", "Tags": [{"Key": "a"}]}
    )
    assert found == ["Value null at 'tags.1.member.value' failed to satisfy constraint: Member must not be null"]
