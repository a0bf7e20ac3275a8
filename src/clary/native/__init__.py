"""The few places where even compiled Python is too slow, in Cython. Everything here has a counterpart in Python.

``tools/compile.py`` compiles them where there is a C compiler; what was made is taken as long as it is from just these sources.
``CLARY_COMPILED=0`` takes none of it.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

COMPILED = Path(__file__).parent / "_compiled"


def digest() -> str:
    """What the sources are known by."""
    found = sha256()
    for path in sorted(Path(__file__).parent.glob("*.pyx")):
        found.update(path.read_bytes())
    return found.hexdigest()


@cache
def _current() -> bool:
    """Whether what was compiled is wanted, and is from these sources."""
    try:
        return os.environ.get("CLARY_COMPILED") != "0" and (COMPILED / "sources").read_text() == digest()
    except OSError:
        return False


def load(name: str) -> Any:
    """A module, or None where it is not compiled."""
    full = f"{__name__}.{name}"
    if full not in sys.modules:
        path = COMPILED / f"{name}{EXTENSION_SUFFIXES[0]}"
        if not _current() or not path.exists():  # or it was compiled for another Python
            return None
        spec = spec_from_file_location(full, path, loader=ExtensionFileLoader(full, str(path)))
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[full] = module
    return sys.modules[full]
