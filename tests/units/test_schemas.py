"""Properties of stacks' resources: scalars in the API's types, and CloudFormation's words for what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.services.cloudformation import schemas
from clary.services.cloudformation.catalogue import kind_of, names
from clary.services.cloudformation.kind import Failed

FUNCTION = {"Code": {"ZipFile": "x"}, "Role": "r"}


def test_scalars_become_what_the_api_takes() -> None:
    given = {**FUNCTION, "Timeout": "30", "Environment": {"Variables": {"N": 1, "B": True}}}
    found = schemas.checked("AWS::Lambda::Function", given)
    assert found == {**FUNCTION, "Timeout": 30, "Environment": {"Variables": {"N": "1", "B": "true"}}}
    alarm = schemas.checked(
        "AWS::CloudWatch::Alarm",
        {"ComparisonOperator": "x", "EvaluationPeriods": 2.0, "Threshold": "0.5", "ActionsEnabled": "False"},
    )
    assert (alarm["EvaluationPeriods"], alarm["Threshold"], alarm["ActionsEnabled"]) == (2, 0.5, False)


@pytest.mark.parametrize(
    ("props", "words"),
    [
        ({"Code": {}}, "[The property {/Role} is required]"),
        ({**FUNCTION, "TimeOut": 3}, "[Encountered unsupported properties in {/}: [TimeOut]]"),
        ({**FUNCTION, "Code": {"Zip": "x"}}, "[Encountered unsupported properties in {/Code}: [Zip]]"),
        ({**FUNCTION, "Timeout": "soon"}, "[Value of property {/Timeout} does not match type {Integer}]"),
        ({**FUNCTION, "Layers": [{}]}, "[Value of property {/Layers/0} does not match type {String}]"),
        ({**FUNCTION, "Layers": "one"}, "[Value of property {/Layers} does not match type {Array}]"),
    ],
    ids=["required", "unknown", "unknown-below", "number", "in-a-list", "list"],
)
def test_what_is_wrong_is_said(props: dict[str, Any], words: str) -> None:
    with pytest.raises(Failed) as failure:
        schemas.checked("AWS::Lambda::Function", props)
    assert str(failure.value) == f"Property validation failure: {words}"


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(Failed, match=r"\{/Role\} is required\], |required, .*unsupported"):
        schemas.checked("AWS::Lambda::Function", {"Code": {}, "A": 1})


def test_types_of_the_users_own_are_free() -> None:
    given = {"ServiceToken": "x", "Any": {"thing": [1]}}
    assert schemas.checked("Custom::Mine", given) is given


@given(st.sampled_from(names()), st.recursive(st.none() | st.booleans() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)))  # fmt: skip
def test_whatever_a_template_says_is_checked_or_refused(name: str, value: Any) -> None:
    """Never another exception; and what was checked once stays as it is."""
    for prop in schemas.fixed(name) or {"X"}:
        try:
            found = schemas.checked(name, {prop: value})
        except Failed:
            schemas.coerced(name, {prop: value})
        else:
            assert schemas.checked(name, found) == found


def test_what_is_ignored_and_what_names_are_of_the_schema() -> None:
    for name in names():
        if known := schemas.properties(name):
            kind = kind_of(name)
            assert not {p for p in (*kind.ignores, *kind.fixed, kind.named) if p} - known, name
