"""Images of users' own across a power cut, and processes that end while they are asked."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests import images
from tests.jobs import ROLE, settled
from tests.platform import Platform, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="images run on Linux only")

SERVER = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def test_an_endpoint_of_an_image_outlives_its_processes(own_platform: Platform, tmp_path: Path) -> None:
    platform = own_platform
    layers = [images.python(), images.layer({"server.py": SERVER.encode()})]
    config: dict[str, Any] = {"Entrypoint": ["python", "/server.py"], "Env": ["PATH=/usr/bin", "PYTHONHOME=/usr"]}
    made = images.layout(tmp_path / "i", layers, **config)
    image = images.push(platform, "own", made)
    digest = json.loads((made / "index.json").read_text())["manifests"][0]["digest"][7:]
    junk = (
        platform.home / "images" / "unpacked" / f".{digest}.new" / "files" / "junk"
    )  # of an unpacking that was cut off
    junk.mkdir(parents=True)
    sagemaker = platform.client("sagemaker")
    sagemaker.create_model(ModelName="own", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": image})
    variant = {"ModelName": "own", "VariantName": "A", "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
    sagemaker.create_endpoint_config(EndpointConfigName="own", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="own", EndpointConfigName="own")
    assert settled(platform, "own")["EndpointStatus"] == "InService"
    assert not list((platform.home / "images" / "unpacked" / digest).rglob("junk"))

    def ask(body: str) -> str:
        found = platform.client("sagemaker-runtime").invoke_endpoint(EndpointName="own", Body=body)
        return str(found["Body"].read().decode())

    assert ask("before") == "before"
    stop, wrong, answered = threading.Event(), [], []

    def load() -> None:
        runtime = platform.client("sagemaker-runtime")
        number = 0
        while not stop.is_set():
            number += 1
            try:
                text = runtime.invoke_endpoint(EndpointName="own", Body=str(number))["Body"].read().decode()
                (answered if text == str(number) else wrong).append(text)
            except ClientError as error:  # in flight on the one that is killed
                wrong.append(error.response["Error"]["Code"])

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for kill in range(3):  # servers in their sandboxes, not the processes beside them
        before = len(answered)
        until(lambda before=before: len(answered) > before + 50, 30, "requests are answered")  # type: ignore[misc]
        servers = _servers()
        assert servers, f"no server to kill the {kill}. time"
        os.kill(servers[0], signal.SIGKILL)
        until(lambda gone=servers[0]: gone not in _servers() and len(_servers()) == 2, 30, "another server")  # type: ignore[misc]
    stop.set()
    for thread in threads:
        thread.join()
    assert set(wrong) <= {"ModelError"} and len(wrong) <= 2 * 3, wrong
    platform.kill()
    platform.up()
    until(lambda: _asked(ask), 30, "the endpoint answers after a power cut")


def _servers() -> list[int]:
    """The containers' servers, as the machine sees them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes().split(b"\0")[:2] == [b"python", b"/server.py"]:
                found.append(int(entry.name))
        except OSError:
            continue
    return sorted(found)


def _asked(ask: Any) -> bool:
    try:
        return bool(ask("after") == "after")
    except ClientError:
        return False
