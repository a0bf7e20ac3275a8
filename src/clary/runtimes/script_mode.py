"""Script mode: run a user's ``entry_point`` as the SageMaker training and inference toolkits do.

Contract: the public documentation of sagemaker-training-toolkit and sagemaker-inference (Apache-2.0).
"""

from __future__ import annotations

import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

from ..algorithms.environment import UserError, fail, gpus, training
from . import program as programs

Json = dict[str, Any]


def main() -> int:
    """``train`` or ``serve``."""
    if sys.argv[1:] == ["serve"]:
        from .script_serving import serve

        return serve()
    return train(fork=False)


def train_forked() -> int:
    """``train`` in a process that a zygote forked."""
    return train(fork=True)


def serve_forked() -> int:
    """``serve`` in a process that a zygote forked."""
    from .script_serving import folders, serve

    if not all(programs.independent(folder) for folder in folders()):
        os.execv(sys.executable, [sys.executable, "-m", "clary.runtimes.script_mode", "serve"])
    programs.settle(Path.cwd())
    return serve()


def train(fork: bool) -> int:
    """Run the program of a training job; its exit code."""
    try:
        return _train(fork)
    except UserError as error:
        return fail(str(error))


def _train(fork: bool) -> int:
    environment = training()
    values = {k: _decode(v) for k, v in environment.hyperparameters.items()}
    program = values.get("sagemaker_program") or os.environ.get("SAGEMAKER_PROGRAM")
    if not program:
        raise UserError(
            "ClientError: The job names no program: give an entry_point (hyperparameter sagemaker_program)."
        )
    code = environment.base / "code"
    _unpack_channel(values.get("sagemaker_submit_directory"), code)
    own = {k: v for k, v in values.items() if not k.startswith("sagemaker_")}
    if not (code / program).exists():
        raise UserError(
            f"ClientError: The program {program} is not in the source archive ({', '.join(sorted(os.listdir(code)))})."
        )
    check_requirements(code / "requirements.txt")
    arguments = _arguments(own)
    variables = _variables(environment, values, own, program, arguments, code)
    command = _command(code, program, arguments)
    print(f"Invoking user script: {' '.join(command)}", flush=True)
    status, tail = programs.run(command, code, variables, fork)
    if status == 0:
        (environment.base / "output" / "success").touch()
        return 0
    message = "\n".join(tail.strip().splitlines()[-20:])
    text = f'ExecuteUserScriptError:\nExitCode {status}\nErrorMessage "{message}"\nCommand "{" ".join(command)}"'
    (environment.base / "output" / "failure").write_text(f"AlgorithmError: {text}")
    return status if 0 < status < 256 else 1


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unpack_channel(directory: Any, code: Path) -> None:
    """A source archive that came as an input channel (network isolation)."""
    code.mkdir(parents=True, exist_ok=True)
    path = Path(str(directory or ""))
    if not path.is_absolute() or not path.is_file() or any(code.iterdir()):
        return
    with tarfile.open(path) as archive:
        archive.extractall(code, filter="data")


def check_requirements(path: Path) -> None:
    """Say which packages are missing, where the platform did not install them, instead of failing at an import."""
    if not path.is_file() or os.environ.get("CLARY_PACKAGES"):
        return
    from importlib.metadata import PackageNotFoundError, version

    missing: list[str] = []
    for line in path.read_text().splitlines():
        wanted = line.partition("#")[0].strip()
        if not wanted or wanted.startswith("-"):
            continue
        name = wanted
        for mark in "=<>!~[;@ ":
            name = name.partition(mark)[0]
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(wanted)
    if missing:
        raise UserError(
            f"ClientError: requirements.txt names packages that are not installed here: {', '.join(missing)}. The "
            "packages of a job's or model's own code are installed; those of models behind a multi-model endpoint are "
            "not: install them in the environment that runs Clary."
        )


def _arguments(values: Json) -> list[str]:
    """Hyperparameters as command-line arguments, sorted by name."""
    found: list[str] = []
    for name in sorted(values):
        value = values[name]
        text = _argument(value)
        found += (f"-{name}" if len(name) == 1 else f"--{name}", text)
    return found


