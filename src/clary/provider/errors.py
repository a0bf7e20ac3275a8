"""Errors on the wire. The class name is the code; the status and the members come from the service's model.

AwsError
├─ ValidationException, ValidationError, ResourceNotFoundException, ResourceAlreadyExistsException …
├─ ResourceInUse, ResourceLimitExceeded, ServiceUnavailable
└─ coded(...)   for codes that name only one case of one service (S3 and IAM have hundreds)
"""

from __future__ import annotations

from typing import Any


class AwsError(Exception):
    """The caller's fault, told in AWS's words."""

    code = ""
    status: int | None = None

    def __init__(self, message: str = "", **members: Any):
        super().__init__(message)
        self.message = message
        self.members = members
        if not self.code:
            self.code = type(self).__name__


class ValidationException(AwsError):
    """A request that the model or the state of a resource does not allow."""

    status = 400


class ValidationError(AwsError):
    """The query services' and the runtime's spelling of a request that is not allowed."""

    status = 400


class SerializationException(AwsError):
    """A body that cannot be read."""

    status = 400


class ResourceInUse(AwsError):
    """The name is taken."""

    status = 400


class ResourceLimitExceeded(AwsError):
    """A quota is used up."""

    status = 400


class ResourceNotFoundException(AwsError):
    """A missing resource of most JSON services."""

    status = 400


class ResourceAlreadyExistsException(AwsError):
    """A taken name of CloudWatch Logs."""

    status = 400


class InvalidParameterException(AwsError):
    """A parameter that CloudWatch Logs does not take."""

    status = 400


class AccessDenied(AwsError):
    """The caller may not; the XML services' code."""

    status = 403


class ServiceUnavailable(AwsError):
    """Try again."""

    status = 503


def coded(code: str, message: str, status: int | None = None, **members: Any) -> AwsError:
    """An error with a code of its own."""
    error = AwsError(message, **members)
    error.code = code
    error.status = status
    return error
