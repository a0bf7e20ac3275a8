"""Runs a number of requests against a platform, judges the answers, and makes what it finds small."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import botocore.session

from tests.platform import Platform

from .connection import Answer, Connection
from .garden import plant
from .requests import Draft, Keys, Target, battered, misframed
from .shrink import smaller
from .values import Known, Maker, spoil

SERVICES = (
    "sagemaker", "sagemaker-runtime", "s3", "iam", "sts", "logs", "cloudwatch", "application-autoscaling", "lambda", "apigateway",
    "apigatewayv2", "ssm", "secretsmanager", "ecr", "cloudformation",
)  # fmt: skip
_SPOKEN = ("json", "smithy-rpc-v2-cbor", "query", "rest-json", "rest-xml")
_STARTS_PROCESSES = re.compile(r"Create(Training|Transform|Endpoint$|InferenceComponent)|^Invoke|^UpdateEndpoint$")
_START = "Traceback (most recent call last):"
_LINE = re.compile(r"^\d\d:\d\d:\d\d ", re.MULTILINE)  # how a line of the log begins
_TRIES = 250
_TRIES_AFTER_HANGS = 4


def targets(served: set[tuple[str, str]] | None = None) -> list[Target]:
    """Every operation of every service, once for each protocol; of those alone that are served where these are given."""
    found = []
    session = botocore.session.get_session()
    for service in SERVICES:
        model = session.get_service_model(service)
        protocols = [p for p in model.metadata.get("protocols") or [model.metadata["protocol"]] if p in _SPOKEN]
        for name, protocol in itertools.product(model.operation_names, protocols):
            if served is None or (service, name) in served:
                signing = model.signing_name
                found.append(Target(service, signing, protocol, dict(model.metadata), model.operation_model(name)))
    return found


@dataclass(frozen=True)
class Finding:
    """A request that ended as none may."""

    verdict: str
    draft: Draft
    sent: bytes
    answer: Answer
    trace: str
    repeats: bool

    def report(self) -> str:
        """Its description: what came, the smallest request that we found, and the platform's own traceback."""
        seen = "" if self.repeats else "  (it did not come again when the request was repeated)\n"
        return (
            f"== {self.verdict}: {self.draft.label}\n{seen}{self._request()}\n-> {self.answer.status} "
            f"{self.answer.fault} {self.answer.body[:300]!r}\n{self.trace[-1500:]}\n"
        )

    def _request(self) -> str:
        """What was sent, without what the signer adds."""
        if self.draft.broken:
            return repr(self.sent[:3000])
        where = self.draft.path + (f"?{self.draft.query}" if self.draft.query else "")
        return f"{self.draft.method} {where[:2000]}  {self.draft.host} {self.draft.headers}\n{self.draft.body[:3000]!r}"


