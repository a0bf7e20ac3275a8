"""``python -m clary.part MODULE``: a part of the platform, without garbage collections until it is ready.

Importing makes hundreds of thousands of objects that stay; to look for garbage among them is up to
a fifth of the time that the imports take.
"""

import gc
import runpy
import sys

gc.disable()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
