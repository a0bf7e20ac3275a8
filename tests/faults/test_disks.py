"""Full, broken and slow disks, no descriptors, a database that is away: the n-th operation fails, and all after it.

Each request is tried with every n until none of its operations fails. What it answers in between is an error that clients
send it again for; nothing half-written is visible, nothing is left over, and when the fault is gone everything works.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import sqlite3
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from clary.faults import CODES
from tests.conftest import _database_of_its_own
from tests.jobs import ROLE, bucket, configure, csv, deploy, job, predict, settled, table, train
from tests.platform import Platform, started, until

from .injection import CREATE, DESCRIPTOR, DISK, NAME, SYNC, WRITE, Faults

BIG = os.urandom(9 << 20)
MIDDLE = os.urandom(40 << 10)
MOST = int(os.environ.get("CLARY_FAULT_STEPS", "60"))
FAULTS = {
    "ENOSPC": (errno.ENOSPC, CREATE | WRITE | NAME), "EIO": (errno.EIO, DISK), "EMFILE": (errno.EMFILE, DESCRIPTOR),
}  # fmt: skip


@dataclass
class Broken:
    """A platform whose control sees faults, and clients that do not send a request again."""

    platform: Platform
    faults: Faults
    database: str = ""
    model: str = ""  # a trained one, once a test has needed it
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A client, kept."""
        if service not in self.clients:
            config = Config(retries={"total_max_attempts": 1}, read_timeout=60)
            self.clients[service] = self.platform.client(service, config=config)
        return self.clients[service]

    def leftovers(self) -> list[str]:
        """Files that no row refers to: blobs, uploads, half-written archives."""
        home = self.platform.home
        used = _referenced(self)
        blobs = {p.name for p in (home / "blobs").glob("*/*") if p.is_file()}
        aside = [str(p) for p in (home / "functions").glob(".*")] + [str(p) for p in (home / "runs").glob(".*")]
        return sorted(blobs - used) + aside


def _referenced(broken: Broken) -> set[str]:
    statement = "select blobs from s3_object union all select blobs from s3_part"
    if broken.database:
        with psycopg.connect(broken.database) as connection:
            rows = connection.execute(statement).fetchall()
    else:
        with sqlite3.connect(f"file:{broken.platform.home}/clary.db?mode=ro", uri=True) as connection:
            rows = connection.execute(statement).fetchall()
    return {segment.partition(":")[0] for (text,) in rows for segment in text.split(",") if segment}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def broken(request: pytest.FixtureRequest) -> Iterator[Broken]:
    """On each store."""
    home = Path(tempfile.mkdtemp(prefix="clary-test-"))
    faults, database = Faults(home), ""
    variables = dict(faults.environment)
    if request.param == "postgres":
        database = variables["CLARY_DATABASE"] = _database_of_its_own(
            request.getfixturevalue("postgres"), f"disks-{os.getpid()}"
        )
    with started(home, **variables) as platform:
        found = Broken(platform, faults, database)
        bucket(platform, "disks")
        s3 = found.client("s3")
        s3.put_object(Bucket="disks", Key="source", Body=MIDDLE)
        s3.put_object(Bucket="disks", Key="big", Body=BIG)
        yield found
        faults.none()


