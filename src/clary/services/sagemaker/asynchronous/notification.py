"""What is told to a topic when an asynchronous request ends. Source: AWS, "Check prediction results"."""

from __future__ import annotations

import base64
from typing import Any

from ....wire.values import write_time

Json = dict[str, Any]
MAX_INCLUDED = 128 << 10
_INCLUDE = {True: "SUCCESS_NOTIFICATION_TOPIC", False: "ERROR_NOTIFICATION_TOPIC"}


def topic(config: Json, success: bool) -> str | None:
    """The ARN of the topic to tell, if any."""
    told = config["OutputConfig"].get("NotificationConfig") or {}
    found: str | None = told.get("SuccessTopic" if success else "ErrorTopic")
    return found


def message(
    region: str, endpoint: str, config: Json, request: Json, times: tuple[float, float], content_type: str, *,
    answer: bytes | None = None, reason: str = "",
) -> Json:  # fmt: skip
    """The document; ``times`` are those of the request's coming and of its end, ``reason`` is why it failed."""
    success = not reason
    document: Json = {
        "awsRegion": region, "eventTime": write_time(times[1]), "receivedTime": write_time(times[0]),
        "invocationStatus": "Completed" if success else "Failed",
        "requestParameters": {
            "contentType": request["content_type"], "endpointName": endpoint, "inputLocation": request.get("input"),
        },
        "inferenceId": request["id"], "eventVersion": "1.0", "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }  # fmt: skip
    if success:
        document["responseParameters"] = {"contentType": content_type, "outputLocation": request["output"]}
    else:
        document["failureReason"] = reason
    included = (config["OutputConfig"].get("NotificationConfig") or {}).get("IncludeInferenceResponseIn") or ()
    if _INCLUDE[success] in included and answer is not None and len(answer) <= MAX_INCLUDED:
        document["responseBody"] = {
            "content": base64.b64encode(answer).decode(), "contentType": content_type, "encoding": "BASE64",
        }  # fmt: skip
    return document
