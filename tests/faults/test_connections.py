"""Connections that break the protocol, come in crowds or crawl: each gets its answer, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from clary.admission import victims
from clary.gateway.bodies import Bodies
from clary.serving.meter import Meters
from clary.serving.sessions import Sessions
from clary.web import Connection, Connections, Limits, Request, Response, serving
from clary.web.message import Body, Budget, Overloaded
from tests.platform import CLARY, Platform, until
from tests.signing import sign

INVOKE = b"POST /endpoints/none/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1"
HEALTH = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(platform: Platform) -> socket.socket:
    """An open connection."""
    parts = urlsplit(platform.endpoint)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20)


def everything(platform: Platform, data: bytes) -> bytes:
    """What is answered until the server closes the connection."""
    with connect(platform) as connection:
        connection.sendall(data)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def statuses(answer: bytes) -> list[bytes]:
    """The statuses of the answers in a stream of them."""
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)


def signed_call(platform: Platform) -> bytes:
    """A prediction that is signed, of an endpoint that does not exist."""
    headers = sign(platform, {"Content-Type": "text/csv"}, b"1", path="/endpoints/none/invocations")
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": "1"}.items())
    return f"POST /endpoints/none/invocations HTTP/1.1\r\n{lines}\r\n1".encode()


@pytest.mark.parametrize(
    ("spoilt", "status"),
    [
        (lambda call: call.replace(b"Host:", b"Host: a\r\nhost:"), b"400"),
        (lambda call: call.replace(b"Host:", b"X: 1\r\n" * 300 + b"Host:"), b"431"),
        (lambda call: call.replace(b"Content-Length: 1", b"Content-Length: 99000000"), b"413"),
        (lambda call: call.replace(b"Credential=", b"Credential=A"), b"403"),
        (lambda call: call.replace(b"/invocations", b"/invocations" + b"?" + b"a" * 70_000), b"414"),
    ],
)
def test_a_pipelined_request_is_refused_in_its_turn(
    platform: Platform, spoilt: Callable[[bytes], bytes], status: bytes
) -> None:
    call = signed_call(platform)
    assert statuses(everything(platform, call + call + spoilt(call) + call)) == [b"400", b"400", status]


@pytest.mark.parametrize("stray", [b"\0", b"GET\r\n\r\n", b"}{\r\n"])
def test_a_request_before_stray_bytes_is_answered(platform: Platform, stray: bytes) -> None:
    assert statuses(everything(platform, HEALTH + stray)) == [b"200", b"400"]
    answer = everything(platform, signed_call(platform) + stray)
    assert statuses(answer) == [b"400", b"400"]
    assert answer.index(b"Endpoint none of account") < answer.index(b"not well-formed HTTP")


def test_a_stranger_is_refused_before_the_body_of_a_prediction(platform: Platform) -> None:
    head = INVOKE.replace(b"Content-Length: 1", b"Content-Length: 20000000").removesuffix(b"1")
    assert statuses(everything(platform, head)) == [b"403"]


@pytest.mark.parametrize(("request_", "status"), [(INVOKE, b"403"), (HEALTH, b"200")])
def test_an_upgrade_is_not_taken_and_the_request_is_answered(
    platform: Platform, request_: bytes, status: bytes
) -> None:
    upgrade = request_.replace(b"localhost\r\n", b"localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n")
    assert statuses(everything(platform, upgrade)) == [status]


@pytest.mark.parametrize("request_", [INVOKE, HEALTH])
def test_two_hosts_are_no_host(platform: Platform, request_: bytes) -> None:
    assert statuses(everything(platform, request_.replace(b"Host:", b"Host: a\r\nhost:"))) == [b"400"]


@pytest.mark.parametrize("request_", [INVOKE, HEALTH])
def test_the_number_of_headers_is_bounded(platform: Platform, request_: bytes) -> None:
    many = b"".join(b"X%d: a\r\n" % i for i in range(300))
    assert statuses(everything(platform, request_.replace(b"\r\n\r\n", b"\r\n" + many + b"\r\n", 1))) == [b"431"]


def last(request: bytes) -> bytes:
    """A request after which the connection is closed."""
    return request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: SageMaker.ListModels\r\n",
        b"POST /endpoints/none/invocations HTTP/1.1\r\nHost: localhost\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nHost: two\r\n",
    ],
    ids=["control", "front", "malformed"],
)
def test_a_client_that_is_refused_early_can_send_the_rest_and_sees_why(platform: Platform, head: bytes) -> None:
    with connect(platform) as connection:
        connection.sendall(head + b"Content-Length: 20000000\r\n\r\n")
        connection.sendall(b"x" * 20_000_000)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert statuses(answer) in ([b"400"], [b"403"])


def open_files(pid: int) -> int:
    """How many descriptors a process has."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_what_is_no_call_of_an_endpoint_does_not_go_round_in_circles(platform: Platform) -> None:
    (front,) = platform.pids("clary.serving")
    before = open_files(front)
    data = INVOKE.replace(b"/invocations", b"/invocations/").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert statuses(everything(platform, data))[0] in (b"400", b"403", b"404", b"405")
    assert open_files(front) < before + 10


