"""Images that users built: pushed to the registry, trained with and served, with the files, users and network of a container."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from tests import images
from tests.jobs import ROLE, bucket, configure, job, messages, settled, train
from tests.platform import Platform, until
from tests.services.test_ssm import code

PROGRAM = """
import http.server, json, os, pathlib, socket, sys, time, urllib.request
ML = pathlib.Path("/opt/ml")

def train():
    given = json.loads((ML / "input/config/hyperparameters.json").read_text())
    print("user", os.getuid(), "in", os.getcwd(), "as", os.environ["HOME"], os.environ["OWN"], flush=True)
    pathlib.Path("/usr/written").write_text("over the image")
    if given.get("fail"):
        (ML / "output/failure").write_text("the data is " + given["fail"])
        sys.exit(3)
    rows = (ML / "input/data/train/part-0.csv").read_text().splitlines()
    print("rows=%d;" % len(rows), flush=True)
    (ML / "model/mean").write_text(str(sum(float(r.split(",")[0]) for r in rows) / len(rows)))

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.say(200 if self.path == "/ping" else 404, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if body == "crash":
            os._exit(9)
        if body == "refuse":
            return self.say(422, b"not a number", Content_Type="text/plain")
        if body == "garbage":
            self.wfile.write(b"no HTTP at all")
            self.close_connection = True
            return
        if body == "half":
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\nhalf")
            self.close_connection = True
            return
        if body.startswith("sleep"):
            time.sleep(float(body[5:]))
        if body == "gone?":
            self.connection.settimeout(20)
            self.connection.recv(1)  # nothing comes any more: it returns when the client has gone
            pathlib.Path("/tmp/gone").write_text("yes")
            return
        if body == "gone":
            return self.say(200, os.path.exists("/tmp/gone") and b"yes" or b"no")
        if body == "large":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(400):
                self.wfile.write(b"10000\\r\\n" + b"x" * 65536 + b"\\r\\n")
            self.wfile.write(b"0\\r\\n\\r\\n")
            return
        if body == "interim":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\\r\\nLink: x\\r\\n\\r\\n")
        if body == "stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"one ", b"two ", b"three"):
                self.wfile.write(b"%x\\r\\n%b\\r\\n" % (len(piece), piece))
                self.wfile.flush()
                time.sleep(0.05)
            self.wfile.write(b"0\\r\\n\\r\\n")
            return
        found = {"mean": (ML / "model/mean").read_text(), "headers": dict(self.headers), "host": socket.gethostname(),
                 "body": len(body), "pid": os.getpid()}
        if body == "platform":
            found["platform"] = urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/livez").read().decode()
        if body == "outside":
            try:
                socket.create_connection(("192.0.2.1", 80), 1)
            except OSError as error:
                found["outside"] = error.strerror
        last = {"Connection": "close"} if body == "once" else {}
        self.say(200, json.dumps(found).encode(), X_Amzn_SageMaker_Custom_Attributes="seen", **last)

    def log_message(self, *_):
        pass

if sys.argv[1] == "train":
    train()
else:
    print("serving", flush=True)
    http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="images run on Linux only")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a program of a user's."""
    files = {"app": None, "app/main.py": PROGRAM.encode(), "app/old": b"", "home": None, "home/server": None}
    config: dict[str, Any] = {
        "Entrypoint": ["python", "main.py"], "WorkingDir": "/app",
        "Env": ["PATH=/usr/bin", "PYTHONHOME=/usr", "OWN=image", "PYTHONDONTWRITEBYTECODE=1"],
    }  # fmt: skip
    layers = [images.python(), images.accounts(), images.layer(files), images.layer({"app/.wh.old": b""})]
    return images.layout(tmp_path_factory.mktemp("image"), layers, **config)


def asked(image: str, name: str, where: str = "", **changes: Any) -> dict[str, Any]:
    """A job with an image."""
    request = job(name, where or name, hyperparameters=changes.pop("hyperparameters", {}), **changes)
    request["AlgorithmSpecification"]["TrainingImage"] = image
    return request


