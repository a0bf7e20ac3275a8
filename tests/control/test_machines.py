"""The machines' tables: pure decisions as lists of events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.executors import accelerators
from clary.services.sagemaker.endpoints import machine as endpoints
from clary.services.sagemaker.training import machine as training
from clary.services.sagemaker.training.capacity import Ledger, Need
from clary.services.sagemaker.training.machine import Job, Seen, Verdict, step
from clary.services.sagemaker.transform import machine as transform
from clary.store.rows import Key


def test_a_job_goes_its_way() -> None:
    job, path = Job("j"), []
    for seen in (
        Seen(),
        Seen(inputs="running"),
        Seen(inputs="done"),
        Seen(run="running"),
        Seen(run="exited"),
        Seen(outputs="running"),
        Seen(outputs="done"),
        Seen(),
    ):
        decided = step(job, seen, 100.0)
        job = decided.job
        path.append((job.phase, decided.do))
    assert path == [
        ("Downloading", ("stage",)), ("Downloading", ()), ("Training", ("start",)), ("Training", ("follow",)),
        ("Uploading", ("upload",)), ("Uploading", ()), ("Completed", ()), ("Completed", ("sweep",)),
    ]  # fmt: skip


def test_evidence_is_swept_only_after_the_verdict() -> None:
    decided = step(Job("j", "Uploading", verdict=Verdict("Failed", reason="r")), Seen(outputs="done"), 0.0)
    assert (decided.job.phase, decided.do, decided.again) == ("Failed", (), 0)


@pytest.mark.parametrize(
    ("job", "seen", "phase", "do"),
    [
        (Job("j", stop=True), Seen(), "Stopped", ()),
        (Job("j", "Downloading", stop=True), Seen(inputs="running"), "Stopped", ("abandon",)),
        (Job("j", "Downloading"), Seen(inputs="failed", inputs_error="no"), "Failed", ()),
        (Job("j", "Downloading"), Seen(), "Downloading", ("stage",)),
        (Job("j", "Training", began=0.0, stop=True), Seen(run="running"), "Stopping", ("stop",)),
        (Job("j", "Training", began=0.0, limit=10), Seen(run="running"), "Stopping", ("stop",)),
        (Job("j", "Training", began=0.0), Seen(run="absent"), "Training", ("start",)),
        (Job("j", "Training", began=0.0), Seen(run="failed", run_error="r"), "Uploading", ("upload",)),
        (Job("j", "Training", began=0.0), Seen(run="vanished", run_error="r"), "Uploading", ("upload",)),
        (Job("j", "Stopping"), Seen(run="exited"), "Uploading", ("upload",)),
    ],
)
def test_turns(job: Job, seen: Seen, phase: str, do: tuple[str, ...]) -> None:
    decided = step(job, seen, 20.0)
    assert (decided.job.phase, decided.do) == (phase, do)


def test_over_time_is_stopped_and_not_failed() -> None:
    decided = step(Job("j", "Training", began=0.0, limit=10), Seen(run="running"), 20.0)
    assert decided.job.verdict == Verdict("Stopped", "MaxRuntimeExceeded")


_states = st.sampled_from(["absent", "running", "done", "failed"])
_runs = st.sampled_from(["absent", "running", "exited", "failed", "vanished"])
_seen = st.builds(Seen, inputs=_states, run=_runs, outputs=_states)


@given(st.lists(st.tuples(_seen, st.booleans()), max_size=30))
def test_whatever_is_seen_a_final_job_stays_final_and_all_others_have_a_way_on(events: list[tuple[Seen, bool]]) -> None:
    job, final = Job("j"), None
    for number, (seen, stop) in enumerate(events):
        decided = step(Job(job.name, job.phase, stop, job.began, job.limit, job.verdict), seen, float(number))
        assert final is None or decided.job.phase == final
        job = decided.job
        if job.over:
            final = job.phase
            assert job.phase in ("Completed", "Stopped", "Failed")
        assert job.phase in training.NEXT or job.over


def test_no_way_is_an_error() -> None:
    with pytest.raises(ValueError, match="no way from Starting to Completed"):
        Job("j").to("Completed")


def _walk(endpoint: endpoints.Endpoint, *seen: endpoints.Seen) -> list[tuple[str, str, tuple[str, ...]]]:
    path = []
    for each in seen:
        decided = endpoints.step(endpoint, each)
        endpoint = decided.endpoint
        path.append((endpoint.phase, endpoint.status, decided.do))
    return path


def test_an_endpoint_is_in_service_only_when_the_front_has_taken_it() -> None:
    seen = endpoints.Seen
    path = _walk(
        endpoints.Endpoint("e"),
        seen(published=True),
        seen("ready", published=True),
        seen("ready"),
        seen("ready", published=True),
        seen(published=True),
    )
    assert path == [
        ("Launching", "Creating", ()), ("Activating", "Creating", ("adopt",)), ("Activating", "Creating", ("publish",)),
        ("InService", "InService", ("retire",)), ("InService", "InService", ()),
    ]  # fmt: skip


def test_what_was_asked_for_is_seen_before_it_is_taken_up() -> None:
    """The front has not taken the end of the last change yet: the next one waits, and nobody may think it is done."""
    for wish in ("update", "scale"):
        waiting = endpoints.Endpoint("e", "InService", serving=True, **{wish: True})
        assert _walk(waiting, endpoints.Seen()) == [("InService", "Updating", ("publish",))]
    assert endpoints.Endpoint("e", "InService", delete=True).status == "Deleting"


def test_a_failed_create_fails_and_a_failed_update_goes_back() -> None:
    failed = endpoints.Seen("failed", "because", published=True)
    create = endpoints.step(endpoints.Endpoint("e"), failed)
    update = endpoints.step(endpoints.Endpoint("e", serving=True), failed)
    assert (create.endpoint.phase, create.endpoint.reason) == ("Failed", "because")
    assert (update.endpoint.phase, update.endpoint.reason) == ("InService", "because")


def test_deleting_unpublishes_before_anything_is_stopped() -> None:
    endpoint = endpoints.Endpoint("e", "InService", True, delete=True)
    seen = endpoints.Seen
    path = _walk(
        endpoint, seen(published=True, left=1), seen(left=1), seen(published=True, left=1), seen(published=True)
    )
    assert [do for _, _, do in path] == [(), ("publish",), ("retire",), ("sweep",)]


@given(
    st.integers(0, 3),
    st.lists(
        st.builds(
            endpoints.Seen, st.sampled_from(["starting", "ready", "failed"]), st.just("because"), st.booleans(),
            st.booleans(), st.integers(0, 2), st.sampled_from([0.0, 5.0]), st.sampled_from(["", "", "", "an alarm"]),
        ), max_size=40,
    ),
)  # fmt: skip
def test_a_deployment_ends_with_one_fleet_and_ends_instances_only_when_the_front_let_them_go(
    stages: int, events: list[endpoints.Seen]
) -> None:
    """Whatever happens in whatever order: traffic moves by published steps, and either fleet wins whole."""
    endpoint = endpoints.Endpoint("e", serving=True, stages_left=stages)
    outcome = ""
    calm = endpoints.Seen("ready", scaled=True, published=True)
    for seen in [*events, *([calm] * 12)]:
        decided = endpoints.step(endpoint, seen)
        assert "retire" not in decided.do or seen.published
        assert not ({"shift", "adopt", "abandon", "retire"} & set(decided.do)) or seen.published
        endpoint = decided.endpoint
        if "shift" in decided.do:
            endpoint = replace(endpoint, shifted=True)
        if "advance" in decided.do:
            endpoint = replace(endpoint, stages_left=endpoint.stages_left - 1)
        for end in {"adopt", "abandon"} & set(decided.do):
            assert not outcome
            outcome = end
    assert (endpoint.phase, outcome in ("adopt", "abandon")) == ("InService", True)


def test_a_transform_job_goes_its_way() -> None:
    job, path, seen = transform.Job("j"), [], transform.Seen
    for each in (
        seen(),
        seen(model="done"),
        seen(),
        seen(fleet="ready"),
        seen(work="running"),
        seen(work="absent"),
        seen(work="done"),
        seen(),
        seen(ended=True),
        seen(),
    ):
        decided = transform.step(job, each)
        job = decided.job
        path.append((job.phase, decided.do))
    assert path == [
        ("Starting", ("stage",)), ("Launching", ()), ("Launching", ()), ("Transforming", ("work",)),
        ("Transforming", ()), ("Transforming", ("work",)), ("Ending", ("end",)), ("Ending", ("end",)),
        ("Completed", ()), ("Completed", ("sweep",)),
    ]  # fmt: skip


_transform_seen = st.builds(
    transform.Seen, model=_states, fleet=st.sampled_from(["starting", "ready", "failed"]), work=_states,
    ended=st.booleans(),
)  # fmt: skip


@given(st.lists(st.tuples(_transform_seen, st.booleans()), max_size=30))
def test_a_transform_job_ends_once_and_otherwise_looks_again(
    events: list[tuple[transform.Seen, bool]],
) -> None:
    job, final = transform.Job("j"), None
    for seen, stop in events:
        decided = transform.step(transform.Job(job.name, job.phase, stop or job.stop, job.verdict), seen)
        assert final is None or decided.job.phase == final
        assert decided.again is not None or decided.job.over
        job = decided.job
        if job.over:
            final = job.phase
            assert job.verdict is not None and job.verdict.phase == final


def test_an_interrupted_job_begins_anew_and_counts_its_time() -> None:
    job = replace(Job("j", "Training", began=100.0, limit=60.0), interrupt=1)
    decided = step(job, Seen(run="running"), 110.0)
    assert (decided.job.phase, decided.do) == ("Interrupting", ("stop",))
    assert step(decided.job, Seen(run="running"), 111.0).do == ("stop",)
    decided = step(decided.job, Seen(run="exited"), 120.0)
    assert (decided.job.phase, decided.do, decided.job.ran) == ("Interrupted", ("discard",), 20.0)
    assert (decided.job.attempts, decided.job.interruptions) == (1, 1)
    job = step(decided.job, Seen(), 130.0).job
    job = step(job, Seen(inputs="done"), 130.0).job
    assert (job.phase, job.began) == ("Training", 130.0)
    assert step(job, Seen(run="running"), 169.0).job.phase == "Training"
    assert step(job, Seen(run="running"), 170.0).job.verdict == Verdict("Stopped", "MaxRuntimeExceeded")


def test_a_fault_of_the_platform_is_tried_again_as_often_as_allowed() -> None:
    job = Job("j", "Training", began=0.0, retries=1)
    decided = step(job, Seen(run="vanished", run_error="r"), 5.0)
    assert (decided.job.phase, decided.do) == ("Restarting", ("discard",))
    job = replace(decided.job, phase="Training", began=6.0)
    decided = step(job, Seen(run="vanished", run_error="r"), 7.0)
    assert decided.job.verdict == Verdict("Failed", reason="r")
    assert step(replace(job, attempts=0), Seen(run="failed", run_error="r"), 7.0).job.phase == "Uploading"


def test_a_job_waits_for_room_but_not_for_ever() -> None:
    job = replace(Job("j"), last=50.0)
    decided = step(job, Seen(waits="room"), 10.0)
    assert (decided.job.phase, decided.do) == ("Pending", ())
    assert step(decided.job, Seen(waits="room"), 49.0).again == pytest.approx(1.0)
    assert step(decided.job, Seen(), 20.0).job.phase == "Downloading"
    assert step(replace(decided.job, stop=True), Seen(waits="room"), 20.0).job.phase == "Stopped"
    assert step(decided.job, Seen(waits="room"), 50.0).job.verdict == Verdict("Stopped", "MaxWaitTimeExceeded")
    training = replace(Job("j", "Training", began=1.0), last=50.0)
    assert step(training, Seen(run="running"), 51.0).job.verdict == Verdict("Stopped", "MaxWaitTimeExceeded")


def test_the_line_is_kept_in_order() -> None:
    ledger = Ledger(Need(4, 100))
    a, b, c, d = (Key("TrainingJob", "1", "r", n) for n in "abcd")
    assert ledger.ask(a, 1.0, Need(2, 10)) == "" == ledger.ask(b, 2.0, Need(2, 10))
    waits = ledger.ask(c, 3.0, Need(3, 10))
    assert "needs 3 vCPU" in waits and "4 vCPU, 0.0 GiB are taken by a, b" in waits
    assert "In line before it: c." in ledger.ask(d, 4.0, Need(1, 10))
    assert ledger.release(a) == [c, d]
    assert ledger.ask(d, 4.0, Need(1, 10))  # there would be room for it, but c came first
    assert ledger.ask(c, 3.0, Need(3, 10))
    assert ledger.release(b) == [c, d]
    assert ledger.ask(c, 3.0, Need(9, 900)) == ""  # larger than the machine: alone
    assert ledger.ask(d, 4.0, Need(1, 10)) and ledger.release(c) == [d] and ledger.release(c) == []
    assert ledger.ask(d, 4.0, Need(1, 10)) == ""


def test_gpus_are_given_to_one_job_at_a_time() -> None:
    ledger = Ledger(Need(64, 1000, 3))
    a, b, c = (Key("TrainingJob", "1", "r", n) for n in "abc")
    ledger.holds(a, Need(4, 10, 1), (1,))  # as it was before a restart
    assert ledger.ask(b, 1.0, Need(4, 10, 2)) == "" and ledger.gpus(b) == (0, 2)
    assert "needs 4 vCPU, 0.0 GiB, 1 GPU; of 64 vCPU, 0.0 GiB, 3 GPU" in ledger.ask(c, 2.0, Need(4, 10, 1))
    assert ledger.release(a) == [c] and ledger.gpus(a) == ()
    assert ledger.ask(c, 2.0, Need(4, 10, 1)) == "" and ledger.gpus(c) == (1,)


def test_a_process_sees_gpus_only_when_it_has_some(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    (tmp_path / "nvidia-caps").mkdir()
    assert accelerators.count(tmp_path) == 2
    assert accelerators.mounts([], tmp_path) == [] and accelerators.environment([], tmp_path) == {
        "CUDA_VISIBLE_DEVICES": ""
    }
    shown = {m.target for m in accelerators.mounts([1], tmp_path)}
    assert shown == {"/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"}
    assert accelerators.environment([1], tmp_path) == {"CUDA_VISIBLE_DEVICES": "1"}
    assert accelerators.environment([0], tmp_path / "none") == {}


def test_a_process_that_nobody_watches_is_looked_at_again_soon() -> None:
    job = Job("j", "Training", began=0.0, limit=1000)
    assert step(job, Seen(run="running", watched=False), 1.0).again == 0.05
    assert step(job, Seen(run="running"), 1.0).again == 30
