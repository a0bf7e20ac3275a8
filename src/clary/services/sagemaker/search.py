"""Search: resources whose described properties match filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...provider.context import Context
from ...provider.errors import ValidationException
from ...provider.pages import cut
from ...store.rows import Row
from . import sagemaker, tags
from .training.api import shown as shown_training_job

Json = dict[str, Any]
_KINDS: dict[str, Callable[[Row], Json]] = {"TrainingJob": shown_training_job}
_DEFAULT_PAGE = 10


@sagemaker.operation
def search(ctx: Context, request: Json) -> Json:
    """A page of resources of one kind."""
    kind = request["Resource"]
    if kind not in _KINDS:
        raise ValidationException(f"Clary searches {', '.join(_KINDS)}; {kind} is not searchable yet.")
    found: list[Json] = []
    for row in ctx.tx.rows.list(kind, ctx.account, ctx.region):
        document = {**_KINDS[kind](row), "Tags": tags.listed(ctx, row.arn)}
        if _matches(document, request.get("SearchExpression") or {}):
            found.append(document)
    sort = request.get("SortBy", "LastModifiedTime")
    descending = request.get("SortOrder", "Descending") == "Descending"
    found.sort(key=lambda d: _order(_property(d, sort)), reverse=descending)
    invalid = ValidationException("The pagination token is invalid.")
    page, token = cut(found, request.get("NextToken"), request.get("MaxResults", _DEFAULT_PAGE), invalid)
    return {"Results": [{kind: d} for d in page], **({"NextToken": token} if token else {})}


def _order(value: Any) -> tuple[int, Any]:
    """Numbers before texts, what is missing last of all."""
    if value is None:
        return 0, 0
    return (1, value) if isinstance(value, (int, float)) else (2, str(value))


def _property(document: Any, name: str) -> Any:
    """A described property by its dotted path; ``Tags.key``, ``HyperParameters.name`` and ``Metrics.name`` too."""
    head, _, rest = name.partition(".")
    if head == "Tags" and rest:
        return next((t["Value"] for t in document.get("Tags", []) if t["Key"] == rest), None)
    if head == "Metrics" and rest:
        found = document.get("FinalMetricDataList") or []
        return next((m["Value"] for m in found if m["MetricName"] == rest), None)
    value: Any = document.get(head) if isinstance(document, dict) else None
    if rest and isinstance(value, list):
        return next((v for item in value if (v := _property(item, rest)) is not None), None)
    return _property(value, rest) if rest else value


def _matches(document: Json, expression: Json) -> bool:
    checks = [_filter(document, f) for f in expression.get("Filters") or ()]
    for nested in expression.get("NestedFilters") or ():
        items = document.get(nested["NestedPropertyName"]) or []
        prefix = nested["NestedPropertyName"] + "."
        filters = [{**f, "Name": f["Name"].removeprefix(prefix)} for f in nested["Filters"]]
        checks.append(any(all(_filter(item, f) for f in filters) for item in items))
    checks += [_matches(document, inner) for inner in expression.get("SubExpressions") or ()]
    if not checks:
        return True
    return any(checks) if expression.get("Operator") == "Or" else all(checks)


def _filter(document: Json, condition: Json) -> bool:
    value: Any = _property(document, condition["Name"])
    operator: str = condition.get("Operator", "Equals")
    wanted = condition.get("Value", "")
    if operator == "Exists":
        return value is not None
    if operator == "NotExists":
        return value is None
    if value is None:
        return operator == "NotEquals"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return _compare(float(value), operator, _number(wanted))
        except (ValueError, OverflowError):
            raise ValidationException(
                f"The value {wanted!r} of filter {condition['Name']} is not a number or time."
            ) from None
    return _compare(str(value), operator, wanted)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        from datetime import datetime

        return datetime.fromisoformat(text).timestamp()


def _compare(value: Any, operator: str, wanted: Any) -> bool:
    match operator:
        case "Equals":
            return bool(value == wanted)
        case "NotEquals":
            return bool(value != wanted)
        case "Contains":
            return str(wanted).lower() in str(value).lower()
        case "GreaterThan":
            return bool(value > wanted)
        case "GreaterThanOrEqualTo":
            return bool(value >= wanted)
        case "LessThan":
            return bool(value < wanted)
        case "LessThanOrEqualTo":
            return bool(value <= wanted)
        case "In":
            return str(value) in [w.strip() for w in str(wanted).split(",")]
    raise ValidationException(f"The operator {operator} is not known.")
