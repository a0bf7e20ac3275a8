"""CloudWatch Logs: groups, streams, events."""

from __future__ import annotations

import base64
import json
import re
from itertools import pairwise
from typing import Any

from ..provider.context import Context
from ..provider.errors import InvalidParameterException, ResourceAlreadyExistsException, ResourceNotFoundException
from ..provider.operation import Provider
from ..provider.pages import whole
from ..provider.service import Service
from ..store.logs import Event, LogRows, StreamKey, milliseconds
from ..store.rows import Row
from ..store.schema import log_stream
from ..wire import bounded

Json = dict[str, Any]
_PAGE_BYTES = 1 << 20
_RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip

logs = Provider("logs")
SERVICE = Service(logs)


def _name(request: Json) -> str:
    name = request.get("logGroupName") or request.get("logGroupIdentifier")
    if not name:
        raise InvalidParameterException("Either logGroupName or logGroupIdentifier must be given.")
    return re.sub(r"^arn:aws[a-z-]*:logs:[^:]*:\d*:log-group:([^:]+)(:\*)?$", r"\1", str(name))


def _group(ctx: Context, request: Json) -> Row:
    if (found := ctx.get("LogGroup", _name(request))) is None:
        raise ResourceNotFoundException("The specified log group does not exist.")
    return found


def _rows(ctx: Context) -> LogRows:
    return LogRows(ctx.tx.connection)


def _key(ctx: Context, group: str, stream: str) -> StreamKey:
    return StreamKey(ctx.account, ctx.region, group, stream)


def _stream(ctx: Context, request: Json) -> Any:
    group = _group(ctx, request)
    if (found := _rows(ctx).stream(_key(ctx, group.name, request["logStreamName"]))) is None:
        raise ResourceNotFoundException("The specified log stream does not exist.")
    return found


@logs.operation
def create_log_group(ctx: Context, request: Json) -> None:
    """A new group."""
    name = request["logGroupName"]
    if ctx.get("LogGroup", name):
        raise ResourceAlreadyExistsException("The specified log group already exists")
    arn = ctx.arn("logs", f"log-group:{name}")
    spec: Json = {n: request[n] for n in ("logGroupName", "kmsKeyId", "logGroupClass") if n in request}
    ctx.tx.rows.add(Row("LogGroup", ctx.account, ctx.region, name, arn, spec))
    ctx.tx.tags.put(arn, request.get("tags") or {})


@logs.operation
def delete_log_group(ctx: Context, request: Json) -> None:
    """Remove a group with its streams."""
    group = _group(ctx, request)
    rows = _rows(ctx)
    statement = rows.streams(ctx.account, ctx.region, group.name)
    for stream in list(ctx.tx.connection.execute(statement).mappings()):
        rows.delete_stream(stream["id"])
    ctx.tx.rows.delete(group)


@logs.operation
def describe_log_groups(ctx: Context, request: Json) -> Json:
    """Groups by name."""
    prefix, pattern = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
    after, limit = request.get("nextToken", ""), request.get("limit", 50)
    found = [
        g for g in ctx.tx.rows.list("LogGroup", ctx.account, ctx.region)
        if g.name.startswith(prefix) and pattern in g.name and g.name > after
    ]  # fmt: skip
    shown = [_shown_group(ctx, g) for g in found[:limit]]
    return {"logGroups": shown, **({"nextToken": found[limit - 1].name} if len(found) > limit else {})}


def _shown_group(ctx: Context, group: Row) -> Json:
    rows = _rows(ctx)
    streams = ctx.tx.connection.execute(rows.streams(ctx.account, ctx.region, group.name)).mappings()
    stored = rows.bytes([s["id"] for s in streams])
    return {
        **group.spec, "arn": f"{group.arn}:*", "logGroupArn": group.arn, "creationTime": int(group.created * 1000),
        "metricFilterCount": 0, "storedBytes": stored, "logGroupClass": group.spec.get("logGroupClass", "STANDARD"),
    }  # fmt: skip


@logs.operation
def put_retention_policy(ctx: Context, request: Json) -> None:
    """Days to keep events."""
    days, group = request["retentionInDays"], _group(ctx, request)
    if days not in _RETENTION_DAYS:
        raise InvalidParameterException(
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: Member must "
            f"satisfy enum value set: {list(_RETENTION_DAYS)}"
        )
    ctx.tx.rows.save(group, spec={**group.spec, "retentionInDays": days})


