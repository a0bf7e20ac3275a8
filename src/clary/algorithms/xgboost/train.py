"""Training: channels to matrices, rounds with AWS's log lines, early stopping, checkpoints, several hosts."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..environment import TrainingEnvironment, UserError, fail, gpus, training
from ..readers.table import Table, concatenate
from . import hyperparameters, metrics, model
from .data import read_channel
from .runtime import library

Params = dict[str, Any]
_CHANNELS = ("train", "validation", "code")
_CHECKPOINT = re.compile(r"^xgboost-checkpoint\.(\d+)$")
_KEPT_CHECKPOINTS = 5
_TRACKER_PORT = 9099


def main() -> int:
    """Train, and write the model; the exit code."""
    try:
        environment = training()
        _train(environment)
    except UserError as error:
        return fail(f"ClientError: {error}")
    except Exception as error:
        if (told := _user_error(error)) is None:
            raise
        return fail(f"ClientError: {told}")
    return 0


def _user_error(error: Exception) -> str | None:
    """The library's complaints about labels and parameters are the user's to mend."""
    xgboost = library()
    if not isinstance(error, (xgboost.core.XGBoostError, ValueError)):
        return None
    text = str(error)
    found = re.search(r"Check failed: [^\n]*?: ([^\n]+)", text)
    line = found[1] if found else next((x for x in text.splitlines() if x.strip()), text)
    return line.strip()


def _say(text: str) -> None:
    print(f"[{time.strftime('%Y-%m-%d:%H:%M:%S')}:INFO] {text}", flush=True)


def _train(environment: TrainingEnvironment) -> None:
    params = hyperparameters.validate(environment.hyperparameters)
    for name in environment.channels:
        if name not in _CHANNELS:
            raise UserError(f"Extraneous channel found: {name}")
    if "train" not in environment.channels:
        raise UserError("Missing required channel: train")
    weights = params.get("csv_weights") == 1
    train = _read(environment, "train", weights)
    validation = _read(environment, "validation", weights) if "validation" in environment.channels else None
    _say(f"Determined {gpus()} GPU(s) available on the instance.")
    if len(environment.hosts) > 1:
        _distributed(environment, params, train, validation)
    else:
        _say("Single node training.")
        assert train is not None
        _boost(environment, params, train, validation)


def _read(environment: TrainingEnvironment, name: str, weights: bool) -> Table | None:
    channel = environment.channels[name]
    try:
        table = read_channel(channel, weights)
    except UserError:
        if len(environment.hosts) > 1 and not channel.pipe and not any(channel.folder.rglob("*")):
            return None  # a sharded channel may leave a host without data
        raise
    _check_labels(table, environment.hyperparameters.get("objective", ""), environment.hyperparameters.get("num_class"))
    _say(
        f"{name.capitalize()} matrix has {table.rows} rows"
        + (f" and {table.columns} columns" if name == "train" else "")
    )
    return table


def _check_labels(table: Table, objective: str, classes: str | None) -> None:
    labels = table.labels
    if labels is None:
        raise UserError("The data has no labels.")
    if np.isnan(labels).any():
        raise UserError("The label column, the first, has empty cells; every row needs a label.")
    if objective in ("binary:logistic", "binary:logitraw", "reg:logistic") and ((labels < 0) | (labels > 1)).any():
        raise UserError("label must be in [0,1] for logistic regression")
    if objective.startswith("multi:") and classes and ((labels < 0) | (labels >= float(classes))).any():
        raise UserError("label must be in [0, num_class).")


def _matrix(table: Table, threads: int, bounds: bool = False) -> Any:
    found = library().DMatrix(table.features, label=table.labels, weight=table.weights, nthread=threads)
    if table.groups is not None:
        found.set_info(qid=table.groups)
    if bounds:  # survival:aft reads intervals; one label a row is an interval without width
        found.set_info(label_lower_bound=table.labels, label_upper_bound=table.labels)
    return found


# ---- one host ------------------------------------------------------------------------------------------------------


def _boost(
    environment: TrainingEnvironment, params: Params, train: Table, validation: Table | None, writes: bool = True
) -> None:
    xgboost = library()
    if "_kfold" in params:
        _cross_validate(environment, params, train, validation)
        return
    threads = params.get("nthread", os.cpu_count() or 1)
    bounds = params.get("objective") == "survival:aft"
    matrix = _matrix(train, threads, bounds)
    evals = [(matrix, "train")]
    if validation is not None:
        if not isinstance(validation.features, np.ndarray) and validation.columns < train.columns:
            validation.features.resize((validation.rows, train.columns))
        evals.append((_matrix(validation, threads, bounds), "validation"))
    own, named = hyperparameters.for_library(params), hyperparameters.metric_names(params)
    native, custom = metrics.split(named)
    if native:
        own["eval_metric"] = native
    elif custom:
        own["disable_default_eval_metric"] = 1
    own["nthread"] = threads
    start, previous = _resume(environment)
    rounds = params["num_round"] - start
    callbacks: list[Any] = [_printer(start)] if writes else []
    if environment.checkpoints is not None and writes:
        callbacks.append(_checkpointer(environment.checkpoints, start))
    if params.get("save_model_on_termination") and writes:
        callbacks.append(_saver(environment))
    if "early_stopping_rounds" in params:
        watched, tuned = named[-1] if named else None, params.get("_tuning_objective_metric")
        if tuned:
            watched = tuned.partition(":")[2] or tuned
        callbacks.append(
            xgboost.callback.EarlyStopping(
                params["early_stopping_rounds"], metric_name=watched, data_name=evals[-1][1], save_best=True,
                maximize=metrics.maximized(watched) if watched else None,
            )
        )  # fmt: skip
    booster = previous
    if rounds > 0:
        booster = xgboost.train(
            own, matrix, rounds, evals=evals, verbose_eval=False, callbacks=callbacks, xgb_model=previous,
            custom_metric=metrics.callback(custom, params.get("objective", "reg:squarederror")),
        )  # fmt: skip
    if writes:
        model.save(booster, environment.model, os.environ.get("CLARY_IMAGE_TAG", ""))


def _printer(start: int) -> Any:
    """The evaluation log: one line a round, tab separated, five decimals."""
    base = library().callback.TrainingCallback

    class Printer(base):  # type: ignore[misc,valid-type]  # the library has no types
        def after_iteration(self, booster: Any, epoch: int, log: Any) -> bool:
            parts = [f"[{start + epoch}]"]
            for data, values in log.items():
                parts += (f"{data}-{name}:{history[-1]:.5f}" for name, history in values.items())
            print("\t".join(parts), flush=True)
            return False

    return Printer()


def _checkpointer(folder: Path, start: int) -> Any:
    """A checkpoint a round, the newest five kept."""
    base = library().callback.TrainingCallback

    class Checkpointer(base):  # type: ignore[misc,valid-type]  # the library has no types
        def after_iteration(self, booster: Any, epoch: int, log: Any) -> bool:
            number = start + epoch
            aside = folder / f".xgboost-checkpoint.{number}.new"
            aside.write_bytes(bytes(booster.save_raw("ubj")))
            os.rename(aside, folder / f"xgboost-checkpoint.{number}")
            (folder / f"xgboost-checkpoint.{number - _KEPT_CHECKPOINTS}").unlink(missing_ok=True)
            return False

    return Checkpointer()


def _saver(environment: TrainingEnvironment) -> Any:
    """On SIGTERM, what was trained so far becomes the model."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))

    base = library().callback.TrainingCallback

    class Saver(base):  # type: ignore[misc,valid-type]  # the library has no types
        def after_iteration(self, booster: Any, epoch: int, log: Any) -> bool:
            if stopped:
                model.save(booster, environment.model, os.environ.get("CLARY_IMAGE_TAG", ""))
                sys.stdout.flush()
                os._exit(0)
            return False

    return Saver()


