"""Python imports this at its start when the folder is on PYTHONPATH: activate the hook, then whatever it hides."""

import importlib.machinery
import importlib.util
import os
import sys

import clary_client_hook

clary_client_hook.activate()

_here = os.path.dirname(os.path.abspath(__file__))
_spec = importlib.machinery.PathFinder.find_spec(
    "sitecustomize", [p for p in sys.path if os.path.abspath(p or ".") != _here]
)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(importlib.util.module_from_spec(_spec))
