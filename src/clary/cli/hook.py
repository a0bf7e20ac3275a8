"""``clary hook``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click

from ..client import STARTUP

_NAME = "clary_client_hook"


@click.command("hook")
@click.argument("action", type=click.Choice(["install", "remove"]))
@click.option("--python", default=sys.executable, help="The interpreter whose environment gets the hook.")
def command(action: str, python: str) -> None:
    """Install or remove the Python client hook in an environment.

    `clary run` and `clary env` bring the hook along by PYTHONPATH; install it where that is not possible (notebooks,
    services). It does nothing unless CLARY_ENDPOINT is set.

    \b
    Examples:
      clary hook install --python .venv/bin/python
      clary hook remove --python .venv/bin/python
    """
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    try:
        found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise click.ClickException(f"{python} cannot be asked for its site-packages: {error}") from None
    folder = Path(found.stdout.strip())
    module, start = folder / f"{_NAME}.py", folder / f"{_NAME}.pth"
    if action == "remove":
        module.unlink(missing_ok=True)
        start.unlink(missing_ok=True)
        click.echo(f"Removed from {folder}.")
        return
    shutil.copyfile(STARTUP / f"{_NAME}.py", module)
    start.write_text(f"import {_NAME}; {_NAME}.activate()\n")
    click.echo(f"Installed in {folder}. It is active where CLARY_ENDPOINT is set.")
