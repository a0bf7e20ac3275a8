"""Metrics: putting, finding, reading them."""

from __future__ import annotations

import base64
import math
import re
from typing import Any

from ...clock import now
from ...provider.context import Context
from ...provider.errors import AwsError, coded
from ...provider.pages import cut
from ...store.database import Transaction
from ...store.metrics import MINUTE, MetricKey, MetricRows, Statistics, together
from . import cloudwatch
from .expressions import ExpressionError, Scope, Series, evaluate, shown

Json = dict[str, Any]
_PERCENTILE = re.compile(r"^p(\d{1,2}(\.\d{0,10})?|100)$")
_STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
MAX_DATAPOINTS = 1440
MAX_RESULTS = 500


def invalid(text: str) -> AwsError:
    """A parameter that is not taken."""
    return coded("InvalidParameterValue", text, 400)


def contradictory(text: str) -> AwsError:
    """Parameters that do not go together."""
    return coded("InvalidParameterCombination", text, 400)


def metric_key(account: str, region: str, namespace: str, name: str, dimensions: list[Json] | None) -> MetricKey:
    """A metric by the members that requests spell it with."""
    pairs = tuple(sorted((d["Name"], d["Value"]) for d in dimensions or ()))
    return MetricKey(account, region, namespace, name, pairs)


