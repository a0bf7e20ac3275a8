"""A signature is good for one service, one region, one day and the headers that it names; everything else is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from tests.jobs import bucket
from tests.platform import Platform
from tests.signing import ask, sign

SECRET_CALL = ("secretsmanager.ListSecrets", b"{}")


def presigned(platform: Platform, method: str) -> str:
    """The path and query of a presigned S3 URL."""
    client = platform.client("s3", platform.root_key, config=Config(signature_version="s3v4"))
    url = client.generate_presigned_url(f"{method}_object", Params={"Bucket": "any", "Key": "k"})
    return url.removeprefix(platform.endpoint)


def presigned_sts(platform: Platform) -> str:
    """A presigned GetCallerIdentity, as clusters take it for a password."""
    request = AWSRequest("GET", platform.endpoint + "/?Action=GetCallerIdentity&Version=2011-06-15")
    SigV4QueryAuth(Credentials(*platform.root_key), "sts", "us-east-1").add_auth(request)
    return str(request.url).removeprefix(platform.endpoint)


@pytest.mark.parametrize("make", [lambda p: presigned(p, "get"), lambda p: presigned(p, "put"), presigned_sts])
@pytest.mark.parametrize(
    "target", ["secretsmanager.ListSecrets", "AmazonSSM.PutParameter", "SageMaker.ListTrainingJobs"]
)
def test_a_presigned_url_calls_no_other_service(
    platform: Platform, make: Callable[[Platform], str], target: str
) -> None:
    url = make(platform)
    method = "PUT" if "any/k" in url and "put" in str(make) else "GET"
    for how in {method, "POST", "GET", "PUT"}:
        status, text, _ = ask(
            platform, how, url, {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}, b"{}"
        )
        assert 400 <= status < 500, (how, status, text)
        assert "SecretList" not in text
        assert "TrainingJobSummaries" not in text


def test_a_presigned_sts_url_still_tells_who_signed_it(platform: Platform) -> None:
    status, text, _ = ask(platform, "GET", presigned_sts(platform), {})
    assert (status, ":root" in text) == (200, True), text


@pytest.mark.parametrize("service", ["s3", "iam", "bogus", "secretsmanager"])
def test_a_scope_of_another_service_is_refused(platform: Platform, service: str) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    signed = sign(platform, headers, b"{}", service=service)
    status, text, _ = ask(platform, "POST", "/", signed, b"{}")
    assert status in (400, 403, 405), text
    if service != "s3":  # S3 has no targets: that one is a POST to its root
        assert json.loads(text)["__type"].endswith("InvalidSignatureException")
        assert "Credential should be scoped to correct service: 'sagemaker'." in text


@pytest.mark.parametrize("region", ["mars-1", "us-east-11", "aws-global"])
def test_a_region_that_does_not_exist_is_refused(platform: Platform, region: str) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    status, text, _ = ask(platform, "POST", "/", sign(platform, headers, b"{}", region=region), b"{}")
    assert (status, "Credential should be scoped to a valid region" in text) == (400, True), text
    status, text, _ = ask(platform, "GET", "/", sign(platform, {}, service="s3", region=region, method="GET"), b"")
    assert (status, f"the region '{region}' is wrong" in text) == (400, True), text


def test_a_host_of_one_region_takes_no_signature_for_another(platform: Platform) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    host = "api.sagemaker.eu-west-1.amazonaws.com"
    request = AWSRequest("POST", f"https://{host}/", data=b"{}", headers=headers)
    SigV4Auth(Credentials(*platform.root_key), "sagemaker", "us-east-1").add_auth(request)
    status, text, _ = ask(platform, "POST", "/", {**dict(request.headers), "Host": host}, b"{}")
    assert (status, "valid region" in text) == (400, True), text


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.replace(c.split("/")[1], ""),
        lambda c: c.replace(c.split("/")[1], c.split("/")[1][:4]),
        lambda c: c.replace("us-east-1", "us\xffeast"),
        lambda c: c.replace("us-east-1", ""),
    ],
)
@pytest.mark.parametrize("path", ["/", "/endpoints/any/invocations"])
def test_a_scope_that_is_not_one_is_refused(platform: Platform, change: Callable[[str], str], path: str) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    signed = sign(platform, headers, b"{}", path=path)
    before, _, after = signed["Authorization"].partition("Credential=")
    credential, comma, rest = after.partition(",")
    signed["Authorization"] = f"{before}Credential={change(credential)}{comma}{rest}"
    status, text, _ = ask(platform, "POST", path, signed, b"{}")
    assert 400 <= status < 500, text
    assert "InternalFailure" not in text


@pytest.mark.parametrize(
    ("service", "method", "path", "base"),
    [
        (
            "sagemaker",
            "POST",
            "/",
            {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"},
        ),
        ("sagemaker", "POST", "/endpoints/any/invocations", {"Content-Type": "text/csv"}),
        ("s3", "PUT", "/any/key", {}),
        ("iam", "POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("lambda", "GET", "/2015-03-31/functions/", {"Content-Type": "application/json"}),
    ],
)
def test_headers_of_the_service_must_be_signed(
    platform: Platform, service: str, method: str, path: str, base: dict[str, str]
) -> None:
    body = b"Action=ListUsers&Version=2010-05-08" if service == "iam" else b""
    signed = sign(platform, base, body, service=service, path=path, method=method)
    status, text, answered = ask(platform, method, path, {**signed, "X-Amz-Acl": "public-read"}, body)
    said = text + answered.get("x-amzn-errortype", "")
    assert status in (400, 403), said
    assert (
        "'x-amz-acl' must be a 'SignedHeader'" in said or "headers present in the request which were not signed" in said
    )


@pytest.mark.parametrize("marker", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
def test_a_body_outside_the_signature_is_s3s_alone(platform: Platform, marker: str) -> None:
    headers = {
        "X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Content-Sha256": marker,
    }  # fmt: skip
    request = AWSRequest("POST", platform.endpoint + "/", data=b"{}", headers=headers)
    signer = SigV4Auth(Credentials(*platform.root_key), "sagemaker", "us-east-1")
    signer.payload = lambda _request: marker  # type: ignore[method-assign]
    signer.add_auth(request)
    body = b'{"NameContains":"another"}'
    status, text, _ = ask(
        platform, "POST", "/", {**dict(request.headers), "Host": urlsplit(platform.endpoint).netloc}, body
    )
    assert (status, "InvalidSignatureException" in text) == (400, True), text


def test_a_repeated_parameter_of_a_version_2_url_is_refused(platform: Platform, name: str) -> None:
    where = bucket(platform, name)
    client = platform.client("s3", platform.root_key)
    client.put_bucket_versioning(Bucket=where, VersioningConfiguration={"Status": "Enabled"})
    versions = [client.put_object(Bucket=where, Key="k", Body=text)["VersionId"] for text in (b"secret", b"public")]
    old = platform.client("s3", platform.root_key, config=Config(signature_version="s3"))
    url = old.generate_presigned_url("get_object", Params={"Bucket": where, "Key": "k", "VersionId": versions[1]})
    target = url.removeprefix(platform.endpoint)
    assert ask(platform, "GET", target, {})[:2] == (200, "public")
    path, _, query = target.partition("?")
    status, text, _ = ask(platform, "GET", f"{path}?versionId={versions[0]}&{query}", {})
    assert (status, "secret" in text) == (400, False)


def test_a_repeated_parameter_of_a_presigned_url_is_refused(platform: Platform) -> None:
    url = presigned(platform, "get")
    status, text, _ = ask(platform, "GET", f"{url}&X-Amz-Expires=604800", {})
    assert (status, "AuthorizationQueryParametersError" in text) == (400, True), text


@pytest.mark.parametrize(
    "path",
    [
        "/endpoints/a/../b/invocations",
        "/endpoints/a/x/invocations",
        "/endpoints//invocations",
        "/endpoints/./invocations",
        "/endpoints/a/invocations/",
        "/endpoints/a%2fb/invocations",
        "/endpoints/a//invocations",
        "//endpoints/a/invocations",
    ],
)
def test_only_the_canonical_path_of_an_endpoint_is_one(platform: Platform, path: str) -> None:
    signed = sign(platform, {"Content-Type": "text/csv"}, b"1", path=path)
    status, text, answered = ask(platform, "POST", path, signed, b"1")
    said = text + answered.get("x-amzn-errortype", "")
    assert status in (400, 403, 404), said
    assert "not found" not in said, "the front took it for a call of an endpoint"


def test_a_body_that_was_hashed_before_signing_is_compared(platform: Platform) -> None:
    headers = {
        "X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Content-Sha256": hashlib.sha256(b"{}").hexdigest(),
    }  # fmt: skip
    signed = sign(platform, headers, b"{}")
    assert ask(platform, "POST", "/", signed, b"{}")[0] == 200
    assert ask(platform, "POST", "/", signed, b'{"MaxResults":1}')[0] == 400


def test_a_path_is_read_as_it_is_signed(platform: Platform, name: str) -> None:
    """A signature covers the path without its dots, so a stranger may add some to a request that was seen."""
    functions = "/2015-03-31/functions"
    signed = sign(platform, {}, service="lambda", path=f"{functions}/{name}", method="GET")
    for path in (f"{functions}/{name}", f"{functions}/other/../{name}", f"/x/..//{functions}/./{name}"):
        status, text, _ = ask(platform, "GET", path, signed)
        assert (status, f"function:{name}" in text) == (404, True), (path, text)
