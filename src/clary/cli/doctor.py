"""``clary doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ..settings import Settings
from . import model_check
from .platform import running, settings
from .supervisor import address

_GOOD, _WARN, _BAD = click.style("ok  ", fg="green"), click.style("note", fg="yellow"), click.style("FAIL", fg="red")
_NEEDED = ("xgboost-cpu", "uvloop", "httptools", "sqlalchemy", "cryptography", "botocore")

Check = tuple[str, str, str]
"""Mark, what was looked at, what was found."""


@click.group("doctor", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Check this machine and the platform; say what to do about what is wrong.

    \b
    Examples:
      clary doctor
      clary doctor model model.tar.gz
    """
    if context.invoked_subcommand is not None:
        return
    found = settings()
    failed = False
    for mark, subject, text in _checks(found):
        click.echo(f"{mark}  {subject:<12} {text}")
        failed |= mark == _BAD
    if failed:
        raise SystemExit(1)


command.add_command(model_check.command)


def _checks(found: Settings) -> Iterator[Check]:
    yield _python()
    yield from _packages()
    yield _home(found)
    yield _disk(found)
    yield from _sandbox(found)
    yield from _platform(found)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return (_GOOD if sys.version_info >= (3, 11) else _BAD), "Python", f"{version} at {sys.executable}"


def _packages() -> Iterator[Check]:
    for name in _NEEDED:
        try:
            yield _GOOD, "package", f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            other = "xgboost" if name == "xgboost-cpu" else name
            try:
                yield _GOOD, "package", f"{other} {importlib.metadata.version(other)}"
            except importlib.metadata.PackageNotFoundError:
                yield _BAD, "package", f"{name} is missing: pip install {name}"


def _home(found: Settings) -> Check:
    folder = found.folder
    parent = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(parent, os.W_OK):
        return _BAD, "home", f"{folder} cannot be written: set CLARY_HOME to a folder of yours"
    return _GOOD, "home", str(folder)


def _disk(found: Settings) -> Check:
    parent = next(p for p in (found.folder, *found.folder.parents) if p.exists())
    free = shutil.disk_usage(parent).free / 2**30
    return (_GOOD if free > 5 else _WARN), "disk", f"{free:.0f} GiB free"


def _sandbox(found: Settings) -> Iterator[Check]:
    from ..executors import abilities

    for ability in abilities.of_machine(found.folder, found.sandbox):
        yield (_GOOD if ability.good else _WARN), ability.subject, ability.text


def _platform(found: Settings) -> Iterator[Check]:
    endpoint = address(found)
    if endpoint is None:
        with socket.socket() as probe:
            taken = probe.connect_ex((found.host, found.port)) == 0 if found.port else False
        if taken:
            yield _WARN, "port", f"{found.port} is used by another program: clary up -p 0 takes a free one"
        else:
            yield _GOOD, "port", f"{found.port} is free"
        yield _WARN, "platform", "does not run: clary up -d"
        return
    platform = running()
    yield _GOOD, "platform", f"runs at {endpoint}"
    platform.call("sagemaker", "SageMaker.ListEndpoints", {})
    yield _GOOD, "signature", "a signed call was answered"
    bundle = Path(platform.settings.folder / "tls" / "ca-bundle.pem")
    yield (_GOOD if bundle.exists() else _BAD), "proxy", f"CA bundle {bundle}"
