"""What Clary adds to a container of a user's: the same server asked directly, and as an endpoint."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import images, jobs
from tests.platform import Platform, until

from bench.table import show

_SERVER = """
import asyncio, sys

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.held = transport, b""

    def data_received(self, data):
        self.held += data
        head, end, body = self.held.partition(b"\\r\\n\\r\\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\\r\\n")[0] or 0)
        if end and len(body) >= length:
            self.held = body[length:]
            answer = body[:length] or b"ok"
            self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/csv\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(answer), answer))

async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "", int(sys.argv[-1]) if sys.argv[-1].isdigit() else 8080)
    await server.serve_forever()

asyncio.run(main())
"""


def containers(
    platform: Platform,
    folder: Path,
    load: Callable[[int, int, bytes], dict[str, Any]],
    signed: Callable[[str, bytes], bytes],
    port: int,
    listens: Callable[[int], bool],
) -> None:
    """The overhead of one request at a time, and the rates; how long an image takes to serve for the first time."""
    files = {"server.py": _SERVER.encode()}
    layers = [images.python(), images.layer(files)]
    with tempfile.TemporaryDirectory() as where:
        config: dict[str, Any] = {"Entrypoint": ["python", "/server.py"], "Env": ["PATH=/usr/bin", "PYTHONHOME=/usr"]}
        image = images.push(platform, "bench", images.layout(Path(where) / "i", layers, **config))
    sagemaker = platform.client("sagemaker")
    sagemaker.create_model(ModelName="bench-own", ExecutionRoleArn=jobs.ROLE, PrimaryContainer={"Image": image})
    variant = {"ModelName": "bench-own", "VariantName": "A", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="bench-own", ProductionVariants=[variant])
    times = []
    for number in range(3):
        began = time.perf_counter()
        sagemaker.create_endpoint(EndpointName=f"bench-own-{number}", EndpointConfigName="bench-own")
        assert jobs.settled(platform, f"bench-own-{number}")["EndpointStatus"] == "InService"
        times.append(time.perf_counter() - began)
    show("endpoint of an image, first (unpacks it) and later", f"{times[0]:.2f} / {min(times[1:]):.2f} s", "", None)
    body = b"0.5," * 30
    ours = signed("/endpoints/bench-own-0/invocations", body)
    direct = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)  # fmt: skip
    (folder / "server.py").write_text(_SERVER)
    server = subprocess.Popen([sys.executable, str(folder / "server.py"), str(port)])
    try:
        until(lambda: listens(port), 20, "the server listens")
        pairs = [(load(platform.port, 1, ours), load(port, 1, direct)) for _ in range(5)]
        many = load(platform.port, 64, ours)["per_second"], load(port, 64, direct)["per_second"]
    finally:
        server.terminate()
        server.wait(10)
    added = sorted(a["p50_us"] - b["p50_us"] for a, b in pairs)[2]
    show("added to a container's own answer, p50 at 1 connection", f"{added:.0f} us ({pairs[0][0]['p50_us']:.0f}/{pairs[0][1]['p50_us']:.0f})", "<= 150 us", added <= 150)  # fmt: skip
    show("requests to a container, 64 connections", f"{many[0]:.0f}/s (it alone {many[1]:.0f}/s)", "", None)
