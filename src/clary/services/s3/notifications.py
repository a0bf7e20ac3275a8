"""Event notifications: who is told of a bucket's objects, and telling them. Clary tells Lambda functions.

The record's form is version 2.1 of "Event message structure" in the S3 user guide.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Any
from urllib.parse import quote_plus

import orjson

from ...control.loop import Outcome
from ...provider.context import Context, context_of
from ...provider.errors import AwsError
from ...provider.platform import Platform
from ...store.object import Bucket
from ...store.object_events import DOCUMENT, FUNCTIONS, KIND
from ...store.object_rows import ObjectRows
from ...store.rows import Row
from ..functions.invoke import Target, enqueue, target
from ..functions.permissions import allows
from . import s3
from .errors import bucket, invalid_argument, rows

log = logging.getLogger(__name__)

Json = dict[str, Any]
_ELSEWHERE = (("QueueConfigurations", "QueueArn", "SQS"), ("TopicConfigurations", "TopicArn", "SNS"))
_REFUSED = "Unable to validate the following destination configurations"
_EVENTS = frozenset(
    (
        "s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy",
        "s3:ObjectCreated:CompleteMultipartUpload", "s3:ObjectRemoved:*", "s3:ObjectRemoved:Delete",
        "s3:ObjectRemoved:DeleteMarkerCreated",
    )
)  # fmt: skip


# ---- the configuration -------------------------------------------------------------------------------------------------


@s3.operation
def put_bucket_notification_configuration(ctx: Context, request: Json) -> None:
    """Say who is told; a configuration replaces the one before it."""
    found = rows(ctx)
    home = bucket(ctx, found, request)
    wanted: Json = request["NotificationConfiguration"] or {}
    for member, arn, service in _ELSEWHERE:
        for rule in wanted.get(member) or ():
            text = f"{_REFUSED}: Clary has no {service} and tells Lambda functions only"
            raise invalid_argument(text, ArgumentName=rule[arn], ArgumentValue="null")
    rules = [{"Id": str(uuid.uuid4()), **rule} for rule in wanted.get(FUNCTIONS) or ()]
    _check(rules)
    if not request.get("SkipDestinationValidation"):
        for rule in rules:
            _check_function(ctx, home, rule["LambdaFunctionArn"])
    kept = {**wanted, FUNCTIONS: rules} if rules else {k: v for k, v in wanted.items() if k != FUNCTIONS}
    found.save_bucket(replace(home, documents={**home.documents, DOCUMENT: kept}))


@s3.operation
def get_bucket_notification_configuration(ctx: Context, request: Json) -> Json:
    """Who is told."""
    found: Json = bucket(ctx, rows(ctx), request).documents.get(DOCUMENT) or {}
    return found


def _check(rules: list[Json]) -> None:
    for rule in rules:
        for event in rule["Events"]:
            if event not in _EVENTS:
                text = (
                    f"The event '{event}' is not supported for notifications: Clary knows {', '.join(sorted(_EVENTS))}"
                )
                raise invalid_argument(text, ArgumentName="Event", ArgumentValue=event)
        names = [f.get("Name", "").lower() for f in _filters(rule)]
        if len(names) != len(set(names)) or not set(names) <= {"prefix", "suffix"}:
            text = "filter rule name must be either prefix or suffix, each at most once"
            raise invalid_argument(text, ArgumentName="FilterRule.Name", ArgumentValue=",".join(names))
    for one, other in combinations(rules, 2):
        if _same_events(one, other) and _overlap(one, other):
            text = "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type."
            raise invalid_argument(text)
    if len({rule["Id"] for rule in rules}) != len(rules):
        raise invalid_argument("Same ID used for multiple configurations", ArgumentName="Id")


def _check_function(ctx: Context, home: Bucket, arn: str) -> None:
    try:
        found = target(ctx, arn)
    except AwsError:
        text = "The destination Lambda function does not exist"
        raise invalid_argument(_REFUSED, ArgumentName=arn, ArgumentValue=text) from None
    if not _may(found, home):
        text = "Not authorized to invoke function [" + arn + "]"
        raise invalid_argument(_REFUSED, ArgumentName=arn, ArgumentValue=text)


def _may(found: Target, home: Bucket) -> bool:
    return allows(found.base, found.qualifier, "s3.amazonaws.com", f"arn:aws:s3:::{home.name}", home.account)


def _filters(rule: Json) -> list[Json]:
    return ((rule.get("Filter") or {}).get("Key") or {}).get("FilterRules") or []


def _ends(rule: Json) -> tuple[str, str]:
    """The prefix and the suffix of a rule's keys."""
    found = {f.get("Name", "").lower(): f.get("Value", "") for f in _filters(rule)}
    return found.get("prefix", ""), found.get("suffix", "")


