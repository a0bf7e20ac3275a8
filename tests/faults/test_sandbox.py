"""What a hostile job, function or neighbour can do: nothing outside of what is its own."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clary.executors import landlock, limits, network
from clary.executors.policy import KEY_BYTES, Policy
from clary.executors.spec import Mount, ProcessSpec
from tests.jobs import messages, train
from tests.platform import CLARY, Platform, run, started, until
from tests.services.test_functions import call, create
from tests.services.test_training import GROUP, scripted

ORDINARY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""Makes an ordinary user of root: no capability outside, files as before."""


def ordinary() -> tuple[str, ...]:
    """What precedes a command so that an ordinary user runs it."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("unshare") is None or subprocess.run([*ORDINARY, "true"], check=False).returncode:
        pytest.skip("there is no way here to become an ordinary user")
    return ORDINARY


def printed(platform: Platform, name: str) -> str:
    """What a job printed; the test is skipped where no sandbox can be made."""
    text = "\n".join(messages(platform, GROUP, f"{name}/"))
    if "without a sandbox" in text:
        pytest.skip("this machine lets us make no sandbox")
    return text


def completed(platform: Platform, name: str, text: str, **changes: Any) -> str:
    """Run a script; what it printed."""
    found = train(platform, {**scripted(platform, name, text), **changes})
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    return printed(platform, name)


@pytest.fixture(scope="module")
def shown_platform() -> Iterator[Platform]:
    """A platform of an ordinary user whose home is in a folder that every sandbox shows."""
    prefix = ordinary()
    home = Path(tempfile.mkdtemp(prefix="h", dir=sys.prefix))
    if len(str(home)) > 43:
        home.rmdir()
        pytest.skip("the Python installation's path is too long for a home folder in it")
    with started(home, prefix=prefix) as platform:
        yield platform


def test_a_home_folder_in_a_shown_folder_is_hidden(shown_platform: Platform, name: str) -> None:
    text = f"""
import os, pathlib, sys
home = pathlib.Path({str(shown_platform.home)!r})
print("UID", os.getuid())
print("SEEN", sorted(str(p) for p in home.rglob("*")) if home.exists() else [])
for path in ("run/session.json", "run/zygote.key", "clary.db", "tls/ca.key"):
    try:
        print("READ", path, len((home / path).read_bytes()))
    except OSError:
        pass
try:
    (home / "x").write_text("x"); print("WROTE")
except OSError:
    pass
