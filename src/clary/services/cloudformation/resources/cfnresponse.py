"""Answers CloudFormation from a function that stands behind a custom resource.

Put beside code that stands in a template, where functions on AWS find a module of this name: it uses nothing but the
standard library. Interface: AWS, "cfn-response module".
"""

import json
import urllib.request

SUCCESS = "SUCCESS"
FAILED = "FAILED"


def send(event, context, responseStatus, responseData, physicalResourceId=None, noEcho=False, reason=None):  # type: ignore[no-untyped-def]
    """Tell how it went; ``responseData`` is what Fn::GetAtt gives."""
    stream = getattr(context, "log_stream_name", "")
    body = json.dumps(
        {
            "Status": responseStatus, "Reason": reason or f"See the details in CloudWatch Log Stream: {stream}",
            "PhysicalResourceId": physicalResourceId or stream, "StackId": event["StackId"],
            "RequestId": event["RequestId"], "LogicalResourceId": event["LogicalResourceId"], "NoEcho": noEcho,
            "Data": responseData,
        }
    ).encode()  # fmt: skip
    request = urllib.request.Request(event["ResponseURL"], body, {"content-type": ""}, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        print("Status code:", answer.status)
