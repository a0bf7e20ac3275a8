"""Bad input gets a clear 4xx and harms nothing."""

from __future__ import annotations

import http.client
import io
import json
import os
import random
import socket
import tarfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.jobs import bucket, channel, deploy, job, train
from tests.platform import Platform


def raw(platform: Platform, data: bytes, seconds: float = 10.0) -> bytes:
    """What the server answers to bytes."""
    parts = urlsplit(platform.endpoint)
    with socket.create_connection((parts.hostname, parts.port), timeout=seconds) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
                if b"\r\n\r\n" in answer and b"Content-Length: 0" in answer:
                    break
        except TimeoutError:
            pass
        return answer


def signed(
    platform: Platform, method: str, path: str, body: bytes, headers: dict[str, str], service: str = "sagemaker"
) -> tuple[int, bytes]:
    """A signed request with any body."""
    key_id, secret = platform.root_key
    request = AWSRequest(method, platform.endpoint + path, data=body, headers=headers)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(Credentials(key_id, secret), service, "us-east-1").add_auth(request)
    parts = urlsplit(platform.endpoint)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request(method, path, body, dict(request.headers))
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def call(platform: Platform, operation: str, body: bytes) -> tuple[int, bytes]:
    """A SageMaker call with any body."""
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    return signed(platform, "POST", "/", body, headers)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"TrainingJobName": "a', b"SerializationException"),
        (b"[]", b"SerializationException"),
        (b"\x00" * 1000, b"SerializationException"),
        (b'{"TrainingJobName": 7}', b"SerializationException"),
        (b"[" * 100_000, b"SerializationException"),
        (b'{"TrainingJobName": "\xff\xfe"}', b"SerializationException"),
        (b'{"TrainingJobName": "../../etc/passwd"}', b"ValidationException"),
        (b'{"TrainingJobName": "a\\r\\nX-Evil: 1"}', b"ValidationException"),
        (b'{"TrainingJobName": null}', b"ValidationException"),
        (b"{}", b"ValidationException"),
        (b"", b"ValidationException"),
    ],
)
def test_bodies(platform: Platform, body: bytes, code: bytes) -> None:
    status, answer = call(platform, "DescribeTrainingJob", body)
    assert (status, code in answer) == (400, True), answer


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["CreateTrainingJob", "CreateModel", "CreateEndpoint", "Search", "AddTags", "ListTrainingJobs"]),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "TrainingJobName",
                        "ModelName",
                        "Tags",
                        "SearchExpression",
                        "Resource",
                        "NextToken",
                        "HyperParameters",
                        "x",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
)
def test_any_json_gets_a_4xx_or_a_result(sqlite_platform: Platform, operation: str, document: Any) -> None:
    status, answer = call(sqlite_platform, operation, json.dumps(document).encode())
    assert status in (200, 400), (status, answer)


_TARGETS = {
    "cloudwatch": ("GraniteServiceVersion20100801", "monitoring"),
    "application-autoscaling": ("AnyScaleFrontendService", "application-autoscaling"),
    "sagemaker": ("SageMaker", "sagemaker"),
}
_TRANSFORM = ("CreateTransformJob", "DescribeTransformJob", "ListTransformJobs", "StopTransformJob")
_HOSTING = ("CreateEndpointConfig", "UpdateEndpointWeightsAndCapacities")


def _value(shape: Any, pick: random.Random, depth: int = 0) -> Any:
    """A value of a shape's type that is often out of its bounds."""
    if pick.random() < 0.04:
        return pick.choice([None, {}, [], "x", 7, True])
    match shape.type_name:
        case "structure":
            required = set(shape.required_members)
            names = [n for n in shape.members if n in required or (depth < 3 and pick.random() < 0.5)]
            return {n: _value(shape.members[n], pick, depth + 1) for n in names if pick.random() < 0.97}
        case "list":
            return [_value(shape.member, pick, depth + 1) for _ in range(pick.choice([0, 1, 1, 2]))]
        case "map":
            return {"k": _value(shape.value, pick, depth + 1)}
        case "boolean":
            return pick.random() < 0.5
        case "integer" | "long" | "float" | "double" | "timestamp":
            return pick.choice([0, 1, 2, 60, -1, 3600, 1e18, -1e300, 2**63, 1.5, 1e9])
    known = [
        "sagemaker",
        "endpoint/a/variant/b",
        "sagemaker:variant:DesiredInstanceCount",
        "a",
        "s3://a/b",
        "$[1:]",
        "p99",
    ]
    return pick.choice(
        [*(shape.enum or ()), *(shape.enum or ()), *known, "", "\x00", "é" * 300, "../..", "$.a", "m + 1"]
    )