def _zip(text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("index.py", text)
    return out.getvalue()


def _body(broken: Broken, key: str) -> bytes | None:
    try:
        return bytes(broken.client("s3").get_object(Bucket="disks", Key=key)["Body"].read())
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchKey"
        return None


def _put(size: bytes) -> Callable[[Broken, int], None]:
    def act(broken: Broken, number: int) -> None:
        broken.client("s3").put_object(Bucket="disks", Key=f"k{len(size)}", Body=number.to_bytes(4) + size)

    return act


def _whole(size: bytes) -> Callable[[Broken, int], None]:
    """What is there is what one of the requests brought, whole."""

    def check(broken: Broken, number: int) -> None:
        found = _body(broken, f"k{len(size)}")
        assert found is None or (found[4:] == size and int.from_bytes(found[:4]) <= number)

    return check


def _multipart(broken: Broken, number: int) -> None:
    s3, place = broken.client("s3"), {"Bucket": "disks", "Key": "parts"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    try:
        one = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=BIG)
        two = s3.upload_part_copy(**place, UploadId=upload, PartNumber=2, CopySource="disks/source")["CopyPartResult"]
        parts = [{"PartNumber": n, "ETag": part["ETag"]} for n, part in ((1, one), (2, two))]
        s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    except ClientError:
        broken.faults.none()
        s3.abort_multipart_upload(**place, UploadId=upload)
        raise


def _parts_whole(broken: Broken, number: int) -> None:
    assert _body(broken, "parts") in (None, BIG + MIDDLE)


def _function(broken: Broken, number: int) -> None:
    client, code = broken.client("lambda"), _zip(f"def handler(event, context): return {number}")
    try:
        client.update_function_code(FunctionName="fn", ZipFile=code)
    except client.exceptions.ResourceNotFoundException:
        client.create_function(FunctionName="fn", Runtime="python3.12", Role=ROLE, Handler="index.handler", Code={"ZipFile": code})  # fmt: skip


def _log(broken: Broken, number: int) -> None:
    event = {"timestamp": int(time.time() * 1000), "message": str(number)}
    broken.client("logs").put_log_events(logGroupName="g", logStreamName="s", logEvents=[event])


def _stack(broken: Broken, number: int) -> None:
    body = '{"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}}'
    broken.client("cloudformation").create_stack(StackName=f"stack-{number}", TemplateBody=body)


def _serverless_stack(broken: Broken, number: int) -> None:
    """The first one loads the transform's library: hundreds of modules."""
    function = {"Handler": "index.handler", "Runtime": "python3.12", "InlineCode": "def handler(event, context): pass"}
    body = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {"F": {"Type": "AWS::Serverless::Function", "Properties": function}},
    }
    broken.client("cloudformation").create_stack(
        StackName=f"serverless-{number}",
        TemplateBody=json.dumps(body),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )


