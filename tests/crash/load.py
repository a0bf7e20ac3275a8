"""Mixed load with a memory: each worker notes what was acknowledged, and what may or may not have happened."""

from __future__ import annotations

import contextlib
import io
import json
import random
import threading
import time
import zipfile
from collections.abc import Callable
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.jobs import IMAGE, ROLE, csv, job, table
from tests.platform import Platform

Value = bytes | None
_GONE = ("NotFound", "NoSuch", "does not exist", "Could not find", "not found", "not exist")


def absent(error: ClientError) -> bool:
    """Whether an error says that something is not there."""
    return any(words in str(error) for words in _GONE)


def passing(error: Exception) -> bool:
    """Whether an error is one of a part that has died; anything else is a finding."""
    if isinstance(error, ClientError):
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500) or "Throttl" in str(error)
    return isinstance(error, BotoCoreError)


class Ledger:
    """What each name may hold: one value once that was acknowledged, several while it is open which."""

    def __init__(self) -> None:
        self.may: dict[str, list[Value]] = {}

    def write(self, name: str, value: Value, call: Callable[[], Any]) -> None:
        """Write a value (None: remove), and note what may be there now."""
        before = self.may.get(name, [None])
        self.may[name] = [*before, value]
        call()
        self.may[name] = [value]


