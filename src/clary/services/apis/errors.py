"""API Gateway's errors."""

from __future__ import annotations

from ...provider.errors import AwsError, coded


def bad_request(text: str) -> AwsError:
    """A parameter that cannot be."""
    return coded("BadRequestException", text, 400)


def not_found(text: str) -> AwsError:
    """Something that is not there."""
    return coded("NotFoundException", text, 404)


def conflict(text: str) -> AwsError:
    """Something that is there already, or is in use."""
    return coded("ConflictException", text, 409)
