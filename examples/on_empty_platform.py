"""Run a program on a platform with an empty data folder and a free port, then remove both.

python examples/on_empty_platform.py PROGRAM [ARGUMENT …]
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

CLARY = str(Path(sys.executable).with_name("clary"))

with tempfile.TemporaryDirectory(prefix="clary-") as home:
    environment = {**os.environ, "CLARY_HOME": home}
    subprocess.run([CLARY, "up", "--detach", "--port", "0"], env=environment, check=True)
    try:
        status = subprocess.run([CLARY, "run", "--", *sys.argv[1:]], env=environment, check=False).returncode
    finally:
        subprocess.run([CLARY, "down"], env=environment, check=True)
sys.exit(status)