@pytest.mark.parametrize("service", list(_TARGETS))
def test_any_request_of_a_services_shape_gets_a_4xx_or_a_result(sqlite_platform: Platform, service: str) -> None:
    model = botocore.session.get_session().get_service_model(service)
    prefix, signing = _TARGETS[service]
    pick = random.Random(7)
    for name in (*_TRANSFORM, *_HOSTING) if service == "sagemaker" else model.operation_names:
        for _ in range(25):
            shape = model.operation_model(name).input_shape
            body = json.dumps(_value(shape, pick) if shape else {}).encode()
            headers = {"X-Amz-Target": f"{prefix}.{name}", "Content-Type": "application/x-amz-json-1.1"}
            status, answer = signed(sqlite_platform, "POST", "/", body, headers, signing)
            assert status < 500, (name, body, status, answer)


@pytest.mark.parametrize(("known", "status"), [(False, b"400"), (True, b"413")])
def test_a_gigabyte_of_nulls_is_refused_unread(platform: Platform, known: bool, status: bytes) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListEndpoints", "Host": "localhost"}
    if known:
        request = AWSRequest("POST", platform.endpoint, data=b"", headers=headers)
        SigV4Auth(Credentials(*platform.root_key), "sagemaker", "us-east-1").add_auth(request)
        headers = dict(request.headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST / HTTP/1.1\r\n{lines}Content-Length: 1073741824\r\n\r\n".encode()
    began = time.monotonic()
    answer = raw(platform, head + b"\0" * 65536)
    assert answer.startswith(b"HTTP/1.1 " + status), answer
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("path", ["/", "/2015-03-31/functions", "/any/key?delete", "/v2/apis"])
def test_a_stranger_is_refused_before_a_body_is_read(platform: Platform, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature={'0' * 64}\r\nX-Amz-Date: 20260101T000000Z\r\nX-Amz-Target: SageMaker.ListModels\r\nContent-Length: 30000000\r\n\r\n"
    answer = raw(platform, head.encode())
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403")), answer


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"GARBAGE\r\n\r\n", (b"400",)),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (b"400",)),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", (b"400",)),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", (b"431", b"400")),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % i for i in range(500)) + b"\r\n", (b"431",)),
        (b"POST /endpoints/a/invocations HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", (b"413",)),
        (b"POST /endpoints/a/invocations HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", (b"431",)),
        (b"POST /endpoints/a/invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", (b"400", b"403")),
    ],
)
def test_broken_http(platform: Platform, data: bytes, statuses: tuple[bytes, ...]) -> None:
    answer = raw(platform, data)
    assert answer.split(b" ", 2)[1] in statuses, answer[:200]
    assert platform.page("/livez") == "ok\n"


def test_slow_senders_do_not_hold_up_others(platform: Platform) -> None:
    parts = urlsplit(platform.endpoint)
    slow = [socket.create_connection((parts.hostname, parts.port)) for _ in range(100)]
    try:
        for i, connection in enumerate(slow):
            connection.sendall(
                b"POST /endpoints/a/invocations HTTP/1.1\r\nContent-Length: 100\r\n\r\n" if i % 2 else b"GET /slow HT"
            )
        began = time.monotonic()
        assert platform.page("/livez") == "ok\n"
        assert platform.client("sagemaker").list_endpoints() is not None
        assert time.monotonic() - began < 3
    finally:
        for connection in slow:
            connection.close()


def test_keys_cannot_leave_their_place(sqlite_platform: Platform, name: str) -> None:
    s3 = sqlite_platform.client("s3")
    where = bucket(sqlite_platform, name)
    for key in ("../../escape", "a/../../b", "/absolute", "..", "train/../../../x.csv"):
        s3.put_object(Bucket=where, Key=key, Body=b"1,2\n")
        assert s3.get_object(Bucket=where, Key=key)["Body"].read() == b"1,2\n"
    assert not list(sqlite_platform.home.parent.glob("escape*"))
    inputs = [channel("train", f"s3://{where}/train")]
    found = train(sqlite_platform, job(name, where, InputDataConfig=inputs))
    assert "its path would leave the channel" in found["FailureReason"]