def _image(broken: Broken, number: int) -> None:
    """Push a layer as container tools do; errors are turned into those of AWS's clients."""
    ecr, repository = broken.client("ecr"), {"repositoryName": "images"}
    with contextlib.suppress(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(**repository)
    layer = BIG + number.to_bytes(4)
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    headers = {"Authorization": f"Basic {token}"}
    digest, root = f"sha256:{hashlib.sha256(layer).hexdigest()}", broken.platform.endpoint

    def send(method: str, url: str, body: bytes = b"") -> urllib3.BaseHTTPResponse:
        answer = urllib3.request(method, url, body=body, headers=headers, retries=False)
        if answer.status >= 400:
            told = {"Code": "ServiceUnavailable" if answer.status == 503 else answer.data.decode(), "Message": ""}
            raise ClientError({"Error": told, "ResponseMetadata": {"HTTPStatusCode": answer.status}}, method)
        return answer

    place = send("POST", f"{root}/v2/images/blobs/uploads/").headers["Location"]
    where = place if place.startswith("http") else root + place
    send("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", layer)
    assert send("HEAD", f"{root}/v2/images/blobs/{digest}").headers["Content-Length"] == str(len(layer))


def _api(broken: Broken, number: int) -> None:
    document = {"openapi": "3.0.1", "info": {"title": f"api-{number}", "version": "1"}, "paths": {}}
    broken.client("apigateway").import_rest_api(body=json.dumps(document).encode())


def _nothing(broken: Broken, number: int) -> None:
    """Rows are whole or absent by the store's transactions."""


REQUESTS: dict[str, tuple[Callable[[Broken, int], Any], Callable[[Broken, int], None]]] = {
    "an object in its row": (_put(b"x" * 100), _whole(b"x" * 100)),
    "an object in a blob": (_put(MIDDLE), _whole(MIDDLE)),
    "an object that streams in": (_put(BIG), _whole(BIG)),
    "a copy": (lambda b, n: b.client("s3").copy_object(Bucket="disks", Key="copy", CopySource="disks/source"), lambda b, n: _same(b)),
    "a multipart upload": (_multipart, _parts_whole),
    "a parameter": (lambda b, n: b.client("ssm").put_parameter(Name="p", Value=str(n), Type="String", Overwrite=True), _nothing),
    "a secret": (lambda b, n: b.client("secretsmanager").create_secret(Name=f"s{n}", SecretString="v"), _nothing),
    "a role": (lambda b, n: b.client("iam").create_role(RoleName=f"r{n}", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}'), _nothing),
    "log events": (_log, _nothing),
    "a metric": (lambda b, n: b.client("cloudwatch").put_metric_data(Namespace="N", MetricData=[{"MetricName": "m", "Value": float(n)}]), _nothing),
    "a function": (_function, _nothing),
    "a layer": (lambda b, n: b.client("lambda").publish_layer_version(LayerName="l", Content={"ZipFile": _zip(f"x={n}")}), _nothing),
    "a stack": (_stack, _nothing),
    "a stack of a transform": (_serverless_stack, _nothing),
    "an image's layer": (_image, _nothing),
    "an API": (_api, _nothing),
    "a model": (lambda b, n: b.client("sagemaker").create_model(ModelName=f"m{n}", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": job("x", "y")["AlgorithmSpecification"]["TrainingImage"]}), _nothing),
}  # fmt: skip


def _last_words(broken: Broken) -> str:
    """The last error of the platform's log."""
    return str(next((line for line in reversed(broken.platform.log().splitlines()) if " ERROR " in line), ""))


def _same(broken: Broken) -> None:
    assert _body(broken, "copy") in (None, MIDDLE)


_numbers = iter(range(1, 1 << 30))


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_writing_request(broken: Broken, fault: str, request_: str) -> None:
    act, check = REQUESTS[request_]
    error, kinds = FAULTS[fault]
    if request_ == "log events":
        _ready(broken)
    clean = False
    for passes in range(MOST):
        number = next(_numbers)
        refusal: ClientError | None = None
        with broken.faults.injected(error, passes, kinds):
            try:
                act(broken, number)
            except ClientError as refused:
                refusal = refused
            clean = broken.faults.failed == 0
        if refusal is not None:
            told = refusal.response
            status = told["ResponseMetadata"]["HTTPStatusCode"]
            assert told["Error"]["Code"] in CODES and status in (500, 503), (
                passes,
                told["Error"],
                _last_words(broken),
            )
            assert broken.faults.failed, (told["Error"], _last_words(broken))
        check(broken, number)
        if clean:
            break
    try:
        act(broken, next(_numbers))
    except ClientError as error:
        raise AssertionError(f"the fault is gone, and a request fails: {_last_words(broken)}") from error
    check(broken, 1 << 30)
    until(lambda: not broken.leftovers(), 10, what=f"no leftover files: {broken.leftovers()}")


def _ready(broken: Broken) -> None:
    logs = broken.client("logs")
    for call, names in ((logs.create_log_group, {"logGroupName": "g"}), (logs.create_log_stream, {"logGroupName": "g", "logStreamName": "s"})):  # fmt: skip
        try:
            call(**names)
        except logs.exceptions.ResourceAlreadyExistsException:
            continue


@pytest.mark.parametrize("fault", FAULTS)
def test_jobs_endpoints_and_functions_go_on_after_a_fault(broken: Broken, fault: str, name: str) -> None:
    """What runs when the fault begins ends as it should or fails with an internal error; what is made later works."""
    error, kinds = FAULTS[fault]
    platform = broken.platform
    sagemaker = broken.client("sagemaker")
    for number, passes in enumerate((0, 20, 60, 150)):
        one = f"{name}-{number}"
        sagemaker.create_training_job(**job(one, "disks"))
        with broken.faults.injected(error, passes, kinds):
            until(lambda one=one: broken.faults.failed > 3 or _over(platform, one), what="the fault is seen")
        until(lambda one=one: _over(platform, one), 120, what="the job ends")
        found = sagemaker.describe_training_job(TrainingJobName=one)
        status, why = found["TrainingJobStatus"], found.get("FailureReason", "")
        assert status == "Completed" or why.startswith("InternalServerError"), (passes, status, why)
    done = train(platform, job(f"{name}-last", "disks"))
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    assert deploy(platform, name, done["ModelArtifacts"]["S3ModelArtifacts"])["EndpointStatus"] == "InService"
    assert predict(platform, name, table()[:1, 1:])
    sagemaker.delete_endpoint(EndpointName=name)
    _function(broken, 7)
    assert broken.client("lambda").invoke(FunctionName="fn")["Payload"].read() == b"7"
    until(lambda: not list((platform.home / "runs").glob("job-*")), what="the jobs' folders are gone")
    until(lambda: not broken.leftovers(), 30, what=f"no leftover files: {broken.leftovers()}")


def _over(platform: Platform, name: str) -> bool:
    try:
        found = platform.client("sagemaker").describe_training_job(TrainingJobName=name)
    except (ClientError, BotoCoreError):
        return False
    return found["TrainingJobStatus"] not in ("InProgress", "Stopping")


def test_a_slow_disk_makes_requests_slow_and_nothing_else(broken: Broken) -> None:
    with broken.faults.injected(kinds=SYNC | WRITE, delay_ms=40):
        threads = [threading.Thread(target=_put(MIDDLE), args=(broken, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        assert broken.client("sts").get_caller_identity()["Account"]
        answered = time.monotonic() - began
        for thread in threads:
            thread.join()
    assert answered < 2.0
    assert _body(broken, f"k{len(MIDDLE)}")[4:] == MIDDLE  # type: ignore[index]
    assert not broken.leftovers()


def test_a_database_that_is_away(broken: Broken, name: str) -> None:
    """Requests fail so that clients send them again; when it is back, everything goes on without a restart."""
    if not broken.database:
        pytest.skip("SQLite is a file: its faults are those of disks")
    server, _, database = broken.database.rpartition("/")
    s3 = broken.client("s3")
    sagemaker = broken.client("sagemaker")
    sagemaker.create_training_job(**job(name, "disks"))
    with psycopg.connect(f"{server}/template1", autocommit=True) as connection:
        connection.execute(f'alter database "{database}" allow_connections false')
        try:
            for number in range(20):
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database]
                )
                for call in (
                    lambda n: s3.put_object(Bucket="disks", Key=f"away-{n}", Body=MIDDLE),
                    lambda n: sagemaker.list_models(),
                    lambda n: broken.client("ssm").put_parameter(Name="p", Value="v", Type="String", Overwrite=True),
                ):
                    with pytest.raises(ClientError) as refused:
                        call(number)
                    assert refused.value.response["Error"]["Code"] in CODES, refused.value.response
        finally:
            connection.execute(f'alter database "{database}" allow_connections true')
    until(lambda: _over(broken.platform, name), 120, what="the job ends")
    assert sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Completed"
    _put(MIDDLE)(broken, 1)
    assert _body(broken, f"k{len(MIDDLE)}") == (1).to_bytes(4) + MIDDLE


@pytest.mark.parametrize("fault", FAULTS)
def test_asynchronous_requests_are_answered_after_a_fault(broken: Broken, fault: str, name: str) -> None:
    """Whatever was acknowledged has its result, or the reason why there is none, when the fault is over."""
    platform, s3 = broken.platform, broken.client("s3")
    if (trained := broken.model) == "":
        trained = broken.model = train(platform, job(name, "disks"))["ModelArtifacts"]["S3ModelArtifacts"]
    configure(platform, name, trained)
    sagemaker, runtime = broken.client("sagemaker"), broken.client("sagemaker-runtime")
    places = {"S3OutputPath": f"s3://disks/{name}/out", "S3FailurePath": f"s3://disks/{name}/failed"}
    variant = {"VariantName": "A", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(
        EndpointConfigName=f"{name}-async", ProductionVariants=[variant],
        AsyncInferenceConfig={"OutputConfig": places, "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4}},
    )  # fmt: skip
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-async")
    assert settled(platform, name)["EndpointStatus"] == "InService"
    error, kinds = FAULTS[fault]
    acknowledged: list[tuple[str, str]] = []
    for passes in range(0, 40, 2):
        with broken.faults.injected(error, passes, kinds):
            try:
                body = csv(table()[:2, 1:])
                answer = runtime.invoke_endpoint_async(EndpointName=name, Body=body, ContentType="text/csv")
            except ClientError as refused:
                assert refused.response["Error"]["Code"] in CODES, refused.response
                continue
            acknowledged.append((answer["OutputLocation"], answer["FailureLocation"]))
    assert acknowledged

    def answered() -> bool:
        keys = {f"s3://disks/{i['Key']}" for i in s3.list_objects_v2(Bucket="disks", Prefix=name).get("Contents", [])}
        return all(out in keys or failed in keys for out, failed in acknowledged)

    until(answered, 60, what="every request has an answer")
    sagemaker.delete_endpoint(EndpointName=name)
    until(lambda: not broken.leftovers(), 30, what=f"no leftover files: {broken.leftovers()}")


CAPTURE = {
    "EnableCapture": True, "InitialSamplingPercentage": 100, "DestinationS3Uri": "s3://disks/captured",
    "CaptureOptions": [{"CaptureMode": "InputAndOutput"}], "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def broken_front() -> Iterator[Broken]:
    """A platform whose front sees faults, with an endpoint that captures its requests."""
    home = Path(tempfile.mkdtemp(prefix="clary-test-"))
    faults = Faults(home, part="clary.serving")
    with started(home, **faults.environment) as platform:
        found = Broken(platform, faults)
        model = train(platform, job("front", bucket(platform, "disks")))["ModelArtifacts"]["S3ModelArtifacts"]
        configure(platform, "front", model)
        sagemaker = found.client("sagemaker")
        variant = {"VariantName": "A", "ModelName": "front", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(
            EndpointConfigName="captured", ProductionVariants=[variant], DataCaptureConfig=CAPTURE
        )
        sagemaker.create_endpoint(EndpointName="front", EndpointConfigName="captured")
        assert settled(platform, "front")["EndpointStatus"] == "InService"
        yield found
        faults.none()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_front_predicts_through_a_fault(broken_front: Broken, fault: str) -> None:
    """Figures and captures may be lost while nothing can be written; predictions are not, and the front stays."""
    platform, s3 = broken_front.platform, broken_front.client("s3")
    front, body = platform.pids("clary.serving"), csv(table()[:1, 1:])
    runtime = broken_front.client("sagemaker-runtime")  # on one connection: without descriptors there is no other

    def ask() -> bytes:
        return bytes(runtime.invoke_endpoint(EndpointName="front", ContentType="text/csv", Body=body)["Body"].read())

    expected = ask()
    error, kinds = FAULTS[fault]
    with broken_front.faults.injected(error, 0, kinds):
        until(
            lambda: ask() == expected and broken_front.faults.failed > 3, what="the front meets the fault and predicts"
        )
    before = len(s3.list_objects_v2(Bucket="disks", Prefix="captured/").get("Contents", []))
    assert ask() == expected
    until(
        lambda: len(s3.list_objects_v2(Bucket="disks", Prefix="captured/").get("Contents", [])) > before,
        what="requests are captured again",
    )
    assert platform.pids("clary.serving") == front