def _resume(environment: TrainingEnvironment) -> tuple[int, Any]:
    """Rounds done before, and the booster that did them."""
    if environment.checkpoints is None:
        return 0, None
    found = [(int(m[1]), p) for p in environment.checkpoints.iterdir() if (m := _CHECKPOINT.match(p.name))]
    if not found:
        return 0, None
    last, path = max(found)
    _say(f"Checkpoint loaded from {path}")
    _say(f"Resuming from iteration {last + 1}")
    return last + 1, model.load(path)


def _cross_validate(environment: TrainingEnvironment, params: Params, train: Table, validation: Table | None) -> None:
    """Repeated k-fold over all data: a model and held-out predictions for each fold, one line of means."""
    from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold

    xgboost = library()
    table = concatenate([train, validation]) if validation is not None else train
    folds, repeats = params["_kfold"], params.get("_num_cv_round", 1)
    objective = params.get("objective", "reg:squarederror")
    splitter = (RepeatedStratifiedKFold if objective.startswith(("binary:", "multi:")) else RepeatedKFold)(
        n_splits=folds, n_repeats=repeats, random_state=params.get("seed", 0)
    )
    own, named = hyperparameters.for_library(params), hyperparameters.metric_names(params)
    native, custom = metrics.split(named)
    if native:
        own["eval_metric"] = native
    totals: dict[tuple[str, str], list[float]] = {}
    lines: list[str] = []
    for number, (inside, outside) in enumerate(splitter.split(np.zeros(table.rows), table.labels)):
        assert table.labels is not None
        fit = library().DMatrix(table.features[inside], label=table.labels[inside])
        held = library().DMatrix(table.features[outside], label=table.labels[outside])
        log: dict[str, dict[str, list[float]]] = {}
        booster = xgboost.train(
            own, fit, params["num_round"], evals=[(fit, "train"), (held, "validation")], evals_result=log,
            verbose_eval=False, custom_metric=metrics.callback(custom, objective),
        )  # fmt: skip
        for data, values in log.items():
            for name, history in values.items():
                totals.setdefault((data, name), []).append(history[-1])
        model.save(booster, environment.model, os.environ.get("CLARY_IMAGE_TAG", ""), f"{model.NAME}-{number}")
        for row, predicted in zip(outside, booster.predict(held), strict=True):
            lines.append(f"{number},{row},{table.labels[row]},{np.round(predicted, 6).tolist()}")
    environment.output.mkdir(parents=True, exist_ok=True)
    (environment.output / "predictions.csv").write_text("\n".join(lines) + "\n")
    parts = [f"{data}-{name}:{sum(values) / len(values):.5f}" for (data, name), values in totals.items()]
    print("\t".join([f"[{params['num_round']}]", *parts]), flush=True)


