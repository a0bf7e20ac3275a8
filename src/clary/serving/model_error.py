"""What a caller is told when the model did not answer with a success."""

from __future__ import annotations

from .router import LiveEndpoint, LiveVariant


def model_error(
    endpoint: LiveEndpoint, variant: LiveVariant, container: str, status: int, told: str, timed_out: bool
) -> tuple[str, dict[str, object]]:
    """A ModelError's message and its other members, in AWS's words."""
    component = f"InferenceComponents/{variant.component}"
    group = f"/aws/sagemaker/{component if variant.component else f'Endpoints/{endpoint.name}'}"
    if timed_out:
        message = (
            f"Your invocation timed out while waiting for a response from container {container}. Review the latency "
            "metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
        )
    else:
        kind = f"client error ({status})" if 400 <= status < 500 else f"server error ({status})"
        message = (
            f'Received {kind} from {container} with message "{told[:4096]}". See '
            f"https://{endpoint.region}.console.aws.amazon.com/cloudwatch/home?region={endpoint.region}"
            f"#logEventViewer:group={group} in account {endpoint.account} for more information."
        )
    members: dict[str, object] = {
        "OriginalStatusCode": status, "OriginalMessage": told[:4096],
        "LogStreamArn": f"arn:aws:logs:{endpoint.region}:{endpoint.account}:log-group:{group}",
    }  # fmt: skip
    return message, members
