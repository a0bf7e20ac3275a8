"""Calling another server for an API (HTTP and HTTP_PROXY integrations)."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

_MAX_BODY = 10 << 20
_HOP = frozenset(
    [
        "connection",
        "content-length",
        "date",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


class Unreachable(Exception):
    """The other server did not answer; ``timed_out`` when it took too long."""

    def __init__(self, text: str, timed_out: bool = False):
        super().__init__(text)
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class Answered:
    """What the other server said."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


async def ask(method: str, url: str, headers: dict[str, str], body: bytes, timeout: float) -> Answered:
    """One request; redirects are passed on, not followed."""
    return await asyncio.to_thread(ask_now, method, url, headers, body, timeout)


def ask_now(method: str, url: str, headers: dict[str, str], body: bytes, timeout: float) -> Answered:
    """The same, from a thread."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unreachable(f"{url} is not an HTTP URL")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        sent = {k: v for k, v in headers.items() if k.lower() not in _HOP}
        connection.request(method, target, body or None, sent)
        response = connection.getresponse()
        content = response.read(_MAX_BODY + 1)
        if len(content) > _MAX_BODY:
            raise Unreachable(f"the answer of {url} is larger than {_MAX_BODY} bytes")
        kept = [(k, v) for k, v in response.getheaders() if k.lower() not in _HOP]
        return Answered(response.status, kept, content)
    except TimeoutError:
        raise Unreachable(f"{url} did not answer within {timeout:g} s", timed_out=True) from None
    except (OSError, ValueError, http.client.HTTPException) as error:  # a header may hold what none can
        raise Unreachable(f"{url} cannot be reached: {error}") from None
    finally:
        connection.close()