class Load:
    """The workers of one round."""

    def __init__(self, platform: Platform, name: str, seed: int):
        self.platform = platform
        self.name = name
        self.seed = seed
        self.objects, self.parameters = Ledger(), Ledger()
        self.secrets: set[str] = set()
        self.roles: set[str] = set()
        self.events: list[str] = []
        self.jobs: list[str] = []
        self.endpoints: dict[str, str] = {}  # what was asked for last: made or removed
        self.stacks: dict[str, str] = {}
        self.functions: set[str] = set()
        self.invoked = 0
        self.findings: list[str] = []
        self.acknowledged = 0
        self._stop = threading.Event()
        self._clients = threading.local()

    def client(self, service: str) -> Any:
        """A client that sends each request once; each thread has its own."""
        kept: dict[str, Any] = self._clients.__dict__
        if service not in kept:
            options = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=20)
            kept[service] = self.platform.client(service, config=options)
        return kept[service]

    def run(self, seconds: float, meanwhile: Callable[[], None]) -> None:
        """Work for some seconds."""
        workers = (self._objects, self._parts, self._rows, self._log, self._train, self._host, self._stack, self._function, self._ask)  # fmt: skip
        threads = [threading.Thread(target=self._work, args=(w, n)) for n, w in enumerate(workers)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                meanwhile()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _work(self, step: Callable[[random.Random, int], None], number: int) -> None:
        dice, turn = random.Random(self.seed * 1000 + number), 0
        while not self._stop.is_set():
            turn += 1
            try:
                step(dice, turn)
                self.acknowledged += 1
            except (ClientError, BotoCoreError) as error:
                if not passing(error):
                    self.findings.append(f"{step.__name__}: {error}")
                self._stop.wait(0.2)

    # ---- what they do ----------------------------------------------------------------------------------------------

    def _objects(self, dice: random.Random, turn: int) -> None:
        s3, key = self.client("s3"), f"o{dice.randrange(30)}"
        if dice.random() < 0.2:
            self.objects.write(key, None, lambda: s3.delete_object(Bucket=self.name, Key=key))
            return
        body = dice.randbytes(dice.choice((10, 3000, 60_000, 600_000)))
        self.objects.write(key, body, lambda: s3.put_object(Bucket=self.name, Key=key, Body=body))

    def _parts(self, dice: random.Random, turn: int) -> None:
        s3, key = self.client("s3"), f"m{dice.randrange(4)}"
        first, last = dice.randbytes(5 << 20), dice.randbytes(1000)
        place = {"Bucket": self.name, "Key": key}
        upload = s3.create_multipart_upload(**place)["UploadId"]
        tags = [s3.upload_part(**place, UploadId=upload, PartNumber=n, Body=b)["ETag"] for n, b in ((1, first), (2, last))]  # fmt: skip
        parts = {"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]}
        self.objects.write(key, first + last, lambda: s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload=parts))  # fmt: skip
        self._stop.wait(0.3)

    def _rows(self, dice: random.Random, turn: int) -> None:
        name = f"/{self.name}/p{dice.randrange(20)}"
        ssm, value = self.client("ssm"), str(turn)
        self.parameters.write(name, value.encode(), lambda: ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True))  # fmt: skip
        if turn % 5 == 0:
            secret = f"{self.name}-s{turn}"
            self.client("secretsmanager").create_secret(Name=secret, SecretString=secret)
            self.secrets.add(secret)
            self.client("iam").create_role(RoleName=f"{self.name}-r{turn}", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))  # fmt: skip
            self.roles.add(f"{self.name}-r{turn}")

    def _log(self, dice: random.Random, turn: int) -> None:
        logs, place = self.client("logs"), {"logGroupName": self.name, "logStreamName": "s"}
        if turn == 1 or not self.events:
            for call, names in ((logs.create_log_group, {"logGroupName": self.name}), (logs.create_log_stream, place)):
                try:
                    call(**names)
                except ClientError as error:
                    if "AlreadyExists" not in str(error):
                        raise
        event = f"event {turn}"
        logs.put_log_events(**place, logEvents=[{"timestamp": int(time.time() * 1000), "message": event}])
        self.events.append(event)
        self._stop.wait(0.05)

    def _train(self, dice: random.Random, turn: int) -> None:
        name = f"{self.name}-j{turn}"
        request = job(name, "kept", OutputDataConfig={"S3OutputPath": f"s3://{self.name}/jobs"})
        self.client("sagemaker").create_training_job(**request)
        self.jobs.append(name)
        self._stop.wait(dice.uniform(0.5, 2))

    def _host(self, dice: random.Random, turn: int) -> None:
        sagemaker, name = self.client("sagemaker"), f"{self.name}-e{dice.randrange(2)}"
        wanted = self.endpoints.get(name)
        config = f"{self.name}-c{1 + turn % 2}"
        try:
            if wanted is None or wanted == "removed":
                self.endpoints[name] = "made"
                sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
            elif dice.random() < 0.5:
                sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
            else:
                sagemaker.delete_endpoint(EndpointName=name)
                self.endpoints[name] = "removed"
        except ClientError as error:  # in the middle of a transition, or a call whose answer was lost had acted
            if passing(error) or not any(w in str(error) for w in ("Cannot", "cannot", "Could not", "already")):
                raise
        self._stop.wait(dice.uniform(0.5, 2))

    def _stack(self, dice: random.Random, turn: int) -> None:
        cloudformation, name = self.client("cloudformation"), f"{self.name}-k{turn % 3}"
        try:
            if name not in self.stacks:
                self.stacks[name] = "made"
                cloudformation.create_stack(StackName=name, TemplateBody=template(turn))
            elif dice.random() < 0.6:
                cloudformation.update_stack(StackName=name, TemplateBody=template(turn))
            else:
                cloudformation.delete_stack(StackName=name)
        except ClientError as error:
            if passing(error) or not any(w in str(error) for w in ("already exists", "can not be updated", "does not exist", "No updates")):  # fmt: skip
                raise
        self._stop.wait(dice.uniform(0.2, 1))

    def _function(self, dice: random.Random, turn: int) -> None:
        client, name = self.client("lambda"), f"{self.name}-f{turn % 2}"
        with contextlib.suppress(client.exceptions.ResourceConflictException):
            client.create_function(FunctionName=name, Runtime="python3.12", Role=ROLE, Handler="index.handler", Code={"ZipFile": archive()})  # fmt: skip
        self.functions.add(name)
        client.invoke(FunctionName=name, InvocationType="Event", Payload=b"1")
        answer = client.invoke(FunctionName=name, Payload=json.dumps(turn))
        if "FunctionError" not in answer and json.loads(answer["Payload"].read()) != turn:
            self.findings.append(f"{name} answered something else")
        self._stop.wait(0.2)

    def _ask(self, dice: random.Random, turn: int) -> None:
        runtime = self.client("sagemaker-runtime")
        try:
            runtime.invoke_endpoint(EndpointName="steady", ContentType="text/csv", Body=csv(table()[:1, 1:]))
        except ClientError as error:  # while its replica starts again
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 and "ModelError" not in str(error):
                raise
        self.invoked += 1
        self._stop.wait(0.02)


def archive() -> bytes:
    """A function that gives back what it gets."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr(zipfile.ZipInfo("index.py", (1980, 1, 1, 0, 0, 0)), "def handler(event, context): return event")
    return out.getvalue()


def template(turn: int) -> str:
    """A stack with identifiers that are made and that the service chooses."""
    resources = {
        "P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": str(turn)}},
        "A": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": f"a{turn}"}},
        "R": {"Type": "AWS::ApiGateway::Resource", "Properties": {"RestApiId": {"Ref": "A"}, "ParentId": {"Fn::GetAtt": ["A", "RootResourceId"]}, "PathPart": f"p{turn}"}},
        "H": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": f"h{turn}", "ProtocolType": "HTTP"}},
        "B": {"Type": "AWS::S3::Bucket", "Properties": {}},
    }  # fmt: skip
    return json.dumps({"Resources": resources})


__all__ = ["IMAGE", "Ledger", "Load", "absent", "archive", "passing", "template"]
