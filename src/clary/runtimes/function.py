"""A function's process: AWS's own runtime interface client, which talks to the platform's Runtime API on a Unix socket.

What the client does – finding the handler, marshalling, logging, the form of errors – is AWS's code; only its transport is
ours: AWS's speaks TCP, which every process of this machine could reach.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

import httptools

SOCKET = "CLARY_RUNTIME_API"
_BASE = "/2018-06-01/runtime"


class _Answer:
    """What httptools tells of an answer."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}  # by names in lower case
        self.parts: list[bytes] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        self.complete = True


class _Client:
    """The Runtime API's four calls. One connection, kept open."""

    def __init__(self, path: str):
        self._path = path
        self._socket: socket.socket | None = None

    def call(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, dict[str, str]]:
        """The answer; OSError when the platform has gone or did not take the call."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.connect(self._path)
        lines = [f"{method} {_BASE}{path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += (f"{name}: {value}" for name, value in (headers or {}).items())
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            if not (data := self._socket.recv(1 << 18)):
                raise ConnectionError("the platform closed the connection")
            parser.feed_data(data)
        content = b"".join(answer.parts)
        if (status := parser.get_status_code()) >= 300:
            raise OSError(f"the Runtime API answered {status} to {path}: {content.decode('utf-8', 'replace')}")
        return content, answer.headers


def main() -> int:
    """Load the handler and answer invocations until the process is ended."""
    from awslambdaric import bootstrap
    from awslambdaric.lambda_runtime_client import ERROR_TYPE_HEADER, BaseLambdaRuntimeClient, InvocationRequest
    from awslambdaric.lambda_runtime_marshaller import to_json

    client = _Client(os.environ.pop(SOCKET))

    class RuntimeClient(BaseLambdaRuntimeClient):  # type: ignore[misc]  # AWS's package has no types
        """AWS's client on our transport."""

        def wait_next_invocation(self) -> Any:
            body, headers = client.call("GET", "/invocation/next")
            get = headers.get
            return InvocationRequest(
                invoke_id=get("lambda-runtime-aws-request-id"), x_amzn_trace_id=get("lambda-runtime-trace-id"),
                invoked_function_arn=get("lambda-runtime-invoked-function-arn"),
                deadline_time_in_ms=int(headers["lambda-runtime-deadline-ms"]),
                client_context=get("lambda-runtime-client-context"), cognito_identity=None, tenant_id=None,
                content_type=get("content-type"), event_body=body, invocation_id=None,
            )  # fmt: skip

        def post_invocation_result(
            self, invoke_id: str, result_data: Any, content_type: str = "application/json", invocation_id: Any = None
        ) -> None:
            data = result_data if isinstance(result_data, bytes) else result_data.encode()
            client.call("POST", f"/invocation/{invoke_id}/response", data, {"Content-Type": content_type})

        def post_invocation_error(
            self, invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: Any = None
        ) -> None:
            client.call("POST", f"/invocation/{invoke_id}/error", error_response_data.encode())

        def post_init_error(self, error_response_data: Any, error_type_override: str | None = None) -> None:
            kind = error_type_override or error_response_data["errorType"]
            client.call("POST", "/init/error", to_json(error_response_data).encode(), {ERROR_TYPE_HEADER: kind})

    root = os.environ["LAMBDA_TASK_ROOT"]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    sys.path[:0] = [root, "/opt/python", f"/opt/python/lib/{version}/site-packages"]
    os.chdir(root)
    try:
        bootstrap.run(os.environ["_HANDLER"], RuntimeClient("unix"))
    except (OSError, httptools.HttpParserError):  # the platform let go of this process
        return 0
    return 0
