"""What must be true after the deaths: everything acknowledged is there, everything ends once, nothing is left over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from clary.executors import limits
from tests.jobs import messages
from tests.platform import until

from .load import Load, absent, passing

SETTLE_SECONDS = float(os.environ.get("CLARY_CRASH_SETTLE", "120"))
_KEPT_RUNS = ("zygote",)


class Checker:
    """Looks at a platform on which nothing dies any more."""

    def __init__(self, load: Load):
        self._load = load
        self._platform = load.platform
        self.findings = list(load.findings)

    def acknowledged(self) -> None:
        """Everything that was acknowledged is there, whole; every job, endpoint and stack has settled."""
        load = self._load
        s3, ssm = load.client("s3"), load.client("ssm")
        self._ledger(load.objects.may, lambda k: s3.get_object(Bucket=load.name, Key=k)["Body"].read())
        self._ledger(load.parameters.may, lambda k: ssm.get_parameter(Name=k)["Parameter"]["Value"].encode())
        for name in sorted(load.secrets):
            with self._expected(f"secret {name}"):
                load.client("secretsmanager").get_secret_value(SecretId=name)
        for name in sorted(load.roles):
            with self._expected(f"role {name}"):
                load.client("iam").get_role(RoleName=name)
        if load.events:
            stored = set(messages(self._platform, load.name, "s"))
            self._note(set(load.events) - stored, "log events are lost")
        for name in load.jobs:
            self._job(name)
        for name in load.endpoints:
            self._endpoint(name)
        for name in load.stacks:
            self._stack(name)
        for name in sorted(load.functions):
            with self._expected(f"function {name}"):
                self._answers(name)

    def _note(self, wrong: Any, text: str) -> None:
        if wrong:
            self.findings.append(f"{text}: {wrong}")

    @contextmanager
    def _expected(self, what: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, AssertionError) as error:
            self.findings.append(f"{what}: {error}")

    def _ledger(self, may: dict[str, list[bytes | None]], read: Callable[[str], bytes]) -> None:
        for name, values in sorted(may.items()):
            found: bytes | None = None
            try:
                found = read(name)
            except ClientError as error:
                if not absent(error):
                    self.findings.append(f"{name}: {error}")
                    continue
            if found not in values:
                sizes = [None if v is None else len(v) for v in values]
                self.findings.append(f"{name} holds {None if found is None else len(found)} bytes, none of {sizes}")

    def _settled(self, what: str, look: Callable[[], Any]) -> Any:
        def asked() -> Any:
            try:
                return look()
            except (ClientError, BotoCoreError) as error:
                if not passing(error):
                    raise
                return None

        try:
            return until(asked, SETTLE_SECONDS, what=f"{what} settles")
        except AssertionError as error:
            self.findings.append(str(error))
            return None

    def _job(self, name: str) -> None:
        sagemaker = self._load.client("sagemaker")

        def ended() -> Any:
            found = sagemaker.describe_training_job(TrainingJobName=name)
            return found if found["TrainingJobStatus"] not in ("InProgress", "Stopping") else None

        found = self._settled(f"job {name}", ended)
        if found is None:
            return
        states = Counter(t["Status"] for t in found["SecondaryStatusTransitions"])
        self._note({s: n for s, n in states.items() if s in ("Completed", "Failed", "Stopped") and n > 1}, f"job {name} ended more than once")  # fmt: skip
        if found["TrainingJobStatus"] == "Completed":
            uri = found["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://")
            bucket, _, key = uri.partition("/")
            with self._expected(f"the model of {name}"):
                self._load.client("s3").head_object(Bucket=bucket, Key=key)
        elif not any(
            words in found["FailureReason"] for words in ("SIGKILL", "137", "InternalServerError", "platform")
        ):
            self.findings.append(f"job {name} failed: {found['FailureReason']}")

    def _endpoint(self, name: str) -> None:
        sagemaker = self._load.client("sagemaker")

        def settled() -> Any:
            try:
                found = sagemaker.describe_endpoint(EndpointName=name)
            except ClientError as error:
                if absent(error):
                    return "gone"
                raise
            state = found["EndpointStatus"]
            return None if state in ("Creating", "Updating", "Deleting", "RollingBack") else state

        state = self._settled(f"endpoint {name}", settled)
        if state not in ("gone", "InService", "Failed", None):
            self.findings.append(f"endpoint {name} is {state}")

    def _stack(self, name: str) -> None:
        cloudformation = self._load.client("cloudformation")

        def settled() -> Any:
            try:
                state = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
            except ClientError as error:
                if absent(error):
                    return "gone"
                raise
            return None if state.endswith("_IN_PROGRESS") else state

        state = self._settled(f"stack {name}", settled)
        if state not in ("gone", "CREATE_COMPLETE", "UPDATE_COMPLETE", None):
            events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
            why = [e.get("ResourceStatusReason") for e in events if "FAILED" in e["ResourceStatus"]]
            self.findings.append(f"stack {name} is {state}: {why}")

    def _answers(self, name: str) -> None:
        client = self._load.client("lambda")

        def answers() -> bool:
            try:
                return bool(client.invoke(FunctionName=name, Payload=b"7")["Payload"].read() == b"7")
            except (ClientError, BotoCoreError) as error:
                if not passing(error):
                    raise
                return False

        until(answers, 30, what=f"function {name} answers")

    # ---- after everything is deleted ---------------------------------------------------------------------------------

    def delete(self) -> None:
        """Delete all that the round has made."""
        load = self._load
        s3, sagemaker, cloudformation = load.client("s3"), load.client("sagemaker"), load.client("cloudformation")
        for name in load.stacks:
            cloudformation.delete_stack(StackName=name)
        for name in load.endpoints:
            self._quietly(sagemaker.delete_endpoint, EndpointName=name)
        for name in load.stacks:
            self._stack(name)
        for name in load.endpoints:
            self._settled(f"the removal of {name}", lambda name=name: self._is_gone(sagemaker.describe_endpoint, EndpointName=name))  # fmt: skip
        for name in sorted(load.functions):
            load.client("lambda").delete_function(FunctionName=name)
        for name in load.parameters.may:
            self._quietly(load.client("ssm").delete_parameter, Name=name)
        for name in load.secrets:
            load.client("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        for name in load.roles:
            load.client("iam").delete_role(RoleName=name)
        for upload in s3.list_multipart_uploads(Bucket=load.name).get("Uploads", ()):
            s3.abort_multipart_upload(Bucket=load.name, Key=upload["Key"], UploadId=upload["UploadId"])
        while found := s3.list_objects_v2(Bucket=load.name).get("Contents"):
            s3.delete_objects(Bucket=load.name, Delete={"Objects": [{"Key": o["Key"]} for o in found]})
        s3.delete_bucket(Bucket=load.name)

    def _quietly(self, call: Callable[..., Any], **names: Any) -> None:
        try:
            call(**names)
        except ClientError as error:
            if not absent(error) and "Cannot" not in str(error):
                self.findings.append(str(error))

    def _is_gone(self, call: Callable[..., Any], **names: Any) -> bool:
        try:
            call(**names)
        except ClientError as error:
            if absent(error):
                return True
            raise
        return False

    def leftovers(self, referenced: Callable[[], set[str]], runs_kept: int) -> None:
        """No folder of a run and no blob that nothing refers to is left while the platform runs on."""
        home = self._platform.home

        def runs() -> list[str]:
            kept = ("ep-", "endpoint-", "fn-", "layers-", "packages-", "pool-")
            return [p.name for p in (home / "runs").iterdir() if not p.name.startswith(kept)]

        def blobs() -> set[str]:
            return {p.name for p in (home / "blobs").glob("*/*") if p.is_file()} - referenced()

        for what, look in (("folders of runs", runs), ("unreferenced blobs", blobs)):
            try:
                until(lambda look=look: not look(), 30, what=what)
            except AssertionError:
                self.findings.append(f"{what} are left: {sorted(look())[:20]}")

    def down(self, expected: set[str]) -> None:
        """After the platform has stopped there is no process, socket, lock or control group."""
        home = self._platform.home
        self._note(self._platform.pids(), "processes are left")
        found = files(home)
        self._note(sorted(found - expected)[:20], "files are left")
        self._note([str(p) for p in groups(home)], "control groups are left")


def files(home: Path) -> set[str]:
    """What is in the folder of a platform that is down, but its logs, its data and what is kept to be used again."""
    skipped = ("log", "blobs", "functions", "environments", "images", "clary.db", "runs")
    found = {str(p.relative_to(home)) for p in home.rglob("*") if not str(p.relative_to(home)).startswith(skipped)}
    found |= {f"runs/{p.name}" for p in (home / "runs").iterdir() if p.name.startswith((".", "job-", "fn-"))}
    return found | {str(p.relative_to(home)) for p in (home / "functions").glob(".*")}


def groups(home: Path) -> list[Path]:
    """The control groups of a platform."""
    roots = limits.hierarchies()
    found = {r / limits.of_home(home) for r in (roots.unified, roots.memory, roots.pids) if r is not None}
    return [path for root in found if root.is_dir() for path in (root, *root.rglob("*")) if path.is_dir()]
