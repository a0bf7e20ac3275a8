"""``make bench-peers``: InvokeEndpoint beside other servers with the same model and the same rows, all in one run.

Each peer is set up as its own documents do for throughput: batches where it has them, one process for the model. None of
them checks a signature; Clary does.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import jobs
from tests.platform import ROOT, started, until

from bench.__main__ import _nginx_constant, free_port, http, load, model_of

HERE = Path(__file__).parent
_CONNECTIONS = (1, 8, 64)
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Peer:
    """A server: the environment that it runs in, how it is started, and what it is asked."""

    name: str
    command: Callable[[Path, int, Path], list[str]]  # of the environment's programs, the port and a folder
    path: str
    content_type: str
    body: Callable[[list[float]], bytes]


def _csv(row: list[float]) -> bytes:
    return ",".join(map(str, row)).encode()


def _mlserver(programs: Path, port: int, folder: Path) -> list[str]:
    shutil.copy(HERE / "mlserver_model.py", folder)
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "host": "127.0.0.1"}
    (folder / "settings.json").write_text(json.dumps({**ports, "debug": False, "parallel_workers": 0}))
    model = {"name": "m", "implementation": "mlserver_model.Model", "max_batch_size": 64, "max_batch_time": 0.001}
    (folder / "model-settings.json").write_text(json.dumps(model))
    return [str(programs / "mlserver"), "start", str(folder)]


def _mlflow(programs: Path, port: int, folder: Path) -> list[str]:
    subprocess.run(
        [str(programs / "python"), str(HERE / "mlflow_model.py"), str(folder / "model")],
        check=True,
        capture_output=True,
    )
    chosen = ["-m", str(folder / "model"), "-p", str(port), "-h", "127.0.0.1", "--env-manager", "local", "-w", "1"]
    return [str(programs / "mlflow"), "models", "serve", *chosen]


def _flask(programs: Path, port: int, folder: Path) -> list[str]:
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    (folder / "nginx.conf").write_text(
        f"{'user root; ' if os.geteuid() == 0 else ''}daemon off; pid {folder}/pid; error_log /dev/null; events {{}}\nhttp {{ access_log off; upstream app {{ server "
        f"unix:{folder}/sock; keepalive 64; }} server {{ listen 127.0.0.1:{port}; keepalive_requests 100000000; location / "
        "{ proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://app; } } }\n"
    )
    gunicorn = f"{programs / 'gunicorn'} -w 2 -b unix:{folder}/sock --log-level error bench.peers.flask_app:app"
    return ["sh", "-c", f"{nginx} -c {folder}/nginx.conf -p {folder} & exec {gunicorn}"]


PEERS = (
    Peer("fastapi", lambda b, p, f: [str(b / "uvicorn"), "bench.peers.fastapi_app:app", "--port", str(p), "--log-level", "error", "--no-access-log"], "/invocations", "text/csv", _csv),
    Peer("ray", lambda b, p, f: [str(b / "python"), str(HERE / "ray_server.py")], "/", "text/csv", _csv),
    Peer("mlserver", _mlserver, "/v2/models/m/infer", "application/json", lambda r: json.dumps({"inputs": [{"name": "x", "shape": [1, len(r)], "datatype": "FP32", "data": r}]}).encode()),
    Peer("litserve", lambda b, p, f: [str(b / "python"), str(HERE / "litserve_server.py")], "/predict", "application/json", lambda r: json.dumps({"row": r}).encode()),
    Peer("bentoml", lambda b, p, f: [str(b / "bentoml"), "serve", "bench.peers.bentoml_service:Trees", "--port", str(p), "--host", "127.0.0.1"], "/predict", "application/json", lambda r: json.dumps({"rows": [r]}).encode()),
    Peer("flask", _flask, "/invocations", "text/csv", _csv),
    Peer("mlflow", _mlflow, "/invocations", "application/json", lambda r: json.dumps({"inputs": [r]}).encode()),
)  # fmt: skip


def _request(port: int, peer: Peer, row: list[float]) -> bytes:
    body = peer.body(row)
    head = f"POST {peer.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {peer.content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _group(leader: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == leader:
                found.append(int(entry.name))
    return found


def _answers(port: int, request: bytes) -> bool:
    """Whether a request is answered with success."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as sock:
            sock.settimeout(10)
            sock.sendall(request)
            return sock.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def measured(peer: Peer, row: list[float], model: Path) -> dict[str, Any] | str:
    """A peer's figures; why there are none."""
    programs = ROOT / ".envs" / f"peer-{peer.name}" / "bin"
    if not (programs / "python").exists():
        return "not installed"
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="clary-peer-"))
    environment = {
        **os.environ,
        "MODEL": str(model),
        "PORT": str(port),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    environment |= {
        "BENTOML_DO_NOT_TRACK": "true",
        "BENTOML_HOME": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    log = (folder / "log").open("wb")
    command = peer.command(programs, port, folder)
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT if "bench." in " ".join(command) else folder, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    request = _request(port, peer, row)
    try:
        until(lambda: process.poll() is not None or _answers(port, request), _START_SECONDS, f"{peer.name} answers")
        if process.poll() is not None:
            return f"ended: {(folder / 'log').read_text()[-200:]}"
        found: dict[str, Any] = {"cold": time.perf_counter() - began}
        for connections in _CONNECTIONS:
            found[connections] = load(port, connections, request)
        found["memory"] = sum(map(_megabytes, _group(process.pid)))
        return found
    except AssertionError as error:
        return f"{error} {(folder / 'log').read_text()[-200:]}"
    finally:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _line(name: str, found: dict[str, Any] | str, ours: float) -> None:
    if isinstance(found, str):
        print(f"{name:<12} {found}", flush=True)
        return
    rates = " ".join(f"{found[c]['per_second']:>8.0f}" for c in _CONNECTIONS)
    times = f"{found[1]['p50_us']:>8.0f} {found[64]['p50_us'] / 1000:>9.1f} {found[64]['p99_us'] / 1000:>9.1f}"
    ratio = ours / found[64]["per_second"]
    print(f"{name:<12} {rates} {times} {found['cold']:>7.1f} {found['memory']:>7.0f} {ratio:>7.1f}x", flush=True)


def main() -> None:
    """Ours, then each peer that is installed, or those that are named."""
    chosen = [p for p in PEERS if not sys.argv[1:] or p.name in sys.argv[1:]]
    folder = Path(tempfile.mkdtemp(prefix="clary-bench-"))
    model = folder / "xgboost-model"
    model_of(100).save_model(folder / "m.ubj")
    (folder / "m.ubj").rename(model)
    shutil.copy(model, folder / "peer.ubj")
    row = jobs.table()[0, 1:].tolist()
    print(f"One row of {len(row)} numbers to 100 trees; {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}.")
    print("             req/s @1       @8      @64  p50us@1  p50ms@64  p99ms@64  cold s  PSS MB  Clary is")
    with started(Path(tempfile.mkdtemp(prefix="clary-bench-home-"))) as platform:
        with tarfile.open(folder / "m.tar.gz", "w:gz") as packed:
            packed.add(model, "xgboost-model")
        platform.client("s3").create_bucket(Bucket="bench")
        platform.client("s3").upload_file(str(folder / "m.tar.gz"), "bench", "m.tar.gz")
        began = time.perf_counter()
        jobs.deploy(platform, "bench", "s3://bench/m.tar.gz")
        ours: dict[str, Any] = {"cold": time.perf_counter() - began}
        path = "/endpoints/bench/invocations"
        request = http(
            "POST", platform.port, path, _csv(row), {"Content-Type": "text/csv"}, "sagemaker", platform.root_key
        )
        for connections in _CONNECTIONS:
            ours[connections] = load(platform.port, connections, request)
        ours["memory"] = sum(map(_megabytes, platform.pids()))
    _line("Clary", ours, ours[64]["per_second"])
    for peer in chosen:
        _line(peer.name, measured(peer, row, folder / "peer.ubj"), ours[64]["per_second"])
    if (constant := _nginx_constant()) is not None:
        print(
            f"nginx answers a constant {constant:.0f} times a second; Clary's rate is {ours[64]['per_second'] / constant:.2f} of that"
        )
    shutil.rmtree(folder, ignore_errors=True)


def _megabytes(pid: int) -> float:
    """Memory of a process, shared pages in parts (PSS)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith("Pss:")), 0.0) / 1024


if __name__ == "__main__":
    main()
