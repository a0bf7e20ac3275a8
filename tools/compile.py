"""Compile the data plane (``src/clary/serving``) with mypyc, where there is a C compiler; ADR 12 says why.

The sources stay what they are. What comes out lies beside them and is used only as long as they do not change.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "src"
GROUP = "clary_serving"
DATA = "table"
"""Only data, which orjson can write as long as its classes are ordinary ones."""


def missing() -> str:
    """What of a C compiler is not there; empty when all is."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(command) is None:
        return f"no C compiler ({command})"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "no Python headers (Debian has them in python3-dev)"
    return ""


def build(folder: Path) -> list[Path]:
    """Compile in ``folder``; the extension modules."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    modules = sorted(f"clary/serving/{p.name}" for p in (SOURCES / "clary/serving").glob("[a-z]*.py") if p.stem != DATA)
    os.chdir(SOURCES)
    os.environ["MYPYPATH"] = str(SOURCES)
    options = ["--config-file=", "--ignore-missing-imports", f"--cache-dir={folder / 'mypy'}"]
    made = mypycify(
        [*options, *modules], opt_level="2", debug_level="0", multi_file=True, group_name=GROUP, target_dir=str(folder)
    )
    command = build_ext(Distribution({"name": GROUP, "ext_modules": made}))
    command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
    command.parallel = os.cpu_count() or 1
    command.ensure_finalized()
    command.run()
    return sorted((folder / "lib").rglob(f"*{EXTENSION_SUFFIXES[0]}"))


def main() -> None:
    """Put the compiled modules in place in one step."""
    sys.path.insert(0, str(SOURCES))
    os.environ["CLARY_COMPILED"] = "0"
    from clary.serving import COMPILED, digest

    if lacking := missing():
        print(f"The data plane runs interpreted, at about two thirds of the speed: {lacking}.")
        return
    present = digest()
    with tempfile.TemporaryDirectory(dir=COMPILED.parent, prefix="_compiling-") as aside:
        folder = Path(aside)
        made = folder / "made"
        made.mkdir()
        try:
            modules = build(folder)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a compiler may do, the sources still run
            print(f"The data plane runs interpreted, at about two thirds of the speed: compiling it failed. {error}")
            return
        for path in modules:
            path.rename(made / path.name)
        (made / "sources").write_text(present)
        shutil.rmtree(COMPILED, ignore_errors=True)
        made.rename(COMPILED)


if __name__ == "__main__":
    main()
