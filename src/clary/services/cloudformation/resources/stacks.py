"""Resources that are stacks themselves, and those that a function of the user's makes."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from botocore.exceptions import ClientError

from ....wire import bounded
from ..kind import Failed, Json, Kind, Later, Made, Work, gone

CUSTOM = "Custom::"
_SAME = "\0same"  # nothing had to be changed
_CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
LEAVING = "\0leaving"  # its removal was asked for
_SILENT = "CloudFormation did not receive a response from your Custom Resource. Please check your logs."
_ANSWER_SECONDS = 3600.0
_MAX_ANSWER = 4096

# ---- nested stacks ---------------------------------------------------------------------------------------------------


def _given(props: Json) -> Json:
    parameters = [
        {"ParameterKey": k, "ParameterValue": ",".join(map(str, v)) if isinstance(v, list) else str(v)}
        for k, v in (props.get("Parameters") or {}).items()
    ]
    return {"TemplateURL": props["TemplateURL"], "Parameters": parameters, "Capabilities": _CAPABILITIES}


def _stack(work: Work, props: Json) -> Made:
    made = work.client("cloudformation").create_stack(
        StackName=work.name, Tags=props.get("Tags") or [], OnFailure="DO_NOTHING", **_given(props)
    )
    return Made(made["StackId"])


def _changed_stack(work: Work, physical: str, old: Json, props: Json) -> Made:
    try:
        work.client("cloudformation").update_stack(StackName=physical, **_given(props))
    except ClientError as error:
        if "No updates are to be performed" not in error.response["Error"]["Message"]:
            raise
        return Made(physical, {**work.before, _SAME: True})
    return Made(physical, work.before)


def _stack_ready(work: Work, physical: str) -> Made | None:
    found = work.client("cloudformation").describe_stacks(StackName=physical)["Stacks"][0]
    state = found["StackStatus"]
    if work.before.get(_SAME):
        return Made(physical, {k: v for k, v in work.before.items() if k != _SAME})
    if state.endswith("_IN_PROGRESS"):
        return None
    if state not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise Failed(
            f"Embedded stack {physical} was not successfully created or updated: {found.get('StackStatusReason', state)}"
        )
    return Made(physical, {f"Outputs.{o['OutputKey']}": o["OutputValue"] for o in found.get("Outputs") or ()})


def _no_stack(work: Work, physical: str, props: Json) -> None:
    client = work.client("cloudformation")
    if LEAVING not in work.before:
        gone(client.delete_stack, StackName=physical)
    try:
        found = client.list_stacks()["StackSummaries"]
    except ClientError as error:
        raise Failed(str(error)) from None
    state = next((s for s in found if s["StackId"] == physical), {"StackStatus": "DELETE_COMPLETE"})
    if state["StackStatus"] == "DELETE_FAILED":
        raise Failed(f"Embedded stack {physical} was not successfully deleted: {state.get('StackStatusReason', '')}")
    if state["StackStatus"] != "DELETE_COMPLETE":
        raise Later({**work.before, LEAVING: True})


# ---- custom resources ------------------------------------------------------------------------------------------------


def _bucket(work: Work) -> str:
    """Where functions answer."""
    name = f"cloudformation-custom-resource-response-{work.region}-{work.account}"
    place = {} if work.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": work.region}}
    try:
        work.client("s3").create_bucket(Bucket=name, **place)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    return name


def _told(value: Any) -> Any:
    """Properties as functions get them: every scalar is a text."""
    if isinstance(value, dict):
        return {k: _told(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_told(v) for v in value]
    return str(value).lower() if isinstance(value, bool) else value if value is None else str(value)


def _ask(work: Work, kind: str, props: Json, **more: Any) -> str:
    """Call the function; the key under which it will answer."""
    token = str(props.get("ServiceToken", ""))
    if ":lambda:" not in token:
        raise Failed(f"Invalid ServiceToken {token}: Clary calls Lambda functions only.")
    bucket, key = _bucket(work), str(uuid.uuid5(uuid.NAMESPACE_OID, work.token) if work.token else uuid.uuid4())
    address = work.client("s3").generate_presigned_url(
        "put_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=int(_ANSWER_SECONDS) * 2
    )
    event = {
        "RequestType": kind, "ServiceToken": token, "ResponseURL": address, "StackId": work.stack_id, "RequestId": key,
        "LogicalResourceId": work.logical, "ResourceType": work.type, "ResourceProperties": _told(props), **more,
    }  # fmt: skip
    work.client("lambda").invoke(FunctionName=token, InvocationType="Event", Payload=json.dumps(event))
    return key


def _answer(work: Work, key: str) -> Json | None:
    """What the function answered, once it has."""
    s3, bucket = work.client("s3"), _bucket(work)
    try:
        data = s3.get_object(Bucket=bucket, Key=key)["Body"].read(_MAX_ANSWER + 1)
    except ClientError:
        return None
    gone(s3.delete_object, Bucket=bucket, Key=key)
    if len(data) > _MAX_ANSWER:
        raise Failed("Response object is too long.")
    try:
        found = bounded.loads(data)
    except ValueError:
        raise Failed("Invalid Response object: it is not JSON") from None
    if not isinstance(found, dict) or found.get("Status") not in ("SUCCESS", "FAILED"):
        raise Failed("Invalid Response object: Value of property Status must be SUCCESS or FAILED")
    if found["Status"] == "FAILED":
        raise Failed(
            "Received response status [FAILED] from custom resource. Message returned: "
            f"{found.get('Reason', '')} (RequestId: {key})"
        )
    return found


def _asked(key: str, began: float, props: Json) -> Json:
    limit = min(_ANSWER_SECONDS, float(props.get("ServiceTimeout") or _ANSWER_SECONDS))
    return {"\0key": key, "\0until": began + limit}


def _custom(work: Work, props: Json) -> Made:
    return Made("", _asked(_ask(work, "Create", props), time.time(), props))


def _changed_custom(work: Work, physical: str, old: Json, props: Json) -> Made:
    key = _ask(work, "Update", props, PhysicalResourceId=physical, OldResourceProperties=_told(old))
    return Made(physical, _asked(key, time.time(), props))


def _custom_ready(work: Work, physical: str) -> Made | None:
    found = _answer(work, work.before["\0key"])
    if found is None:
        if time.time() > work.before["\0until"]:
            raise Failed(_SILENT)
        return None
    identifier = str(found.get("PhysicalResourceId") or physical)
    if not identifier:
        raise Failed("Invalid PhysicalResourceId: the response of a Create must have one")
    return Made(identifier, dict(found.get("Data") or {}))


def _no_custom(work: Work, physical: str, props: Json) -> None:
    if not physical or physical == work.name:  # it was never made
        return
    if LEAVING not in work.before:
        key = _ask(work, "Delete", props, PhysicalResourceId=physical)
        raise Later({**work.before, **_asked(key, time.time(), props), LEAVING: True})
    if _answer(work, work.before["\0key"]) is None:
        if time.time() > work.before["\0until"]:
            raise Failed(_SILENT)
        raise Later(work.before)


_CUSTOM = Kind(_custom, _no_custom, _changed_custom, ("ServiceToken",), ready=_custom_ready)
_NOTHING = Kind(lambda work, props: Made(work.name), lambda work, physical, props: None, lambda work, i, o, p: Made(i))
KINDS: dict[str, Kind] = {
    "AWS::CloudFormation::Stack": Kind(_stack, _no_stack, _changed_stack, limit=128, ready=_stack_ready),
    "AWS::CloudFormation::CustomResource": _CUSTOM,
    "AWS::CDK::Metadata": _NOTHING,  # which constructs a template was made of, for AWS's statistics
    "AWS::CloudFormation::WaitConditionHandle": _NOTHING,  # often there so that a template is not empty
}


def custom(kind: str) -> Kind | None:
    """A type of the user's own."""
    return _CUSTOM if kind.startswith(CUSTOM) else None
