"""Invoking the functions that integrations and authorizers name."""

from __future__ import annotations

import re
from typing import Any

from ...provider.context import Context
from ...provider.errors import AwsError
from ..functions.environments import Answer, Throttled
from ..functions.invoke import call
from ..functions.permissions import admits, allows

Json = dict[str, Any]
_URI = re.compile(
    r"^(?:arn:aws[a-z-]*:apigateway:[a-z0-9-]+:lambda:path/[0-9-]+/functions/(?P<inner>arn:aws[a-z-]*:lambda:[^/]+)/invocations|"
    r"(?P<plain>arn:aws[a-z-]*:lambda:.+))$"
)
SERVICE = "apigateway.amazonaws.com"


class Failed(Exception):
    """A function that could not be called, or that ended in an error; the text is for the log."""

    def __init__(self, text: str, payload: bytes = b"", denied: bool = False):
        super().__init__(text)
        self.payload = payload
        self.denied = denied


def arn_of(uri: str) -> str | None:
    """The function that an integration's URI names; None when it names something else."""
    found = _URI.match(uri)
    return (found["inner"] or found["plain"]) if found else None


async def invoke(ctx: Context, arn: str, payload: bytes, sources: tuple[str, ...], role: str | None = None) -> Answer:
    """Invoke a function for an API. Without a role the function's policy must let one of the sources in."""

    def allowed(row: Any, qualifier: str) -> bool:
        if role:  # the role acts as the API's account
            return admits(row, qualifier, ctx.caller)
        return any(allows(row, qualifier, SERVICE, source, ctx.account) for source in sources)

    try:
        answer = await call(ctx, arn, payload, allowed)
    except PermissionError as error:
        raise Failed(f"{error}; add a permission for {SERVICE} with lambda add-permission", denied=True) from None
    except Throttled as error:
        raise Failed(f"the function {arn} is throttled: {error}") from None
    except AwsError as error:
        raise Failed(error.message) from None
    if answer.error:
        raise Failed(f"the function {arn} ended in an error: {answer.payload[:1000]!r}", answer.payload)
    return answer
