"""Operations that are called with what a document says: its values pass the checks of a request from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...provider.context import Context
from ...provider.operation import Provider
from ...wire.check import message
from ...wire.message import Malformed
from .errors import bad_request

Json = dict[str, Any]


def called(provider: Provider, operation: Callable[[Context, Json], Any], ctx: Context, given: Json) -> Json:
    """Return what an operation answers; BadRequestException if its parameters are not what the model says."""
    name = provider.name_of(operation)
    try:
        request = provider.preferred.typed(provider.model.operations[name], given)
    except Malformed as error:
        raise bad_request(f"Invalid OpenAPI input. {error}") from None
    if violations := provider.preferred.check(provider.model.operations[name], request):
        raise bad_request(f"Invalid OpenAPI input. {message(violations)}")
    found: Json = operation(ctx, request)
    return found
