"""The life of a training job. Pure: no clock, no disk, no process; everything comes in, everything goes out.

Starting → Downloading → Training → Uploading → Completed | Stopped | Failed
"""

from __future__ import annotations

from dataclasses import dataclass, replace

NEXT = {
    "Starting": {"Downloading", "Stopped"},
    "Downloading": {"Training", "Stopped", "Failed"},
    "Training": {"Stopping", "Uploading"},
    "Stopping": {"Uploading"},
    "Uploading": {"Completed", "Stopped", "Failed"},
}
"""Allowed transitions; a phase that leads nowhere is final."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a job will end once its results are safe."""

    phase: str  # Completed, Stopped or Failed
    secondary: str = ""  # when it differs from the phase
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job, as far as decisions need it."""

    name: str
    phase: str = "Starting"
    stop: bool = False
    began: float | None = None  # seconds since the epoch at which Training began
    limit: float = 86400.0
    verdict: Verdict | None = None

    def to(self, phase: str, verdict: Verdict | None = None, began: float | None = None) -> Job:
        """The job in its next phase; ValueError when there is no such way."""
        if phase not in NEXT.get(self.phase, ()):
            raise ValueError(f"{self.name}: no way from {self.phase} to {phase}")
        return replace(self, phase=phase, verdict=verdict or self.verdict, began=began or self.began)

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self.phase not in NEXT


@dataclass(frozen=True, slots=True)
class Seen:
    """What is true now: the copying of inputs, the processes, the packing of outputs."""

    inputs: str = "absent"  # absent, running, done or failed
    inputs_error: str = ""
    run: str = "absent"  # absent, running, exited, failed or vanished
    run_error: str = ""
    outputs: str = "absent"
    outputs_error: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """The job as it is from now on, what to do, and when to look again (seconds; None: when something happens)."""

    job: Job
    do: tuple[str, ...] = ()
    again: float | None = None


_STOPPED = Verdict("Stopped")
_OVERTIME = Verdict("Stopped", "MaxRuntimeExceeded")


def step(job: Job, seen: Seen, now: float) -> Step:
    """What comes next."""
    if job.over:  # evidence is swept only after the verdict is on disk
        return Step(job, ("sweep",))
    match job.phase:
        case "Starting":
            return Step(job.to("Stopped", _STOPPED), again=0) if job.stop else Step(job.to("Downloading"), ("stage",))
        case "Downloading":
            return _downloading(job, seen, now)
        case "Training":
            return _training(job, seen, now)
        case "Stopping":
            if seen.run == "running":
                return Step(job, ("stop",), again=5)
            return Step(job.to("Uploading"), ("upload",))
    return _uploading(job, seen)


def _downloading(job: Job, seen: Seen, now: float) -> Step:
    if job.stop:
        return Step(job.to("Stopped", _STOPPED), ("abandon",), again=0)
    match seen.inputs:
        case "done":
            return Step(job.to("Training", began=now), ("start",), again=0.03)
        case "failed":
            return Step(job.to("Failed", Verdict("Failed", reason=seen.inputs_error)), again=0)
        case "running":
            return Step(job, again=10)
    return Step(job, ("stage",))  # control died while it copied: begin again


def _training(job: Job, seen: Seen, now: float) -> Step:
    ended = {
        "exited": Verdict("Completed"),
        "failed": Verdict("Failed", reason=seen.run_error),
        "vanished": Verdict("Failed", reason=seen.run_error),
    }.get(seen.run)
    if ended is not None:
        return Step(job.to("Uploading", ended), ("upload",))
    if seen.run == "absent":
        if job.stop:
            return Step(job.to("Stopping", _STOPPED), ("stop",), again=1)
        return Step(job, ("start",), again=0.1)  # control died before it started the processes
    if job.stop:
        return Step(job.to("Stopping", _STOPPED), ("stop",), again=5)
    assert job.began is not None
    left = job.began + job.limit - now
    if left <= 0:
        return Step(job.to("Stopping", _OVERTIME), ("stop",), again=5)
    return Step(job, ("follow",), again=min(left, 30))


def _uploading(job: Job, seen: Seen) -> Step:
    assert job.verdict is not None
    match seen.outputs:
        case "done":
            return Step(job.to(job.verdict.phase), again=0)
        case "failed":
            reason = job.verdict.reason or seen.outputs_error
            return Step(job.to("Failed", Verdict("Failed", reason=reason)), again=0)
        case "running":
            return Step(job, again=10)
    return Step(job, ("upload",))
