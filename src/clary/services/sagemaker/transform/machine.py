"""The life of a transform job. Pure: no clock, no disk, no process; everything comes in, everything goes out.

Starting → Launching → Transforming → Ending → Completed | Stopped | Failed
"""

from __future__ import annotations

from dataclasses import dataclass, replace

NEXT = {
    "Starting": {"Launching", "Ending"},
    "Launching": {"Transforming", "Ending"},
    "Transforming": {"Ending"},
    "Ending": {"Completed", "Stopped", "Failed"},
}
"""Allowed transitions; a phase that leads nowhere is final."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a job will end once its processes are gone."""

    phase: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job, as far as decisions need it."""

    name: str
    phase: str = "Starting"
    stop: bool = False
    verdict: Verdict | None = None

    def to(self, phase: str, verdict: Verdict | None = None) -> Job:
        """The job in its next phase; ValueError when there is no such way."""
        if phase not in NEXT.get(self.phase, ()):
            raise ValueError(f"{self.name}: no way from {self.phase} to {phase}")
        return replace(self, phase=phase, verdict=verdict or self.verdict)

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self.phase not in NEXT


@dataclass(frozen=True, slots=True)
class Seen:
    """What is true now: the staging of the model, its replicas, the work, the replicas' end."""

    model: str = "absent"  # absent, running, done or failed
    fleet: str = "starting"  # starting, ready or failed
    work: str = "absent"
    error: str = ""  # of whichever failed
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """The job as it is from now on, what to do, and when to look again (seconds; None: when something happens)."""

    job: Job
    do: tuple[str, ...] = ()
    again: float | None = None


_STOPPED = Verdict("Stopped")


def step(job: Job, seen: Seen) -> Step:
    """What comes next."""
    if job.over:  # evidence is swept only after the verdict is on disk
        return Step(job, ("sweep",))
    if job.stop and job.phase != "Ending":
        return Step(job.to("Ending", _STOPPED), ("abandon", "end"), again=0.05)
    match job.phase:
        case "Starting":
            return _starting(job, seen)
        case "Launching":
            if seen.fleet == "failed":
                return Step(job.to("Ending", Verdict("Failed", seen.error)), ("end",), again=0.05)
            if seen.fleet == "ready":
                return Step(job.to("Transforming"), ("work",), again=10)
            return Step(job, again=0.05)
        case "Transforming":
            return _transforming(job, seen)
    assert job.verdict is not None
    if seen.ended:
        return Step(job.to(job.verdict.phase), again=0)
    return Step(job, ("end",), again=1)


def _starting(job: Job, seen: Seen) -> Step:
    match seen.model:
        case "done":
            return Step(job.to("Launching"), again=0)
        case "failed":
            return Step(job.to("Ending", Verdict("Failed", seen.error)), ("end",), again=0)
        case "running":
            return Step(job, again=10)
    return Step(job, ("stage",), again=10)


def _transforming(job: Job, seen: Seen) -> Step:
    match seen.work:
        case "done":
            return Step(job.to("Ending", Verdict("Completed")), ("end",), again=0.05)
        case "failed":
            return Step(job.to("Ending", Verdict("Failed", seen.error)), ("end",), again=0.05)
        case "running":
            return Step(job, again=10)
    return Step(job, ("work",), again=10)  # control died meanwhile: begin again, finished outputs are written anew
