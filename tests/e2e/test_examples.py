"""The examples, run as a user would run them: with the SDK, on a platform that knows nothing of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.test_clients import environment
from tests.platform import CLARY, ROOT, Platform, run


def example(platform: Platform, name: str) -> str:
    """Run an example under the SageMaker Python SDK v2; what it printed."""
    python = str(environment("sdk-v2") / "python")
    return run([CLARY, "run", "--", python, str(ROOT / "examples" / name)], platform.environment).stdout


def test_model_families(sqlite_platform: Platform) -> None:
    printed = example(sqlite_platform, "train_families.py")
    for name in ("svm", "rnn", "resnet", "gan", "encoder", "decoder"):
        assert f"\n{name} " in f"\n{printed}"
    assert "resnet endpoint tells" in printed


def test_preprocessing_in_front_of_a_booster(sqlite_platform: Platform) -> None:
    assert "✓ the endpoint takes raw rows" in example(sqlite_platform, "preprocess_and_predict.py")


def test_three_ways_to_ask_from_outside(sqlite_platform: Platform, tmp_path: Path) -> None:
    """The SDK, boto3 and an API, with the same transformation in training and in the Lambda function."""
    folder, python = ROOT / "examples" / "clients", str(environment("sdk-v2") / "python")

    def program(name: str, **variables: str) -> str:
        command = [CLARY, "run", "--", python, str(folder / name)]
        return run(command, {**sqlite_platform.environment, **variables}, cwd=tmp_path).stdout

    assert "user ml_user_predict" in program("prepare.py")
    profile = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    printed = program("with_the_sdk.py", **profile)
    assert int(re.findall(r"(\d+)% of guessing", printed)[0]) < 30, printed
    assert ":user/ml_user_predict\n" in program("with_boto3.py", **profile)
    assert "/beta/bike" in program("expose.py")
    printed = program("with_requests.py")
    assert "requests: 400 weather is 'frogs'; it is one of clear, mist, light rain, heavy rain" in printed
    assert "20 customers at once" in printed
    _in_a_browser(folder, (tmp_path / "api.txt").read_text(), tmp_path / "page.png")


def _in_a_browser(folder: Path, api: str, picture: Path) -> None:
    """The page of the example, served from another port than the API: the browser asks whether it may first."""
    modules, node = ROOT / ".envs" / "node", shutil.which("node")
    if node is None or not (modules / "node_modules" / "puppeteer-core").exists():
        pytest.skip("there is no browser: it comes with `make test` where Node.js is installed")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            shutil.copy(Path(__file__).parent / "programs" / "browser_client.mjs", modules)
            page = f"http://127.0.0.1:{server.server_port}/page.html?api={api}"
            environment = {**os.environ, "TMPDIR": str(picture.parent)}
            command = [node, str(modules / "browser_client.mjs"), page, str(picture)]
            found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        finally:
            server.shutdown()
    if "NO BROWSER" in found.stdout:
        pytest.skip(f"the browser does not start on this machine: {found.stdout}")
    assert re.search(r"SHOWN \d+ bicycles in this hour", found.stdout), found.stdout + found.stderr
    assert "OPTIONS" in found.stdout and "POST" in found.stdout and picture.stat().st_size > 5000
