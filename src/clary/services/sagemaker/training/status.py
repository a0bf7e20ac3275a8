"""A job's phases as AWS's statuses and transitions."""

from __future__ import annotations

from typing import Any

from .machine import Job

Json = dict[str, Any]
_MESSAGES = {
    "Starting": "Starting the training job",
    "Pending": "Waiting for room on the machine",
    "Interrupted": "Training job interrupted: the instance was reclaimed. It goes on from its checkpoints",
    "Restarting": "Restarting the training job after a fault of the platform",
    "MaxWaitTimeExceeded": "Training job waiting and running time exceeded MaxWaitTimeInSeconds provided",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Failed": "Training job failed",
}


_SHOWN = {"Interrupting": "Training"}  # phases that AWS has no name for


def first(at: float) -> Json:
    """The status of a job that was just accepted."""
    entry = {"Status": "Starting", "StartTime": at, "StatusMessage": _MESSAGES["Starting"]}
    return {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Starting", "SecondaryStatusTransitions": [entry]}


def primary(job: Job) -> str:
    """The status that lists filter by."""
    if job.over:
        return job.phase
    stopping = job.verdict is not None and job.verdict.phase == "Stopped"
    return "Stopping" if job.phase == "Stopping" or stopping else "InProgress"


def secondary(job: Job) -> str:
    """The finer status."""
    if job.over and job.verdict is not None and job.verdict.secondary:
        return job.verdict.secondary
    return _SHOWN.get(job.phase, job.phase)


def waiting(status: Json, reason: str) -> Json:
    """The status document of a job that waits, saying for what."""
    *before, last = status["SecondaryStatusTransitions"]
    return {**status, "SecondaryStatusTransitions": [*before, {**last, "StatusMessage": reason}]}


def advance(status: Json, job: Job, at: float, hosts: int, result: Json) -> Json:
    """The status document of a job's phase."""
    name = secondary(job)
    transitions = list(status["SecondaryStatusTransitions"])
    if transitions[-1]["Status"] != name:
        transitions[-1] = {**transitions[-1], "EndTime": at}
        entry: Json = {"Status": name, "StartTime": at, "StatusMessage": _MESSAGES[name]}
        if job.over:
            entry["EndTime"] = at
        transitions.append(entry)
    changed = {
        **status, "TrainingJobStatus": primary(job), "SecondaryStatus": name, "SecondaryStatusTransitions": transitions,
    }  # fmt: skip
    if job.phase == "Downloading":
        changed.setdefault("TrainingStartTime", at)
    if job.over:
        started = changed.get("TrainingStartTime")
        if started is not None:
            seconds = max(1, round(at - started))
            billable = seconds
            if job.attempts:  # what was lost between two attempts costs nothing
                billable = min(seconds, max(1, round(job.ran + (at - job.began if job.began is not None else 0.0))))
            changed |= {"TrainingEndTime": at, "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": billable}
        if result.get("metrics"):
            changed["FinalMetricDataList"] = result["metrics"]
        if job.verdict is not None and job.verdict.reason:
            changed["FailureReason"] = job.verdict.reason[:1024]
    return changed