def _same_events(one: Json, other: Json) -> bool:
    return any(_covers(a, b) or _covers(b, a) for a in one["Events"] for b in other["Events"])


def _covers(wanted: str, event: str) -> bool:
    """Whether an event, or another pattern, is one that a pattern (``s3:ObjectCreated:*``) means."""
    return wanted == event or (wanted.endswith("*") and event.startswith(wanted[:-1]))


def _overlap(one: Json, other: Json) -> bool:
    (prefix, suffix), (other_prefix, other_suffix) = _ends(one), _ends(other)
    prefixes = prefix.startswith(other_prefix) or other_prefix.startswith(prefix)
    return prefixes and (suffix.endswith(other_suffix) or other_suffix.endswith(suffix))


# ---- telling -----------------------------------------------------------------------------------------------------------


class ObjectEventReconciler:
    """Turns each event into asynchronous calls of the functions that want it."""

    kind = KIND

    def __init__(self, platform: Platform):
        self._platform = platform

    async def reconcile(self, row: Row) -> Outcome:
        """Queue the calls, and forget the event."""
        await asyncio.to_thread(self._tell, row)
        return Outcome({}, row.private, "Told", delete=True)

    def _tell(self, row: Row) -> None:
        calls: list[tuple[Target, str, Json]] = []
        with self._platform.database.read() as tx:
            home = ObjectRows(tx.direct).bucket(row.spec["bucket"])
            ctx = context_of(self._platform, row, tx)
            for rule in _wanted((home.documents.get(DOCUMENT) or {}) if home else {}, row.spec):
                arn = rule["LambdaFunctionArn"]
                try:
                    found = target(ctx, arn)
                except AwsError as error:
                    log.warning("%s of %s is not told to %s: %s", row.spec["event"], row.spec["bucket"], arn, error)
                    continue
                if home is not None and _may(found, home):
                    calls.append((found, rule["Id"], {"Records": [_message(row, rule["Id"])]}))
                else:
                    log.warning("%s of %s is not told to %s: its policy forbids it", row.spec["event"], row.spec["bucket"], arn)  # fmt: skip
        for found, rule_id, message in calls:
            payload = orjson.dumps(message).decode()
            call = {"FunctionName": found.base.name, "Qualifier": found.qualifier, "Payload": payload}
            # the same id if control dies before the event is forgotten: then the call is queued already
            enqueue(self._platform, found.base, call, str(uuid.uuid5(uuid.NAMESPACE_OID, f"{row.name}:{rule_id}")))


def _wanted(configuration: Json, event: Json) -> Iterator[Json]:
    """The rules that mean an event."""
    for rule in configuration.get(FUNCTIONS) or ():
        prefix, suffix = _ends(rule)
        meant = any(_covers(wanted, f"s3:{event['event']}") for wanted in rule["Events"])
        if meant and event["key"].startswith(prefix) and event["key"].endswith(suffix):
            yield rule


def _message(row: Row, rule: str) -> Json:
    spec = row.spec
    item: Json = {"key": quote_plus(spec["key"], safe="/"), "sequencer": spec["sequencer"]}
    if spec["event"].startswith("ObjectCreated"):
        item |= {"size": spec["size"], "eTag": spec["etag"]}
    if spec["version"]:
        item["versionId"] = spec["version"]
    owner = {"principalId": row.account}
    home = {"name": spec["bucket"], "ownerIdentity": owner, "arn": f"arn:aws:s3:::{spec['bucket']}"}
    at = datetime.fromtimestamp(row.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return {
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": row.region, "eventTime": at,
        "eventName": spec["event"], "userIdentity": {"principalId": spec.get("principalId", f"AWS:{row.account}")},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": spec.get("requestId", row.name), "x-amz-id-2": row.name},
        "s3": {"s3SchemaVersion": "1.0", "configurationId": rule, "bucket": home, "object": item},
    }  # fmt: skip