# ---- several hosts -------------------------------------------------------------------------------------------------


def _distributed(
    environment: TrainingEnvironment, params: Params, train: Table | None, validation: Table | None
) -> None:
    """Every host works on its own rows; the library's collective joins the histograms."""
    library()
    from xgboost import collective
    from xgboost.tracker import RabitTracker

    _say(f"Distributed node training with {len(environment.hosts)} hosts: {list(environment.hosts)}")
    address = socket.gethostbyname(environment.hosts[0])
    tracker = None
    if environment.first:
        tracker = RabitTracker(n_workers=len(environment.hosts), host_ip=address, port=_TRACKER_PORT, sortby="task")
        tracker.start()
    else:
        _until_listening(address, _TRACKER_PORT)
    rank = environment.hosts.index(environment.current_host)
    arguments: Params = {
        "dmlc_tracker_uri": address,
        "dmlc_tracker_port": _TRACKER_PORT,
        "dmlc_task_id": f"{rank:04d}",
        "dmlc_retry": 10,
    }
    with collective.CommunicatorContext(**arguments):
        counts = collective.allreduce(np.array([float(train is not None and train.rows > 0)]), collective.Op.SUM)
        if int(counts[0]) < len(environment.hosts):
            raise UserError(
                f"Only {int(counts[0])} of {len(environment.hosts)} hosts have training data; with ShardedByS3Key the "
                "channel needs at least one object for each host."
            )
        assert train is not None
        _boost(environment, params, train, validation, writes=environment.first)
    if tracker is not None:
        tracker.wait_for()


def _until_listening(address: str, port: int, seconds: float = 60.0) -> None:
    """Wait until the first host's tracker takes connections."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            table = Path("/proc/net/tcp").read_text()
            if f":{port:04X} 00000000:0000 0A" in table:
                return
        except OSError:
            return
        time.sleep(0.02)
    raise UserError(f"the first host's tracker did not listen on {address}:{port} within {seconds:.0f} s")
