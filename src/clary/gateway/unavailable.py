"""Faults of the machine in a service's own words: errors that its clients send the request again for."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from ..faults import CODES, is_fault
from ..provider.errors import AwsError, coded
from ..provider.operation import Provider

_DATABASE = (OperationalError, InterfaceError, NoConnection, sqlite3.OperationalError)
_TEXTS = {"s3": "Service is unable to handle request."}


def is_unavailable(error: BaseException) -> bool:
    """Return whether a request failed because of the machine or the database, so that it may succeed later."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, _DATABASE) or is_fault(error)


def unavailable(provider: Provider | None) -> AwsError:
    """Return a service's error for a request that should be sent again."""
    name = provider.name if provider else ""
    known = provider.model.errors if provider else {}
    code = next((c for c in CODES if c in known), "ServiceUnavailable")
    text = _TEXTS.get(name, "The request has failed due to a temporary failure of the server. Please try again.")
    return coded(code, text, None if code in known else 503)
