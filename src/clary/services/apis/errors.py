"""API Gateway's errors."""

from __future__ import annotations

from ...patterns import PatternError, compile_pattern
from ...provider.errors import AwsError, coded


def bad_request(text: str) -> AwsError:
    """A parameter that cannot be."""
    return coded("BadRequestException", text, 400)


def check_pattern(member: str, pattern: str | None) -> None:
    """Refuse a pattern that will not run."""
    try:
        compile_pattern(pattern or "", dot_all=True)
    except PatternError as error:
        raise bad_request(f"Invalid {member} specified: {error}") from None


def not_found(text: str) -> AwsError:
    """Something that is not there."""
    return coded("NotFoundException", text, 404)


def conflict(text: str) -> AwsError:
    """Something that is there already, or is in use."""
    return coded("ConflictException", text, 409)
