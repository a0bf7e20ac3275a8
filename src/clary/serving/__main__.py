"""The front process."""

from .front import main

main()
