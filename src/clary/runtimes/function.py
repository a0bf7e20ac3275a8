"""A function's process: AWS's own runtime interface client, which talks to the platform's Runtime API on a Unix socket.

What the client does – finding the handler, marshalling, logging, the form of errors – is AWS's code; only its transport is
ours: AWS's speaks TCP, which every process of this machine could reach.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
from typing import Any

SOCKET = "CLARY_RUNTIME_API"
_BASE = "/2018-06-01/runtime"


class _Connection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: str):
        super().__init__("127.0.0.1")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


class _Client:
    """The Runtime API's four calls. One connection, kept open."""

    def __init__(self, path: str):
        self._connection = _Connection(path)

    def call(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
        """The answer; OSError when the platform has gone or did not take the call."""
        self._connection.request(method, _BASE + path, body or None, headers or {})
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise OSError(f"the Runtime API answered {response.status} to {path}: {content.decode('utf-8', 'replace')}")
        return content, response.headers


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
                invoke_id=get("Lambda-Runtime-Aws-Request-Id"), x_amzn_trace_id=get("Lambda-Runtime-Trace-Id"),
                invoked_function_arn=get("Lambda-Runtime-Invoked-Function-Arn"),
                deadline_time_in_ms=int(get("Lambda-Runtime-Deadline-Ms")),
                client_context=get("Lambda-Runtime-Client-Context"), cognito_identity=None, tenant_id=None,
                content_type=get("Content-Type"), event_body=body, invocation_id=None,
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
    except (OSError, http.client.HTTPException):  # the platform let go of this process
        return 0
    return 0
