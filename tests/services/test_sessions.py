"""Sticky sessions: a container keeps state, and a session's requests go where its state is."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.jobs import IMAGE, deploy
from tests.platform import Platform, until

from .test_endpoints import pack

SCRIPT = b"""
import datetime, json, os, uuid
STATE = {}
KEY = "X-Amzn-SageMaker-Session-Id"
def model_fn(folder, context): return None
def transform_fn(model, body, content_type, accept, context):
    session = context.get_request_header(0, KEY)
    if session == "NEW_SESSION":
        session = uuid.uuid4().hex
        STATE[session] = []
        seconds = 3600 if body != "short" else -1
        at = datetime.datetime.utcnow() + datetime.timedelta(seconds=seconds)
        context.set_response_header(0, "X-Amzn-SageMaker-New-Session-Id", session + "; Expires=" + at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    elif session and body == "close":
        del STATE[session]
        context.set_response_header(0, "X-Amzn-SageMaker-Closed-Session-Id", session)
        return "closed", "text/plain"
    if body == "die":
        os._exit(1)
    if session:
        STATE[session].append(body)
    context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "pid=%d\\r\\nX-Evil: 1" % os.getpid())
    return json.dumps([os.getpid(), STATE.get(session)]), "application/json"
"""


def test_requests_of_a_session_go_to_one_replica(platform: Platform, name: str) -> None:
    platform.client("s3").create_bucket(Bucket=name)
    data = pack(platform, name, "m.tar.gz", code__inference_DOT_py=SCRIPT)
    assert deploy(platform, name, data, 2, IMAGE, SAGEMAKER_PROGRAM="inference.py")["EndpointStatus"] == "InService"
    runtime = platform.client("sagemaker-runtime")

    def ask(body: str, **more: Any) -> tuple[dict[str, Any], Any]:
        answer = runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType="text/plain", **more)
        assert answer["ResponseMetadata"]["HTTPHeaders"].get("x-evil") is None
        text = answer["Body"].read()
        return answer, json.loads(text) if text != b"closed" else "closed"

    def begin(body: str) -> tuple[str, int]:
        answer, (pid, state) = ask(body, SessionId="NEW_SESSION")
        session, _, expires = answer["NewSessionId"].partition("; ")
        assert expires.startswith("Expires=20")
        assert state == [body]
        assert answer["CustomAttributes"].startswith(f"pid={pid}")
        return session, pid

    sessions = [begin(f"first-{n}") for n in range(6)]
    for session, pid in sessions:
        assert [ask(f"{n}", SessionId=session)[1][0] for n in range(4)] == [pid] * 4
    session, pid = sessions[0]
    assert ask("last", SessionId=session)[1] == [pid, ["first-0", "0", "1", "2", "3", "last"]]
    stream = runtime.invoke_endpoint_with_response_stream(
        EndpointName=name, Body=b"streamed", ContentType="text/plain", SessionId=session
    )
    pieces = b"".join(e["PayloadPart"]["Bytes"] for e in stream["Body"])
    assert json.loads(pieces)[1][-1] == "streamed"
    with pytest.raises(ClientError, match="cannot be created by"):
        runtime.invoke_endpoint_with_response_stream(EndpointName=name, Body=b"x", SessionId="NEW_SESSION")

    (front,) = platform.pids("clary.serving")  # a front that is restarted still knows them
    os.kill(front, signal.SIGKILL)
    until(lambda: platform.pids("clary.serving") not in ([], [front]), 10, "another front")
    assert ask("again", SessionId=session)[1][0] == pid

    answer, _ = ask("close", SessionId=session)
    assert answer["ClosedSessionId"] == session
    short, _ = begin("short")
    for gone in (session, short, "never-was"):
        with pytest.raises(ClientError, match="does not exist, has expired or was closed"):
            ask("x", SessionId=gone)

    other, _ = sessions[1]
    with pytest.raises(ClientError, match="ModelError"):
        ask("die", SessionId=other)  # its state is lost with it

    def lost() -> bool:
        try:
            ask("x", SessionId=other)
        except ClientError as error:
            return error.response["Error"]["Code"] == "ValidationError"
        return False

    until(lost, 10, "the session of a replica that died is over")
    assert ask("x")[1][1] is None
