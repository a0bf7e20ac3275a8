"""Calling another server for an API (HTTP and HTTP_PROXY integrations)."""

from __future__ import annotations

import asyncio
import http.client
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..outbound import Outbound, Refused, secured

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
    """The other server did not answer; ``timed_out`` when it took too long, ``refused`` when it was not asked."""

    def __init__(self, text: str, timed_out: bool = False, refused: bool = False):
        super().__init__(text)
        self.timed_out = timed_out
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Answered:
    """What the other server said."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


async def ask(
    outbound: Outbound, method: str, url: str, headers: dict[str, str], body: bytes, timeout: float
) -> Answered:
    """One request; redirects are passed on, not followed."""
    return await asyncio.to_thread(ask_now, outbound, method, url, headers, body, timeout)


def ask_now(
    outbound: Outbound, method: str, url: str, headers: dict[str, str], body: bytes, timeout: float
) -> Answered:
    """The same, from a thread."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise Unreachable(f"{url} is not an HTTP URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Unreachable(f"{url} is not an HTTP URL")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    if parts.scheme == "https":
        connection.default_port = 443  # for the Host header; the connection is ours already
    try:
        made = outbound.connect(host, port, timeout)
        connection.sock = secured(made, host) if parts.scheme == "https" else made
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
    except Refused as error:
        raise Unreachable(f"{url} is not called: {error}", refused=True) from None
    except (OSError, ValueError, http.client.HTTPException) as error:  # a header may hold what none can
        raise Unreachable(f"{url} cannot be reached: {error}") from None
    finally:
        connection.close()
