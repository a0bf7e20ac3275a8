"""Compile the data plane (``src/clary/serving``) with mypyc and ``src/clary/native`` with Cython; ADRs 12 and 16 say why.

Where there is no C compiler nothing is missing but speed. What comes out lies beside the sources and is used only as long as
they do not change.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent.parent / "src"
GROUP = "clary_serving"
DATA = "table"
"""Only data, which orjson can write as long as its classes are ordinary ones."""


_SLOWER = "The data plane runs interpreted, at about two fifths of the speed"


def missing() -> str:
    """What of a C compiler is not there; empty when all is."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(command) is None:
        return f"no C compiler ({command})"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "no Python headers (Debian has them in python3-dev)"
    return ""


def build(folder: Path) -> list[Path]:
    """Compile the data plane in ``folder``; the extension modules."""
    from mypyc.build import mypycify

    modules = sorted(f"clary/serving/{p.name}" for p in (SOURCES / "clary/serving").glob("[a-z]*.py") if p.stem != DATA)
    os.environ["MYPYPATH"] = str(SOURCES)
    options = ["--config-file=", "--ignore-missing-imports", f"--cache-dir={folder / 'mypy'}"]
    made = mypycify(
        [*options, *modules], opt_level="2", debug_level="0", multi_file=True, group_name=GROUP, target_dir=str(folder)
    )
    return _extensions(folder, made)


def build_native(folder: Path) -> list[Path]:
    """The same of what is written in Cython."""
    from Cython.Build import cythonize
    from setuptools import Extension

    flags = ["-O2", "-ffp-contract=off"]  # floats are added and multiplied as the libraries do it, one step at a time
    sources = sorted((SOURCES / "clary/native").glob("*.pyx"))
    modules = [
        Extension(f"clary.native.{p.stem}", [str(p.relative_to(SOURCES))], extra_compile_args=flags) for p in sources
    ]
    return _extensions(folder, cythonize(modules, build_dir=str(folder), quiet=True))


def _extensions(folder: Path, modules: list[Any]) -> list[Path]:
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    command = build_ext(Distribution({"name": GROUP, "ext_modules": modules}))
    command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
    command.parallel = os.cpu_count() or 1
    command.ensure_finalized()
    command.run()
    return sorted((folder / "lib").rglob(f"*{EXTENSION_SUFFIXES[0]}"))


def put(home: Path, present: str, make: Callable[[Path], list[Path]]) -> None:
    """Make the compiled modules of sources that are known by ``present``, and put them in place in one step."""
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="_compiling-") as aside:
        folder = Path(aside)
        made = folder / "made"
        made.mkdir()
        for path in make(folder):
            path.rename(made / path.name)
        (made / "sources").write_text(present)
        shutil.rmtree(home, ignore_errors=True)
        made.rename(home)


def main() -> None:
    """Compile both."""
    sys.path.insert(0, str(SOURCES))
    os.environ["CLARY_COMPILED"] = "0"
    from clary import native, serving

    if lacking := missing():
        print(f"{_SLOWER}: {lacking}.")
        return
    os.chdir(SOURCES)
    try:
        put(native.COMPILED, native.digest(), build_native)
        put(serving.COMPILED, serving.digest(), build)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a compiler may do, the sources still run
        print(f"{_SLOWER}: compiling it failed. {error}")


if __name__ == "__main__":
    main()