def test_an_image_trains_and_serves(sqlite_platform: Platform, name: str, made: Path) -> None:
    platform = sqlite_platform
    image = images.push(platform, name, made)
    bucket(platform, name)
    request = asked(image, name)
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "rows", "Regex": "rows=([0-9]+);"}]
    found = train(platform, request)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert found["FinalMetricDataList"][0]["Value"] == 400
    said = messages(platform, "/aws/sagemaker/TrainingJobs", f"{name}/")
    assert "user 0 in /app as /root image" in said
    configure(platform, name, found["ModelArtifacts"]["S3ModelArtifacts"], image=image)
    sagemaker, runtime = platform.client("sagemaker"), platform.client("sagemaker-runtime")
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    assert settled(platform, name)["EndpointStatus"] == "InService"

    def ask(body: str, **more: str) -> dict[str, Any]:
        answer = runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType="text/csv", **more)
        assert answer["CustomAttributes"] == "seen"
        return dict(json.loads(answer["Body"].read()))

    told = ask("x" * 10, Accept="application/json", CustomAttributes="mine", InferenceId="7")
    assert float(told["mean"]) == 0.5675 and told["body"] == 10
    headers = {k.lower(): v for k, v in told["headers"].items()}
    assert headers["content-type"] == "text/csv" and headers["x-amzn-sagemaker-custom-attributes"] == "mine"
    assert headers["x-amzn-sagemaker-inference-id"] == "7" and "authorization" not in headers
    assert ask("x" * 1_000_000)["body"] == 1_000_000
    assert ask("platform")["platform"] == "ok\n"
    assert ask("outside")["outside"] == "Network is unreachable"
    for _ in range(3):
        ask("once")  # a connection that the container closes is not used again
    with ThreadPoolExecutor(16) as threads:  # slow requests do not wait for each other
        assert {a["body"] for a in threads.map(ask, ["sleep0.5"] * 16)} == {8}
    sizes = list(range(1, 400))
    with ThreadPoolExecutor(16) as threads:  # and everybody gets his own answer
        assert [a["body"] for a in threads.map(ask, ["x" * size for size in sizes])] == sizes
    stream = runtime.invoke_endpoint_with_response_stream(EndpointName=name, Body="stream")["Body"]
    assert [event["PayloadPart"]["Bytes"] for event in stream] == [b"one ", b"two ", b"three"]
    stream = runtime.invoke_endpoint_with_response_stream(EndpointName=name, Body="large")["Body"]
    assert sum(len(event["PayloadPart"]["Bytes"]) for event in stream) == 400 * 65536
    assert ask("interim")["body"] == 7
    impatient = platform.client("sagemaker-runtime", config=Config(read_timeout=0.5, retries={"max_attempts": 0}))
    with pytest.raises(ReadTimeoutError):
        impatient.invoke_endpoint(EndpointName=name, Body="gone?")
    gone = lambda: runtime.invoke_endpoint(EndpointName=name, Body="gone")["Body"].read() == b"yes"  # noqa: E731
    until(gone, 10, "the container saw its client go")
    error, words = code(runtime.invoke_endpoint, EndpointName=name, Body="refuse")
    assert error == "ModelError" and "422" in words and "not a number" in words
    for body in ("garbage", "half"):
        error, words = code(runtime.invoke_endpoint, EndpointName=name, Body=body)
        assert error == "ModelError" and "500" in words, words
    assert ask("after")["pid"] == told["pid"]
    error, words = code(runtime.invoke_endpoint, EndpointName=name, Body="crash")
    assert error == "ModelError"

    def answers() -> bool:
        with contextlib.suppress(ClientError):
            return bool(ask("again")["body"] == 5)
        return False

    until(answers, 30, "a new replica")
    assert "serving" in messages(platform, f"/aws/sagemaker/Endpoints/{name}", "")
    described = sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"][0]["DeployedImages"][0]
    assert described["SpecifiedImage"] == image
    assert described["ResolvedImage"] == f"{image.rpartition(':')[0]}@{_digest(made)}"
    sagemaker.delete_endpoint(EndpointName=name)


def test_an_update_of_an_image_s_endpoint_drops_no_request(sqlite_platform: Platform, name: str, made: Path) -> None:
    """Old containers end only when the front has let go of the connections that they handed out."""
    platform = sqlite_platform
    sagemaker = platform.client("sagemaker")
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="m.tar.gz", Body=images.layer({"mean": b"7"}))
    configure(platform, name, f"s3://{name}/m.tar.gz", image=images.push(platform, name, made))
    described = sagemaker.describe_endpoint_config(EndpointConfigName=name)
    variant = {**described["ProductionVariants"][0], "InitialInstanceCount": 2}
    sagemaker.create_endpoint_config(EndpointConfigName=f"{name}-two", ProductionVariants=[variant])
    runs = lambda: set(platform.home.glob("runs/ep-*/v0-*"))  # noqa: E731
    before = runs()
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    assert settled(platform, name)["EndpointStatus"] == "InService"
    over = threading.Event()

    def ask() -> int:
        runtime, answered = platform.client("sagemaker-runtime"), 0
        while not over.is_set():
            body = runtime.invoke_endpoint(EndpointName=name, Body="x" * 7, ContentType="text/csv")["Body"]
            assert json.loads(body.read())["body"] == 7
            answered += 1
        return answered

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask) for _ in range(4)]
        try:
            for config in (f"{name}-two", name):
                sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
                assert settled(platform, name)["EndpointStatus"] == "InService"
            until(lambda: len(runs() - before) == 1, what="the former containers are gone")
        finally:
            over.set()
        assert all(each.result() for each in asking)
    sagemaker.delete_endpoint(EndpointName=name)
    until(lambda: runs() <= before, what="all containers are gone")


