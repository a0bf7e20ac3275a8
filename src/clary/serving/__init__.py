"""The data plane. Where it was compiled (``tools/compile.py``) from just these sources, the compiled modules are taken.

``CLARY_COMPILED=0`` takes the sources.
"""

import os
import sys
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

COMPILED = Path(__file__).parent / "_compiled"
SHARED = "clary_serving__mypyc"
"""The module that holds the code of all the others."""


def digest() -> str:
    """What the sources are known by."""
    found = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _take_compiled() -> bool:
    try:
        if os.environ.get("CLARY_COMPILED") == "0" or (COMPILED / "sources").read_text() != digest():
            return False
    except OSError:
        return False
    path = COMPILED / f"{SHARED}{EXTENSION_SUFFIXES[0]}"
    spec = spec_from_file_location(SHARED, path, loader=ExtensionFileLoader(SHARED, str(path)))
    if spec is None or spec.loader is None or not path.exists():  # it was compiled for another Python
        return False
    module = sys.modules[SHARED] = module_from_spec(spec)
    spec.loader.exec_module(module)
    __path__.insert(0, str(COMPILED))
    return True


compiled = _take_compiled()
"""Whether this process runs the compiled modules."""