@logs.operation
def delete_retention_policy(ctx: Context, request: Json) -> None:
    """Keep events for ever."""
    group = _group(ctx, request)
    ctx.tx.rows.save(group, spec={k: v for k, v in group.spec.items() if k != "retentionInDays"})


@logs.operation
def create_log_stream(ctx: Context, request: Json) -> None:
    """A new stream."""
    group, rows = _group(ctx, request), _rows(ctx)
    key = _key(ctx, group.name, request["logStreamName"])
    if rows.stream(key):
        raise ResourceAlreadyExistsException("The specified log stream already exists")
    rows.ensure(key)


@logs.operation
def delete_log_stream(ctx: Context, request: Json) -> None:
    """Remove a stream with its events."""
    _rows(ctx).delete_stream(_stream(ctx, request)["id"])


@logs.operation
def describe_log_streams(ctx: Context, request: Json) -> Json:
    """Streams of a group. A token is given only while more streams remain: SDKs repeat the call as long as it is."""
    group = _group(ctx, request)
    limit, descending = request.get("limit", 50), request.get("descending", False)
    by_time = request.get("orderBy") == "LastEventTime"
    prefix = request.get("logStreamNamePrefix", "")
    if by_time and prefix:
        raise InvalidParameterException("Cannot order by LastEventTime with a logStreamNamePrefix.")
    column: Any = log_stream.c.last_event if by_time else log_stream.c.name
    statement = _rows(ctx).streams(ctx.account, ctx.region, group.name, prefix)
    order = column.desc().nulls_last() if descending else column.asc().nulls_last()
    start = whole(request.get("nextToken"), 0, InvalidParameterException("The specified nextToken is invalid."))
    page = list(ctx.tx.connection.execute(statement.order_by(order).offset(start).limit(limit + 1)).mappings())
    shown = [_shown_stream(group, s) for s in page[:limit]]
    return {"logStreams": shown, **({"nextToken": str(start + limit)} if len(page) > limit else {})}


def _shown_stream(group: Row, stream: Any) -> Json:
    shown = {
        "logStreamName": stream["name"], "creationTime": stream["created"], "storedBytes": 0,
        "arn": f"{group.arn}:log-stream:{stream['name']}", "uploadSequenceToken": f"{stream['id']:056d}",
        "firstEventTimestamp": stream["first_event"], "lastEventTimestamp": stream["last_event"],
        "lastIngestionTime": stream["last_ingestion"],
    }  # fmt: skip
    return {k: v for k, v in shown.items() if v is not None}


@logs.operation
def put_log_events(ctx: Context, request: Json) -> Json:
    """Add events in order of time."""
    stream = _stream(ctx, request)
    events = [(e["timestamp"], e["message"]) for e in request["logEvents"]]
    if any(later[0] < earlier[0] for earlier, later in pairwise(events)):
        raise InvalidParameterException("Log events in a single PutLogEvents request must be in chronological order.")
    if sum(len(m.encode()) + 26 for _, m in events) > 1 << 20:
        raise InvalidParameterException("Upload too large: 1048576 bytes exceeds limit.")
    at = milliseconds()
    old, new = at - 14 * 86400_000, at + 2 * 3600_000
    taken = [(moment, text) for moment, text in events if old <= moment <= new]
    _rows(ctx).append(stream, taken)
    rejected: Json = {}
    if early := sum(1 for moment, _ in events if moment < old):
        rejected["tooOldLogEventEndIndex"] = early
    if late := sum(1 for moment, _ in events if moment > new):
        rejected["tooNewLogEventStartIndex"] = len(events) - late
    answer: Json = {"nextSequenceToken": f"{stream['id']:056d}"}
    return {**answer, "rejectedLogEventsInfo": rejected} if rejected else answer


@logs.operation
def get_log_events(ctx: Context, request: Json) -> Json:
    """A page of one stream. Tokens are always given; at the end a token leads to itself and no events."""
    stream = _stream(ctx, request)
    limit = request.get("limit", 10000)
    since, until = request.get("startTime"), request.get("endTime")
    after = before = None
    direction, edge = _read_token(request.get("nextToken"))
    if direction == "f":
        after = edge
    elif direction == "b":
        before = edge
    elif not request.get("startFromHead"):
        before = (1 << 62, 1 << 62)
    found = _rows(ctx).events({stream["id"]: stream["name"]}, since, until, limit, after, before)
    found = _bounded(found, from_end=before is not None)
    forward = (found[-1].at, found[-1].id) if found else edge or (0, 0)
    backward = (found[0].at, found[0].id) if found else edge or (0, 0)
    return {
        "events": [{"timestamp": e.at, "message": e.message, "ingestionTime": e.ingested} for e in found],
        "nextForwardToken": _token("f", forward),
        "nextBackwardToken": _token("b", backward),
    }