def _digest(made: Path) -> str:
    return str(json.loads((made / "index.json").read_text())["manifests"][0]["digest"])


def test_a_job_of_an_image_that_fails_says_why(sqlite_platform: Platform, name: str, made: Path) -> None:
    image = images.push(sqlite_platform, name, made)
    bucket(sqlite_platform, name)
    found = train(
        sqlite_platform,
        asked(image, f"{name}-a", name, hyperparameters={"fail": "bad"}),
    )
    assert found["TrainingJobStatus"] == "Failed" and "the data is bad" in found["FailureReason"]
    request = asked(image, f"{name}-b", name)
    request["AlgorithmSpecification"] |= {"ContainerEntrypoint": ["no-such-program"], "ContainerArguments": ["x"]}
    found = train(sqlite_platform, request)
    assert found["TrainingJobStatus"] == "Failed" and "no-such-program: command not found" in found["FailureReason"]
    sagemaker = sqlite_platform.client("sagemaker")
    error, words = code(sagemaker.create_training_job, **asked(image.replace(":latest", ":other"), f"{name}-c"))
    assert (
        error == "ValidationException" and words == f"Requested image {image.replace(':latest', ':other')} not found."
    )
    error, words = code(
        sagemaker.create_model, ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": f"nobody/{name}-none"}
    )
    assert error == "ValidationException" and "docker push" in words