def _argument(value: Any) -> str:
    """A value on the command line, as the training toolkit writes it."""
    if isinstance(value, dict):
        return ",".join(f"{k}={value[k]}" for k in sorted(value))
    return "" if value is None else str(value)


def _command(code: Path, program: str, arguments: list[str]) -> list[str]:
    if (code / "setup.py").exists():
        return [sys.executable, "-m", program.removesuffix(".py"), *arguments]
    if program.endswith(".py"):
        return [sys.executable, program, *arguments]
    return ["/bin/sh", "-c", " ".join((f"./{program}", *arguments))]


def _variables(
    environment: Any, values: Json, own: Json, program: str, arguments: list[str], code: Path
) -> dict[str, str]:
    """The ``SM_*`` variables."""
    root, resources = environment.base, environment.extra
    config = root / "input" / "config"
    channels = {n: str(c.folder) for n, c in environment.channels.items()}
    group = resources.get("current_group_name", "homogeneousCluster")
    groups = {g["instance_group_name"]: g for g in resources.get("instance_groups", [])}
    cores = os.cpu_count() or 1
    plain: Json = {
        "SM_MODEL_DIR": str(root / "model"), "SM_INPUT_DIR": str(root / "input"), "SM_INPUT_CONFIG_DIR": str(config),
        "SM_OUTPUT_DIR": str(root / "output"), "SM_OUTPUT_DATA_DIR": str(root / "output" / "data"),
        "SM_OUTPUT_INTERMEDIATE_DIR": str(root / "output" / "intermediate"), "SM_CURRENT_HOST": environment.current_host,
        "SM_HOSTS": list(environment.hosts), "SM_NUM_GPUS": gpus(), "SM_NUM_NEURONS": 0, "SM_NUM_CPUS": cores,
        "SM_LOG_LEVEL": values.get("sagemaker_container_log_level", 20),
        "SM_NETWORK_INTERFACE_NAME": resources.get("network_interface_name", "lo"), "SM_USER_ARGS": arguments,
        "SM_USER_ENTRY_POINT": program, "SM_MODULE_NAME": program.removesuffix(".py"), "SM_MODULE_DIR": str(code),
        "SM_HPS": own, "SM_CHANNELS": sorted(channels), "SM_RESOURCE_CONFIG": resources,
        "SM_INPUT_DATA_CONFIG": json.loads((config / "inputdataconfig.json").read_text()),
        "SM_CURRENT_INSTANCE_TYPE": resources.get("current_instance_type", ""), "SM_CURRENT_INSTANCE_GROUP": group,
        "SM_CURRENT_INSTANCE_GROUP_HOSTS": groups.get(group, {}).get("hosts", []), "SM_INSTANCE_GROUPS": sorted(groups),
        "SM_INSTANCE_GROUPS_DICT": groups, "SM_DISTRIBUTION_INSTANCE_GROUPS": [], "SM_IS_HETERO": len(groups) > 1,
        "SM_FRAMEWORK_MODULE": "", "SM_FRAMEWORK_PARAMS": {k: v for k, v in values.items() if k not in own},
    }  # fmt: skip
    plain |= {f"SM_CHANNEL_{n.upper()}": path for n, path in channels.items()}
    plain |= {f"SM_HP_{n.upper()}": value for n, value in own.items()}
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in plain.items()}
    whole = {k.removeprefix("SM_").lower(): v for k, v in plain.items() if not k.startswith(("SM_HP_", "SM_CHANNEL_"))}
    whole |= {
        "channel_input_dirs": channels,
        "hyperparameters": own,
        "job_name": os.environ.get("TRAINING_JOB_NAME", ""),
    }
    return {
        **os.environ,
        **texts,
        "SM_TRAINING_ENV": json.dumps(whole),
        "PYTHONPATH": f"{code}:{os.environ.get('PYTHONPATH', '')}".rstrip(":"),
    }


if __name__ == "__main__":
    sys.exit(main())
