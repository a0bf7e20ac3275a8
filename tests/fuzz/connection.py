"""One connection that sends bytes and reads an answer, with a deadline."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 with ``fault`` where nothing readable did."""

    status: int
    body: bytes = b""
    fault: str = ""  # "closed" or "hangs"


class Connection:
    """Keeps a connection to the platform open for as long as it lets us."""

    def __init__(self, host: str, port: int, seconds: float):
        self._address = host, port
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._used = False
        self._left = b""

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._used, self._left = None, False, b""

    def ask(self, data: bytes, method: str = "", last: bool = False) -> Answer:
        """Send a request and read its answer. A kept connection that closes before it answers is tried once more anew."""
        for attempt in (0, 1):
            reused = self._used
            if self._socket is None:
                self._socket = socket.create_connection(self._address, timeout=self._seconds)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._used = True
            deadline = time.monotonic() + self._seconds
            try:
                self._socket.settimeout(self._seconds)
                with contextlib.suppress(OSError):  # its answer may be there all the same
                    self._socket.sendall(data)
                    if last:
                        self._socket.shutdown(socket.SHUT_WR)
                answer = self._read(deadline, method)
            except TimeoutError:
                self.close()
                return Answer(0, fault="hangs")
            except (OSError, ValueError) as error:
                self.close()
                if reused and attempt == 0:
                    continue
                return Answer(0, repr(error).encode(), fault="closed")
            if last:
                self.close()
            return answer
        raise AssertionError("not reached")

    def _more(self, deadline: float) -> bytes:
        assert self._socket is not None
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket.recv(1 << 16)

    def _read(self, deadline: float, method: str) -> Answer:
        data = self._left
        while True:
            while b"\r\n\r\n" not in data:
                part = self._more(deadline)
                if not part:
                    raise ConnectionError(f"closed after {data[:200]!r}")
                data += part
            head, _, data = data.partition(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
        headers = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        body = b""
        if method == "HEAD" or status in (204, 304):
            self._left = data
        elif headers.get(b"transfer-encoding") == b"chunked":
            body = self._chunks(data, deadline)
        else:
            length = int(headers.get(b"content-length", b"0"))
            while len(data) < length:
                part = self._more(deadline)
                if not part:
                    raise ConnectionError("closed inside the body")
                data += part
            body, self._left = data[:length], data[length:]
        if headers.get(b"connection", b"").lower() == b"close" or status == 101:
            self.close()
        return Answer(status, body)

    def _chunks(self, data: bytes, deadline: float) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in data:
                data += self._some(deadline)
            size, _, data = data.partition(b"\r\n")
            length = int(size.split(b";")[0], 16)
            while len(data) < length + 2:
                data += self._some(deadline)
            body, data = body + data[:length], data[length + 2 :]
            if length == 0:
                self._left = data
                return body

    def _some(self, deadline: float) -> bytes:
        if not (part := self._more(deadline)):
            raise ConnectionError("closed inside the body")
        return part
