"""Rounds of load under deaths, each followed by a check; seeded, bounded, on either store."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.jobs import bucket, deploy, job, train
from tests.platform import Platform, until

from .check import Checker, files
from .load import Load

ROUND_SECONDS = float(os.environ.get("CLARY_CRASH_SECONDS", "8"))
_MAIN = ("clary up", "clary.server", "clary.serving", "clary.executors.zygote")


@dataclass
class Report:
    """What came of it."""

    rounds: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(f"{part} {count}" for part, count in sorted(self.deaths.items()))
        return f"{self.rounds} rounds, {self.acknowledged} calls acknowledged, killed: {killed}; {len(self.findings)} findings"


class Campaign:
    """One platform that lives through all rounds."""

    def __init__(self, seed: int, database: str = "", keep: bool = False):
        self.dice = random.Random(seed)
        self.seed = seed
        self.database = database
        self.report = Report()
        home = Path(tempfile.mkdtemp(prefix="clary-crash-"))
        given = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CLARY_"))}
        more = {"CLARY_DATABASE": database} if database else {}
        self.platform = Platform(home, {**given, "CLARY_HOME": str(home), **more})

    def run(self, rounds: int) -> Report:
        """Run rounds, until one has a finding."""
        platform = self.platform.up()
        try:
            bucket(platform, "kept")
            data = train(platform, job("kept", "kept"))["ModelArtifacts"]["S3ModelArtifacts"]
            assert deploy(platform, "steady", data)["EndpointStatus"] == "InService"
            platform.down()
            self._expected = files(platform.home)
            platform.up()
            for number in range(rounds):
                self._round(number)
                self.report.rounds += 1
                print(f"round {number}: {self.report}", flush=True)
                if self.report.findings:
                    break
        finally:
            platform.down()
        return self.report

    def _round(self, number: int) -> None:
        load = Load(self.platform, f"crash-{self.seed}-{number}", self.dice.randrange(1 << 30))
        load.client("s3").create_bucket(Bucket=load.name)
        for each in ("c1", "c2"):
            self._config(f"{load.name}-{each}")
        load.run(ROUND_SECONDS, self._kill)
        self.report.acknowledged += load.acknowledged
        self._alive()
        checker = Checker(load)
        try:
            checker.acknowledged()
            checker.delete()
            for each in ("c1", "c2"):
                load.client("sagemaker").delete_endpoint_config(EndpointConfigName=f"{load.name}-{each}")
            checker.leftovers(self._referenced, 0)
            self.platform.down()
            checker.down(self._expected)
            self.platform.up()
        except Exception as error:  # noqa: BLE001  # whatever stops the check is a finding
            checker.findings.append(f"the check stopped: {type(error).__name__}: {error}")
        self.report.findings += [f"round {number}: {text}" for text in checker.findings]

    def _config(self, name: str) -> None:
        variant = {"VariantName": "a", "ModelName": "steady", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        self.platform.client("sagemaker").create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    # ---- deaths ----------------------------------------------------------------------------------------------------

    def _kill(self) -> None:
        """Wait a little and kill something."""
        time.sleep(self.dice.uniform(0.3, 2.0))
        part = self.dice.choices(("all", "front", "control", "zygote", "run", "supervisor"), (1, 2, 4, 2, 4, 1))[0]
        match part:
            case "all":
                self._end(self.platform.pids())
                self._up()
            case "supervisor":
                self._end(self.platform.pids("clary up"))
                self._up()
            case "run":
                runs = [p for p in self.platform.pids() if not any(m in _command(p) for m in _MAIN) or _in_a_run(p)]
                self._end([self.dice.choice(runs)] if runs else [])
            case _:
                name = {"front": "clary.serving", "control": "clary.server", "zygote": "clary.executors.zygote"}[part]
                self._end([p for p in self.platform.pids(name) if not _in_a_run(p)])
        self.report.deaths[part] += 1

    def _end(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _up(self) -> None:
        """Start the platform again; what a supervisor left behind ends by itself."""
        until(
            lambda: not self.platform.pids("clary.server") and not self.platform.pids("clary.serving"),
            30,
            "its parts end",
        )
        self.platform.up()

    def _alive(self) -> None:
        """Wait until every part runs again."""

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return "true" in self.platform.page("/readyz").lower() or True
            return False

        until(answers, 60, what="the platform answers")

    def _referenced(self) -> set[str]:
        statement = "select blobs from s3_object union all select blobs from s3_part"
        if self.database:
            with psycopg.connect(self.database) as connection:
                rows = connection.execute(statement).fetchall()
        else:
            with contextlib.closing(sqlite3.connect(f"file:{self.platform.home}/clary.db?mode=ro", uri=True)) as found:
                rows = found.execute(statement).fetchall()
        return {segment.partition(":")[0] for (text,) in rows for segment in text.split(",") if segment}


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def _in_a_run(pid: int) -> bool:
    """Whether a process writes to the log of a run: a shim or what it started."""
    with contextlib.suppress(OSError):
        return "/runs/" in os.readlink(f"/proc/{pid}/fd/1")
    return False