@dataclass
class Log:
    """What the platform's log has gained."""

    path: Path
    at: int = 0

    def tracebacks(self) -> list[str]:
        """The tracebacks since the last look."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            file.seek(self.at)
            data = file.read()
            self.at += len(data)
            parts = data.decode("utf-8", "replace").split(_START)
            return [_START + (part[: cut.start()] if (cut := _LINE.search(part)) else part) for part in parts[1:]]
        return []


@dataclass
class Campaign:
    """A seeded number of requests, sent by a few workers side by side."""

    platform: Platform
    seed: int = 0
    count: int = 1000
    seconds: float = 1e9
    workers: int = 3
    deadline: float = 10.0
    only: str = ""
    findings: dict[str, Finding] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    sent: int = 0
    reached: set[str] = field(default_factory=set)  # operations that have answered 2xx
    _known: Known = field(default_factory=Known)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: bool = False
    _traces: dict[str, str] = field(default_factory=dict)  # the log's tracebacks by the place where they end

    def run(self) -> Campaign:
        """Send them all, or as many as the time allows."""
        every = targets(self._served())
        self._targets = [t for t in every if self.only in f"{t.service}.{t.operation.name}"] or every
        self._log = Log(self.platform.home / "log" / "clary.log")
        self._known.own_key = self.platform.root_key[0]
        plant(self.platform, self._known)
        self._log.tracebacks()
        self._ends = time.monotonic() + self.seconds
        threads = [threading.Thread(target=self._work, args=(n,)) for n in range(self.workers)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self._over = True
        return self

    @property
    def operations(self) -> set[str]:
        """The operations that the campaign asks for."""
        return {f"{t.service}.{t.operation.name}" for t in self._targets}

    def _served(self) -> set[tuple[str, str]]:
        found = json.loads(self.platform.page("/_clary/coverage"))
        return {(service, name) for service, names in found.items() for name in names["served"]}

    def _work(self, number: int) -> None:
        parts = urlsplit(self.platform.endpoint)
        assert parts.hostname and parts.port
        connection = Connection(parts.hostname, parts.port, self.deadline)
        pick = random.Random(f"{self.seed}/{number}")
        host, keys = parts.netloc, Keys(*self.platform.root_key)
        for done in range(self.count // self.workers):
            if self._over or time.monotonic() > self._ends:
                break
            if number == 0 and done and done % 2000 == 0:
                plant(self.platform, self._known)
            try:
                draft, spoilt = self._case(pick)
                data = spoilt(draft.signed(keys, host))
            except (UnicodeError, OverflowError, RecursionError):  # no writer of ours spells it
                continue
            answer = connection.ask(data, draft.method, last=draft.broken)
            with self._lock:
                self.sent += 1
                self.statuses[answer.status] += 1
                if 200 <= answer.status < 300:
                    self.reached.add(draft.label.partition(" ")[0])
            if answer.status == 200:
                self._known.read(answer.body)
            if verdict := judge(draft, answer):
                self._keep(verdict, draft, spoilt, answer, data, connection, keys, host)
        connection.close()

    # ---- cases -------------------------------------------------------------------------------------------------------

    def _case(self, pick: random.Random) -> tuple[Draft, Callable[[bytes], bytes]]:
        chance = pick.random()
        if chance < 0.03:
            return self._called(pick), _same
        target = pick.choice(self._targets)
        if _STARTS_PROCESSES.match(target.operation.name) and pick.random() < 0.7:
            target = pick.choice(self._targets)
        maker = Maker(pick, self._known, pick.choice((0.0, 0.0, 0.02, 0.08, 0.3)))
        params = maker.parameters(target.operation.input_shape) if target.operation.input_shape else {}
        if pick.random() < 0.35:
            params = spoil(params, pick, pick.choice((1, 1, 3)))
            params = params if isinstance(params, dict) else {"x": params}
        draft = target.draft(params)
        if chance < 0.78:
            return draft, _same
        if chance < 0.94:
            return battered(draft, pick), _same
        draft.broken = True
        seed = pick.random()
        return draft, lambda data: misframed(data, random.Random(seed))

    def _called(self, pick: random.Random) -> Draft:
        """A request for an API that somebody deployed, or for one of the platform's own pages."""
        apis = self._known.pools.get("apiid", []) + self._known.pools.get("restapiid", []) + ["a" * 10]
        path = pick.choice(
            (
                "/",
                "/prod/a",
                "/prod/",
                "/prod",
                "/a",
                "/%00",
                "//",
                "/prod/a/b/c",
                "/prod/a?x=%ff&y",
                "/$default/a",
                "/prod/%2e%2e/a",
            )
        )
        path, _, query = path.partition("?")
        headers = dict(pick.sample([("content-type", "application/json"), ("content-type", "\xff"), ("x-api-key", "a"), ("origin", "null"), ("authorization", "Bearer a.b.c"), ("cookie", "a=\xff"), ("accept", "*/*"), ("x-amz-security-token", "x")], 2))  # fmt: skip
        body = pick.choice(
            (b"", b"{}", b'{"a": "b"}', b"[" * 2000, b"\xff", b"null", b'{"a":' * 300, b'"' + b"a" * 30_000 + b'"')
        )
        draft = Draft("a deployed API", method=pick.choice(("GET", "POST", "OPTIONS", "HEAD", "DELETE")), path=path, query=query, headers=headers, body=body)  # fmt: skip
        if pick.random() < 0.2:
            draft.label, draft.path = (
                "a page",
                pick.choice(
                    ("/livez", "/readyz", "/version", "/_clary/coverage", "/metrics", "/favicon.ico", "/robots.txt")
                ),
            )
        elif pick.random() < 0.5:
            draft.host = f"{pick.choice(apis)}.execute-api.localhost"
        else:
            draft.path = f"/_clary/execute-api/{pick.choice(apis)}{path}"
        return draft

    def _look(self) -> list[str]:
        traces = self._log.tracebacks()
        self._traces |= {_where(t): t for t in traces}
        return traces

    def strays(self) -> list[str]:
        """Tracebacks in the log that no finding has."""
        self._look()
        known = {_where(f.trace) for f in self.findings.values()}
        return [t for where, t in self._traces.items() if where not in known]

    # ---- findings ----------------------------------------------------------------------------------------------------

    def _keep(
        self, verdict: str, draft: Draft, spoilt: Callable[[bytes], bytes], answer: Answer, data: bytes,
        connection: Connection, keys: Keys, host: str,
    ) -> None:  # fmt: skip
        with self._lock:  # one at a time: the log's new tracebacks are then this one's
            traces = self._look()
            trace = traces[-1] if traces else ""
            key = f"{verdict} {_where(trace) or draft.label}"
            if key in self.findings:
                return

            def again(candidate: Draft) -> bool:
                try:
                    bytes_ = spoilt(candidate.signed(keys, host))
                except (UnicodeError, OverflowError, RecursionError):
                    return False
                return judge(candidate, connection.ask(bytes_, candidate.method, last=candidate.broken)) == verdict

            print(f"({key} …)", file=sys.stderr, flush=True)
            repeats = again(draft)
            if answer.fault == "hangs" and not repeats:
                return  # a machine under load: a request that hangs does so again
            small = draft
            if repeats and not draft.broken:
                small = smaller(draft, again, _TRIES_AFTER_HANGS if answer.fault == "hangs" else _TRIES)
            self._look()
            final = spoilt(small.signed(keys, host)) if small is not draft else data
            self.findings[key] = found = Finding(verdict, small, final, answer, trace, repeats)
            print(found.report(), flush=True)


def _same(data: bytes) -> bytes:
    return data


def _where(trace: str) -> str:
    """The place in our code where a traceback ends."""
    found = re.findall(r'File "[^"]*/clary/([^"]+)", line (\d+)', trace)
    return ":".join(found[-1]) if found else ""


_HONEST = (b"NotImplemented", b"SlowDown", b"ServiceUnavailable", b"Service Unavailable")
_DATABASE = b"The database is not available"  # which no request may bring about


def judge(draft: Draft, answer: Answer) -> str:
    """What is wrong with an answer; empty when nothing is."""
    if answer.fault == "closed":
        return "" if draft.broken else "closed"
    if answer.fault:
        return answer.fault
    if answer.status in (501, 503) and _DATABASE not in answer.body:
        return (
            "" if draft.method == "HEAD" or any(word in answer.body for word in _HONEST) else f"answers {answer.status}"
        )
    if draft.label == "a deployed API" and answer.status in (500, 502, 503, 504):
        return ""  # of an integration that is not there; a fault of ours shows in the log
    return f"answers {answer.status}" if answer.status >= 500 else ""
