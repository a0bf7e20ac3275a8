"""``python -m clary``."""

from .cli import main

main(prog_name="clary")