@cloudwatch.operation
def put_metric_data(ctx: Context, request: Json) -> None:
    """Store values; those of one minute become one point."""
    namespace = request["Namespace"]
    if namespace.startswith("AWS/"):
        raise invalid("The value AWS/ for parameter Namespace is invalid.")
    found = request.get("MetricData")
    if not found:
        raise coded("MissingParameter", "The parameter MetricData is required.", 400)
    if len(found) > 1000:
        raise invalid("The collection MetricData must not have a size greater than 1000.")
    rows = MetricRows(ctx.tx.connection)
    for item in found:
        at = item["Timestamp"].timestamp() if "Timestamp" in item else now()
        if not now() - 14 * 86400 - MINUTE <= at <= now() + 2 * 3600 + MINUTE:
            raise invalid(
                f"The parameter MetricData.member.Timestamp of {item['MetricName']} must be within the last two weeks "
                "and the next two hours."
            )
        resolution = 1 if item.get("StorageResolution") == 1 else MINUTE
        key = metric_key(ctx.account, ctx.region, namespace, item["MetricName"], item.get("Dimensions"))
        rows.add(key, int(at) // resolution * resolution, item.get("Unit", "None"), _values(item))


def _values(item: Json) -> Statistics:
    found = Statistics()
    if (given := item.get("StatisticValues")) is not None:
        for number in given.values():
            _check(number, item)
        average = given["Sum"] / given["SampleCount"] if given["SampleCount"] else 0.0
        return Statistics(
            given["SampleCount"], given["Sum"], given["Minimum"], given["Maximum"], {average: given["SampleCount"]}
        )
    values = item.get("Values") or ([item["Value"]] if "Value" in item else [])
    if not values:
        text = f"At least one of the parameters Value, Values and StatisticValues of {item['MetricName']} must be specified."
        raise coded("MissingParameter", text, 400)
    counts = item.get("Counts") or [1.0] * len(values)
    if len(counts) != len(values):
        raise invalid(f"The parameters Values and Counts of {item['MetricName']} must have the same size.")
    for value, times in zip(values, counts, strict=True):
        _check(value, item)
        found.add(value, times)
    return found


def _check(value: float, item: Json) -> None:
    if not math.isfinite(value) or abs(value) > 2.0**360:
        raise invalid(f"The value {value} for parameter MetricData.member.Value of {item['MetricName']} is invalid.")


@cloudwatch.operation
def list_metrics(ctx: Context, request: Json) -> Json:
    """Metrics that carry all the dimensions asked for."""
    found = MetricRows(ctx.tx.connection).list(
        ctx.account, ctx.region, request.get("Namespace"), request.get("MetricName")
    )
    for wanted in request.get("Dimensions") or ():
        name, value = wanted["Name"], wanted.get("Value")
        found = [k for k in found if any(n == name and value in (None, v) for n, v in k.dimensions)]
    page, token = cut(found, _read_token(request.get("NextToken")), MAX_RESULTS, _bad_token())
    shown_now = [
        {
            "Namespace": k.namespace, "MetricName": k.name,
            "Dimensions": [{"Name": n, "Value": v} for n, v in k.dimensions],
        }
        for k in page
    ]  # fmt: skip
    answer: Json = {"Metrics": shown_now}
    if token:
        answer["NextToken"] = base64.b64encode(token.encode()).decode()
    return answer


def _bad_token() -> AwsError:
    return coded("InvalidNextToken", "The next token is invalid.", 400)


def _read_token(token: str | None) -> str | None:
    try:
        return base64.b64decode(token, validate=True).decode() if token else None
    except ValueError:
        raise _bad_token() from None


def check_period(period: int) -> None:
    """Periods are 1, 5, 10, 20, 30 s or whole minutes."""
    if period not in (1, 5, 10, 20, 30) and (period <= 0 or period % MINUTE):
        raise invalid("The parameter Period must be 1, 5, 10, 20, 30, or a multiple of 60.")


def _first(start: float, period: int) -> int:
    """Where periods count from: the start, rounded down to the minute or, below that, to the period."""
    grain = min(period, MINUTE)
    return int(start) // grain * grain


def check_statistic(name: str) -> None:
    """A statistic that we keep."""
    if name not in _STATISTICS and not _PERCENTILE.match(name):
        raise invalid(
            f"The value {name} for parameter Stat is not supported by Clary: use {', '.join(_STATISTICS)} or a percentile such as p99."
        )


@cloudwatch.operation
def get_metric_statistics(ctx: Context, request: Json) -> Json:
    """A metric's statistics by period, oldest first."""
    start, end, period = request["StartTime"].timestamp(), request["EndTime"].timestamp(), request["Period"]
    check_period(period)
    if start >= end:
        raise invalid("The parameter StartTime must be less than the parameter EndTime.")
    plain, extended = request.get("Statistics") or [], request.get("ExtendedStatistics") or []
    if not plain and not extended:
        raise coded("MissingParameter", "Must specify either Statistics or ExtendedStatistics", 400)
    for name in (*plain, *extended):
        check_statistic(name)
    if (end - start) / period > MAX_DATAPOINTS:
        raise contradictory(
            f"You have requested up to {int((end - start) / period):,} datapoints, which exceeds the limit of "
            f"{MAX_DATAPOINTS:,}. You may reduce the datapoints requested by increasing Period, or decreasing the time range."
        )
    first = _first(start, period)
    key = metric_key(ctx.account, ctx.region, request["Namespace"], request["MetricName"], request.get("Dimensions"))
    points = MetricRows(ctx.tx.connection).points(key, first, end, request.get("Unit"))
    unit = points[0].unit if points else "None"
    found = []
    for at, statistics in sorted(together(points, period, first).items()):
        point: Json = {"Timestamp": float(at), "Unit": unit, **{n: statistics.get(n) for n in plain}}
        if extended:
            point["ExtendedStatistics"] = {n: statistics.get(n) for n in extended}
        found.append(point)
    return {"Label": request["MetricName"], "Datapoints": found}


@cloudwatch.operation
def get_metric_data(ctx: Context, request: Json) -> Json:
    """Several metrics, and expressions over them."""
    start, end = request["StartTime"].timestamp(), request["EndTime"].timestamp()
    if start >= end:
        raise coded("ValidationError", "The parameter StartTime must be less than the parameter EndTime.", 400)
    queries = request["MetricDataQueries"]
    found = results(ctx.tx, ctx.account, ctx.region, queries, start, end)
    descending = request.get("ScanBy", "TimestampDescending") == "TimestampDescending"
    answers = []
    for query in queries:
        if not query.get("ReturnData", True):
            continue
        ordered = sorted(found[query["Id"]].items(), reverse=descending)
        label = query.get("Label") or (
            query["MetricStat"]["Metric"]["MetricName"] if "MetricStat" in query else query["Id"]
        )
        answers.append(
            {
                "Id": query["Id"], "Label": label, "Timestamps": [float(at) for at, _ in ordered],
                "Values": [v for _, v in ordered], "StatusCode": "Complete",
            }
        )  # fmt: skip
    return {"MetricDataResults": answers, "Messages": []}


def results(
    tx: Transaction, account: str, region: str, queries: list[Json], start: float, end: float
) -> dict[str, Series]:
    """Every query's series by id; ValidationError when one cannot be computed."""
    ids = [q["Id"] for q in queries]
    if len(ids) != len(set(ids)):
        raise coded("ValidationError", "The values for parameter Id in MetricDataQueries are not unique.", 400)
    series: dict[str, Series] = {}
    periods: dict[str, int] = {}
    for query in queries:
        if ("MetricStat" in query) == ("Expression" in query):
            raise coded("ValidationError", f"The query {query['Id']} needs either MetricStat or Expression.", 400)
        if (stat := query.get("MetricStat")) is not None:
            check_statistic(stat["Stat"])
            check_period(stat["Period"])
            periods[query["Id"]] = stat["Period"]
            given = stat["Metric"]
            key = metric_key(account, region, given["Namespace"], given["MetricName"], given.get("Dimensions"))
            series[query["Id"]] = _read(MetricRows(tx.connection), key, stat, start, end)
    waiting = [q for q in queries if "Expression" in q]
    while waiting:
        ready = [q for q in waiting if not any(_names(q["Expression"], o["Id"]) for o in waiting if o is not q)]
        if not ready:
            raise coded("ValidationError", "The expressions of MetricDataQueries refer to each other in a circle.", 400)
        for query in ready:
            moments = sorted({at for s in series.values() for at in s})
            try:
                series[query["Id"]] = shown(evaluate(query["Expression"], Scope(dict(series), periods)), moments)
            except ExpressionError as error:
                raise coded("ValidationError", f"Error in expression '{query['Id']}': {error}", 400) from None
        waiting = [q for q in waiting if q not in ready]
    return series


def _names(expression: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", expression) is not None


def _read(rows: MetricRows, key: MetricKey, stat: Json, start: float, end: float) -> Series:
    period = stat["Period"]
    first = _first(start, period)
    points = rows.points(key, first, end, stat.get("Unit"))
    return {at: s.get(stat["Stat"]) for at, s in together(points, period, first).items()}