def _bounded(events: list[Event], from_end: bool) -> list[Event]:
    """As many events as fit a page of 1 MiB."""
    total = 0
    kept: list[Event] = []
    for event in reversed(events) if from_end else events:
        total += len(event.message) + 26
        if total > _PAGE_BYTES and kept:
            break
        kept.append(event)
    return kept[::-1] if from_end else kept


def _token(direction: str, edge: tuple[int, int]) -> str:
    return f"{direction}/{edge[0]:020d}{edge[1]:036d}"


def _read_token(text: str | None) -> tuple[str, tuple[int, int] | None]:
    if text is None:
        return "", None
    match = re.fullmatch(r"([fb])/(\d{20})(\d{36})", text)
    if match is None:
        raise InvalidParameterException("The specified nextToken is invalid.")
    return match[1], (int(match[2]), int(match[3]))


@logs.operation
def filter_log_events(ctx: Context, request: Json) -> Json:
    """Events of several streams that match a pattern of words."""
    group, rows = _group(ctx, request), _rows(ctx)
    names = request.get("logStreamNames")
    statement = rows.streams(ctx.account, ctx.region, group.name, request.get("logStreamNamePrefix", ""))
    streams = {
        s["id"]: s["name"]
        for s in ctx.tx.connection.execute(statement).mappings()
        if names is None or s["name"] in names
    }
    missing = [n for n in names or () if n not in streams.values()]
    if missing:
        raise ResourceNotFoundException("The specified log stream does not exist.")
    words = _words(request.get("filterPattern", ""))
    limit, after = request.get("limit", 10000), _read_filter_token(request.get("nextToken"))
    found = rows.events(
        streams, request.get("startTime"), request.get("endTime"), limit + 1, after, contains=words[0] if words else ""
    )
    kept = _bounded(found[:limit], from_end=False)
    shown = [
        {
            "logStreamName": e.stream, "timestamp": e.at, "message": e.message, "ingestionTime": e.ingested,
            "eventId": f"{e.at:020d}{e.id:036d}",
        }
        for e in kept if all(w in e.message for w in words[1:])
    ]  # fmt: skip
    searched = [{"logStreamName": n, "searchedCompletely": True} for n in sorted(streams.values())[:100]]
    answer: Json = {"events": shown, "searchedLogStreams": searched}
    if len(kept) < len(found):
        edge = json.dumps([kept[-1].at, kept[-1].id]).encode()
        answer["nextToken"] = base64.urlsafe_b64encode(edge).decode()
    return answer


def _words(pattern: str) -> list[str]:
    """The words of a filter pattern that all must occur; patterns over fields are refused rather than ignored."""
    text = pattern.strip()
    if not text:
        return []
    if text[0] in "[{" or "?" in text or "%" in text:
        raise InvalidParameterException(
            f"Invalid filter pattern: {text!r} uses fields, alternatives or expressions; Clary matches words and quoted phrases."
        )
    return [quoted or word for quoted, word in re.findall(r'"([^"]*)"|(\S+)', text)]


def _read_filter_token(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        at, number = bounded.loads(base64.urlsafe_b64decode(text))
        return int(at), int(number)
    except (ValueError, TypeError):
        raise InvalidParameterException("The specified nextToken is invalid.") from None


@logs.operation
def tag_resource(ctx: Context, request: Json) -> None:
    """Add tags to a group."""
    ctx.tx.tags.put(request["resourceArn"].removesuffix(":*"), request["tags"])


@logs.operation
def untag_resource(ctx: Context, request: Json) -> None:
    """Remove tags from a group."""
    ctx.tx.tags.remove(request["resourceArn"].removesuffix(":*"), request["tagKeys"])


@logs.operation
def list_tags_for_resource(ctx: Context, request: Json) -> Json:
    """A group's tags."""
    return {"tags": ctx.tx.tags.of(request["resourceArn"].removesuffix(":*"))}