@pytest.fixture(scope="module")
def cramped() -> Iterator[Platform]:
    """A platform that may have 1,024 files open in each process."""
    home = Path(tempfile.mkdtemp(prefix="clary-few-"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CLARY_"))}
    platform = Platform(home, {**kept, "CLARY_HOME": str(home), "CLARY_ZYGOTE": "0"})
    subprocess.run(
        ["bash", "-c", f"ulimit -Hn 1024; ulimit -Sn 1024; exec {CLARY} up -d -p 0"],
        env=platform.environment, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    host, port = (home / "run" / "port").read_text().split()
    platform.endpoint, platform.port = f"http://{host}:{port}", int(port)
    try:
        yield platform
    finally:
        platform.down()
        subprocess.run(["rm", "-rf", str(home)], check=True)


@pytest.fixture
def many_files() -> None:
    """This process may have enough files open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /endpoints/none/invocations HTTP/1.1\r\nHo", b"GET /livez HTTP/1.1\r\nHo"],
    ids=["silent", "half a call of an endpoint", "half another call"],
)
def test_a_crowd_of_connections_shuts_nobody_out(cramped: Platform, many_files: None, sent: bytes) -> None:
    front, control = cramped.pids("clary.serving"), cramped.pids("clary.server")
    with contextlib.ExitStack() as crowd:
        for _ in range(1500):
            connection = crowd.enter_context(connect(cramped))
            with contextlib.suppress(OSError):
                connection.sendall(sent)
        assert statuses(everything(cramped, last(HEALTH))) == [b"200"]
        assert statuses(everything(cramped, last(INVOKE))) == [b"403"]
        assert cramped.client("sagemaker").list_models()["Models"] == []
    assert (cramped.pids("clary.serving"), cramped.pids("clary.server")) == (front, control)


def test_those_of_the_largest_crowd_go_first_and_the_oldest_among_them() -> None:
    waiting = [("a", 5.0, "a5"), ("b", 1.0, "b1"), ("a", 3.0, "a3"), ("a", 4.0, "a4")]
    assert victims(waiting, 3) == ["a3", "a4", "a5"]
    assert victims(waiting, 9) == ["a3", "a4", "a5", "b1"]


async def _crawl(limits: Limits, head: bytes, piece: bytes) -> bytes:
    """Send a piece again and again, as slowly as a server never finds quiet; what it answers when it has had enough."""

    async def answer(request: Request) -> Response:
        return Response(200, {}, await request.body.read(1 << 20))

    pool = Connections(limits)
    async with serving(pool):
        server = await asyncio.get_running_loop().create_server(lambda: Connection(answer, pool), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(head)
        answered = asyncio.create_task(reader.read())
        while not (await asyncio.wait([answered], timeout=0.05))[0]:
            writer.write(piece)
        writer.close()
        server.close()
        return answered.result()


LIMITS = Limits(head_seconds=0.5, body_seconds=0.5, body_rate=1000)


def test_a_head_that_crawls_is_given_up() -> None:
    answer = asyncio.run(asyncio.wait_for(_crawl(LIMITS, b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: a\r\n"), 20))
    assert statuses(answer) == [b"408"]


def test_a_body_that_crawls_is_given_up() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    assert statuses(asyncio.run(asyncio.wait_for(_crawl(LIMITS, head, b"a"), 20))) == [b"408"]


def test_a_body_that_comes_fast_enough_may_take_its_time() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4000\r\n\r\n"
    answer = asyncio.run(asyncio.wait_for(_crawl(LIMITS, head, b"a" * 200), 20))
    assert statuses(answer) == [b"200"]


class Source:
    """The sender of a body."""

    def resume(self) -> None:
        """Reading goes on."""

    def wants_body(self) -> None:
        """It is read."""


def request_with(budget: Budget, length: int | None) -> Request:
    """A request whose body is yet to come."""
    return Request("POST", "/", "/", "", {}, Body(Source(), length, budget))


def test_all_bodies_together_are_bounded_and_given_back() -> None:
    async def run() -> None:
        budget = Budget(100_000)
        first, second = request_with(budget, 80_000), request_with(budget, 80_000)
        for request in (first, second):
            request.body.feed(b"a" * 80_000)
        assert not second.body.feed(b""), "the sender pauses early when there is no room"
        first.body.finish()
        assert len(await first.body.read(80_000)) == 80_000
        with pytest.raises(Overloaded):
            await second.body.read(80_000)
        first.body.release()
        second.body.release()
        assert budget.used == 0
        assert not second.body.feed(b"a"), "what comes after the end is not kept"
        assert budget.used == 0

    asyncio.run(run())


def test_large_bodies_wait_for_their_proof_on_disk(tmp_path: Path) -> None:
    async def run() -> None:
        budget = Budget(4 << 20)
        bodies = Bodies(tmp_path)
        request = request_with(budget, None)
        request.body.feed(b"a" * (3 << 20))
        request.body.finish()
        async with bodies.hold(request, 8 << 20) as held:
            assert budget.used == 0, "it is in a file"
            assert held.size == 3 << 20
            assert await held.read() == b"a" * (3 << 20)
            assert budget.used == 3 << 20
        request.body.release()
        assert budget.used == bodies._on_disk == 0
        assert not list(tmp_path.iterdir()), "the file has no name, so a crash leaves none"

    asyncio.run(run())


def test_the_front_outlives_a_flood(cramped: Platform, many_files: None) -> None:
    (front,) = cramped.pids("clary.serving")
    with contextlib.ExitStack() as crowd:
        for _ in range(1100):
            crowd.enter_context(connect(cramped))
    until(lambda: open_files(front) < 200, what="the closed connections are forgotten")
    assert cramped.pids("clary.serving") == [front]


def test_the_front_outlives_a_disk_that_takes_nothing(cramped: Platform) -> None:
    front = cramped.pids("clary.serving")
    figures = cramped.home / "run" / "front.metrics"
    until(figures.exists, what="the front writes its figures down")
    figures.unlink()
    figures.mkdir()
    until(lambda: "could not be written down" in cramped.log(), what="the front says so")
    assert statuses(everything(cramped, last(INVOKE))) == [b"403"]
    figures.rmdir()
    until(figures.is_file, what="the figures are written again")
    assert cramped.pids("clary.serving") == front


def test_counts_are_kept_until_they_can_be_written_down(tmp_path: Path) -> None:
    meters = Meters(tmp_path / "metrics")
    (tmp_path / "metrics").touch()
    key = ("1", "us-east-1", "e", "v", "", "")
    meters.of(key).answered(200, 1, 0.01, 0.001)
    with pytest.raises(OSError, match="metrics"):
        meters.hand_over()
    (tmp_path / "metrics").unlink()
    meters.of(key).answered(200, 1, 0.01, 0.001)
    meters.hand_over()
    (written,) = (tmp_path / "metrics").iterdir()
    assert json.loads(written.read_bytes())[0]["invocations"] == 2


def test_a_session_works_though_it_cannot_be_written_down(tmp_path: Path) -> None:
    path = tmp_path / "later" / "sessions.jsonl"
    sessions = Sessions(path)
    sessions.begin("e", b"one", "replica-1")
    assert sessions.find("e", b"one") == "replica-1"
    path.parent.mkdir()
    sessions.begin("e", b"two", "replica-2")
    assert [Sessions(path).find("e", name) for name in (b"one", b"two")] == ["replica-1", "replica-2"]
