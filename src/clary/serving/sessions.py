"""Sticky sessions: which replica holds the state of which session.

The model's container begins a session and ends it; the front only remembers where its requests must go. What it
remembers is also written to a file, so that a front that is restarted still knows.
"""

from __future__ import annotations

import logging
import re
import time
from calendar import timegm
from pathlib import Path

import orjson

log = logging.getLogger(__name__)

NEW = b"NEW_SESSION"
MAX_SESSIONS = 100_000
_DEFAULT_SECONDS = 3600.0
"""How long a session lasts whose container does not say when it expires."""

_EXPIRES = re.compile(rb";\s*Expires=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\s*$")


def parse(header: bytes, now: float) -> tuple[bytes, float]:
    """The id and the time of expiry that a container's ``New-Session-Id`` names."""
    found = _EXPIRES.search(header)
    if found is None:
        return header.partition(b";")[0].strip(), now + _DEFAULT_SECONDS
    expires = timegm(time.strptime(found[1].decode(), "%Y-%m-%dT%H:%M:%SZ"))
    return header[: found.start()].strip(), float(expires)


class Sessions:
    """The sessions of all endpoints: (endpoint's id, session's id) to the replica's id and the time it expires."""

    def __init__(self, path: Path):
        self._path = path
        self._known: dict[tuple[str, bytes], tuple[str, float]] = {}
        self._lines = 0
        self._torn = False  # the file may end within a line
        self._load()

    def begin(self, endpoint: str, header: bytes, replica: str) -> None:
        """A container has begun a session."""
        try:
            session, expires = parse(header, time.time())
        except ValueError:
            log.warning("a container began a session that expires at no time that can be: %r", header[:200])
            return
        if len(self._known) >= MAX_SESSIONS:
            self._forget_some()
        self._known[endpoint, session] = (replica, expires)
        self._note(endpoint, session, replica, expires)

    def end(self, endpoint: str, session: bytes) -> None:
        """A session is over."""
        if self._known.pop((endpoint, session), None) is not None:
            self._note(endpoint, session, "", 0.0)

    def find(self, endpoint: str, session: bytes) -> str | None:
        """The replica that holds a session; None when there is no such session, or it has expired."""
        replica, expires = self._known.get((endpoint, session), ("", 0.0))
        if expires > time.time():
            return replica
        self.end(endpoint, session)
        return None

    def _forget_some(self) -> None:
        """Those that have expired, or else the tenth that expires first."""
        now = time.time()
        live = {k: v for k, v in self._known.items() if v[1] > now}
        if len(live) >= MAX_SESSIONS:
            live = dict(sorted(live.items(), key=lambda item: item[1][1])[MAX_SESSIONS // 10 :])
        self._known = live

    def _load(self) -> None:
        if not self._path.exists():
            return
        now = time.time()
        for line in self._path.read_bytes().splitlines():
            try:
                endpoint, session, replica, expires = orjson.loads(line)
            except ValueError:  # the last line of a front that was killed
                continue
            if replica and expires > now:
                self._known[endpoint, session.encode("latin-1")] = (replica, expires)
            else:
                self._known.pop((endpoint, session.encode("latin-1")), None)
        self._compact()

    def _compact(self) -> None:
        aside = self._path.with_suffix(".new")
        lines = [_line(e, s, replica, expires) for (e, s), (replica, expires) in self._known.items()]
        aside.write_bytes(b"".join(lines))
        aside.replace(self._path)
        self._lines = len(lines)

    def _note(self, endpoint: str, session: bytes, replica: str, expires: float) -> None:
        self._lines += 1
        try:
            if self._torn or self._lines > 2 * len(self._known) + 1000:
                self._compact()
                self._torn = False
                return
            with self._path.open("ab") as file:
                file.write(_line(endpoint, session, replica, expires))
        except OSError as error:  # the session works; only a front that starts again would not know it
            if not self._torn:
                log.error("a session could not be written down: %s", error)
            self._torn = True


def _line(endpoint: str, session: bytes, replica: str, expires: float) -> bytes:
    return orjson.dumps([endpoint, session.decode("latin-1"), replica, expires]) + b"\n"
