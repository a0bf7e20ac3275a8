"""Installs a ``requirements.txt`` into a folder, in a sandbox of its own.

What the platform's environment has already, in a version that fits, is not installed again: the folder holds the
difference, and goes in front of it on the module path. Only wheels are taken at first; where that is not enough,
packages are built, and then nothing that other installations rely on can be written.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

CODE, TARGET, CACHE = "/opt/ml/code", "/opt/packages", "/opt/package-cache"
_WHEELS = ("--only-binary", ":all:")


def main() -> int:
    """Resolve and install; the exit code. What goes wrong is printed."""
    print("Installing dependencies from requirements.txt", flush=True)
    if _install(Path(_place(CACHE)), _WHEELS) == 0:
        return 0
    print("Not all of it can be had as wheels, or at all; trying again with packages that have to be built", flush=True)
    return _install(Path("/tmp/cache"), ())


def _place(path: str) -> str:
    """A folder as it is called here: without a sandbox it lies elsewhere."""
    return os.environ.get(f"CLARY_{Path(path).name.replace('-', '_').upper()}", path)


def _install(cache: Path, options: tuple[str, ...]) -> int:
    uv, code = _uv(), Path(_place(CODE))
    present = {d.name.lower().replace("_", "-"): d.version for d in distributions() if d.name}
    lock, local, wanted = (Path("/tmp") / f"{os.getpid()}-{name}.txt" for name in ("lock", "local", "wanted"))
    lock.write_text("".join(f"{name}=={version}\n" for name, version in present.items() if "+" not in version))
    local.write_text("".join(f"{name}\n" for name, version in present.items() if "+" in version))
    more = Path("/tmp") / f"{os.getpid()}-more.txt"
    more.write_text(os.environ.get("CLARY_MORE", "") + "\n")
    sources = [str(more), *(["requirements.txt"] if (code / "requirements.txt").is_file() else [])]
    common = ["--quiet", "--cache-dir", str(cache), "--python", sys.executable, *options]
    resolved = subprocess.run(
        [uv, "pip", "compile", *common, "--no-header", "--no-annotate", "--excludes", str(local), "--output-file",
         str(lock), *sources],
        cwd=code, stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if resolved.returncode:
        return resolved.returncode
    missing = [line for line in lock.read_text().splitlines() if line.strip() and not _here(line, present)]
    wanted.write_text("\n".join(missing) + "\n")
    if not missing:
        print("Everything is installed already", flush=True)
        return 0
    print(f"Installing {', '.join(missing)}", flush=True)
    return subprocess.run(
        [uv, "pip", "install", *common, "--no-deps", "--target", _place(TARGET), "--requirement", str(wanted)],
        cwd=code, check=False,
    ).returncode  # fmt: skip


def _here(line: str, present: dict[str, str]) -> bool:
    name, _, version = line.partition("==")
    return present.get(name.strip().lower().replace("_", "-")) == version.partition(" ")[0].strip()


def _uv() -> str:
    from uv import find_uv_bin

    return str(find_uv_bin())


if __name__ == "__main__":
    sys.exit(main())
