"""What runs inside clients' own Python processes. ``startup`` needs nothing but the standard library."""

from pathlib import Path

STARTUP = Path(__file__).parent / "startup"
"""The folder that goes on a client's PYTHONPATH."""