print("PYTHON", os.path.exists(sys.executable), bool(__import__("numpy").__file__))
"""
    said = completed(shown_platform, name, text)
    assert "UID 0" not in said
    assert "SEEN []" in said
    assert "READ" not in said
    assert "WROTE" not in said
    assert "PYTHON True True" in said


def _zygote(platform: Platform, data: bytes) -> bytes:
    """What a zygote answers to one who is not the platform's control process."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(10)
        channel.connect(str(platform.home / "run" / "zygote.sock"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            channel.sendall(data)
            return channel.recv(4)
    return b""


def _spec(platform: Platform, **changes: Any) -> ProcessSpec:
    folder = platform.home / "runs" / "job-stranger" / "algo-1"
    return ProcessSpec("stranger", str(folder), command=("/bin/true",), **changes)


def _asked(spec: ProcessSpec, **more: Any) -> bytes:
    raw = {**json.loads(spec.dump()), **more}
    data = json.dumps(raw).encode()
    return len(data).to_bytes(4, "little") + data


def test_a_zygote_starts_nothing_for_those_who_do_not_know_its_key(sqlite_platform: Platform) -> None:
    spec = _spec(sqlite_platform)
    spec.path.mkdir(parents=True, exist_ok=True)
    try:
        assert _zygote(sqlite_platform, _asked(spec)) == b""
        assert _zygote(sqlite_platform, os.urandom(KEY_BYTES) + _asked(spec)) == b""
        key = (sqlite_platform.home / "run" / "zygote.key").read_bytes()
        assert (sqlite_platform.home / "run" / "zygote.key").stat().st_mode & 0o77 == 0
        assert _zygote(sqlite_platform, key + _asked(spec, sandbox="off")) == b""  # not a client's to choose
        home = sqlite_platform.home
        for source in (home, home.parent, home / "runs", *(p for p in home.iterdir() if p.name != "runs")):
            assert (
                _zygote(sqlite_platform, key + _asked(_spec(sqlite_platform, mounts=(Mount(str(source), "/x"),))))
                == b""
            )
        assert not (spec.path / "lock").exists()
        assert _zygote(sqlite_platform, key + _asked(spec)) != b""
        until(lambda: (spec.path / "exit").exists(), what="the process ends")
    finally:
        shutil.rmtree(spec.path.parent)


def test_a_policy_hides_a_home_by_each_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    given = {"CLARY_HOME": str(tmp_path / "link"), "CLARY_HIDDEN": "/opt/secret:relative"}
    hidden = Policy.from_environment(given).hidden
    assert str(tmp_path / "real") in hidden
    assert "/opt/secret" in hidden
    assert "/" not in hidden


UNLOCKS = """
import fcntl, os, time
found = sorted(int(n) for n in os.listdir("/proc/self/fd"))
for fd in found:
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    except OSError:
        pass
print("UNLOCKED", flush=True)
open_ones = []
for fd in range(3, 4096):
    try:
        open_ones.append((fd, os.readlink(f"/proc/self/fd/{fd}")))
    except OSError:
        pass
print("OPEN", [o for o in open_ones if not o[1].startswith(("pipe:", "/proc"))], flush=True)
while not os.path.exists("/opt/ml/model/go"): time.sleep(0.02)
print("WENT ON", flush=True)
"""


@pytest.mark.parametrize("forked", [True, False])
def test_a_job_has_no_descriptor_of_the_platforms(own_platform: Platform, name: str, forked: bool) -> None:
    """A job that unlocks whatever it finds is still the job that runs, and ends as such."""
    text = UNLOCKS if forked else f"# pip install\n{UNLOCKS}"  # one that may install packages is executed
    request = scripted(own_platform, name, text)
    own_platform.client("sagemaker").create_training_job(**request)
    until(lambda: "UNLOCKED" in "".join(messages(own_platform, GROUP, f"{name}/")), what="it has unlocked all")
    folder = next(own_platform.home.glob("runs/job-*/algo-1"))
    own_platform.kill("clary.server")  # the next one judges by the lock
    until(lambda: _status(own_platform, name), what="control is back")
    assert _status(own_platform, name) == "InProgress"
    (folder / "ml/model/go").touch()
    until(lambda: _status(own_platform, name) not in ("InProgress", ""), what="it ends")
    said = printed(own_platform, name)
    assert _status(own_platform, name) == "Completed"
    assert "OPEN []" in said
    assert "WENT ON" in said


def _status(platform: Platform, name: str) -> str:
    with contextlib.suppress(Exception):  # while control starts there is nobody to ask
        found = platform.client("sagemaker").describe_training_job(TrainingJobName=name)
        return str(found["TrainingJobStatus"])
    return ""


DETACHES = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setpgid(0, 0)
            while True: time.sleep(1)
        os._exit(0)
print("DETACHED", flush=True)
while True: time.sleep(1)
"""


def _groups(platform: Platform) -> list[str]:
    return [str(p) for h in limits.hierarchies() if (p := h / limits.of_home(platform.home)).exists()]


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_down_ends_all_that_a_job_started_and_leaves_no_group(name: str, sandbox: str) -> None:
    home = Path(tempfile.mkdtemp(prefix="clary-test-"))
    prefix = ordinary() if sandbox == "off" else ()  # root's files are closed to a job that is not in a sandbox
    with started(home, prefix=prefix, CLARY_SANDBOX=sandbox) as platform:
        platform.client("sagemaker").create_training_job(**scripted(platform, name, DETACHES))
        until(lambda: "DETACHED" in "".join(messages(platform, GROUP, f"{name}/")), what="it has detached processes")
        made = _groups(platform)
        if os.geteuid() == 0:
            assert made
        # what `started` asserts when it ends: no process of the home folder is left
    assert not [path for path in made if os.path.exists(path)]


def test_groups_of_a_platform_that_was_killed_are_removed_at_the_next_start(own_platform: Platform, name: str) -> None:
    own_platform.client("sagemaker").create_training_job(**scripted(own_platform, name, DETACHES))
    until(lambda: "DETACHED" in "".join(messages(own_platform, GROUP, f"{name}/")), what="it runs")
    if not (made := _groups(own_platform)):
        pytest.skip("this machine lets us make no control groups")
    own_platform.kill()
    inside = [Path(p) for path in made for p, _, _ in os.walk(path) if Path(p).name == "algo-1"]
    assert inside
    own_platform.up()
    assert not [p for p in inside if p.exists()]


def test_secrets_of_the_operators_environment_stay_with_the_platform(name: str) -> None:
    """Neither a job nor a process between it and the platform has them, or the database's password."""
    text = """
import pathlib
for path in ("/proc/self/environ", "/proc/1/environ"):
    try:
        print("ENVIRON", path, "hush" in pathlib.Path(path).read_text())
    except OSError:
        print("ENVIRON", path, False)
import time
print("READY", flush=True)
while not pathlib.Path("/opt/ml/model/go").exists(): time.sleep(0.02)
"""
    home = Path(tempfile.mkdtemp(prefix="clary-test-"))
    secrets = {"PGPASSWORD": "hush-1", "AWS_SECRET_ACCESS_KEY": "hush-2", "MY_TOKEN": "hush-3"}
    with started(home, CLARY_DATABASE=f"sqlite:///{home}/hush.db", **secrets) as platform:
        platform.client("sagemaker").create_training_job(**scripted(platform, name, text))
        until(lambda: "READY" in "".join(messages(platform, GROUP, f"{name}/")), what="it runs")
        said = printed(platform, name)
        assert "True" not in said
        forked = platform.pids("clary.executors.zygote")
        assert len(forked) > 2
        for pid in forked:
            found = Path(f"/proc/{pid}/environ").read_text()
            assert "CLARY_HOME" in found
            assert "hush" not in found
        (next(home.glob("runs/job-*/algo-1")) / "ml/model/go").touch()
        until(lambda: _status(platform, name) == "Completed", what="it ends")


@pytest.mark.parametrize("path", ["/usr/lib/ckpt", "/proc/ckpt", "/"])
def test_a_path_that_cannot_be_shown_does_not_cost_the_sandbox(sqlite_platform: Platform, name: str, path: str) -> None:
    """A user's own choice must not decide whether there is a sandbox, nor make folders outside of it."""
    request = scripted(sqlite_platform, name, "print('RAN')\n")
    request["CheckpointConfig"] = {"S3Uri": f"s3://{name}/c", "LocalPath": path}
    found = train(sqlite_platform, request)
    said = "\n".join(messages(sqlite_platform, GROUP, f"{name}/"))
    assert found["TrainingJobStatus"] == "Failed"
    assert "RAN" not in said and "can be shown at" in said + found["FailureReason"], found["FailureReason"]


def test_checkpoints_stay_in_the_jobs_folder(sqlite_platform: Platform, name: str) -> None:
    """Objects that a user chooses are not written where the user's path would lead on this machine."""
    request = scripted(sqlite_platform, name, "import os; print('THERE', os.path.exists('/opt/ml/mine/planted'))\n")
    sqlite_platform.client("s3").put_object(Bucket=name, Key="ckpt/planted", Body=b"x")
    request["CheckpointConfig"] = {"S3Uri": f"s3://{name}/ckpt", "LocalPath": "/opt/ml/../../../../run"}
    found = train(sqlite_platform, request)
    assert not (sqlite_platform.home / "run" / "planted").exists()
    assert found["TrainingJobStatus"] == "Completed", found["FailureReason"]  # it is /run, in the job's own sandbox
    request["TrainingJobName"] = f"{name}-2"
    request["CheckpointConfig"] = {"S3Uri": f"s3://{name}/ckpt", "LocalPath": "/opt/ml/input/../mine"}
    found = train(sqlite_platform, request)
    assert found["TrainingJobStatus"] == "Completed", found["FailureReason"]
    assert "THERE True" in printed(sqlite_platform, f"{name}-2")


FEEDS = """
import os, time
data = "/opt/ml/input/data/"
with open(data + "train_0", "rb") as file:
    while not os.path.exists(data + "train_1"): time.sleep(0.001)
    os.unlink(data + "train_1")
    os.symlink({target!r}, data + "train_1")
    print("LINKED", len(file.read()), flush=True)
while not os.path.exists("/opt/ml/model/go"): time.sleep(0.02)
"""


def test_the_feeder_of_a_pipe_follows_no_link(own_platform: Platform, name: str, tmp_path: Path) -> None:
    """It reads stored objects with the platform's rights, and writes where a job can put a link."""
    precious = tmp_path / "precious"
    precious.write_text("kept")
    request = scripted(own_platform, name, FEEDS.format(target=str(precious)))
    own_platform.client("s3").put_object(Bucket=name, Key="train/a", Body=bytes(1 << 20))  # more than a pipe holds
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{name}/train"}
    request["InputDataConfig"] = [
        {"ChannelName": "train", "DataSource": {"S3DataSource": source}, "InputMode": "Pipe"}
    ]  # fmt: skip
    own_platform.client("sagemaker").create_training_job(**request)
    until(lambda: "LINKED" in "".join(messages(own_platform, GROUP, f"{name}/")), what="it has put a link there")
    feeder = next(own_platform.home.glob("runs/job-*/feed-*"))
    until(lambda: (feeder / "exit").exists(), what="the feeder finds a link and ends")
    assert precious.read_text() == "kept"
    (next(own_platform.home.glob("runs/job-*/algo-1")) / "ml/model/go").touch()
    until(lambda: _status(own_platform, name) == "Completed", what="it ends")
    assert precious.read_text() == "kept"


KERNEL = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": (323, 425, 321, 250, 298), "aarch64": (282, 425, 280, 219, 241)}[os.uname().machine]
def said(name, result):
    print("CALL", name, "done" if result >= 0 else errno.errorcode[ctypes.get_errno()], flush=True)
said("unshare", libc.unshare(0x10000000))
said("unshare-all", libc.unshare(0x7e020000))
said("mount", libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None))
for name, n in zip(("userfaultfd", "io_uring", "bpf", "keyctl", "perf"), number):
    said(name, libc.syscall(n, 0, 0, 0, 0, 0))
for name, family in (("vsock", 40), ("alg", 38), ("packet", 17)):
    try:
        socket.socket(family, socket.SOCK_DGRAM).close(); print("CALL", name, "done")
    except OSError as error:
        print("CALL", name, errno.errorcode[error.errno])
import threading
ran = []
thread = threading.Thread(target=ran.append, args=(1,)); thread.start(); thread.join()
import subprocess
print("WORKS", ran, subprocess.run(["/bin/sh", "-c", "echo sub"], capture_output=True, text=True).stdout.strip())
print("PARENT", os.path.exists("/proc/1/fd/0"), [l.split()[1] for l in open("/proc/self/status") if l.startswith("Seccomp:")])
"""


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_the_kernel_is_out_of_reach(request: pytest.FixtureRequest, name: str, user: str) -> None:
    platform = request.getfixturevalue("sqlite_platform" if user == "root" else "shown_platform")
    said = completed(platform, name, KERNEL)
    calls = dict(line.split()[1:] for line in said.splitlines() if line.startswith("CALL "))
    assert calls == {
        "unshare": "EPERM", "unshare-all": "EPERM", "mount": "EPERM", "userfaultfd": "EPERM", "io_uring": "ENOSYS",
        "bpf": "EPERM", "keyctl": "EPERM", "perf": "EPERM", "vsock": "EAFNOSUPPORT", "alg": "EAFNOSUPPORT",
        "packet": "EAFNOSUPPORT",
    }  # fmt: skip
    assert "WORKS [1] sub" in said
    assert "PARENT False ['2']" in said


def test_abstract_sockets_of_the_machine_are_out_of_reach(sqlite_platform: Platform, name: str) -> None:
    if not landlock.supported():
        pytest.skip("this kernel cannot keep processes from abstract sockets")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen(1)
        text = f"""
import socket
def reach(path):
    try:
        socket.socket(socket.AF_UNIX).connect(path); return "reached"
    except OSError as error:
        return error.errno
own = socket.socket(socket.AF_UNIX); own.bind("\\0{name}-own"); own.listen(1)
print("OTHERS", reach("\\0{name}"), "OWN", reach("\\0{name}-own"))
"""
        assert "OTHERS 1 OWN reached" in completed(sqlite_platform, name, text)


FORKS = """
import os, signal, time
made = []
try:
    for _ in range(3000):
        pid = os.fork()
        if pid == 0:
            time.sleep(600); os._exit(0)
        made.append(pid)
except OSError as error:
    print("FULL", len(made), error.errno, flush=True)
for pid in made:
    os.kill(pid, signal.SIGKILL)
"""


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_processes_are_bounded(name: str, user: str) -> None:
    home = Path(tempfile.mkdtemp(prefix="clary-test-"))
    with started(home, prefix=ordinary() if user == "ordinary" else (), CLARY_JOB_PROCESSES="100") as platform:
        said = completed(platform, name, FORKS)
    count = int(said.partition("FULL ")[2].split()[0])
    assert 80 < count < 100


def test_a_file_that_was_removed_counts_while_it_is_open(sqlite_platform: Platform, name: str) -> None:
    text = """
import os, time
files = []
for number in range(12):
    files.append(open(f"/tmp/{number}", "wb"))
    os.unlink(f"/tmp/{number}")
    for _ in range(100): files[-1].write(bytes(1 << 20))
    files[-1].flush()
time.sleep(600)
"""
    request = scripted(sqlite_platform, name, text)
    request["ResourceConfig"] = {**request["ResourceConfig"], "VolumeSizeInGB": 1}
    found = train(sqlite_platform, request)
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("ClientError: No space left on device: algo-1 held 1.")


def test_one_file_cannot_outgrow_the_volume_between_two_looks(sqlite_platform: Platform, name: str) -> None:
    text = """
import os
with open("/opt/ml/model/big", "wb") as file:
    try:
        os.posix_fallocate(file.fileno(), 0, 3 << 30); print("GREW")
    except OSError as error:
        print("STOPPED", error.errno)
"""
    request = scripted(sqlite_platform, name, text)
    request["ResourceConfig"] = {**request["ResourceConfig"], "VolumeSizeInGB": 1}
    train(sqlite_platform, request)
    said = printed(sqlite_platform, name)
    assert "STOPPED 27" in said
    assert "GREW" not in said


FILLS = """
import os
def handler(event, context):
    if event == "pid":
        return os.getpid()
    if event == "large":
        return "x" * (9 << 20)
    for number in range(event):
        with open(f"/tmp/{number}", "wb") as file:
            for _ in range(64): file.write(bytes(1 << 20))
    import time
    time.sleep(30 if event > 9 else 0)
    return "written"
"""


def test_a_functions_disk_is_bounded(sqlite_platform: Platform, name: str) -> None:
    client = create(sqlite_platform, name, FILLS, Timeout=60)
    assert call(client, name, 4)[0] == "written"
    answer, about = call(client, name, 12)
    assert about["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert "[Errno 28] No space left on device: /tmp held" in answer["errorMessage"]
    assert answer["errorMessage"].endswith("EphemeralStorage is 512 MB")
    assert call(client, name, 1)[0] == "written"  # the next call has an empty one


def test_an_answer_that_is_far_too_large_is_refused_in_awss_words(sqlite_platform: Platform, name: str) -> None:
    client = create(sqlite_platform, name, FILLS, Timeout=60)
    before = call(client, name, "pid")[0]
    answer, about = call(client, name, "large")
    assert about["FunctionError"] == "Unhandled"
    assert answer == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    assert call(client, name, "pid")[0] == before  # the process goes on


CLOSED = (errno.ECONNREFUSED, errno.EPERM)
"""The errors of a port that is out of reach: kernels before Linux 5.18 know the second one only."""

REACHES = """
import socket, sys
def reach(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as s:
        s.settimeout(5)
        try:
            s.connect(address); return "reached"
        except OSError as error:
            return error.errno or "silence"
four, six, port = socket.AF_INET, socket.AF_INET6, {port}
print("OTHERS", [reach(four, (a, port)) for a in ("127.0.0.1", "0.0.0.0", "127.3.2.1", "2130706433")],
      [reach(six, (a, port)) for a in ("::ffff:127.0.0.1", "::1")])
print("LINK", reach(four, ("169.254.169.254", 80)), reach(six, ("::ffff:169.254.169.254", 80)),
      reach(six, ("fe80::1", 80, 0, 1)), reach(four, ("169.254.170.2", 80), socket.SOCK_DGRAM))
with socket.create_server(("127.0.0.1", 0)) as own, socket.create_server(("0.0.0.0", 0)) as wide:
    print("OWN", reach(four, own.getsockname()), reach(four, ("127.0.0.1", wide.getsockname()[1])))
with socket.socket(four, socket.SOCK_DGRAM) as s:
    try:
        s.sendto(b"x", ("127.0.0.1", port)); print("SENT")
    except OSError as error:
        print("UNSENT", error.errno)
import boto3
print("PLATFORM", boto3.client("sts").get_caller_identity()["Account"])
"""


@pytest.fixture(scope="module")
def closed_platform() -> Iterator[Platform]:
    """A platform that closes the machine's network to jobs, as it is started without any setting."""
    if why := network.supported():
        pytest.skip(f"the network cannot be closed here: {why}")
    with started(Path(tempfile.mkdtemp(prefix="clary-test-")), CLARY_LOCAL_PORTS="") as platform:
        yield platform


def test_loopback_and_link_local_addresses_are_out_of_reach(closed_platform: Platform, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = completed(closed_platform, name, REACHES.format(port=port))
    assert any(f"OTHERS [{e}, {e}, {e}, {e}] [{e}, {e}]" in said for e in CLOSED)
    assert "LINK 1 1 1 1" in said
    assert "OWN reached reached" in said
    assert any(f"UNSENT {e}" in said for e in CLOSED)
    assert "PLATFORM 000000000000" in said


def test_a_port_that_the_operator_opens_is_reached(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = f"import socket; print('OPEN', bool(socket.create_connection(('127.0.0.1', {port}))))"
        home = Path(tempfile.mkdtemp(prefix="clary-test-"))
        with started(home, CLARY_LOCAL_PORTS=f"{port - 1}-{port},9") as platform:
            assert "OPEN True" in completed(platform, name, text)


MEETS = """
import json, os, socket, time
hosts = json.load(open("/opt/ml/input/config/resourceconfig.json"))["hosts"]
if os.environ["CURRENT_HOST"] == hosts[0]:
    with socket.create_server((hosts[0], 7000)) as server:
        print("MET", server.accept()[0].recv(5).decode())
else:
    while True:
        try:
            with socket.create_connection((hosts[0], 7000)) as s: s.sendall(b"hello")
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
"""


def test_hosts_of_a_job_reach_each_other_and_other_jobs_do_not(closed_platform: Platform, name: str) -> None:
    request = scripted(closed_platform, name, MEETS)
    request["ResourceConfig"] = {**request["ResourceConfig"], "InstanceCount": 2}
    found = train(closed_platform, request)
    assert found["TrainingJobStatus"] == "Completed", found["FailureReason"]
    assert "MET hello" in printed(closed_platform, name)


LISTENS = """
import os, socket, time
with socket.create_server(("127.0.0.1", 0)) as own:
    print("LISTENS", own.getsockname()[1], flush=True)
    while not os.path.exists("/opt/ml/model/go"): time.sleep(0.02)
    with socket.create_connection(own.getsockname()): print("STILL", flush=True)
"""


def test_what_a_job_has_bound_outlives_the_supervisor(name: str) -> None:
    if why := network.supported():
        pytest.skip(f"the network cannot be closed here: {why}")
    with started(Path(tempfile.mkdtemp(prefix="clary-test-")), CLARY_LOCAL_PORTS="") as platform:
        platform.client("sagemaker").create_training_job(**scripted(platform, name, LISTENS))
        until(lambda: "LISTENS" in "".join(messages(platform, GROUP, f"{name}/")), what="it listens")
        port = int("".join(messages(platform, GROUP, f"{name}/")).partition("LISTENS ")[2].split()[0])
        other = f"{name}-2"
        text = f"import socket; print('OTHER', socket.socket().connect_ex(('127.0.0.1', {port})))"
        request = {**scripted(platform, other, text)}
        assert train(platform, request)["TrainingJobStatus"] == "Completed"
        assert any(f"OTHER {e}" in printed(platform, other) for e in CLOSED)
        os.kill(int((platform.home / "run" / "supervisor.lock").read_text()), signal.SIGKILL)
        until(
            lambda: not platform.pids("clary.server") and not platform.pids("clary.serving"), what="the parts have gone"
        )
        platform.up()
        (next(platform.home.glob("runs/job-*/algo-1")) / "ml/model/go").touch()
        until(lambda: _status(platform, name) not in ("InProgress", ""), what="it ends")
        assert "STILL" in printed(platform, name)
        assert _status(platform, name) == "Completed"


def test_doctor_says_what_is_enforced(shown_platform: Platform) -> None:
    said = run([CLARY, "doctor"], shown_platform.environment).stdout
    for subject in ("sandbox", "memory", "processes", "disk", "system calls", "sockets", "network"):
        assert f"  {subject}" in said
    if os.geteuid() == 0:  # the platform is not root, who asks is
        assert "note: network: jobs reach link-local addresses and all loopback ports" in shown_platform.log()