def test_an_image_that_does_not_serve(sqlite_platform: Platform, name: str, tmp_path: Path) -> None:
    files = {"main.py": b"print('I am not a server'); raise SystemExit(4)"}
    made = images.layout(
        tmp_path / "i",
        [images.python(), images.layer(files)],
        Entrypoint=["python", "/main.py"],
        Env=["PATH=/usr/bin", "PYTHONHOME=/usr"],
    )
    image = images.push(sqlite_platform, name, made)
    sagemaker = sqlite_platform.client("sagemaker")
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": image})
    variant = {"ModelName": name, "VariantName": "A", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    found = settled(sqlite_platform, name)
    assert found["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in found["FailureReason"] and "exit code: 4" in found["FailureReason"]
    sagemaker.delete_endpoint(EndpointName=name)


MANY = """
import http.server, json, pathlib
LIMIT, loaded = 2, {}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.say(200)

    def do_DELETE(self):
        del loaded[self.path.split("/")[2]]
        self.say(200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/models":
            asked = json.loads(body)
            if len(loaded) >= LIMIT:
                return self.say(507, b"no room")
            text = (pathlib.Path(asked["url"]) / "value").read_text()
            if text == "broken":
                return self.say(400, b"this is no model")
            loaded[asked["model_name"]] = text
            return self.say(200)
        name = self.path.split("/")[2]
        if name not in loaded:
            return self.say(404, b"not loaded")
        told = [loaded[name], self.headers["X-Amzn-SageMaker-Target-Model"], len(loaded)]
        self.say(200, json.dumps(told).encode())

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def test_many_models_by_the_containers_contract(sqlite_platform: Platform, name: str, tmp_path: Path) -> None:
    platform, layers = sqlite_platform, [images.python(), images.layer({"main.py": MANY.encode()})]
    sagemaker, runtime, s3 = (platform.client(n) for n in ("sagemaker", "sagemaker-runtime", "s3"))
    config: dict[str, Any] = {"Entrypoint": ["python", "/main.py"], "Env": ["PATH=/usr/bin", "PYTHONHOME=/usr"]}
    single = images.push(platform, f"{name}-single", images.layout(tmp_path / "single", layers, **config))
    label = {"com.amazonaws.sagemaker.capabilities.multi-models": "true"}
    many = images.push(platform, name, images.layout(tmp_path / "many", layers, Labels=label, **config))
    s3.create_bucket(Bucket=name)
    for model in ("a", "b", "c", "broken"):
        s3.put_object(Bucket=name, Key=f"models/{model}.tar.gz", Body=images.layer({"value": model.encode()}))
    container = {"Mode": "MultiModel", "ModelDataUrl": f"s3://{name}/models/"}
    error, words = code(
        sagemaker.create_model, ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={**container, "Image": single}
    )
    assert error == "ValidationException" and "multi-models=true Docker label" in words
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={**container, "Image": many})
    hosted(platform, name)

    def ask(model: str) -> list[Any]:
        answer = runtime.invoke_endpoint(EndpointName=name, Body="x", TargetModel=f"{model}.tar.gz")
        return list(json.loads(answer["Body"].read()))

    assert ask("a") == ["a", "a.tar.gz", 1] and ask("b") == ["b", "b.tar.gz", 2]
    assert ask("c") == ["c", "c.tar.gz", 2] and ask("b")[0] == "b"  # the one that was not used for longest has gone
    with ThreadPoolExecutor(8) as threads:
        assert [a[0] for a in threads.map(ask, "aabbaabb")] == list("aabbaabb")

    def files(model: str) -> Path:
        every = platform.home.glob("runs/ep-*/library/A/*/model/value")
        (found,) = (f.parent.parent for f in every if f.read_text() == model)
        return found

    shutil.rmtree(gone := files("c"))  # as where room was short
    assert ask("c")[0] == "c" and gone.exists()
    assert ask("a")[2] == 2
    for model in "ac":
        shutil.rmtree(files(model))
    assert ask("b") == ["b", "b.tar.gz", 1]  # a model whose files are gone does not stay loaded
    error, words = code(runtime.invoke_endpoint, EndpointName=name, Body="x", TargetModel="broken.tar.gz")
    assert error == "ModelError" and "this is no model" in words
    sagemaker.delete_endpoint(EndpointName=name)


def hosted(platform: Platform, name: str) -> None:
    """An endpoint of a model, in service."""
    sagemaker = platform.client("sagemaker")
    variant = {"ModelName": name, "VariantName": "A", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    found = settled(platform, name)
    assert found["EndpointStatus"] == "InService", found.get("FailureReason")


def test_a_pipeline_and_a_batch_of_images(sqlite_platform: Platform, name: str, made: Path) -> None:
    platform = sqlite_platform
    image = images.push(platform, name, made)
    sagemaker, runtime, s3 = (platform.client(n) for n in ("sagemaker", "sagemaker-runtime", "s3"))
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="m.tar.gz", Body=images.layer({"mean": b"7"}))
    s3.put_object(Bucket=name, Key="in/rows.csv", Body=b"1\n22\n333\n")
    container = {"Image": image, "ModelDataUrl": f"s3://{name}/m.tar.gz"}
    sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, Containers=[container, container], EnableNetworkIsolation=True
    )
    hosted(platform, name)
    told = json.loads(runtime.invoke_endpoint(EndpointName=name, Body="x")["Body"].read())
    assert told["host"] == "a-0-1" and told["body"] > 100  # the first container's answer is what the second one gets
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.create_model(ModelName=f"{name}-b", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    source = {
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{name}/in/"}},
        "SplitType": "Line",
    }
    sagemaker.create_transform_job(
        TransformJobName=name, ModelName=f"{name}-b", TransformInput={**source, "ContentType": "text/csv"},
        TransformOutput={"S3OutputPath": f"s3://{name}/out", "AssembleWith": "Line"}, BatchStrategy="SingleRecord",
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )  # fmt: skip
    while (found := sagemaker.describe_transform_job(TransformJobName=name))["TransformJobStatus"] == "InProgress":
        pass
    assert found["TransformJobStatus"] == "Completed", found
    rows = s3.get_object(Bucket=name, Key="out/rows.csv.out")["Body"].read().splitlines()
    assert [json.loads(row)["body"] for row in rows] == [2, 3, 4]  # with the ends of their lines


def test_users_of_an_image(sqlite_platform: Platform, name: str, tmp_path: Path) -> None:
    program = b"""
import os, pathlib
print("ids", os.getuid(), os.getgid(), sorted(os.getgroups()), flush=True)
try:
    pathlib.Path("/usr/x").write_text("")
except OSError as error:
    print(error.strerror, flush=True)
pathlib.Path("/home/server/x").write_text("")
print(pathlib.Path("/etc/owned").stat().st_uid, os.path.exists("/work"), flush=True)
"""
    layers = [
        images.python(),
        images.accounts(),
        images.layer({"main.py": program}),
        images.layer({"home": None, "home/server": None}, 1000),
        images.layer({"etc/owned": b""}, 33),
    ]
    made = images.layout(
        tmp_path / "i",
        layers,
        Entrypoint=["python", "/main.py"],
        User="server",
        Env=["PATH=/usr/bin", "PYTHONHOME=/usr"],
    )
    image = images.push(sqlite_platform, name, made)
    bucket(sqlite_platform, name)
    found = train(sqlite_platform, asked(image, name))
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    said = messages(sqlite_platform, "/aws/sagemaker/TrainingJobs", f"{name}/")
    assert "ids 1000 1000 [50]" in said and "Permission denied" in said and "33 False" in said
