"""The life of a training job. Pure: no clock, no disk, no process; everything comes in, everything goes out.

Starting → (Pending) → Downloading → Training → Uploading → Completed | Stopped | Failed. A spot job that is interrupted,
and one that is tried again, goes from Training back to the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

NEXT = {
    "Starting": {"Pending", "Downloading", "Stopped"},
    "Pending": {"Downloading", "Stopped"},
    "Downloading": {"Training", "Stopped", "Failed"},
    "Training": {"Stopping", "Uploading", "Interrupting", "Restarting"},
    "Interrupting": {"Interrupted", "Stopping"},
    "Interrupted": {"Pending", "Downloading", "Stopped"},
    "Restarting": {"Pending", "Downloading", "Stopped"},
    "Stopping": {"Uploading"},
    "Uploading": {"Completed", "Stopped", "Failed"},
}
"""Allowed transitions; a phase that leads nowhere is final."""

BEGINNING = ("Starting", "Pending", "Interrupted", "Restarting")
"""Phases in which a job has nothing and waits for room."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a job will end once its results are safe."""

    phase: str  # Completed, Stopped or Failed
    secondary: str = ""  # when it differs from the phase
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job, as far as decisions need it. Times are seconds, or seconds since the epoch."""

    name: str
    phase: str = "Starting"
    stop: bool = False
    began: float | None = None  # when Training began
    limit: float = 86400.0
    verdict: Verdict | None = None
    interrupt: int = 0  # how often an interruption was asked for
    interruptions: int = 0  # how often it was interrupted
    attempts: int = 0  # how often it was begun anew
    retries: int = 0  # how often it may be, after a fault of the platform
    ran: float = 0.0  # how long it trained before it was begun anew
    last: float | None = None  # when waiting and training has to be over

    def to(self, phase: str, verdict: Verdict | None = None, began: float | None = None) -> Job:
        """The job in its next phase; ValueError when there is no such way."""
        if phase not in NEXT.get(self.phase, ()):
            raise ValueError(f"{self.name}: no way from {self.phase} to {phase}")
        return replace(self, phase=phase, verdict=verdict or self.verdict, began=began or self.began)

    def anew(self, phase: str, now: float) -> Job:
        """The job before its next attempt."""
        ran = self.ran + (max(0.0, now - self.began) if self.began is not None else 0.0)
        interruptions = self.interrupt if phase == "Interrupted" else self.interruptions
        begun = replace(self.to(phase), attempts=self.attempts + 1, interruptions=interruptions, ran=ran)
        return replace(begun, began=None)

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self.phase not in NEXT


@dataclass(frozen=True, slots=True)
class Seen:
    """What is true now: room on the machine, the copying of inputs, the processes, the packing of outputs."""

    waits: str = ""  # what the job waits for before it can begin
    inputs: str = "absent"  # absent, running, done or failed
    inputs_error: str = ""
    run: str = "absent"  # absent, running, exited, failed or vanished
    run_error: str = ""
    watched: bool = True  # whether somebody tells us when a running process ends
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
_TOO_LATE = Verdict("Stopped", "MaxWaitTimeExceeded")
_QUEUE_SECONDS = 2.0


def step(job: Job, seen: Seen, now: float) -> Step:
    """What comes next."""
    if job.over:  # evidence is swept only after the verdict is on disk
        return Step(job, ("sweep",))
    if job.phase in BEGINNING:
        return _beginning(job, seen, now)
    match job.phase:
        case "Downloading":
            return _downloading(job, seen, now)
        case "Training":
            return _training(job, seen, now)
        case "Interrupting":
            return _interrupting(job, seen, now)
        case "Stopping":
            if seen.run == "running":
                return Step(job, ("stop",), again=5)
            return Step(job.to("Uploading"), ("upload",))
    return _uploading(job, seen)


def _beginning(job: Job, seen: Seen, now: float) -> Step:
    if job.stop:
        return Step(job.to("Stopped", _STOPPED), again=0)
    if job.last is not None and now >= job.last:
        return Step(job.to("Stopped", _TOO_LATE), again=0)
    if not seen.waits:
        return Step(job.to("Downloading"), ("stage",))
    waiting = job if job.phase == "Pending" else job.to("Pending")
    return Step(waiting, again=_QUEUE_SECONDS if job.last is None else min(_QUEUE_SECONDS, job.last - now))


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
    if seen.run == "vanished" and job.attempts - job.interruptions < job.retries and not job.stop:
        return Step(job.anew("Restarting", now), ("discard",), again=0)
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
    left = job.began + job.limit - job.ran - now
    if left <= 0:
        return Step(job.to("Stopping", _OVERTIME), ("stop",), again=5)
    if job.last is not None:
        if now >= job.last:
            return Step(job.to("Stopping", _TOO_LATE), ("stop",), again=5)
        left = min(left, job.last - now)
    if job.interrupt > job.interruptions:
        return Step(job.to("Interrupting"), ("stop",), again=5)
    return Step(job, ("follow",), again=min(left, 30 if seen.watched else 0.05))


def _interrupting(job: Job, seen: Seen, now: float) -> Step:
    if seen.run == "running":
        if job.stop:
            return Step(job.to("Stopping", _STOPPED), ("stop",), again=5)
        return Step(job, ("stop",), again=5)
    return Step(job.anew("Interrupted", now), ("discard",), again=0)


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