def _archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for member, content in members:
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _member(path: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_archive((_member("../../evil"), b"x")), "not safe"),
        (_archive((_member("/tmp/evil-absolute"), b"x"), (_member("xgboost-model"), b"bad")), "ping health check"),
        (_archive((_member("link", tarfile.SYMTYPE, "/etc/passwd"), b"")), "not safe"),
        (_archive((_member("link", tarfile.SYMTYPE, ".."), b""), (_member("link/evil"), b"x")), "not safe"),
        (_archive((_member("device", tarfile.CHRTYPE), b"")), "not safe"),
        (b"not a tar at all", "not a readable .tar.gz"),
        (b"", "not a readable .tar.gz"),
    ],
    ids=["above", "absolute", "link out", "link up", "device", "no tar", "empty"],  # the archives hold the time
)
def test_hostile_model_archives_fail_the_endpoint_and_harm_nothing(
    sqlite_platform: Platform, name: str, data: bytes, words: str
) -> None:
    s3 = sqlite_platform.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="m.tar.gz", Body=data)
    found = deploy(sqlite_platform, name, f"s3://{name}/m.tar.gz")
    assert found["EndpointStatus"] == "Failed"
    assert words in found["FailureReason"]
    found = [os.path.join(where, n) for where, _, names in os.walk(sqlite_platform.home) for n in names]
    assert not [p for p in found if os.path.basename(p).startswith("evil") and "/models/" not in p]
    assert not Path("/tmp/evil-absolute").exists()


def test_a_jobs_links_are_not_followed_when_its_results_are_packed(sqlite_platform: Platform, name: str) -> None:
    from tests.services.test_training import archive, script

    where = bucket(sqlite_platform, name)
    text = """
import os, shutil
os.symlink("/etc/passwd", "/opt/ml/model/passwd"); os.mkfifo("/opt/ml/model/fifo")
shutil.rmtree("/opt/ml/output/data"); os.symlink("/etc", "/opt/ml/output/data")
open("/opt/ml/model/ok", "w").write("ok")
"""
    found = train(sqlite_platform, job(name, where, hyperparameters=script(sqlite_platform, where, text)))
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert archive(sqlite_platform, f"s3://{where}/output/{name}/output/model.tar.gz") == {"ok": b"ok"}
    keys = [
        o["Key"]
        for o in sqlite_platform.client("s3").list_objects_v2(Bucket=where, Prefix="output/").get("Contents", [])
    ]
    assert not any("output.tar.gz" in k for k in keys)


def test_header_injection_through_metadata_is_neutralised(platform: Platform, name: str) -> None:
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=name)
    url = s3.generate_presigned_url(
        "get_object", Params={"Bucket": name, "Key": "k", "ResponseContentDisposition": "a\r\nX-Evil: 1"}
    )
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("X-Evil")) == (200, None)
    connection.close()


def test_a_body_that_is_not_what_was_signed(platform: Platform, name: str) -> None:
    platform.client("s3").create_bucket(Bucket=name)
    key_id, secret = platform.root_key
    request = AWSRequest("PUT", f"{platform.endpoint}/{name}/k", data=b"right")
    S3SigV4Auth(Credentials(key_id, secret), "s3", "us-east-1").add_auth(request)
    parts = urlsplit(platform.endpoint)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("PUT", f"/{name}/k", b"wrong", dict(request.headers))
    answer = connection.getresponse()
    assert (answer.status, b"XAmzContentSHA256Mismatch" in answer.read()) == (400, True)
    connection.close()
    with pytest.raises(ClientError):
        platform.client("s3").get_object(Bucket=name, Key="k")


@pytest.mark.parametrize(
    "body", [b"<a", b'<!DOCTYPE x [<!ENTITY a "b">]><Delete/>', b"<Delete><Object/></Delete>", b"\xff" * 50]
)
def test_hostile_xml(platform: Platform, name: str, body: bytes) -> None:
    platform.client("s3").create_bucket(Bucket=name)
    status, answer = signed(platform, "POST", f"/{name}?delete=", body, {"Content-Type": "application/xml"}, "s3")
    assert (status, b"MalformedXML" in answer or b"InvalidRequest" in answer) == (400, True), answer


def test_nothing_of_all_this_was_a_bug(platform: Platform) -> None:
    """Runs last in this file: no request above ended in an internal error."""
    assert "Traceback" not in platform.log()
